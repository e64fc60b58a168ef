"""Check that a bundle gives the same outputs on this device as on the machine that exported it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bmc import bundle as bundles
from bmc import console, targets
from bmc.bundle import Bundle
from bmc.contracts import Runtime
from bmc.contracts.tasks import task
from bmc.deviation import allowed_change, cause_of, change_of, largest_change
from bmc.errors import ArtifactError, GateError, MissingError, StaleEngineError, UsageError
from bmc.golden import GoldenRows
from bmc.inputs import OutputRows
from bmc.label_names import SEPARATOR
from bmc.measure.scores import relative_to
from bmc.pipeline import Pipeline
from bmc.targets import Arrays, RuntimeOptions

# Share of an input's largest value. Preprocessing does the same arithmetic on every machine: only
# the rounding of floats may differ.
_INPUT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class CheckResult:
    """What the check of a bundle measured.

    Args:
        max_error: largest absolute change of an output value.
        allowed: largest absolute change that passes.
        rows: number of raw golden rows that were encoded to the same tensors and got the same
            labels.
        execution: device, threads and precision of the session.
        version: name and version of the runtime.
        uncovered: messages about what could not be checked, because an older bundle has no hash or
            no golden rows for it.
    """

    max_error: float
    allowed: float
    rows: int
    execution: dict[str, Any]
    version: str
    uncovered: tuple[str, ...]


def check(folder: Path, options: RuntimeOptions) -> CheckResult:
    """Compare a bundle's hashes, then its inputs and outputs for its golden rows.

    A TensorRT engine that was built for another version or GPU is rebuilt first.

    Args:
        folder: the bundle's folder, or the packed bundle.
        options: threads and precision of the runtime.

    Raises:
        UsageError: the bundle is packed, and its engine may have to be rebuilt.
        ArtifactError: the bundle is damaged, or its parts do not fit each other.
        GateError: its outputs on this device differ by more than its precision allows, or it failed
            its parity, accuracy or speed check when it was exported.
        MissingError: its runtime is not installed, or the device that it needs is missing.
    """
    bundle = bundles.read(folder)
    console.note(f"{folder}: every file has its recorded sha256")
    if bundle.manifest.failure is not None:
        message = f"{folder} failed a check when it was exported ({bundle.manifest.failure:.200})"
        raise GateError(message, "export")
    target = targets.load(bundle.manifest.target)
    runtime = target.available()
    if not runtime.devices:
        raise MissingError(f"{folder}: checksums are right, but it was not run: {runtime.note}")
    if target.rebuild is not None:
        if bundle.archive is not None:
            raise UsageError(
                f"{folder}: the engine of a packed bundle cannot be rebuilt for this device; "
                f"bmc unpack {folder}, and check the folder"
            )
        bundle = _loadable(bundle, options, target, target.rebuild)
    _check_encoder(bundle)
    inputs, expected = bundle.golden()
    rows = bundle.golden_rows()
    if rows is not None:
        _check_tensors(bundle, rows, inputs)
    allowed = allowed_change(bundle, expected)
    with Pipeline(bundle, options) as pipeline:
        outputs = pipeline.session.run(inputs)
        change = largest_change(bundle, outputs, expected)
        version = f"{bundle.manifest.target} {runtime.version}"
        count = 0 if rows is None else len(rows.rows)
        execution = pipeline.session.execution
        checked = CheckResult(change, allowed, count, execution, version, bundle.uncovered)
        if not change <= allowed:
            message = (
                f"{folder} has other outputs on this device: they change by up to {change:.2g}; "
                f"allowed is {allowed:.2g}{cause_of(bundle)}"
            )
            raise GateError(message, "parity", checked)
        if rows is not None:
            _check_labels(pipeline, rows, expected, checked)
    mobile = bundle.in_mobile_format()
    if mobile is None:
        return checked
    with target.load(mobile, options) as session:
        change = largest_change(bundle, session.run(inputs), expected)
    checked = replace(checked, max_error=max(checked.max_error, change))
    if not change <= allowed:
        message = (
            f"{folder}: its model for mobile devices, {mobile.manifest.model}, has other outputs "
            f"on this device: they change by up to {change:.2g}; allowed is {allowed:.2g}"
            f"{cause_of(bundle)}"
        )
        raise GateError(message, "parity", checked)
    return checked


def _check_encoder(bundle: Bundle) -> None:
    """Check that the encoder returns the tensors that the model takes."""
    encoded = sorted(info.name for info in bundle.encoder.tensors())
    inputs = sorted(info.name for info in bundle.manifest.inputs)
    if encoded != inputs:
        raise ArtifactError(
            f"bundle {bundle.path}: its preprocessing makes {', '.join(encoded)}, its model takes "
            f"{', '.join(inputs):.200}; export it again"
        )


def _check_tensors(bundle: Bundle, golden: GoldenRows, inputs: Arrays) -> None:
    """Check that the encoder turns the raw golden rows into the recorded tensors."""
    encoded = bundle.encoder.encode(golden.rows)
    arrays = bundle.encoder.batch(encoded, range(len(golden.rows)))
    for name, expected in inputs.items():
        array = arrays[name]
        if array.shape != expected.shape:
            message = (
                f"{bundle.path}: preprocessing differs on this device: {name} of the golden rows "
                f"have shape {array.shape}, and the bundle records shape {expected.shape}; export "
                "it again"
            )
            raise GateError(message, "preprocessing")
        change = change_of(array, expected)
        largest = max(1.0, float(np.abs(expected).max()))
        if not change <= (_INPUT_TOLERANCE * largest if expected.dtype.kind == "f" else 0):
            message = (
                f"{bundle.path}: preprocessing differs on this device: {name} of the golden rows "
                f"change by up to {change:.2g}; export it again"
            )
            raise GateError(message, "preprocessing")


def _check_labels(
    pipeline: Pipeline, golden: GoldenRows, expected: Arrays, result: CheckResult
) -> None:
    """Check that the raw golden rows get the recorded labels.

    A label is skipped where allowed changes of its outputs can change the prediction.
    """
    bundle, rows = pipeline.bundle, list(golden.rows)
    manifest, described = bundle.manifest, task(bundle.manifest.task)
    predictions = pipeline(rows)
    if described.classes is None:
        return
    encoded, indices = bundle.encoder.encode(rows), range(len(rows))
    places = OutputRows(bundle.encoder, encoded)
    outputs = places.selected(expected[manifest.outputs[0].name], indices)
    margins = described.classes.margin(relative_to(outputs, manifest.thresholds))
    if described.of_words or manifest.reject_below is not None:  # golden rows have labels all
        outputs_now = pipeline.outputs(rows)
        predictions = described.predictions(outputs_now, manifest.labels, manifest.thresholds)
    for row, label in enumerate(golden.labels):
        of_row = places.at([row])
        labels = label.split(SEPARATOR) if described.of_words else [label]
        if len(labels) != len(of_row):
            raise ArtifactError(
                f"bundle {bundle.path}: golden row {row + 1} has {len(labels)} labels, and its "
                f"text has {len(of_row)} words; export it again"
            )
        for index, recorded in zip(of_row, labels, strict=True):
            predicted = described.classes.written(predictions[index])
            if margins[index] > result.allowed and predicted != recorded:
                message = (
                    f"{bundle.path} predicts {predicted!r:.60} for golden row {row + 1}; "
                    f"it predicted {recorded!r:.60} when it was exported; export it again"
                )
                raise GateError(message, "parity", result)


def _loadable(
    bundle: Bundle, options: RuntimeOptions, target: Runtime, rebuild: Callable[[Bundle], Bundle]
) -> Bundle:
    """Return the bundle if its runtime can load it on this device, else the rebuilt bundle."""
    try:
        with target.load(bundle, options):
            return bundle
    except StaleEngineError as error:
        console.note(f"{error}; rebuilding from its ONNX file")
    return rebuild(bundle)
