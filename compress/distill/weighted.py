"""Distillation from several signals: a weighted sum of what is compared with the teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bmc.compress.distill.logits import Logits, aligned_logits, check_classes
from bmc.contracts import Network, families
from bmc.contracts.signals import SIGNALS, View, signal
from bmc.errors import SettingError, UsageError, unknown
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Record, Work, output_of
from bmc.training.batches import Batch
from bmc.training.device import autocast, device_of

LOGITS = "logits"
MAPS = ("uniform", "last")
_ADDED = "distillation"  # the module of what is learned beside the student


@dataclass(frozen=True)
class Weighted:
    """Train a student on a weighted sum of signals, which a live teacher gives on each batch.

    Args:
        teacher: reference of a trained model with the same labels, in any order.
        teacher_sha256: of the teacher's weights.
        weights: of each signal, by name: logits, and the files of `compress/distill/signals`.
        layers: which of the teacher's layers those of the student learn from: "uniform" (evenly
            spaced, the last from the last), "last" (the last ones), or their indices with commas.
        temperature: of the logits; see `Logits`.
        hard: of the true labels beside the logits; see `Logits`.
        epochs: passes over all rows; 0 for as many as the training has.

    Raises:
        SettingError: a weight is negative, all are 0, or another setting is out of range.
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

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in names():
                raise unknown("signal", name, names(), SIGNALS.hint)
            if not 0 <= weight < math.inf:
                raise SettingError(f"the weight of {name} is {weight}; it must be 0 or more")
        if not sum(self.weights.values()) > 0:
            raise SettingError("the weights of all signals are 0; one must be above 0")
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
        compare = _Compared(self, teacher, model, work)
        model.module.add_module(_ADDED, compare.signals)
        try:
            model.scores = work.fit(
                model,
                loss=compare.loss,
                unlabeled=tuple((text,) for text in work.transfer),
                epochs=self.epochs or None,
                name="signals",
                form=compare.answers,
            )
        finally:
            delattr(model.module, _ADDED)
        return {}

    def _answers(self) -> Logits:
        """Return the loss of the logits."""
        return Logits(self.teacher, self.teacher_sha256, self.temperature, self.hard)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


class _Compared:
    """A student and its teacher on the batch under way.

    Args:
        step: the settings.
        teacher: the trained model.
        student: the model in training.
        work: the data, and the device.
    """

    def __init__(self, step: Weighted, teacher: Model, student: Model, work: Work) -> None:
        where = device_of(work.device)
        self._device, self._seen = where, list[View]()
        self._teacher = teacher.module.to(where).eval()
        self._student = student.module
        self._networks = tuple(families.network(each.family) for each in (student, teacher))
        self._aligned = aligned_logits(teacher, student, work.data)
        self._answers = step._answers().loss_of(student, work.data)
        self._weights = {name: weight for name, weight in step.weights.items() if weight}
        chosen = [name for name in self._weights if name != LOGITS]
        views = _views(student, teacher, self._networks, chosen)
        self.signals = nn.ModuleDict()
        if chosen:
            ours, its = views
            layers = layer_map(step.layers, len(ours.attentions), len(its.attentions))
            self.signals.update({name: signal(name).bind(ours, its, layers) for name in chosen})
        self.signals.to(where)

    def answers(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the student's logits, and keep all that it computed for `loss`."""
        self._seen[:] = [_view(self._networks[0], self._student, inputs)]
        return self._seen[0].logits

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the weighted sum of the signals."""
        with torch.no_grad(), autocast("auto", self._device):
            teacher = _view(self._networks[1], self._teacher, batch.inputs)
        total = logits.new_zeros(())
        for name, weight in self._weights.items():
            if name == LOGITS:
                part = self._answers(logits, self._aligned(teacher.logits.float()), batch.labels)
            else:
                part = self.signals[name](self._seen[0], teacher)
            total = total + weight * part
        return total


def names() -> list[str]:
    """Return the names of all signals."""
    return [LOGITS, *SIGNALS.names()]


def layer_map(layers: str, student: int, teacher: int) -> list[int]:
    """Return the index of the teacher's layer that each layer of the student learns from.

    Args:
        layers: "uniform", "last", or indices with commas.
        student: number of the student's layers.
        teacher: number of the teacher's.

    Raises:
        SettingError: an index is out of range, or their number is another than the student's.
    """
    if layers in MAPS and student > teacher:
        raise SettingError(f"{student} layers cannot learn from {teacher}: name a map of layers")
    if layers == "uniform":
        return [round((place + 1) * teacher / student) - 1 for place in range(student)]
    if layers == "last":
        return list(range(teacher - student, teacher))
    parts = layers.split(",")
    indices = [int(part) if part.strip().isdecimal() else -1 for part in parts]
    if len(indices) != student or not all(0 <= index < teacher for index in indices):
        raise SettingError(
            f"the map of layers is {layers!r}; possible: {', '.join(MAPS)}, or {student} indices "
            f"in 0 to {teacher - 1} with commas"
        )
    return indices


def _views(
    student: Model, teacher: Model, networks: Sequence[Network], chosen: Sequence[str]
) -> list[View]:
    """Return a view of each side on one batch.

    Raises:
        UsageError: one lacks what a signal needs; the message has the signals that are possible.
    """
    inputs = networks[0].examples(student.module)[0]
    same = _tokens_of(student) == _tokens_of(teacher)
    models = (student, teacher) if same else (student,)
    with torch.no_grad():
        views = [
            _view(network, each.module.cpu().eval(), inputs)
            for network, each in zip(networks, models, strict=False)
        ]
    there = set.intersection(*(view.parts() for view in views)) if same else {"logits"}
    possible = [LOGITS, *(n for n in SIGNALS.names() if set(signal(n).needs) <= there)]
    for name in chosen:
        if name not in possible:
            why = (
                "one of them has no " + " or ".join(n for n in signal(name).needs if n not in there)
                if same
                else "they read other tokens"
            )
            raise UsageError(
                f"the signal {name} cannot be learned by this {student.family} from this "
                f"{teacher.family} ({why}); possible: {', '.join(possible)}"
            )
    return views


def _tokens_of(model: Model) -> object:
    """Return what decides which tokens, or pixels, a model reads."""
    encoder = model.encoder
    tokenizer = encoder.tokenizer.to_str() if isinstance(encoder, TextEncoder) else ""
    return encoder.to_json(), tokenizer


def _view(network: Network, module: nn.Module, inputs: Mapping[str, Tensor]) -> View:
    """Return what a network computes; its answers alone where its family shows no more."""
    look: Callable[[nn.Module, Mapping[str, Tensor]], View] | None = network.view
    return look(module, inputs) if look else View(output_of(module, inputs))


STEP = Weighted
