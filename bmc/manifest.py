"""What a bundle says of itself, and the range of every number in it: a manifest is a stranger's."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bmc.arrays import DTYPES
from bmc.inputs import TensorInfo
from bmc.precision import PRECISIONS

SCHEMA = 1
TASKS = ("classification", "regression", "generation")
DIGEST = "digest"
"""The key of the manifest's own sha256, over its canonical form without this key."""
T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The numbers that may stand at a place, both ends included.

    Args:
        low: the least.
        high: the greatest.
        whole: whether only whole numbers may.
        optional: whether null may.
    """

    low: float
    high: float
    whole: bool = True
    optional: bool = False

    def __contains__(self, value: object) -> bool:
        if value is None:
            return self.optional
        kinds = (int,) if self.whole else (int, float)
        return type(value) in kinds and self.low <= value <= self.high  # type: ignore[operator]


RANGES: Mapping[str, Range] = {  # * stands for each item; a place that is not there is not checked
    "sizes.*": Range(0, 2**40),
    "inputs.*.shape.*": Range(1, 2**24),
    "outputs.*.shape.*": Range(1, 2**24),
    "build.max_batch": Range(1, 2**16),
    "build.limits.*": Range(1, 2**20),
    "build.opset": Range(1, 100),
    "build.nodes.*": Range(0, 10**9),
    "parity.rows": Range(0, 10**12),
    "parity.scale": Range(1e-30, 1e30, whole=False),
    "lineage.parameters": Range(0, 10**13),
    "lineage.sparsity": Range(0, 1, whole=False, optional=True),
    "lineage.odd_widths.*": Range(1, 2**24),
    "lineage.compressed.bytes": Range(0, 2**40),
    "lineage.compressed.of_bytes": Range(0, 2**40),
}
_KINDS: Mapping[str, type] = {
    "lineage.data": dict,
    "lineage.steps": list,
    "lineage.steps.*": str,
    "lineage.odd_widths": list,
    "lineage.teacher": dict,
    "lineage.compressed": dict,
    "build.limits": dict,
    "build.nodes": dict,
    "parity.failed": str,
}
_MOST = {"inputs": 16, "outputs": 16, "labels": 2**20, "files": 4096}
_MOST_AXES = 8
_MOST_OF_A_ROW = 2**26
_LONGEST_TEXT = 1000


@dataclass(frozen=True)
class StandIn:
    """Who answered in the place of an engine that could not run where the bundle was made.

    Args:
        target: the runtime that ran the ONNX file which the engine was built from.
        scores: of the held-out rows, computed from its answers.
    """

    target: str
    scores: dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Args:
        name: the model's name, as reports show it.
        target: the runtime that loads it.
        precision: "fp32", or what the weights and activations are.
        model: the model's file (or folder) in the bundle.
        inputs: tensors that the model takes.
        outputs: tensors that it returns.
        labels: class names, in the order of the outputs; empty where there are no classes.
        task: "classification", "regression" or "generation".
        preprocessing: how raw rows become the inputs: a kind of bmc/inputs, and its settings.
        lineage: the model directory it came from: name, weights' sha256, data, steps, teacher.
        parity: how far its outputs are from the model's in PyTorch.
        scores: on the held-out rows, computed by this bundle; empty where it could not run.
        build: how it was made: versions, opset, engine details.
        stand_in: who was compared with PyTorch and scored in its place, where it could not run.
        failure: which gate it failed when it was made; None where it passed.
    """

    name: str
    target: str
    precision: str
    model: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    labels: tuple[str, ...]
    task: str
    preprocessing: dict[str, Any]
    lineage: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    stand_in: StandIn | None = None
    failure: str | None = None


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's canonical form: keys sorted, no spaces, no own digest."""
    rest = {key: value for key, value in content.items() if key != DIGEST}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse(content: Mapping[str, Any]) -> Manifest:
    """Return the manifest that a JSON object holds.

    Raises:
        KeyError: something is missing.
        TypeError: a value is of another kind.
        ValueError: a number is out of its range, or the parts contradict each other.
    """
    for key, most in _MOST.items():
        entries = content.get(key)
        if isinstance(entries, list | dict) and len(entries) > most:
            raise ValueError(f"{key} has {len(entries)} entries; at most {most} are read")
    _check_places(content)
    name, target, precision, model = (
        _a(str, content[key]) for key in ("name", "target", "precision", "model")
    )
    labels = tuple(_a(str, label) for label in _a(list, content["labels"]))
    inputs, outputs = (_tensors(content[key]) for key in ("inputs", "outputs"))
    lineage, parity, scores, build = (
        _a(dict, content[key]) for key in ("lineage", "parity", "scores", "build")
    )
    task, preprocessing = _a(str, content["task"]), _a(dict, content["preprocessing"])
    _one_of("task", task, TASKS)
    _one_of("precision", precision, tuple(PRECISIONS))
    _check_texts((name, model, *labels))
    _distinct("inputs", [info.name for info in inputs])
    _distinct("outputs", [info.name for info in outputs])
    _check_answers(task, labels, outputs[0])
    return Manifest(
        name,
        target,
        precision,
        model,
        inputs,
        outputs,
        labels,
        task,
        preprocessing,
        lineage,
        parity,
        scores,
        build,
        _stand_in(content, build),
        _failure(content, parity),
    )


