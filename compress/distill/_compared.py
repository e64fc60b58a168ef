"""The loss of several signals, which compare a student with its teacher on each training batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bmc.compress.distill._layers import layers_of
from bmc.compress.distill._parts import LossParts
from bmc.compress.distill.logits import Logits
from bmc.contracts import Network, families
from bmc.contracts.signals import SIGNALS, Signal, View, signal
from bmc.errors import UsageError
from bmc.inference.form import is_quantized
from bmc.inputs import Aligned, OutputRows
from bmc.inputs.image import ImageEncoder
from bmc.model import Form, Model, Work, output_of
from bmc.training import collective
from bmc.training.batches import Batch
from bmc.training.device import autocast, device_of, precision_of_answers
from bmc.training.ensemble import aligned_logits, answers_are_kept
from bmc.training.identity import input_key
from bmc.training.work import joined

LOGITS = "logits"
_FROM_BATCH = {"rows"}  # parts of a view that come from the training batch, not from a network


class Compared:
    """The weighted sum of signals.

    The teacher runs on every batch only if a signal needs more than the teacher's logits.

    Args:
        weights: weight of each signal by name, above 0.
        layers: layers of the teacher that the student learns from; see `layers_of`.
        logits_loss: the loss on the logits.
        teacher: the first teacher, trained.
        student: the model in training.
        work: the data, and the device.

    Raises:
        UsageError: student or teacher lacks a part that a signal needs.
        SettingError: `layers` names a layer that the teacher does not have.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        layers: str,
        logits_loss: Logits,
        teacher: Model,
        student: Model,
        work: Work,
    ) -> None:
        self._device, self._student_views = device_of(work.device), list[View]()
        self._weights, self._parts = weights, LossParts(student.task)
        rows = joined(work.data.train.rows, work.unlabeled)
        encoder = student.encoder
        is_aligned = isinstance(encoder, Aligned)
        self._total = len(OutputRows(encoder, encoder.encode(rows))) if is_aligned else len(rows)
        internal = {name: signal(name) for name in weights if name != LOGITS}
        needed = {part for entry in internal.values() for part in entry.needs}
        self._needs = sorted({*needed, "mask"} - _FROM_BATCH - {"logits"})
        self._precision = precision_of_answers(teacher.task)
        self._runs_teacher = any(set(entry.needs) - _FROM_BATCH for entry in internal.values())
        compared = (student, teacher) if self._runs_teacher else (student,)
        self._networks = tuple(families.network(model.family) for model in compared)
        self._student, self._teacher = student.module, teacher.module

        self.signals = nn.ModuleDict()
        if internal:
            views = self._example_views(student, teacher, internal)
            indices = layers_of(layers, *views) if self._runs_teacher else []
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(torch.initial_seed())  # whatever was drawn before
                for name, entry in internal.items():
                    self.signals[name] = entry.bind(*views, indices)
        self.signals.to(self._device)
        if self._runs_teacher:
            self._teacher.to(self._device).eval()

        self._cached_logits: Callable[[Batch], Tensor] | None = None
        if LOGITS in weights:
            self._parts_of = logits_loss.parts_of(student, work)
            self._align = aligned_logits(teacher, student, work.data)
            is_read_whole = work.augment and answers_are_kept(work.data.kind, work.augment)
            if not self._runs_teacher or logits_loss.more_teachers or is_read_whole:
                unlabeled = work.unlabeled
                self._cached_logits = logits_loss.ensemble().answers(student, work, unlabeled)
        self.metrics = self._parts.metrics

    def form(self) -> Form | None:
        """Return the function that computes the student's logits; None for the default."""
        return self._run_student if self._runs_teacher else None

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the weighted sum of the signals."""
        student, teacher = self._views(logits, batch)
        parts: dict[str, Tensor] = {}
        teacher_logits: Tensor | None = None
        for name, weight in self._weights.items():
            if name == LOGITS:
                if self._cached_logits:
                    teacher_logits = self._cached_logits(batch)
                else:
                    teacher_logits = self._align(batch.selected(teacher.logits.float()))
                losses = self._parts_of(logits, teacher_logits, batch)
                parts |= {part: weight * loss for part, loss in losses.items()}
            else:
                parts[name] = weight * self.signals[name](student, teacher)
        return self._parts.total(parts, logits, teacher_logits)

    def _run_student(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the student's logits, and keep the student's view for `loss`."""
        self._student_views[:] = [_view(self._networks[0], self._student, inputs)]
        return self._student_views[0].logits

    def _views(self, logits: Tensor, batch: Batch) -> tuple[View, View]:
        """Return the views of student and teacher on a batch."""
        if not self._runs_teacher:
            student = View(logits, rows=batch.rows, total=self._total)
            return student, student
        own, rows = collective.own_share(batch.inputs), len(next(iter(batch.inputs.values())))
        with torch.no_grad(), autocast(self._precision, self._device):
            view = _view(self._networks[1], self._teacher, own)
            teacher = self._gathered(view, collective.gather(view.logits, rows), rows)
        student = self._gathered(self._student_views[0], logits, rows)
        return replace(student, rows=batch.rows, total=self._total), teacher

    def _gathered(self, view: View, logits: Tensor, rows: int) -> View:
        """Return the parts of a view that signals need, of the rows of all processes.

        Args:
            view: values of a network on this process's rows.
            logits: logits of all rows.
            rows: number of rows in the batch.
        """
        whole: dict[str, Any] = {name: getattr(view, name) for name in self._needs}
        for name, part in whole.items():
            if isinstance(part, Tensor):
                whole[name] = collective.gather(part, rows)
            elif part is not None:
                whole[name] = [collective.gather(each, rows) for each in part]
        return replace(view, logits=logits, **whole)

    def _example_views(
        self, student: Model, teacher: Model, signals: Mapping[str, Signal]
    ) -> tuple[View, View]:
        """Return the views of student and teacher on one example batch.

        Raises:
            UsageError: student or teacher lacks a part that a signal needs; the message lists the
                signals that are possible.
        """
        inputs = self._networks[0].examples(student.module)[0]
        rows = torch.arange(len(next(iter(inputs.values()))))
        with torch.no_grad():
            student_view = _view(self._networks[0], student.module.cpu().eval(), inputs)
            student_view = replace(student_view, rows=rows, total=self._total, task=student.task)
            if not self._runs_teacher:
                return student_view, student_view
            if input_key(student) != input_key(teacher):
                reason = _input_difference(student)
                _refuse_missing(signals, _FROM_BATCH, student, teacher, reason)
                return student_view, student_view
            if is_quantized(teacher.module):
                reason = "the teacher is quantized: name the model that it was made from"
                _refuse_missing(signals, _FROM_BATCH, student, teacher, reason)
                return student_view, student_view
            teacher_view = _view(self._networks[1], teacher.module.cpu().eval(), inputs)
        common = student_view.parts() & teacher_view.parts()
        _refuse_missing(signals, common | _FROM_BATCH, student, teacher)
        return student_view, teacher_view


def _refuse_missing(
    signals: Mapping[str, Signal],
    available: set[str],
    student: Model,
    teacher: Model,
    reason: str = "",
) -> None:
    """Refuse signals that need parts of a view which student and teacher do not both have.

    Raises:
        UsageError: a signal needs such a part; the message lists the signals that are possible.
    """
    possible = [LOGITS, *(n for n in SIGNALS.names() if set(signal(n).needs) <= available)]
    for name, entry in signals.items():
        if missing := [part for part in entry.needs if part not in available]:
            lacks = reason or f"one of them has no {' or '.join(missing)}"
            raise UsageError(
                f"the signal {name} cannot be learned by this {student.family} from this "
                f"{teacher.family} ({lacks}); possible: {', '.join(possible)}"
            )


def _input_difference(student: Model) -> str:
    is_image = isinstance(student.encoder, ImageEncoder)
    return f"they read other {'pixels' if is_image else 'tokens'}"


def _view(network: Network, module: nn.Module, inputs: Mapping[str, Tensor]) -> View:
    """Return a network's view; only its logits if its family does not define a view."""
    view = network.view
    return view(module, inputs) if view else View(output_of(module, inputs))
