"""Find out from samples what a bundle of an ONNX file takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.errors import DataError, UsageError
from bmc.figures import megabytes
from bmc.inputs import TensorInfo
from bmc.inputs.tensors import BATCH, AxisSize, TensorInput, TensorsEncoder
from bmc.onnx_models.reading import Declared, OnnxFile, all_nodes
from bmc.onnx_models.running import Reference
from bmc.onnx_models.samples import Arrays, Samples
from bmc.onnx_models.values import is_value

_MOST_BYTES = 500_000_000  # of a golden row; a reader of arrays takes 512 MiB
_SMALLEST_SCALE = 1e-3
_SEEN = 64  # samples whose values generated ones lie among
_TOLERANCE = 1e-3  # of the largest value; sums of floats differ by their order
# Names that mean something else to a bench or an engine: there they are axes that bmc itself made.
_RENAMED = {
    BATCH: "rows",
    "sequence": "sequence_length",
    "height": "image_height",
    "width": "image_width",
}
_RANDOM = ("RandomNormal", "RandomUniform", "Multinomial", "Bernoulli")


@dataclass(frozen=True)
class Signature:
    """What a bundle takes and returns.

    Args:
        encoder: the inputs, with the sizes of their dynamic axes.
        outputs: the outputs.
        single: why the model computes one call at a time; "" where rows can be put together.
        call_bytes: size of the first sample, which a bundle keeps twice, and of its outputs.
    """

    encoder: TensorsEncoder
    outputs: tuple[TensorInfo, ...]
    single: str
    call_bytes: int

    def max_batch(self) -> dict[str, Any]:
        """Return the entries of a manifest's `build` for a model without a batch axis."""
        return {"max_batch": 1, "fixed_batch": self.single} if self.single else {}


def signature_of(file: OnnxFile, samples: Samples, reference: Reference) -> Signature:
    """Run samples, and describe inputs and outputs.

    The first axis is the batch where it is dynamic in every tensor, and two samples give the same
    outputs together as alone.

    Args:
        file: the model.
        samples: its samples.
        reference: a session of the file.

    Raises:
        DataError: the model cannot compute the samples.
        UsageError: the model draws random numbers, returns what is no tensor of numbers, or more of
            them than a bundle keeps.
    """
    first, declared = samples.calls[0], file.outputs
    outputs = reference.run(first)
    sizes = (array.nbytes for array in (*first.values(), *first.values(), *outputs.values()))
    if (call_bytes := sum(sizes)) > _MOST_BYTES:
        raise UsageError(
            f"{file.path}: a bundle keeps a sample, twice, and its outputs, to be checked by, and "
            f"these take {megabytes(call_bytes)} of at most {megabytes(_MOST_BYTES)}: give "
            "smaller samples"
        )
    _refuse_random(file, outputs, reference.run(first))
    single = _why_single(file, samples, outputs, reference)
    inputs = [_input(info, samples, not single) for info in file.inputs]
    described = [_output(info, outputs[info.name], not single) for info in declared]
    encoder = TensorsEncoder(inputs, _axes(inputs, samples))
    return Signature(encoder, tuple(described), single, call_bytes)


def _refuse_random(
    file: OnnxFile, once: Mapping[str, NDArray[Any]], again: Mapping[str, NDArray[Any]]
) -> None:
    for name, values in once.items():
        if not _alike(values, again[name]):
            drawn = sorted(
                {n.op_type for n in all_nodes(file.model) if n.op_type.startswith(_RANDOM)}
            )
            raise UsageError(
                f"{file.path} returns different outputs for the same inputs (output {name!r}"
                f"{', operators ' + ', '.join(drawn) if drawn else ''}): nothing can be compared "
                "with it; export the model without random operators"
            )


