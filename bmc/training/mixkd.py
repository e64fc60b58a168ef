"""MixKD: student and teacher predict the same texts, whose word embeddings are mixed in pairs.

Source: Liang et al. 2021, "MixKD: Towards Efficient Distillation of Large-scale Language Models".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Beta

from bmc import processes
from bmc.errors import UsageError
from bmc.inference.form import is_quantized, training_form
from bmc.inference.token_ngrams import TokenNgrams
from bmc.inputs.text import TextEncoder
from bmc.model import Form, Model, output_of
from bmc.structure.word_table import word_table
from bmc.training.batches import Batch, Mixing
from bmc.training.bundle_network import is_bundle
from bmc.training.device import autocast, device_of, precision_of_answers
from bmc.training.identity import input_key
from bmc.training.settings import MIXKD

_ALPHA = 0.4  # of the Beta distribution: most mixtures are mainly one of their two texts
_LEAVE_OUT = f"leave {MIXKD} out of augment"


@dataclass(frozen=True)
class MixedInputs:
    """The inputs of a batch whose rows are mixed with one another.

    Where one of two texts has ended, the other one's words stand alone.

    Args:
        inputs: arguments of a network; token ids are of a row's own words, (rows, length).
        others: token ids that are mixed in, int64 (rows, length).
        mixing: which rows are mixed, and in which proportion.
    """

    inputs: dict[str, Tensor]
    others: Tensor
    mixing: Mixing


def mixed_inputs(inputs: Mapping[str, Tensor]) -> MixedInputs:
    """Return inputs that are mixed with other rows, drawn with torch's random number generator.

    Args:
        inputs: `input_ids`, `attention_mask` and, for some networks, `token_type_ids`, int64 (rows,
            length).
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    partners = torch.randperm(len(ids)).to(ids.device)
    share = float(Beta(_ALPHA, _ALPHA).sample())
    is_token, is_other = mask.bool(), mask[partners].bool()
    own = torch.where(is_token, ids, ids[partners])
    changed = {"input_ids": own, "attention_mask": torch.maximum(mask, mask[partners])}
    types = inputs.get("token_type_ids")
    if types is not None:
        changed["token_type_ids"] = torch.where(is_token, types, types[partners])
    others = torch.where(is_other, ids[partners], own)
    return MixedInputs({**inputs, **changed}, others, Mixing(partners, share))


