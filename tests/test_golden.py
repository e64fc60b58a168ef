"""Golden rows have forms that programs in other languages read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmc.golden import GoldenRows, most_rows, portable, rows_of, write_golden
from bmc.spaced_words import SpacedWords


def test_a_clip_of_floats_of_any_width_is_stored_as_float32() -> None:
    clip = np.linspace(-1, 1, 9, dtype=np.float16)
    stored = portable(clip, "audio", 5)
    assert isinstance(stored, np.ndarray)
    assert stored.dtype == np.float32
    assert stored.tolist() == clip[:5].tolist()
    assert portable(np.arange(3, dtype=np.int16), "audio").dtype == np.int16


@pytest.mark.parametrize("shape", [(), (3,), (3, 4)])
def test_arrays_are_stored_in_the_order_of_c_with_the_shape_that_they_have(
    shape: tuple[int, ...],
) -> None:
    array = np.asarray(np.ones(shape), order="F")
    for stored in (portable(array), portable((array,))[0]):
        assert isinstance(stored, np.ndarray)
        assert stored.shape == shape
        assert stored.flags["C_CONTIGUOUS"]


def test_as_many_rows_are_stored_as_fit_into_a_file_of_64_arrays() -> None:
    assert most_rows(inputs=16, outputs=1, arrays=16) == 2
    assert most_rows(inputs=1, outputs=1, arrays=1) == 62


def test_golden_rows_of_words_with_their_text_are_read_again(tmp_path: Path) -> None:
    row = portable(SpacedWords(["Paris", ","], "Paris, 1990", [0, 5]))
    write_golden(tmp_path / "golden.npz", {}, {}, GoldenRows([row], []))
    content = json.loads((tmp_path / "golden.json").read_text())
    assert rows_of(content, {}, tmp_path).rows == [("Paris", ",")]
