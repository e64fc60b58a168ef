"""Parse the manifest of a bundle, which is untrusted, and check the range of every number."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bmc.arrays import DTYPES
from bmc.contracts.tasks import TASKS
from bmc.contracts.tasks import task as task_of
from bmc.inputs import TensorInfo
from bmc.precision import PRECISIONS

SCHEMA = 1
DIGEST = "digest"
"""The key of the manifest's own sha256, which covers the canonical form without this key."""
T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The values that are allowed at a path of the manifest.

    Args:
        low: smallest allowed number.
        high: largest allowed number.
        whole: allow only integers.
        optional: allow null.
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


# By path in the manifest, where * stands for every entry; paths that do not exist are skipped.
RANGES: Mapping[str, Range] = {
    "sizes.*": Range(0, 2**40),
    "inputs.*.shape.*": Range(1, 2**24),
    "outputs.*.shape.*": Range(1, 2**24),
    "build.max_batch": Range(1, 2**16),
    "build.limits.*": Range(1, 2**24),
    "build.opset": Range(1, 100),
    "build.nodes.*": Range(0, 10**9),
    "build.p50_ms": Range(0, 1e9, whole=False),
    "parity.rows": Range(0, 10**12),
    "parity.scale": Range(1e-30, 1e30, whole=False),
    "parity.scales.*": Range(1e-30, 1e30, whole=False),
    "thresholds.*": Range(1e-9, 1 - 1e-9, whole=False),
    "reject_below": Range(1e-9, 1 - 1e-9, whole=False, optional=True),
    "lineage.parameters": Range(0, 10**13),
    "lineage.sparsity": Range(0, 1, whole=False, optional=True),
    "lineage.odd_widths.*": Range(1, 2**24),
    "lineage.compressed.bytes": Range(0, 2**40),
    "lineage.compressed.of_bytes": Range(0, 2**40),
}
_TYPES: Mapping[str, type] = {
    "lineage.data": dict,
    "lineage.steps": list,
    "lineage.steps.*": str,
    "lineage.odd_widths": list,
    "lineage.teacher": dict,
    "lineage.compressed": dict,
    "lineage.data_license": str,
    "build.limits": dict,
    "build.nodes": dict,
    "build.mobile": dict,
    "build.mobile.model": str,
    "build.mobile.operators": str,
    "parity.failed": str,
    "parity.scales": dict,
}
_MAX_ENTRIES = {"inputs": 16, "outputs": 16, "labels": 2**20, "files": 4096}
_MAX_AXES = 8
_MAX_ROW_VALUES = 2**26
_MAX_TEXT_LENGTH = 1000


@dataclass(frozen=True)
class StandIn:
    """The target that was scored in place of an engine that could not run at the export.

    Args:
        target: name of the target that ran the ONNX file from which the engine was built.
        scores: scores of that target on the held-out rows.
    """

    target: str
    scores: dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """The content of a bundle's manifest.json.

    Args:
        name: name of the model in reports.
        target: name of the target whose runtime loads the bundle.
        precision: name of the precision, a key of `bmc.precision.PRECISIONS`.
        model: path of the model's file or folder in the bundle.
        inputs: tensors that the model takes.
        outputs: tensors that the model returns.
        labels: class names, in the order of the outputs; empty where there are no classes.
        task: name of the task, such as "classification".
        preprocessing: kind of the encoder (a file of bmc/inputs), and the encoder's settings.
        lineage: name, weights' sha256, data, steps and teacher of the exported model directory.
        parity: differences between the bundle's outputs and those of the model in PyTorch.
        scores: scores of the bundle on the held-out rows; empty where it could not run.
        build: versions, opset and engine details of the export.
        stand_in: the target that was compared with PyTorch and scored in place of an engine that
            could not run; None where the bundle could run.
        failure: the parity, accuracy or speed check that failed at the export; None where all
            passed.
        thresholds: probability of each label above which it is predicted, where a row has several
            labels; empty for other tasks.
        reject_below: probability of the predicted class below which a row gets no label; None where
            every row gets one.
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
    thresholds: tuple[float, ...] = ()
    reject_below: float | None = None


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's canonical form: sorted keys, no spaces, no digest."""
    rest = {key: value for key, value in content.items() if key != DIGEST}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse(content: Mapping[str, Any]) -> Manifest:
    """Convert the JSON object of a manifest to a `Manifest`, and check its values.

    Args:
        content: the JSON object in manifest.json.

    Raises:
        KeyError: a key is missing.
        TypeError: a value has another type.
        ValueError: a number is out of its range, or values contradict each other.
    """
    for key, limit in _MAX_ENTRIES.items():
        entries = content.get(key)
        if isinstance(entries, list | dict) and len(entries) > limit:
            raise ValueError(f"{key} has {len(entries)} entries; at most {limit} are read")
    _check_values(content)
    name, target, precision, model = (
        _typed(str, content[key]) for key in ("name", "target", "precision", "model")
    )
    labels = tuple(_typed(str, label) for label in _typed(list, content["labels"]))
    inputs, outputs = (_tensors(content[key]) for key in ("inputs", "outputs"))
    lineage, parity, scores, build = (
        _typed(dict, content[key]) for key in ("lineage", "parity", "scores", "build")
    )
    task, preprocessing = _typed(str, content["task"]), _typed(dict, content["preprocessing"])
    _check_choice("task", task, TASKS.names())
    _check_choice("precision", precision, tuple(PRECISIONS))
    _check_texts((name, model, *labels))
    _check_distinct("inputs", [info.name for info in inputs])
    _check_distinct("outputs", [info.name for info in outputs])
    task_of(task).check_output(labels, outputs[0].shape)
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
        _thresholds(content, task, labels),
        _reject_below(content, task),
    )


