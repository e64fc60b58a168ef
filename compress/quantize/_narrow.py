"""Networks in floats of 16 bits, with what overflows or needs more digits left in 32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bmc import inputs
from bmc.compress.quantize import _form
from bmc.compress.quantize._layers import Narrowed
from bmc.compress.share._codebook import is_clustered
from bmc.errors import ArtifactError, DataError
from bmc.inputs import Encoder
from bmc.model import Model, Record, output_of
from bmc.models.recurrent import Exported

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
_BATCH = 16
_MARGIN = 4  # unseen rows may go this much further than the ones that were seen


def narrow(form: nn.Module, precision: str, keep: Sequence[str]) -> None:
    """Let an inference form compute in 16 bits, and answer in 32, in place.

    Args:
        form: the inference form.
        precision: fp16 or bf16.
        keep: paths of layers that stay in 32 bits.
    """
    for path in keep:
        form.get_submodule(path)  # a name that is not there is said
    chosen = narrowed(form, keep)
    for layer in list(form.modules()):
        kind: Any = type(layer)
        if id(layer) in chosen:
            layer.__class__ = _NARROWED[kind]
            layer.to(DTYPES[precision])
        elif kind in (nn.Linear, nn.Conv2d):
            layer.__class__ = _of(Kept, kind)
        elif _holds_floats(layer):
            layer.__class__ = _of(Wide, kind)
    form.register_forward_hook(_in_32_bits)


def narrowed(form: nn.Module, keep: Sequence[str]) -> set[int]:
    """Return the identities of the layers that 16 bits are for.

    A layer is none of them whose weights one that stays in 32 bits uses, too.
    """
    every = dict(form.named_modules())
    kept = {id(layer) for path, layer in every.items() if path in keep}
    able = {
        id(layer): layer
        for layer in every.values()
        if type(layer) in _NARROWED and id(layer) not in kept
    }
    others = [layer for layer in form.modules() if id(layer) not in able]
    held = {id(value) for layer in others for value in layer.parameters(recurse=False)}
    return {
        key
        for key, layer in able.items()
        if not any(id(value) in held for value in layer.parameters(recurse=False))
    }


def _holds_floats(layer: nn.Module) -> bool:
    """Tell whether a layer computes with numbers of 32 bits: its own, or those of a codebook."""
    own = list(layer.parameters(recurse=False))
    return bool(own) or isinstance(layer, _WIDE) or is_clustered(layer, inside=False)


def _in_32_bits(module: nn.Module, given: object, made: Tensor) -> Tensor:
    return made.float()


class NarrowLinear(Narrowed, nn.Linear):
    """A linear layer."""

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (..., in)."""
        return linear(values.to(self.weight.dtype), self.weight, self.bias)


class NarrowConv2d(Narrowed, nn.Conv2d):
    """A convolution."""

    def forward(self, values: Tensor) -> Tensor:
        """Return it of values (rows, in, height, width)."""
        return super().forward(values.to(self.weight.dtype))


class NarrowEmbedding(Narrowed, nn.Embedding):
    """A lookup table."""


class Wide:
    """A norm, recurrent or unknown layer; it computes in 32 bits and answers in the given ones."""

    def forward(self, *given: Any, **named: Any) -> Any:
        """Return what the layer makes of values."""
        kinds = [one.dtype for one in given if _is_float(one)]
        wide = {name: _in_float(one) for name, one in named.items()}
        made = super().forward(*map(_in_float, given), **wide)  # type: ignore[misc]
        if not kinds:
            return made
        if isinstance(made, tuple):
            return made[0].to(kinds[0]), *made[1:]
        return made.to(kinds[0]) if _is_float(made) else made


class Kept:
    """A layer that computes and answers in 32 bits: what it makes would not fit fewer."""

    def forward(self, values: Tensor) -> Any:
        """Return what the layer makes of values."""
        return super().forward(values.float())  # type: ignore[misc]


_NARROWED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.Linear: NarrowLinear,
    nn.Conv2d: NarrowConv2d,
    nn.Embedding: NarrowEmbedding,
}
_WIDE = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, Exported)


def _of(mixin: type, kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"{mixin.__name__}{kind.__name__}", (mixin, kind), {})


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _in_float(value: Any) -> Any:
    return value.float() if _is_float(value) else value


def answering(form: nn.Module, task: str) -> set[str]:
    """Return the path of a regression's last layer: 16 bits have few steps at a level like 2000."""
    last = _form.last_linear(form) if task == "regression" else None
    return {last} if last else set()


@torch.inference_mode()
def overflowing(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> list[str]:
    """Return the layers that read or make numbers near the end of fp16 on some rows, by path.

    Raises:
        DataError: an output is no number in 32 bits already.
    """
    most: dict[str, float] = {}
    hooks = [
        layer.register_forward_hook(_watch(most, path), with_kwargs=True)
        for path, layer in form.named_modules()
        if type(layer) in _NARROWED
    ]
    try:
        for _ in _answers(form, encoder, rows):
            pass
    finally:
        for hook in hooks:
            hook.remove()
    broken = [path for path, largest in most.items() if largest != largest]
    if broken:
        raise DataError(f"layer {broken[0]!r} reads or answers NaN or infinity in 32 bits already")
    limit = torch.finfo(torch.float16).max / _MARGIN
    return [path for path, largest in most.items() if largest > limit]


@torch.inference_mode()
def check_answers(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> None:
    """Refuse a form in 16 bits that overflows where no layer could be left in 32: between them.

    Raises:
        DataError: an answer is NaN or infinity.
    """
    if not all(made.isfinite().all() for made in _answers(form, encoder, rows)):
        raise DataError(
            "values between its layers leave fp16's range, so that it answers NaN or infinity; "
            "--method bf16 has the range of fp32"
        )


def _answers(form: nn.Module, encoder: Encoder, rows: Sequence[Any]) -> Iterator[Tensor]:
    for _, arrays in inputs.ordered_batches(encoder, encoder.encode(rows), _BATCH):
        yield output_of(form, {name: torch.from_numpy(array) for name, array in arrays.items()})


def become_narrow(model: Model, precision: str, keep: Sequence[str]) -> None:
    """Make a model its own inference form in 16 bits."""
    _form.become_form(model)
    narrow(model.module, precision, keep)


def rebuild(model: Model, record: Record) -> None:
    """Give a freshly built model the recorded precision.

    Raises:
        ArtifactError: the record, which may come from a file, is malformed.
    """
    precision, keep = record.get("precision"), record.get("keep")
    known = isinstance(keep, list) and all(isinstance(path, str) for path in keep)
    if precision not in DTYPES or not known:
        raise ArtifactError(f"a precision is recorded as {record!r:.80}")
    become_narrow(model, str(precision), keep or [])


def _watch(most: dict[str, float], path: str) -> Any:
    def hook(
        _: nn.Module, given: tuple[Tensor, ...], named: Mapping[str, Tensor], made: Tensor
    ) -> None:
        for values in filter(_is_float, (*given, *named.values(), made)):
            largest = float(values.detach().abs().max()) if values.numel() else 0.0
            finite = largest < float("inf")
            most[path] = max(most.get(path, 0.0), largest) if finite else float("nan")

    return hook