class MixedTexts:
    """Lets a student and its teachers compute mixed texts; use it as a context manager.

    Args:
        student: the student.
        device: "cpu", "cuda" or "auto".

    Raises:
        UsageError: the student's word embeddings cannot be mixed.
    """

    def __init__(self, student: Model, device: str) -> None:
        processes.refuse_several(f"the augmentation {MIXKD}")
        self._student, self._device = student, device_of(device)
        self._hooks = ExitStack()
        self._now: MixedInputs | None = None  # what is being computed
        self._last: MixedInputs | None = None  # what the student computed last
        self._hook(_table_of(student, f"this {student.family}"))
        self._form = _form_of(student)

    def __enter__(self) -> MixedTexts:
        """Return the object itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the networks compute texts as they are."""
        self._hooks.close()

    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Mix a batch's inputs, and return the student's outputs (rows, classes)."""
        self._last = mixed_inputs(inputs)
        with self._computing(self._last):
            return self._form(self._last.inputs)

    def batch(self, batch: Batch) -> Batch:
        """Return the batch of which the student computed its last outputs, as it was mixed."""
        if self._last is None:
            return batch
        return replace(batch, inputs=self._last.inputs, mixing=self._last.mixing)

    def answers_of(self, reference: str, teacher: Model) -> Callable[[Batch], Tensor]:
        """Return a function that computes a teacher's logits of the batch that was mixed last.

        Args:
            reference: the teacher, for messages.
            teacher: a trained model.

        Raises:
            UsageError: the teacher is a bundle, reads other tokens, or has no word embeddings.
        """
        _check_teacher(reference, teacher, self._student)
        self._hook(_table_of(teacher, f"the teacher {reference}"))
        teacher.module.to(self._device).eval()
        form = _form_of(teacher)

        def logits(batch: Batch) -> Tensor:
            computing = autocast(precision_of_answers(teacher.task), self._device)
            with torch.no_grad(), computing, self._computing(self._last):
                return form(batch.inputs).float()

        return logits

    @contextmanager
    def _computing(self, mixed: MixedInputs | None) -> Iterator[None]:
        """Mix word embeddings inside the block."""
        self._now = mixed
        try:
            yield
        finally:
            self._now = None

    def _hook(self, table: nn.Embedding) -> None:
        """Let a word embedding return mixtures while a mixed batch is computed."""

        def mix(embedding: Any, _: object, vectors: Tensor) -> Tensor:
            if self._now is None:
                return vectors
            share = self._now.mixing.share
            others: Tensor = embedding.forward(self._now.others)  # without this hook
            return share * vectors + (1 - share) * others

        self._hooks.callback(table.register_forward_hook(mix).remove)


def check_models(student: Model, reference: str, teacher: Model) -> None:
    """Refuse a student or a teacher, trained or not, that cannot compute mixtures.

    Args:
        student: the student.
        reference: the teacher, for messages.
        teacher: the teacher.

    Raises:
        UsageError: the teacher is a bundle, the two read other tokens, or one of them has no plain
            word embeddings, or n-grams of tokens.
    """
    _check_teacher(reference, teacher, student)
    _table_of(student, f"this {student.family}")
    _table_of(teacher, f"the teacher {reference}")


def _table_of(model: Model, name: str) -> nn.Embedding:
    """Return a model's table of word embeddings.

    Raises:
        UsageError: the model has no plain table, reads tokens besides it, or is quantized.
    """
    if is_quantized(model.module):
        raise UsageError(
            f"the augmentation {MIXKD} mixes word embeddings, and {name} is quantized: name the "
            f"model that it was made from, or {_LEAVE_OUT}"
        )
    if any(isinstance(part, TokenNgrams) for part in model.module.modules()):
        raise UsageError(
            f"the augmentation {MIXKD} mixes word embeddings, and {name} has n-grams of tokens, "
            f"which cannot be mixed: {_LEAVE_OUT}, or train without ngrams"
        )
    try:
        return word_table(model, MIXKD)[1]
    except UsageError as error:
        raise UsageError(
            f"the augmentation {MIXKD} mixes word embeddings, and {name} has none that are plain "
            f"({error}): {_LEAVE_OUT}"
        ) from error


def _form_of(model: Model) -> Form:
    """Return the function that computes a model's outputs fastest in training."""
    return training_form(model) or (lambda inputs: output_of(model.module, inputs))


def _check_teacher(reference: str, teacher: Model, student: Model) -> None:
    """Refuse a teacher that cannot compute the mixtures that its student reads.

    Raises:
        UsageError: the teacher is a bundle, or reads other tokens, or texts of another length.
    """
    if is_bundle(teacher):
        raise bundle_refusal(reference)
    if not isinstance(teacher.encoder, TextEncoder) or input_key(teacher) != input_key(student):
        raise UsageError(
            f"the augmentation {MIXKD} mixes the embeddings of the same words for student and "
            f"teacher, and the teacher {reference} reads other tokens, or texts of another length: "
            f"{_LEAVE_OUT}, or name a student that reads its teacher's tokens (tiny, mini, small)"
        )


def bundle_refusal(reference: str) -> UsageError:
    """Return the error for a bundle that should compute mixed word embeddings."""
    return UsageError(
        f"the augmentation {MIXKD} mixes word embeddings, and the teacher {reference} is a "
        "bundle, which takes token ids: name the model directory that it was exported from, or "
        f"{_LEAVE_OUT}"
    )