def _thresholds(content: Mapping[str, Any], task: str, labels: Sequence[str]) -> tuple[float, ...]:
    """Return the threshold of each label; bundles of earlier versions have none.

    Raises:
        ValueError: there is not one for each label, or the task has no thresholds.
    """
    thresholds = tuple(float(value) for value in _typed(list, content.get("thresholds", [])))
    expected = len(labels) if task_of(task).thresholds else 0
    if len(thresholds) != expected:
        raise ValueError(f"{len(thresholds)} thresholds; {task} has {expected}")
    return thresholds


def _reject_below(content: Mapping[str, Any], task: str) -> float | None:
    """Return the probability below which a row gets no label; most bundles have none.

    Raises:
        ValueError: the task does not predict one class a row.
    """
    value = content.get("reject_below")
    if value is None:
        return None
    classes = task_of(task).classes
    if classes is None or classes.confidence is None:
        raise ValueError(f"reject_below is {value}; {task} does not predict one class a row")
    return float(value)


def _stand_in(content: Mapping[str, Any], build: Mapping[str, Any]) -> StandIn | None:
    """Return the target that was scored in place of an engine; bmc 0.1 recorded it under `build`.

    Raises:
        KeyError: a key is missing.
        TypeError: a value has another type.
    """
    entry = content.get("stand_in")
    if entry is not None:
        stand_in = _typed(dict, entry)
        return StandIn(_typed(str, stand_in["target"]), _typed(dict, stand_in["scores"]))
    scores = build.get("scores_of_the_onnx_file")
    return None if scores is None else StandIn("onnx", _typed(dict, scores))


def _failure(content: Mapping[str, Any], parity: Mapping[str, Any]) -> str | None:
    """Return the check that failed at the export; bmc 0.1 recorded it under `parity`."""
    failure = content.get("failure", parity.get("failed"))
    return None if failure is None else _typed(str, failure)


def _check_values(content: Mapping[str, Any]) -> None:
    """Check the ranges and types of all values whose paths are in RANGES and _TYPES."""
    for path, allowed in RANGES.items():
        for value in _at(content, path.split(".")):
            if isinstance(value, str) and path.endswith("shape.*"):
                continue  # the name of a dynamic axis
            if value not in allowed:
                kind = "a whole number" if allowed.whole else "a number"
                raise ValueError(
                    f"{path} is {value!r:.60}; it must be {kind} in "
                    f"{allowed.low:g}..{allowed.high:g}"
                )
    for path, expected in _TYPES.items():
        for value in _at(content, path.split(".")):
            if value is not None:
                _typed(expected, value)


def _at(value: Any, keys: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path; nothing where the path does not exist."""
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
    for entry in _typed(list, entries):
        name, dtype = (_typed(str, _typed(dict, entry)[key]) for key in ("name", "dtype"))
        shape = _typed(list, entry["shape"])
        if not all(type(size) in (int, str) for size in shape):
            raise TypeError(f"{name!r:.60} has sizes that are neither numbers nor names")
        _check_choice(f"dtype of {name!r:.60}", dtype, DTYPES)
        if len(shape) > _MAX_AXES:
            raise ValueError(f"{name!r:.60} has {len(shape)} axes; up to {_MAX_AXES} are possible")
        if math.prod(size for size in shape if isinstance(size, int)) > _MAX_ROW_VALUES:
            raise ValueError(f"a row of {name!r:.60} has more than {_MAX_ROW_VALUES} values")
        _check_texts((name, *(size for size in shape if isinstance(size, str))))
        tensors.append(TensorInfo(name, dtype, tuple(shape)))
    return tuple(tensors)


def _check_texts(texts: Sequence[str]) -> None:
    for text in texts:
        if len(text) > _MAX_TEXT_LENGTH:
            raise ValueError(f"{text!r:.60} has {len(text)} characters; {_MAX_TEXT_LENGTH} at most")


def _check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"the {what} is {value!r:.60}; possible: {', '.join(choices)}")


def _typed(kind: type[T], value: Any) -> T:
    """Return a JSON value, and check that it has exactly this type (True is not an int)."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.60} is not of type {kind.__name__}")
    return value


def _check_distinct(what: str, names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{what} are missing, or not distinct")
