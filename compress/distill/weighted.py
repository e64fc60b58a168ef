"""Distillation from several signals: the loss is the weighted sum of their losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bmc.compress.distill._compared import LOGITS as LOGITS
from bmc.compress.distill._compared import Compared
from bmc.compress.distill._layers import layer_map as layer_map
from bmc.compress.distill._layers import layers_of as layers_of
from bmc.compress.distill.logits import Logits
from bmc.contracts.signals import SIGNALS, signal
from bmc.errors import SettingError, unknown
from bmc.model import Model, Record, Work
from bmc.training.ensemble import check_classes

_SIGNALS_MODULE = "distillation"  # submodule with the signals' parameters, in training alone


@dataclass(frozen=True)
class Weighted:
    """Train a student on a weighted sum of signals.

    The teacher runs on each batch if a signal needs more than logits.

    Args:
        teacher: reference of a trained model with the same labels, in any order.
        teacher_sha256: sha256 of the teacher's weights.
        weights: weight of each signal by name: logits, or a file of `compress/distill/signals`.
        layers: the teacher's layer, or feature map, that each layer of the student learns from:
            "uniform" (evenly spaced; the last layers match), "last" (the teacher's last layers),
            "auto" (feature maps of the nearest size; other layers as in "uniform"), or indices
            separated by commas.
        temperature: temperature of the softmax; see `Logits`.
        hard: hard-label weight; see `Logits`.
        epochs: passes over all rows; 0 for the number in the training settings.
        more_teachers: further teachers, whose logits are learned, too; see `Logits`.
        average: what is averaged over several teachers; see `Logits`.
        weighting: weights of several teachers; see `Logits`.

    Raises:
        SettingError: a weight is negative, all weights are 0, a signal that needs the logits is
            weighted without them, or another setting is out of range.
        UnknownError: there is no such signal.

    Source: Jiao et al. 2020, "TinyBERT", section 3.1.
    """

    teacher: str
    teacher_sha256: str
    weights: Mapping[str, float] = field(default_factory=lambda: {LOGITS: 1.0})
    layers: str = "uniform"
    temperature: float = 2.0
    hard: float = 0.5
    epochs: int = 0
    more_teachers: tuple[tuple[str, str], ...] = ()
    average: str = "probabilities"
    weighting: str = "equal"

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in names():
                raise unknown("signal", name, names(), SIGNALS.hint)
            if not 0 <= weight < math.inf:
                raise SettingError(f"the weight of {name} is {weight}; it must be 0 or more")
        if not sum(self.weights.values()) > 0:
            raise SettingError("the weights of all signals are 0; one must be above 0")
        for name in self._weights_above_0():
            if not self.weights.get(LOGITS) and is_with_logits(name):
                raise SettingError(f"the signal {name} needs the logits beside it: weight them")
        if self.epochs < 0:
            raise SettingError(f"signal epochs is {self.epochs}; it must be 0 or more")
        self._logits_loss()

    def apply(self, model: Model, work: Work) -> Record:
        """Train the student; return an empty record, because its structure stays the same.

        Raises:
            UsageError: the teacher has other classes, or student or teacher lacks a part that a
                signal needs.
            SettingError: `layers` names a layer that the teacher does not have.
        """
        teacher = work.load(self.teacher)
        check_classes(self.teacher, teacher, model)
        weights = self._weights_above_0()
        compared = Compared(weights, self.layers, self._logits_loss(), teacher, model, work)
        model.module.add_module(_SIGNALS_MODULE, compared.signals)
        try:
            model.scores = work.fit(
                model,
                loss=compared.loss,
                unlabeled=work.unlabeled,
                epochs=self.epochs or None,
                name="signals" if LOGITS not in weights else "logits-and-signals",
                form=compared.form(),
                metrics=compared.metrics,
            )
        finally:
            delattr(model.module, _SIGNALS_MODULE)
        return {}

    def _logits_loss(self) -> Logits:
        """Return the loss on the logits; its constructor checks the settings."""
        return Logits(
            self.teacher,
            self.teacher_sha256,
            self.temperature,
            self.hard,
            self.more_teachers,
            self.average,
            self.weighting,
        )

    def _weights_above_0(self) -> dict[str, float]:
        return {name: weight for name, weight in self.weights.items() if weight}

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


def names() -> list[str]:
    """Return the names of all signals."""
    return [LOGITS, *SIGNALS.names()]


def is_with_logits(name: str) -> bool:
    """Tell whether a signal is learned together with the logits in any signal order."""
    return name == LOGITS or signal(name).with_logits


STEP = Weighted
