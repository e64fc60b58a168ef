"""Samples that an iterable yields are those of arrays, and one of them is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bmc
from bmc.errors import DataError, UsageError
from bmc.onnx_models import stored_calls
from bmc.onnx_models.reading import OnnxFile, read
from bmc.onnx_models.samples import samples_of
from bmc.onnx_models.stored_calls import samples_from
from tests._onnx import cnn, images


@pytest.fixture
def file(tmp_path: Path) -> OnnxFile:
    return read(cnn(tmp_path / "cnn.onnx"))


@pytest.mark.parametrize("rows", [1, 3, None])
def test_an_iterable_yields_rows_batches_or_samples_without_a_batch_axis(
    file: OnnxFile, rows: int | None
) -> None:
    values = images(6)
    parts = values if rows is None else np.split(values, 6 // rows)
    stored = samples_from(file, ({"image": part} for part in parts), "samples")
    expected = samples_of(file, {"image": values}, "samples")
    assert (len(stored), stored.fingerprint) == (6, expected.fingerprint)
    assert np.array_equal(stored.calls[4]["image"], values[4:5])


def test_labels_come_with_their_samples(file: OnnxFile) -> None:
    items = [{"image": image, "kind": np.int64(index)} for index, image in enumerate(images(3))]
    labels = samples_from(file, items, "samples", "kind").labels
    assert np.concatenate(labels).tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="no such array"):
        samples_from(file, items, "samples", "gone")


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        ([], DataError, "holds no samples"),
        ([images(1)], UsageError, r"samples\[0\] is a ndarray; yield a dictionary .* image"),
        ([{"image": images(1)}, {"picture": images(1)}], DataError, r"samples\[1\] has the arrays"),
        ([{"image": images(1)[..., :3]}], DataError, "has shape"),
    ],
)
def test_items_that_are_no_samples_are_refused(
    file: OnnxFile, items: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        samples_from(file, items, "samples")


def test_an_iterable_without_an_end_is_refused(
    file: OnnxFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless() -> Iterator[dict[str, Any]]:
        while True:
            yield {"image": images(1)}

    monkeypatch.setattr(stored_calls, "MAX_BYTES", 100_000)
    with pytest.raises(UsageError, match="islice"):
        samples_from(file, endless(), "samples")


def test_a_file_is_quantized_on_a_generator(tmp_path: Path) -> None:
    model = bmc.open(cnn(tmp_path / "cnn.onnx"))
    assert isinstance(model, bmc.OnnxHandle)
    rows = ({"image": image} for image in images(8))
    (bundle,) = model.quantize(
        samples=rows, min_agreement=0.1, allow_slower=True, output=tmp_path / "b"
    )
    assert bundle.parity["rows"] == 8
