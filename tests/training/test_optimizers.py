"""Optimizers and schedules: start, peak, end; and a stopped run that ends with the same bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bmc.training import checkpoint
from bmc.training.batches import Rows
from bmc.training.loop import fit
from bmc.training.losses import loss_of
from bmc.training.optimizers import optimizer_of, rate_at
from bmc.training.settings import OPTIMIZERS, SCHEDULES, TrainingSettings

TOTAL = 100


def rates(schedule: str, warmup: float) -> list[float]:
    settings = TrainingSettings(schedule=schedule, warmup=warmup)
    return [rate_at(step, TOTAL, settings) for step in range(TOTAL)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_evenly_to_its_peak_and_never_rises_again(schedule: str) -> None:
    result = rates(schedule, warmup=0.1)
    assert result[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(result) == result[10] == 1.0
    assert result[10:] == sorted(result[10:], reverse=True)
    assert min(result) > 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_a_warm_up_the_first_step_has_the_peak_or_next_to_it(schedule: str) -> None:
    assert rates(schedule, warmup=0.0)[0] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [
        ("fixed", 1.0, 1.0),
        ("linear", 0.5, 0.0),
        ("cosine", 0.5, 0.0),
        ("exponential", 0.1, 0.01),
        ("step", 0.1, 0.01),
    ],
)
def test_each_schedule_has_its_middle_and_its_end(schedule: str, middle: float, end: float) -> None:
    """Behind a warm-up of 10 of 110 steps lie 100: the middle is 60, the end 110."""
    settings = TrainingSettings(schedule=schedule, warmup=10 / 110)
    assert rate_at(60, 110, settings) == pytest.approx(middle)
    assert rate_at(110, 110, settings) == pytest.approx(end, abs=1e-12)


def test_the_step_schedule_falls_after_half_and_after_three_quarters() -> None:
    settings = TrainingSettings(schedule="step", warmup=0.0)
    result = [rate_at(step, 1000, settings) for step in (1, 499, 502, 749, 752, 999)]
    assert result == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_cosine_is_a_cosine() -> None:
    settings = TrainingSettings(schedule="cosine", warmup=10 / 110)
    assert rate_at(35, 110, settings) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_a_run_of_one_step_has_a_rate() -> None:
    for schedule in SCHEDULES:
        for warmup in (0.0, 0.9):
            settings = TrainingSettings(schedule=schedule, warmup=warmup)
            assert 0 < rate_at(0, 1, settings) <= 1


def one_step(settings: TrainingSettings) -> float:
    """Return a weight of 1 after a step with the gradient 0.5."""
    weight = nn.Parameter(torch.tensor([1.0]))
    weight.grad = torch.tensor([0.5])
    optimizer_of([weight], settings).step()
    return float(weight.detach())


def test_the_first_step_of_each_optimizer_is_the_textbooks() -> None:
    """Adam's first step has the size of the rate; SGD with Nesterov momentum goes 1 + m gradients.

    Weight decay is a part of the gradient in Adam and SGD, and of the weight in AdamW.
    """
    plain = {"learning_rate": 0.1, "weight_decay": 0.0}
    assert one_step(TrainingSettings(optimizer="adamw", **plain)) == pytest.approx(0.9)  # type: ignore[arg-type]
    assert one_step(TrainingSettings(optimizer="adam", **plain)) == pytest.approx(0.9)  # type: ignore[arg-type]
    sgd = TrainingSettings(optimizer="sgd", momentum=0.9, **plain)  # type: ignore[arg-type]
    assert one_step(sgd) == pytest.approx(1 - 0.1 * 1.9 * 0.5)
    bare = TrainingSettings(optimizer="sgd", momentum=0.0, **plain)  # type: ignore[arg-type]
    assert one_step(bare) == pytest.approx(1 - 0.1 * 0.5)
    heavy = {"learning_rate": 0.1, "weight_decay": 0.2}
    decayed = TrainingSettings(optimizer="adamw", **heavy)  # type: ignore[arg-type]
    assert one_step(decayed) == pytest.approx(0.98 - 0.1)
    inside = TrainingSettings(optimizer="adam", **heavy)  # type: ignore[arg-type]
    assert one_step(inside) == pytest.approx(0.9)
    both = TrainingSettings(optimizer="sgd", momentum=0.0, **heavy)  # type: ignore[arg-type]
    assert one_step(both) == pytest.approx(1 - 0.1 * (0.5 + 0.2))


class _KilledError(Exception):
    """Stands for a kill: the process goes on, the run does not."""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_ends_with_the_same_bits_under_every_optimizer(
    make_net: Callable[[], nn.Module],
    digit_rows: tuple[Rows, Rows],
    tmp_path: Path,
    optimizer: str,
) -> None:
    """Batch norm's averages are among the bits; a checkpoint lies after steps 2, 4, 6 of 7."""
    settings = TrainingSettings(
        epochs=2,
        batch_size=32,
        learning_rate=0.01,
        optimizer=optimizer,
        precision="fp32",
        device="cpu",
        checkpoint_every=2,
        augment=("crop",),
    )
    loss = loss_of(settings, "classification", (), 10)

    def run(folder: Path, stop_after: int = 0) -> tuple[dict[str, Tensor], int]:
        module, steps = make_net(), -1  # it is called before the first step, too

        def after(_: nn.Module, done: float) -> None:
            nonlocal steps
            steps += 1
            if stop_after and steps == stop_after:
                raise _KilledError

        fit(module, *digit_rows, settings, folder, loss, after)
        return checkpoint.tensors_of(module), steps

    whole, all_steps = run(tmp_path / "whole")
    with pytest.raises(_KilledError):
        run(tmp_path / "stopped", stop_after=10)
    torch.manual_seed(99)
    resumed, left = run(tmp_path / "stopped")
    assert (all_steps, left) == (14, 5)
    assert whole["norm.num_batches_tracked"] > 0
    assert all(torch.equal(whole[name], resumed[name]) for name in whole | resumed)