def _why_single(
    file: OnnxFile, samples: Samples, outputs: Mapping[str, NDArray[Any]], reference: Reference
) -> str:
    """Say why rows cannot be put together; "" where they can."""
    for info in file.inputs:
        if info.shape is not None and (not info.shape or isinstance(info.shape[0], int)):
            return f"the first axis of input {info.name} is fixed"
    for info in file.outputs:
        values = outputs[info.name]
        if not values.shape or (info.shape and isinstance(info.shape[0], int)):
            return f"output {info.name} has no batch axis"
        if len(values) != 1:
            return f"the first axis of output {info.name} is not the batch axis"
    if any(len(array) != 1 for array in samples.calls[0].values()):
        return "the first axis of the samples is not a batch axis"
    other = _other_of_same_shape(samples)
    if other is None:
        return "the samples are all the same, which shows no batch"
    pair = [samples.calls[0], other]
    together = {name: np.concatenate([call[name] for call in pair]) for name in pair[0]}
    try:
        both, second = reference.run(together), reference.run(pair[1])
    except DataError:
        return "the model fails on a batch of two rows"
    for name, values in both.items():
        alone = [outputs[name], second[name]]
        if values.shape[1:] != alone[0].shape[1:] or len(values) != 2:
            return f"output {name} does not have one row per input row"
        for row, expected in zip(values, alone, strict=True):
            if not _alike(row, expected[0]):
                return f"rows of a batch change each other's {name}"
    return ""


def _other_of_same_shape(samples: Samples) -> Arrays | None:
    """Return other values with the first sample's shapes: a sample, or values that are generated.

    Equal rows would prove nothing: what a model subtracts as their mean is each of them.

    Returns:
        None where there are no other values: all integers are the same, or all floats 0.
    """
    first = samples.calls[0]
    generator = np.random.default_rng(0)
    generated = {
        name: _generated(
            [call[name] for call in islice(samples.calls, _SEEN)], array.shape, generator
        )
        for name, array in first.items()
    }
    for call in chain(islice(samples.calls, 1, None), [generated]):
        alike = all(call[name].shape == array.shape for name, array in first.items())
        if alike and not all(np.array_equal(call[name], array) for name, array in first.items()):
            return call
    return None


def _generated(
    arrays: Sequence[NDArray[Any]], shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[Any]:
    """Return values within those seen: integers out of them, floats between them and 0."""
    values = np.concatenate([array.ravel() for array in arrays])
    if not values.size:
        return np.empty(shape, values.dtype)
    if values.dtype.kind != "f":
        return generator.choice(np.unique(values), shape)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    return generator.uniform(low, high, shape).astype(values.dtype)


def _alike(values: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Tell whether two arrays hold the same numbers within rounding; infinities are equal."""
    if values.shape != expected.shape:
        return False
    first, second = values.astype(np.float64), expected.astype(np.float64)
    finite = is_value(first, second)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True):
        return False
    scale = max(float(np.abs(second[finite]).max(initial=0)), _SMALLEST_SCALE)
    return bool((np.abs(first[finite] - second[finite]) <= _TOLERANCE * scale).all())


def _input(info: Declared, samples: Samples, is_batched: bool) -> TensorInput:
    rank = samples.calls[0][info.name].ndim
    shape = info.shape or tuple(f"{info.name}_{axis}" for axis in range(rank))
    limits = [(float(c[info.name].min()), float(c[info.name].max())) for c in samples.calls]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    return TensorInput(info.name, info.dtype, _named(shape, is_batched), low, high)


def _output(info: Declared, values: NDArray[Any], is_batched: bool) -> TensorInfo:
    declared = info.shape if info.shape and len(info.shape) == values.ndim else None
    shape = tuple(
        size if isinstance(size, str) or size == actual else f"{info.name}_{axis}"
        for axis, (size, actual) in enumerate(
            zip(
                declared or [f"{info.name}_{axis}" for axis in range(values.ndim)],
                values.shape,
                strict=True,
            )
        )
    )
    return TensorInfo(info.name, values.dtype.name, _named(shape, is_batched))


def _named(shape: Sequence[int | str], is_batched: bool) -> tuple[int | str, ...]:
    named = tuple(_RENAMED.get(size, size) if isinstance(size, str) else size for size in shape)
    return (BATCH, *named[1:]) if is_batched else named


def _axes(inputs: Sequence[TensorInput], samples: Samples) -> dict[str, AxisSize]:
    axes: dict[str, AxisSize] = {}
    for info in inputs:
        for axis, name in enumerate(info.shape):
            if isinstance(name, str) and name != BATCH:
                sizes = [call[info.name].shape[axis] for call in samples.calls]
                known = axes.get(name)
                typical = known.typical if known else sizes[0]
                axes[name] = AxisSize(typical, max(*sizes, typical, known.largest if known else 0))
    return axes
