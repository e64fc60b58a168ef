"""Series into tensors: padding, lengths, normalization, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import inputs
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs.series import SeriesEncoder, SeriesSettings, encoder_for

BY = SeriesEncoder(SeriesSettings(2, 6, (1.0, -1.0), (2.0, 0.5)))
LONG = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_each_channel_is_normalized() -> None:
    (row,) = BY.encode([LONG])
    np.testing.assert_allclose(row, (LONG - [1, -1]) / [2, 0.5])
    assert row.dtype == np.float32


def test_shorter_series_are_padded_with_zeros_behind_their_end() -> None:
    result = BY.batch(BY.encode([LONG[:2], LONG]), [0, 1])
    assert result["series"].shape == (2, 5, 2)
    assert result["lengths"].tolist() == [2, 5]
    assert not result["series"][0, 2:].any()
    np.testing.assert_array_equal(result["series"][0, :2], BY.encode([LONG])[0][:2])


def test_a_batch_holds_the_rows_of_its_places_in_their_order() -> None:
    encoded = BY.encode([LONG, LONG[:3], LONG[:1]])
    assert BY.batch(encoded, [2, 0])["lengths"].tolist() == [1, 5]
    assert list(BY.lengths(encoded)) == [5, 3, 1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (np.zeros((7, 2)), "series 2 has 7 steps; the model takes 6 at most.*--max-length"),
        (np.zeros((0, 2)), "must be \\(steps, channels\\)"),
        (np.zeros(3), "must be \\(steps, channels\\)"),
        (np.zeros((3, 5)), "has 5 channels; the model takes 2"),
        (np.array([[0, 0], [0, np.nan]]), "series 2 has nan at step 2, channel 2"),
        (np.array([[np.inf, 0]]), "series 2 has inf at step 1, channel 1"),
        ("hello", "is not a series"),
        ([[1, 2], [3]], "is not a series"),
        ({"a": 1}, "is not a series"),
    ],
)
def test_a_series_that_the_model_cannot_take_is_refused(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        BY.encode([LONG, row])


def test_probes_and_timing_inputs_have_the_shapes_that_tensors_say() -> None:
    golden = BY.batch(BY.encode([LONG]), [0])
    for arrays in [*BY.probes(5), BY.sized(golden, 3, 4)]:
        rows, steps, channels = arrays["series"].shape
        assert channels == 2
        assert arrays["lengths"].shape == (rows,)
        assert 1 <= arrays["lengths"].min() <= arrays["lengths"].max() <= steps <= 6
    assert BY.sized(golden, 3, 4)["series"].shape == (3, 4, 2)
    assert BY.sized(golden, 3, 6)["series"].shape == (3, 6, 2)
    assert any((arrays["lengths"] < arrays["series"].shape[1]).any() for arrays in BY.probes(5))


def test_an_encoder_comes_back_from_its_settings(tmp_path: Path) -> None:
    again = inputs.load(BY.to_json(), tmp_path)
    np.testing.assert_array_equal(again.encode([LONG])[0], BY.encode([LONG])[0])


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 0},
        {"channels": 3},
        {"max_length": 0},
        {"max_length": "9"},
        {"std": [1, 0]},
        {"mean": [1]},
        {"mean": None},
        {"std": [1, float("inf")]},
    ],
)
def test_malformed_preprocessing_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="preprocessing"):
        inputs.load({**BY.to_json(), **change}, tmp_path)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match="max length is 0"):
        SeriesSettings(1, 0, (0.0,), (1.0,))


def test_a_constant_channel_is_normalized_to_0_and_to_units_of_1() -> None:
    encoder = encoder_for([np.full((7, 1), 0.1)], 8)
    assert encoder.settings.std == (1.0,)
    assert abs(encoder.encode([np.full((1, 1), 1.1)])[0].item() - 1.0) < 1e-6


def test_a_channel_that_float32_cannot_resolve_is_refused() -> None:
    seconds = np.arange(60.0)[:, None]
    encoder_for([seconds + 1e6], 60)  # steps of 1/16 of a second
    with pytest.raises(DataError, match=r"channel 1 .* 1.7e\+09, .* steps of 128: subtract"):
        encoder_for([np.hstack([seconds, seconds + 1.7e9])], 60)
