"""What several labels a row train on: values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from bmc.contracts.tasks import objective
from bmc.training.batches import Batch
from bmc.training.ensemble import weights_of_classes
from bmc.training.losses import loss_of
from bmc.training.settings import TrainingSettings

NAN = math.nan
LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])  # probabilities 3/4, 1/2; 1/2, 1/2
LABELS = torch.tensor([[1.0, 0.0], [NAN, NAN]])
OBJECTIVE = objective("multilabel")


def loss(settings: TrainingSettings, labels: torch.Tensor = LABELS) -> float:
    function = loss_of(settings, "multilabel", ((1, 0), (1, 0), (0, 1), (1, 0)), 2)
    return float(function(LOGITS, Batch({}, labels, torch.arange(2))))


def test_binary_cross_entropy_is_the_mean_over_labels_and_rows_of_which_one_has_none() -> None:
    assert loss(TrainingSettings()) == pytest.approx((math.log(4 / 3) + math.log(2)) / 4)


def test_label_smoothing_moves_both_values_towards_a_half() -> None:
    first = -0.9 * math.log(3 / 4) - 0.1 * math.log(1 / 4)
    smoothed = TrainingSettings(label_smoothing=0.2)
    assert loss(smoothed) == pytest.approx((first + math.log(2)) / 4, abs=1e-6)


def test_balanced_weights_are_rows_without_a_label_over_rows_with_it() -> None:
    """One row without the first label, three with it: 1/3. The second label is not set here."""
    weighed = TrainingSettings(class_weights="balanced")
    assert loss(weighed) == pytest.approx((math.log(4 / 3) / 3 + math.log(2)) / 4, abs=1e-6)


def test_the_teachers_loss_is_the_kl_divergence_of_each_label() -> None:
    teacher, student = torch.randn(5, 3), torch.randn(5, 3)
    pair = (Bernoulli(logits=teacher / 2), Bernoulli(logits=student / 2))
    expected = float(kl_divergence(*pair).mean()) * 4
    assert float(OBJECTIVE.soft_loss(student, teacher, 2.0)) == pytest.approx(expected, abs=1e-6)


def test_several_teachers_are_averaged_by_their_probabilities() -> None:
    assert OBJECTIVE.mixture is not None
    logits, shares = torch.randn(2, 5, 3), torch.tensor([0.25, 0.75])[:, None, None]
    mixed = OBJECTIVE.mixture(logits, shares).sigmoid()
    torch.testing.assert_close(mixed, (logits.sigmoid() * shares).sum(0))


def test_the_teacher_that_is_right_gets_the_weight() -> None:
    labels = torch.tensor([[1, 0], [0, 1]] * 10)
    right = (2.0 * labels - 1) * 3
    weights = weights_of_classes(torch.stack([-right, right]), labels, "multilabel")
    assert float(weights[1]) > 0.99
