"""Arrays as rows: stacked as they are, refused by row, and made up within the data's range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import inputs
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs.array import ArrayEncoder, ArrayInput

NUMBERS = ArrayInput("numbers", "float32", (3,), -1.0, 2.0)
CATEGORY = ArrayInput("category", "int64", (), 2, 4)
BOTH = ArrayEncoder([NUMBERS, CATEGORY])
ROW = (np.array([0.5, 1, 2]), 3)


def test_rows_are_stacked_in_the_inputs_types() -> None:
    batch = BOTH.batch(BOTH.encode([ROW, ROW]), [1, 0])
    assert batch["numbers"].dtype == np.float32
    assert batch["numbers"].tolist() == [[0.5, 1, 2]] * 2
    assert batch["category"].dtype == np.int64
    assert batch["category"].tolist() == [3, 3]


def test_a_single_input_takes_a_bare_array() -> None:
    item = ArrayEncoder([NUMBERS])
    assert item.batch(item.encode([ROW[0]]), [0])["numbers"].shape == (1, 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW[0], "row 2 has 1 arrays; the network takes numbers, category"),
        ((np.zeros(4), 3), r"row 2: numbers has shape \(4,\); the network takes \(3,\)"),
        ((np.zeros(3), 1.5), "row 2: category is float64; it must be int64"),
        (
            (np.ma.array([0, 9, 1], mask=[False, True, False]), 3),
            "row 2: numbers has masked values; fill",
        ),
        ((["a", "b", "c"], 3), "row 2: numbers is <U1"),
        ((np.array([1, np.nan, 2]), 3), "row 2: numbers holds numbers that are not finite"),
        ((np.array([1, 1e40, 2]), 3), "row 2: numbers holds numbers that are not finite"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_number(row: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        BOTH.encode([ROW, row])


def test_made_up_inputs_lie_in_the_range_of_the_data() -> None:
    probes = BOTH.probes(5)
    assert [len(probe["category"]) for probe in probes] == [1, 3, 5]
    for probe in probes:
        assert set(probe["category"].tolist()) <= {2, 3, 4}
        assert -1 <= probe["numbers"].min() <= probe["numbers"].max() <= 2


def test_the_settings_come_back_from_json(tmp_path: Path) -> None:
    loaded = inputs.load(json.loads(json.dumps(BOTH.to_json())), tmp_path)
    assert loaded.tensors() == BOTH.tensors()
    assert loaded.to_json() == BOTH.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": 3},
        {"inputs": []},
        {"inputs": [3]},
        {"inputs": [{**NUMBERS.__dict__, "shape": "3"}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [0]}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [2**20, 2**20]}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [1] * 9}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [3], "dtype": "object"}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [3], "low": "1"}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [3], "low": 5.0}]},
        {"inputs": [{**NUMBERS.__dict__, "shape": [3]}] * 2},
        {"inputs": [{**NUMBERS.__dict__, "shape": [3]}] * 17},
    ],
)
def test_settings_of_a_stranger_that_make_no_sense_are_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError):
        inputs.load({**BOTH.to_json(), **change}, tmp_path)


def test_an_input_without_a_range_is_refused() -> None:
    with pytest.raises(SettingError, match="has the invalid range"):
        ArrayInput("x", "float32", (1,), 1.0, 0.0)


def test_an_index_beyond_int64_is_refused() -> None:
    encoder = ArrayEncoder((ArrayInput("ids", "int64", (1,), 0, 9),))
    with pytest.raises(DataError, match="outside the range of int64"):
        encoder.encode([np.array([2**64 - 1], np.uint64)])


def test_a_setting_of_an_input_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    settings = ArrayEncoder((ArrayInput("ids", "int64", (1,), 0, 9),)).to_json()
    settings["inputs"][0]["scale"] = 2
    with pytest.raises(ArtifactError, match="has the setting 'scale'"):
        inputs.load(settings, tmp_path)
