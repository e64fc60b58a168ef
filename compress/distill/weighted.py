"""Distillation from several signals: a weighted sum of what is compared with the teacher."""

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

_ADDED = "distillation"  # the module of what is learned beside the student


@dataclass(frozen=True)
class Weighted:
    """Train a student on a weighted sum of signals, which a live teacher gives on each batch.

    Args:
        teacher: reference of a trained model with the same labels, in any order.
        teacher_sha256: of the teacher's weights.
        weights: of each signal, by name: logits, and the files of `compress/distill/signals`.
        layers: which of the teacher's layers, or feature maps, those of the student learn from:
            "uniform" (evenly spaced, the last from the last), "last" (the last ones), "auto" (maps
            from those of the nearest size, other layers as "uniform"), or indices with commas.
        temperature: of the logits; see `Logits`.
        hard: of the true labels beside the logits; see `Logits`.
        epochs: passes over all rows; 0 for as many as the training has.
        more_teachers: whose logits are learned, too; see `Logits`.
        average: of the logits of several teachers; see `Logits`.
        weighting: of several teachers; see `Logits`.

    Raises:
        SettingError: a weight is negative, all are 0, a signal is learned without the logits that
            it needs beside it, or another setting is out of range.
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
        self._answers()

    def apply(self, model: Model, work: Work) -> Record:
        """Train the student; its structure stays the same, so that the record is empty.

        Raises:
            UsageError: the teacher has other classes, or one of the two lacks what a signal needs.
            SettingError: the layers are not there.
        """
        teacher = work.load(self.teacher)
        check_classes(self.teacher, teacher, model)
        weights = self._weights_above_0()
        compared = Compared(weights, self.layers, self._answers(), teacher, model, work)
        model.module.add_module(_ADDED, compared.signals)
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
            delattr(model.module, _ADDED)
        return {}

    def _answers(self) -> Logits:
        """Return the loss of the logits."""
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
    """Tell whether a signal is learned together with the logits, whatever the order."""
    return name == LOGITS or signal(name).with_logits


STEP = Weighted
