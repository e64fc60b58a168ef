"""A student and its teacher on the batch in training, compared by several signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from bmc.compress.distill._layers import layers_of
from bmc.compress.distill._parts import LossParts
from bmc.compress.distill.logits import Logits
from bmc.contracts import Network, families
from bmc.contracts.signals import SIGNALS, Signal, View, signal
from bmc.errors import UsageError
from bmc.inputs.image import ImageEncoder
from bmc.inputs.text import TextEncoder
from bmc.model import Form, Model, Work, output_of
from bmc.training.batches import Batch
from bmc.training.device import autocast, device_of
from bmc.training.ensemble import aligned_logits

LOGITS = "logits"
_OF_TRAINING = {"rows"}  # parts of a view that training gives, whatever the two networks are


class Compared:
    """The weighted sum of signals.

    The teacher runs on every batch only where a signal needs more than its logits.

    Args:
        weights: of each signal by name, above 0.
        layers: which of the teacher's layers are learned from; see `layers_of`.
        answers: the loss of the logits.
        teacher: the first teacher, trained.
        student: the model in training.
        work: the data, and the device.

    Raises:
        UsageError: one of the two lacks what a signal needs.
        SettingError: the layers are not there.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        layers: str,
        answers: Logits,
        teacher: Model,
        student: Model,
        work: Work,
    ) -> None:
        self._device, self._seen = device_of(work.device), list[View]()
        self._weights, self._parts = weights, LossParts()
        self._total = len(work.data.train.rows) + len(work.unlabeled)
        self._networks = tuple(families.network(each.family) for each in (student, teacher))
        self._student, self._teacher = student.module, teacher.module
        chosen = {name: signal(name) for name in weights if name != LOGITS}
        self._runs_teacher = any(set(each.needs) - _OF_TRAINING for each in chosen.values())

        self.signals = nn.ModuleDict()
        if chosen:
            ours, its = self._examples(student, teacher, chosen)
            indices = layers_of(layers, ours, its) if self._runs_teacher else []
            for name, each in chosen.items():
                self.signals[name] = each.bind(ours, its, indices)
        self.signals.to(self._device)
        self._teacher.to(self._device).eval()

        self._answers: Callable[[Batch], Tensor] | None = None
        if LOGITS in weights:
            self._parts_of = answers.parts_of(student, work.data)
            self._aligned = aligned_logits(teacher, student, work.data)
            if not self._runs_teacher or answers.more_teachers:
                unlabeled = work.unlabeled
                self._answers = answers.ensemble().answers(student, work, unlabeled)
        self.metrics = self._parts.metrics

    def form(self) -> Form | None:
        """Return what computes the student's logits; None where training's own form does."""
        return self._run_student if self._runs_teacher else None

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the weighted sum of the signals."""
        student, teacher = self._views(logits, batch)
        parts: dict[str, Tensor] = {}
        answers: Tensor | None = None
        for name, weight in self._weights.items():
            if name == LOGITS:
                cached = self._answers
                answers = cached(batch) if cached else self._aligned(teacher.logits.float())
                losses = self._parts_of(logits, answers, batch.labels)
                parts |= {part: weight * loss for part, loss in losses.items()}
            else:
                parts[name] = weight * self.signals[name](student, teacher)
        return self._parts.total(parts, logits, answers)

    def _run_student(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the student's logits, and keep all that it computed for `loss`."""
        self._seen[:] = [_view(self._networks[0], self._student, inputs)]
        return self._seen[0].logits

    def _views(self, logits: Tensor, batch: Batch) -> tuple[View, View]:
        """Return what the student and the teacher compute on a batch."""
        if not self._runs_teacher:
            student = View(logits, rows=batch.rows, total=self._total)
            return student, student
        with torch.no_grad(), autocast("auto", self._device):
            teacher = _view(self._networks[1], self._teacher, batch.inputs)
        return replace(self._seen[0], rows=batch.rows, total=self._total), teacher

    def _examples(
        self, student: Model, teacher: Model, chosen: Mapping[str, Signal]
    ) -> tuple[View, View]:
        """Return a view of each side on one batch.

        Raises:
            UsageError: one lacks what a signal needs; the message has those that are possible.
        """
        inputs = self._networks[0].examples(student.module)[0]
        rows = torch.arange(len(next(iter(inputs.values()))))
        with torch.no_grad():
            ours = _view(self._networks[0], student.module.cpu().eval(), inputs)
            ours = replace(ours, rows=rows, total=self._total)
            if _reads(student) != _reads(teacher):
                _refuse_missing(chosen, _OF_TRAINING, student, teacher, _other_inputs(student))
                return ours, ours
            its = _view(self._networks[1], teacher.module.cpu().eval(), inputs)
        _refuse_missing(chosen, (ours.parts() & its.parts()) | _OF_TRAINING, student, teacher)
        return ours, its


def _refuse_missing(
    chosen: Mapping[str, Signal], there: set[str], student: Model, teacher: Model, why: str = ""
) -> None:
    """Refuse signals that need more than what both sides have.

    Raises:
        UsageError: there is one; the message has the signals that are possible.
    """
    possible = [LOGITS, *(n for n in SIGNALS.names() if set(signal(n).needs) <= there)]
    for name, each in chosen.items():
        if missing := [part for part in each.needs if part not in there]:
            lacks = why or f"one of them has no {' or '.join(missing)}"
            raise UsageError(
                f"the signal {name} cannot be learned by this {student.family} from this "
                f"{teacher.family} ({lacks}); possible: {', '.join(possible)}"
            )


def _reads(model: Model) -> Sequence[object]:
    """Return what decides which tokens, or pixels, a model reads."""
    encoder = model.encoder
    if isinstance(encoder, ImageEncoder):
        return "image", replace(encoder.settings, any_size=False)
    tokenizer = encoder.tokenizer.to_str() if isinstance(encoder, TextEncoder) else ""
    return encoder.to_json(), tokenizer


def _other_inputs(student: Model) -> str:
    is_image = isinstance(student.encoder, ImageEncoder)
    return f"they read other {'pixels' if is_image else 'tokens'}"


def _view(network: Network, module: nn.Module, inputs: Mapping[str, Tensor]) -> View:
    """Return what a network computes; its logits alone where its family shows no more."""
    look = network.view
    return look(module, inputs) if look else View(output_of(module, inputs))
