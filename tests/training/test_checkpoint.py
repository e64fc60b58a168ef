"""Checkpoints: a run that was killed ends with the same bits as one that was not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bmc import data as datasets
from bmc.data import Dataset, Examples
from bmc.model import Model
from bmc.models import cnn
from bmc.training.batches import Rows
from bmc.training.epochs import Fitted
from bmc.training.loop import fit
from bmc.training.losses import loss_of
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model

EPOCHS, STEPS, EVERY = 2, 5, 2
SETTINGS = TrainingSettings(
    epochs=EPOCHS,
    learning_rate=1e-3,
    batch_size=16,
    precision="fp32",
    device="cpu",
    checkpoint_every=EVERY,
)
FILE = "checkpoint.safetensors"

Train = Callable[..., tuple[dict[str, Tensor], Fitted]]
Run = Callable[..., tuple[int, str, str]]


class _KilledError(Exception):
    """Stands for a kill: the process goes on, the run does not."""


@pytest.fixture(scope="module")
def train(make_model: Callable[..., Model], reviews: Dataset) -> Train:
    """Return a function that trains a fresh model and returns its weights and scores."""
    rows = STEPS * SETTINGS.batch_size - 3
    few = replace(reviews, train=Examples(reviews.train.rows[:rows], reviews.train.labels[:rows]))

    def run(
        folder: Path,
        stop_after: int | None = None,
        run: str = "",
        count: list[int] | None = None,
        settings: TrainingSettings = SETTINGS,
    ) -> tuple[dict[str, Tensor], Fitted]:
        model, steps = make_model(), -1

        def after(_: nn.Module, done: float) -> None:
            nonlocal steps
            steps += 1
            if not steps:  # before the first step
                return
            if count is not None:
                count.append(steps)
            if steps == stop_after:
                raise _KilledError

        fitted = fit_model(model, few, settings, folder, after_step=after, run=run)
        return {name: value.detach() for name, value in model.module.named_parameters()}, fitted

    return run


@pytest.fixture(scope="module")
def whole(
    train: Train, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Tensor], Fitted]:
    """Return what a run that nothing stopped ends with."""
    return train(tmp_path_factory.mktemp("whole"))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.mark.parametrize(
    ("stop_after", "left"),
    [(1, 10), (3, 8), (4, 8), (6, 5), (8, 3), (10, 1)],
)
def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(
    train: Train,
    whole: tuple[dict[str, Tensor], Fitted],
    tmp_path: Path,
    stop_after: int,
    left: int,
) -> None:
    """Checkpoints lie after steps 2 and 4 of both epochs, and after each epoch.

    A step that was stopped in its `after_step` has written no checkpoint of its own.
    """
    with pytest.raises(_KilledError):
        train(tmp_path / "stopped", stop_after=stop_after)
    steps: list[int] = []
    torch.manual_seed(99)  # random numbers come from the checkpoint, not from here
    resumed = train(tmp_path / "stopped", count=steps)
    assert same(resumed[0], whole[0])
    assert resumed[1] == whole[1]
    assert len(steps) == left


def test_a_stopped_run_of_a_convolutional_network_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Its weights lie in memory by channel while it trains, and so must the optimizer's."""
    data = datasets.load("digits")
    few = replace(data, train=Examples(data.train.rows[:80], data.train.labels[:80]))

    def train(folder: Path, stop_after: int = -1) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model, steps = cnn.baseline("cnn", few, cnn.Settings(width=4, hidden=8)), -1

        def after(_: nn.Module, done: float) -> None:
            nonlocal steps
            steps += 1
            if steps == stop_after:
                raise _KilledError

        fit_model(model, few, SETTINGS, folder, after_step=after)
        return {name: value.detach() for name, value in model.module.named_parameters()}

    with pytest.raises(_KilledError):
        train(tmp_path / "stopped", stop_after=4)
    assert same(train(tmp_path / "stopped"), train(tmp_path / "whole"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_stopped_run_on_a_gpu_goes_on_from_its_checkpoint(train: Train, tmp_path: Path) -> None:
    settings = replace(SETTINGS, device="cuda")
    with pytest.raises(_KilledError):
        train(tmp_path / "stopped", stop_after=4, settings=settings)
    steps: list[int] = []
    resumed = train(tmp_path / "stopped", settings=settings, count=steps)
    whole = train(tmp_path / "whole", settings=settings)
    assert len(steps) == EPOCHS * STEPS - 2
    for name, value in whole[0].items():  # a GPU adds up in an order of its own
        torch.testing.assert_close(resumed[0][name], value, rtol=1e-3, atol=1e-4)


def test_a_run_that_is_stopped_twice_ends_with_the_same_bits(
    train: Train, whole: tuple[dict[str, Tensor], Fitted], tmp_path: Path
) -> None:
    for stop_after in (3, 3):
        with pytest.raises(_KilledError):
            train(tmp_path / "stopped", stop_after=stop_after)
    assert same(train(tmp_path / "stopped")[0], whole[0])


def test_a_finished_run_is_not_trained_again(train: Train, tmp_path: Path) -> None:
    first = train(tmp_path)
    steps: list[int] = []
    second = train(tmp_path, count=steps)
    assert steps == []
    assert same(first[0], second[0])
    assert first[1] == second[1]


@pytest.mark.parametrize(
    "other",
    [
        {"settings": replace(SETTINGS, seed=1)},
        {"settings": replace(SETTINGS, learning_rate=2e-3)},
        {"settings": replace(SETTINGS, epochs=3)},
        {"run": "another teacher"},
    ],
)
def test_a_checkpoint_of_another_run_is_not_taken(
    train: Train, tmp_path: Path, other: dict[str, TrainingSettings]
) -> None:
    with pytest.raises(_KilledError):
        train(tmp_path / "shared", stop_after=7)
    steps: list[int] = []
    after = train(tmp_path / "shared", count=steps, **other)
    assert same(after[0], train(tmp_path / "fresh", **other)[0])
    assert len(steps) == STEPS * other.get("settings", SETTINGS).epochs


def test_a_checkpoint_of_another_number_of_classes_is_not_taken(
    make_net: Callable[[int], nn.Module], digit_rows: tuple[Rows, Rows], tmp_path: Path
) -> None:
    few, many = (tmp_path / name for name in ("shared", "fresh"))
    loss = loss_of(SETTINGS, "classification", (), 10)
    fit(make_net(10), *digit_rows, SETTINGS, few, loss)
    assert load_file(few / FILE)["now.output.weight"].shape == (10, 64)
    steps: list[int] = []
    for folder in (few, many):
        fit(make_net(12), *digit_rows, SETTINGS, folder, loss, lambda _, done: steps.append(1))
    assert len(steps) == 2 * (
        1 + EPOCHS * 13
    )  # both from the start: 13 batches of 16 rows an epoch
    assert same(load_file(few / FILE), load_file(many / FILE))


@pytest.mark.parametrize("keep", [0, 4, 0.5, -1])
def test_a_truncated_checkpoint_is_ignored(
    train: Train, whole: tuple[dict[str, Tensor], Fitted], tmp_path: Path, keep: float
) -> None:
    with pytest.raises(_KilledError):
        train(tmp_path / "stopped", stop_after=7)
    path = tmp_path / "stopped" / FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if keep == 0.5 else int(keep)])
    steps: list[int] = []
    resumed = train(tmp_path / "stopped", count=steps)
    assert len(steps) == EPOCHS * STEPS
    assert same(resumed[0], whole[0])


