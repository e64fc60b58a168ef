"""Does a bundle answer on this device as it did where it was made?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import bundle as bundles
from bmc import console, targets
from bmc.bundle import Bundle
from bmc.contracts import Runtime
from bmc.errors import ArtifactError, GateError, MissingError, StaleEngineError
from bmc.golden import GoldenRows
from bmc.pipeline import Pipeline
from bmc.precision import PRECISIONS
from bmc.targets import Arrays, RuntimeOptions

_ENCODED = 1e-4  # of an input's largest value: preprocessing is the same arithmetic everywhere


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Args:
        max_error: largest change of an output.
        allowed: by how much one may change.
        rows: raw golden rows that became the same tensors and got the same labels.
        execution: what the session runs with.
        version: of the run time, with its name.
        uncovered: what an older bundle has no hash or golden row for.
    """

    max_error: float
    allowed: float
    rows: int
    execution: dict[str, Any]
    version: str
    uncovered: tuple[str, ...]


def check(folder: Path, options: RuntimeOptions) -> Checked:
    """Compare a bundle's hashes, then what it makes of its golden rows and tensors.

    A TensorRT engine that was built for another version or GPU is rebuilt first.

    Raises:
        ArtifactError: the bundle is damaged, or its parts do not fit each other.
        GateError: it answers otherwise here, or failed its gate when it was made.
        MissingError: its run time is not here.
    """
    made = bundles.read(folder)
    console.note(f"{folder}: every file has its recorded sha256")
    if made.manifest.failure is not None:
        raise GateError(
            f"{folder} failed its gate when it was exported ({made.manifest.failure:.200})"
        )
    target = targets.load(made.manifest.target)
    here = target.available()
    if not here.devices:
        raise MissingError(f"{folder}: checksums are right, but it was not run: {here.note}")
    if target.rebuild is not None:
        made = _fresh(made, options, target, target.rebuild)
    _check_encoder(made)
    inputs, expected = made.golden()
    rows = made.golden_rows()
    if rows is not None:
        _check_tensors(made, rows, inputs)
    allowed = _allowed(made, expected)
    with Pipeline(made, options) as pipeline:
        outputs = pipeline.session.run(inputs)
        worst = _worst(made, outputs, expected)
        if not worst <= allowed:
            raise GateError(
                f"{folder} answers differently on this device: outputs change by up to "
                f"{worst:.2g}, allowed is {allowed:.2g}"
            )
        if rows is not None:
            _check_labels(made, rows, pipeline(list(rows.rows)), expected, allowed)
        execution = pipeline.session.execution
    version = f"{made.manifest.target} {here.version}"
    count = 0 if rows is None else len(rows.rows)
    return Checked(worst, allowed, count, execution, version, made.uncovered)


def _check_encoder(made: Bundle) -> None:
    """Check that preprocessing makes the tensors that the model takes."""
    makes = sorted(info.name for info in made.encoder.tensors())
    takes = sorted(info.name for info in made.manifest.inputs)
    if makes != takes:
        raise ArtifactError(
            f"bundle {made.path}: its preprocessing makes {', '.join(makes)}, its model takes "
            f"{', '.join(takes):.200}; export it again"
        )


def _check_tensors(made: Bundle, golden: GoldenRows, inputs: Arrays) -> None:
    """Check that raw rows become the recorded tensors."""
    encoded = made.encoder.encode(golden.rows)
    arrays = made.encoder.batch(encoded, range(len(golden.rows)))
    for name, expected in inputs.items():
        array = arrays[name]
        if array.shape != expected.shape:
            raise GateError(
                f"{made.path} reads rows differently here: {name} of its golden rows has shape "
                f"{array.shape}, recorded is {expected.shape}; export it again"
            )
        change = _change(array, expected)
        largest = max(1.0, float(np.abs(expected).max()))
        if not change <= (_ENCODED * largest if expected.dtype.kind == "f" else 0):
            raise GateError(
                f"{made.path} reads rows differently here: {name} of its golden rows changes by "
                f"up to {change:.2g}; its preprocessing is not the one it was made with"
            )


def _check_labels(
    made: Bundle, golden: GoldenRows, answers: list[Any], expected: Arrays, allowed: float
) -> None:
    """Check that raw rows get the recorded labels, where the two best are not too close."""
    outputs = expected[made.manifest.outputs[0].name]
    for row, label in enumerate(golden.labels):
        best = np.sort(outputs[row])[::-1]
        if len(best) > 1 and best[0] - best[1] <= 2 * allowed:
            continue
        if answers[row].label != label:
            raise GateError(
                f"{made.path} answers golden row {row + 1} with {answers[row].label!r:.60}, where "
                f"it was made with {label!r:.60}; export it again"
            )


def _worst(made: Bundle, outputs: Arrays, expected: Arrays) -> float:
    changes = []
    for name, array in expected.items():
        if outputs[name].shape != array.shape:
            raise ArtifactError(
                f"bundle {made.path}: golden {name} has shape {array.shape}, its model answers "
                f"{outputs[name].shape}; export it again"
            )
        changes.append(_change(outputs[name], array))
    return float(np.max(changes))  # NaN if one is: Python's own max would lose it


def _change(array: NDArray[Any], expected: NDArray[Any]) -> float:
    with np.errstate(all="ignore"):  # infinity minus infinity is NaN, which no limit allows
        return float(np.abs(array.astype(np.float64) - expected.astype(np.float64)).max())


def _allowed(made: Bundle, expected: Mapping[str, NDArray[Any]]) -> float:
    """Return by how much an output may change: of the scale at the export, if it is recorded."""
    share = PRECISIONS[made.manifest.precision].device_tolerance
    scale = made.manifest.parity.get("scale")
    if isinstance(scale, float) and 0 < scale < math.inf:
        return share * scale
    return share * max(1.0, *(float(np.abs(array).max()) for array in expected.values()))


def _fresh(
    made: Bundle, options: RuntimeOptions, target: Runtime, rebuild: Callable[[Bundle], Bundle]
) -> Bundle:
    """Return a bundle that its run time loads here: itself, or made anew from its source file."""
    try:
        with target.load(made, options):
            return made
    except StaleEngineError as error:
        console.note(f"{error}; rebuilding from its ONNX file")
    return rebuild(made)
