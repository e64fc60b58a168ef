"""Recurrent networks: padding changes nothing, here and in every target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from bmc import data as datasets
from bmc.data import Dataset, Examples
from bmc.errors import ArtifactError, DataError, SettingError
from bmc.inputs.series import SeriesEncoder
from bmc.models import recurrent
from bmc.models.recurrent import Settings
from tests.models import _bundles

CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
SMALL = {"hidden": "12", "embedding": "8", "vocabulary": "200", "layers": "2"}


@pytest.fixture(scope="session")
def vowels() -> Dataset:
    """Return the vowels, with 20 of them to train on and 12 held out."""
    whole = datasets.load("japanese-vowels")

    def few(part: Examples, rows: int) -> Examples:
        return Examples(part.rows[:rows], part.labels[:rows])

    parts = {"train": few(whole.train, 20), "validation": few(whole.validation, 6)}
    return Dataset(**{**vars(whole), **parts, "test": few(whole.test, 12)})


def series_of(rows: int, length: int) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(length)
    lengths = generator.integers(1, length + 1, rows)
    series = generator.normal(size=(rows, length, 12)).astype(np.float32)
    return {"series": series, "lengths": lengths}


def spec_of(cell: str, **changes: object) -> dict[str, Any]:
    whole = {"cell": cell, "input": "series", "hidden": 6, "layers": 2, "dropout": 0.0}
    return {**whole, "readout": "mean", "outputs": 3, "channels": 12, "noise": 0.0, **changes}


@pytest.mark.parametrize("readout", recurrent.READOUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_padded_series_answers_like_an_unpadded_one(cell: str, readout: str) -> None:
    torch.manual_seed(0)
    module = recurrent.build(spec_of(cell, readout=readout))
    series = torch.randn(1, 5, 12)
    padded = torch.cat([series, 100 * torch.randn(1, 4, 12)], dim=1)
    with torch.inference_mode():
        alone = module(series, torch.tensor([5]))
        result = module(padded, torch.tensor([5]))
        longer = module(padded, torch.tensor([9]))
    torch.testing.assert_close(result, alone, atol=1e-6, rtol=0)
    assert (longer - alone).abs().max() > 1e-3, "what is read must count"


@pytest.mark.parametrize(("cell", "upstream"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
def test_the_states_are_those_of_torchs_own_bidirectional_layer(cell: str, upstream: Any) -> None:
    module: Any = recurrent.build(spec_of(cell, layers=1, readout="last"))
    reference = upstream(12, 6, batch_first=True, bidirectional=True)
    ours = dict(module.layers[0].named_parameters())
    with torch.no_grad():
        for name, value in reference.named_parameters():
            way = "back" if name.endswith("_reverse") else "ahead"
            value.copy_(ours[f"{way}.{name.removesuffix('_reverse')}"])
    series, lengths = torch.randn(3, 7, 12), torch.tensor([7, 1, 4])
    with torch.inference_mode():
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            series, lengths, batch_first=True, enforce_sorted=False
        )
        final = reference(packed)[1]
        final = final[0] if cell == "lstm" else final
        expected = module.classifier(torch.cat([final[0], final[1]], dim=1))
        torch.testing.assert_close(module(series, lengths), expected, atol=1e-6, rtol=0)


@pytest.fixture(scope="module", params=CELLS)
def of_series(
    request: pytest.FixtureRequest, vowels: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, _bundles.Exported]]:
    """Return a cell, and a network of it for series with its bundles."""
    options = {name: SMALL[name] for name in ("hidden", "layers")}
    folder = tmp_path_factory.mktemp(request.param)
    with _bundles.exports_of(request.param, vowels, folder, **options) as exported:
        yield request.param, exported


def test_bundles_over_series_answer_ragged_rows_of_any_length(
    of_series: tuple[str, _bundles.Exported],
) -> None:
    cell, network = of_series
    inputs = [series_of(rows, length) for rows, length in _bundles.SHAPES]
    for target in ("onnx", "openvino"):
        outputs = _bundles.answers_of(network.bundle(target), inputs)
        for arrays, output in zip(inputs, outputs, strict=True):
            np.testing.assert_allclose(
                output, _bundles.module_answers(network.model, arrays), atol=2e-5, err_msg=target
            )
    graph = onnx.load(network.bundle("onnx").model_path).graph
    assert sum(node.op_type == CELLS[cell] for node in graph.node) == 4


def test_tensorrt_builds_an_engine(of_series: tuple[str, _bundles.Exported]) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert of_series[1].bundle("tensorrt").model_path.stat().st_size > 0


def test_bundles_over_tokens_answer_like_the_module(reviews: Dataset, tmp_path: Path) -> None:
    with _bundles.exports_of("gru", reviews, tmp_path, **SMALL) as network:
        model = network.model
        inputs = [_bundles.texts(model, rows, length) for rows, length in _bundles.SHAPES]
        for target in ("onnx", "openvino"):
            outputs = _bundles.answers_of(network.bundle(target), inputs)
            for arrays, output in zip(inputs, outputs, strict=True):
                np.testing.assert_allclose(
                    output, _bundles.module_answers(model, arrays), atol=2e-5, err_msg=target
                )


def test_each_channel_is_normalized_by_the_training_series_alone(vowels: Dataset) -> None:
    model = recurrent.baseline("lstm", vowels, Settings(hidden=4))
    assert isinstance(model.encoder, SeriesEncoder)
    steps = np.concatenate(model.encoder.encode(vowels.train.rows))
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(steps.std(axis=0), 1, atol=1e-5)


def test_a_channel_that_never_changes_is_no_division_by_zero(vowels: Dataset) -> None:
    rows = [np.array(series) for series in vowels.train.rows]
    for series in rows:
        series[:, 3] = 7.0
    still = Dataset(**{**vars(vowels), "train": Examples(rows, vowels.train.labels)})
    model = recurrent.baseline("lstm", still, Settings(hidden=4))
    assert isinstance(model.encoder, SeriesEncoder)
    assert all(not series[:, 3].any() for series in model.encoder.encode(rows))


def test_a_series_longer_than_the_model_takes_is_refused(vowels: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the model takes 9 at most"):
        _bundles.trained("lstm", vowels, tmp_path, hidden="4", max_length="9")


@pytest.mark.parametrize(
    "wrong",
    [{"hidden": 0}, {"dropout": 1.0}, {"noise": -1.0}, {"readout": "first"}, {"vocabulary": 9}],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("wrong", [{"cell": "tree"}, {"hidden": None}, {"input": "image"}])
def test_a_config_that_does_not_fit_together_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"config\.json"):
        recurrent.build({**spec_of("lstm"), **wrong})


def test_parts_name_real_modules() -> None:
    module = recurrent.build(spec_of("lstm"))
    parts = recurrent.parts(module)
    assert parts.layers == ("layers.0", "layers.1")
    assert [module.get_submodule(name) for name in parts.outputs]