def test_a_checkpoint_is_one_safetensors_file_and_nothing_temporary_stays(
    train: Train, tmp_path: Path
) -> None:
    with pytest.raises(_KilledError):
        train(tmp_path, stop_after=7)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert "random.cpu" in load_file(tmp_path / FILE)


# A real kill


def command(hf_folder: Path, csv: Path, output: Path) -> list[str]:
    """Return a training command of 42 steps; a checkpoint after every fifth."""
    options = ["--data", csv, "--epochs", 2, "--batch-size", 10, "--checkpoint-every", 5]
    options += ["--max-length", 32, "--learning-rate", 1e-3, "--device", "cpu"]
    return ["train", *map(str, [hf_folder, *options, "-o", output])]


def start(words: list[str], home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BMC_HOME": str(home)}
    line = [sys.executable, "-c", "from bmc.cli import main; main()", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_a_training_process_killed_with_sigkill_goes_on_and_ends_with_the_same_bits(
    bmc: Run, hf_folder: Path, reviews_csv: Path, workspace: Path, tmp_path: Path
) -> None:
    """Only the process that is killed is one of its own: its imports take most of its time."""
    words = command(hf_folder, reviews_csv, tmp_path / "killed")
    killed = start(words, workspace)
    checkpoint = tmp_path / ".checkpoints" / "killed" / FILE
    until = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < until and killed.poll() is None:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.exists()
    assert not (tmp_path / "killed").exists()
    code, _, err = bmc(*words)
    assert code == 0, err
    note = re.search(r"training resumes from epoch (\d+), step (\d+)", " ".join(err.split()))
    assert note, err
    assert (int(note[1]), int(note[2])) < (2, 20), "it was killed before the last step"
    assert not checkpoint.parent.exists(), "a finished run leaves no checkpoint"
    code, _, err = bmc(*command(hf_folder, reviews_csv, tmp_path / "whole"))
    assert code == 0, err
    assert "training resumes" not in err
    first, second = (
        load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed")
    )
    assert same(first, second)
    assert not same(first, load_file(hf_folder / "model.safetensors"))


def test_a_run_goes_on_with_other_steps_between_two_checkpoints(
    train: Train, tmp_path: Path
) -> None:
    with pytest.raises(_KilledError):
        train(tmp_path, stop_after=7)
    steps: list[int] = []
    train(tmp_path, count=steps, settings=replace(SETTINGS, checkpoint_every=3))
    assert 0 < len(steps) < STEPS * SETTINGS.epochs
