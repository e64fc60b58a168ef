"""A wrapped network that fails in training, and an interrupted cell: what is left, what goes on."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import bmc
from bmc.errors import ModelCodeError, UsageError

QUICK: dict[str, Any] = {"precision": "fp32", "device": "cpu", "batch_size": 32, "epochs": 2}


# In a module, whose name alone counts for the identity of the code that reads it: a number of the
# class would make another network of it.
planned: Any = ModuleType("planned")


class Interrupting(nn.Module):
    """A network that raises an error in a chosen call of `forward` in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 2)

    def forward(self, numbers: Tensor) -> Any:
        if self.training and planned.error:
            planned.at_call -= 1
            if planned.at_call == 0:
                raise planned.error
        return self.output(numbers)


def fail(error: BaseException | None, at_call: int = 0) -> None:
    planned.error, planned.at_call = error, at_call


def network() -> Interrupting:
    torch.manual_seed(0)
    return Interrupting()


@pytest.fixture(autouse=True)
def _healthy() -> None:
    fail(None)


@pytest.fixture
def rows() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    numbers = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    return numbers, (numbers[:, 0] > 0).astype(np.int64)


def test_a_network_that_fails_on_the_second_batch_is_named_with_the_batch(
    rows: Any, workspace: Path
) -> None:
    wrapped = bmc.wrap(network(), rows, name="fragile")
    before = sorted(path.name for path in workspace.iterdir())
    fail(ValueError("no category 7"), at_call=3)  # the first call is a check of the network
    with pytest.raises(ModelCodeError, match=r"no category 7 \(epoch 1, batch 2, 32 rows\)"):
        bmc.train(wrapped, **QUICK)
    assert [name for name in sorted(p.name for p in workspace.iterdir()) if name[0] != "."] == [
        name for name in before if name[0] != "."
    ]
    assert not list(workspace.rglob("*.tmp"))
    fail(None)
    assert bmc.train(wrapped, **QUICK).history


def test_an_interrupted_cell_goes_on_when_it_is_run_again(rows: Any, workspace: Path) -> None:
    def cell(notes: list[str]) -> bmc.ModelHandle:
        return bmc.train(
            bmc.wrap(network(), rows, name="cell"),
            checkpoint_every=2,
            progress=lambda event: notes.append(event.text),
            **QUICK,
        )

    fail(KeyboardInterrupt(), at_call=9)
    with pytest.raises(KeyboardInterrupt):
        cell([])
    assert not (workspace / "cell-trained").exists()
    fail(None)
    notes: list[str] = []
    resumed = cell(notes)
    assert any(note.startswith("training resumes from epoch") for note in notes)
    whole = bmc.train(bmc.wrap(network(), rows, name="whole"), **QUICK)
    assert resumed.history == whole.history


def test_an_interrupted_wrap_leaves_nothing(rows: Any, workspace: Path) -> None:
    fail(KeyboardInterrupt(), at_call=1)
    with pytest.raises(KeyboardInterrupt):
        bmc.wrap(network(), rows, name="early", loss=nn.CrossEntropyLoss())
    assert not workspace.exists() or not list(workspace.iterdir())
    fail(None)
    assert bmc.wrap(network(), rows, name="early").labels == ("0", "1")


def test_another_network_of_the_name_is_refused_and_the_directory_stays(
    rows: Any, workspace: Path
) -> None:
    first = bmc.wrap(network(), rows, name="taken")
    weights = (first.path / "model.safetensors").read_bytes()
    changed = network()
    with torch.no_grad():
        changed.output.bias.add_(1)
    with pytest.raises(UsageError, match="taken exists"):
        bmc.wrap(changed, rows, name="taken")
    with pytest.raises(UsageError, match="taken exists"):
        bmc.wrap(network(), (rows[0][:200], rows[1][:200]), name="taken")
    wider = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(UsageError, match="taken exists"):
        bmc.wrap(wider, rows, name="taken")
    assert (first.path / "model.safetensors").read_bytes() == weights
    assert bmc.train(first, **QUICK).data["rows"] == first.data["rows"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_and_rows_on_a_gpu_are_copied_from_it(rows: Any, workspace: Path) -> None:
    module = network().to("cuda")
    on_gpu = tuple(torch.from_numpy(array).to("cuda") for array in rows)
    trained = bmc.train(bmc.wrap(module, on_gpu, name="gpu"), **QUICK)
    assert module.output.weight.device.type == "cuda"
    assert trained.predict(rows[0][:2])[0].label in ("0", "1")