def _stand_in(content: Mapping[str, Any], build: Mapping[str, Any]) -> StandIn | None:
    """Return who stood in for an engine; bundles of bmc 0.1 say it among what they were built of.

    Raises:
        KeyError: an entry lacks something.
        TypeError: an entry is of another kind.
    """
    entry = content.get("stand_in")
    if entry is not None:
        stand_in = _a(dict, entry)
        return StandIn(_a(str, stand_in["target"]), _a(dict, stand_in["scores"]))
    older = build.get("scores_of_the_onnx_file")
    return None if older is None else StandIn("onnx", _a(dict, older))


def _failure(content: Mapping[str, Any], parity: Mapping[str, Any]) -> str | None:
    """Return which gate a bundle failed; bundles of bmc 0.1 say it in place of their parity."""
    failure = content.get("failure", parity.get("failed"))
    return None if failure is None else _a(str, failure)


def _check_places(content: Mapping[str, Any]) -> None:
    """Compare every number and kind at a known place with the tables above."""
    for place, allowed in RANGES.items():
        for value in _at(content, place.split(".")):
            if isinstance(value, str) and place.endswith("shape.*"):
                continue  # the name of an axis that is free
            if value not in allowed:
                kind = "a whole number" if allowed.whole else "a number"
                raise ValueError(
                    f"{place} is {value!r:.60}; it must be {kind} in "
                    f"{allowed.low:g}..{allowed.high:g}"
                )
    for place, expected in _KINDS.items():
        for value in _at(content, place.split(".")):
            if value is not None:
                _a(expected, value)


def _at(value: Any, keys: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a place; nothing where a part of the way is not there."""
    if not keys:
        yield value
        return
    key, *rest = keys
    if key == "*" and isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _at(item, rest)
    elif isinstance(value, dict) and key in value:
        yield from _at(value[key], rest)


def _tensors(entries: Any) -> tuple[TensorInfo, ...]:
    tensors = []
    for entry in _a(list, entries):
        name, dtype = (_a(str, _a(dict, entry)[key]) for key in ("name", "dtype"))
        shape = _a(list, entry["shape"])
        if not all(type(size) in (int, str) for size in shape):
            raise TypeError(f"{name!r:.60} has sizes that are neither numbers nor names")
        _one_of(f"dtype of {name!r:.60}", dtype, DTYPES)
        if not 1 <= len(shape) <= _MOST_AXES:
            raise ValueError(f"{name!r:.60} has {len(shape)} axes; 1..{_MOST_AXES} are possible")
        if math.prod(size for size in shape if isinstance(size, int)) > _MOST_OF_A_ROW:
            raise ValueError(f"a row of {name!r:.60} has more than {_MOST_OF_A_ROW} values")
        _check_texts((name, *(size for size in shape if isinstance(size, str))))
        tensors.append(TensorInfo(name, dtype, tuple(shape)))
    return tuple(tensors)


def _check_answers(task: str, labels: Sequence[str], output: TensorInfo) -> None:
    """Check that the first output has the shape of the task's answers."""
    if task == "classification":
        _distinct("labels", labels)
        if len(output.shape) != 2 or output.shape[1] != len(labels):
            raise ValueError(f"{len(labels)} labels for outputs of shape {output.shape}")
    elif task == "regression":
        if output.shape[1:] != (1,):
            raise ValueError(f"a regression's outputs have shape (batch, 1), not {output.shape}")
    elif len(output.shape) != 4 or output.shape[1] not in (1, 3):
        raise ValueError(f"generated images have shape (batch, 1 or 3, y, x), not {output.shape}")


def _check_texts(texts: Sequence[str]) -> None:
    for text in texts:
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"{text!r:.60} has {len(text)} characters; {_LONGEST_TEXT} at most")


def _one_of(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"the {what} is {value!r:.60}; possible: {', '.join(choices)}")


def _a(kind: type[T], value: Any) -> T:
    """Return a JSON value of this very kind (True is no number), or refuse it."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.60} where a {kind.__name__} belongs")
    return value


def _distinct(what: str, names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{what} are missing, or stand there twice")
