"""Training in several processes: the curves of one, and what one process alone may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bmc import processes
from bmc.data import Dataset, Examples
from bmc.errors import SettingError, UsageError
from bmc.model import Model
from bmc.training import collective
from bmc.training.batches import Rows
from bmc.training.mixkd import MixedTexts
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model
from tests._launched import by_hand
from tests.training import _together

TOLERANCE = 1e-5


def as_one_of(monkeypatch: pytest.MonkeyPatch, number: int, count: int) -> None:
    """Let this process be one of several, which are not there."""
    variables = {"RANK": number, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**variables, "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers of a JSON document, each with its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from numbers(part, f"{path}/{key}")
    else:
        yield path, float(value)


class _StopError(Exception):
    pass


def test_two_processes_have_the_losses_scores_and_weights_of_one(tmp_path: Path) -> None:
    """Of images with batch norm, single rows, taught and masked texts; one run was stopped."""
    steps = []

    def stop(module: nn.Module, done: float) -> None:
        steps.append(done)
        if len(steps) == 5:
            raise _StopError

    with pytest.raises(_StopError):
        _together.images(tmp_path / "two" / "stopped", after=stop)
    log = tmp_path / "log"
    module = ("tests.training._together", str(tmp_path / "two"))
    launched = by_hand(*module, log=log)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = json.loads(json.dumps(_together.found(tmp_path / "one")))
    torch.set_num_threads(threads)
    assert [each.wait(timeout=300) for each in launched] == [0, 0], log.read_text()
    together = json.loads((tmp_path / "two" / "found.json").read_text())
    assert together.pop("teacher") == alone.pop("teacher")  # bit for bit
    # Adam makes full steps of gradients that are hardly more than rounding, such as those of the
    # biases of keys, of which softmax takes no notice.
    weights, weights_alone = (dict(numbers(each.pop("weights"))) for each in (together, alone))
    assert weights == pytest.approx(weights_alone, rel=1e-3, abs=TOLERANCE)
    first, second = dict(numbers(alone)), dict(numbers(together))
    assert second == pytest.approx(first, rel=TOLERANCE, abs=TOLERANCE)
    assert together["stopped"][0] == pytest.approx(together["images"][0], abs=TOLERANCE)


def test_a_batch_is_divided_evenly_and_one_of_few_rows_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert processes.share(7) == slice(0, 7)
    as_one_of(monkeypatch, 1, 3)
    assert processes.shares(8) == [slice(0, 2), slice(2, 5), slice(5, 8)]
    assert processes.share(8) == slice(2, 5)
    assert processes.shares(2) == [slice(0, 2)] * 3
    assert not processes.is_first()


def test_variables_of_a_launcher_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_one_of(monkeypatch, 0, 2)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UsageError, match="WORLD_SIZE is 'two'"):
        processes.count()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(collective.TIMEOUT, "soon")
    with pytest.raises(SettingError, match="BMC_PROCESS_TIMEOUT is 'soon'"):
        collective.wait()
    monkeypatch.delenv("MASTER_PORT")  # not a launcher's
    assert processes.count() == 1


def test_mixed_texts_are_refused_in_several_processes(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    as_one_of(monkeypatch, 0, 2)
    with pytest.raises(UsageError, match="mixkd runs in one process, and 2 were started"):
        MixedTexts(model, "cpu")


def test_a_batch_in_parts_has_the_losses_of_a_whole_one(
    make_model: Any, reviews: Dataset, tmp_path: Path
) -> None:
    few = replace(reviews, train=Examples(reviews.train.rows[:21], reviews.train.labels[:21]))
    settings = TrainingSettings(epochs=2, batch_size=16, precision="fp32", device="cpu")
    curves = []
    for parts in (1, 3):
        model = make_model()
        for layer in model.module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        changed = replace(settings, accumulate=parts)
        curves.append(fit_model(model, few, changed, tmp_path / str(parts)).losses)
    assert curves[1] == pytest.approx(curves[0], abs=TOLERANCE)


def test_parts_of_a_batch_have_two_rows_or_more(model: Model, reviews: Dataset) -> None:
    rows = Rows(reviews.train.rows[:5], reviews.train.labels[:5], model.encoder)
    (indices,) = rows.shuffled(5, seed=0, epoch=0)
    parts = rows.parts(indices, 4)
    assert [len(part) for part, _ in parts] == [2, 3]
    assert [share for _, share in parts] == [0.4, 0.6]
    assert parts[0][0] + parts[1][0] == indices
    assert rows.parts(indices[:1], 4) == [(indices[:1], 1.0)]
