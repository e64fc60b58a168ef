"""The steps from a model directory to a bundle: write, verify, time, publish.

Each step takes the result of the previous step. A bundle that breaks a parity limit or is slower
than fp32 is a value (`failure`), which `publish` writes into the manifest. Errors are raised only
where a step cannot be done at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bmc import bundle, console, deviation, targets
from bmc.bundle import Bundle, Manifest
from bmc.contracts import Exporter
from bmc.contracts.targets import dialect_of, exporter_of, format_of
from bmc.contracts.tasks import EMBEDDING
from bmc.contracts.tasks import task as task_of
from bmc.errors import ArtifactError, BmcError, ExportError, GateError, MissingError
from bmc.export import parity, rejecting, speed
from bmc.export.manifests import manifest_of
from bmc.export.source import Source
from bmc.golden import GoldenRows, most_rows, portable
from bmc.inference.form import inference_form
from bmc.inputs import Aligned, Encoder, Many, OutputRows
from bmc.inputs.audio import AudioEncoder
from bmc.inspect.executed import Executed, counted
from bmc.label_names import SEPARATOR
from bmc.manifest import StandIn
from bmc.measure import machine, scores
from bmc.measure.scores import Interval, relative_to
from bmc.model import output_of
from bmc.pipeline import Pipeline
from bmc.precision import PRECISIONS
from bmc.targets import RuntimeOptions
from bmc.training.custom import custom_score
from bmc.training.work import joined
from bmc.writing import new_folder, scratch

_GOLDEN_ROWS = 4
_BATCH = 32
_RANGE_ROWS = 2_000  # texts from which the ranges of vectors are taken, where there are as many
_RELOAD_TOLERANCE = 1e-4  # of the largest output: two sessions may sum in a different order


@dataclass(frozen=True)
class Draft:
    """A bundle that an exporter wrote, before it is verified.

    Args:
        bundle: the folder, and a manifest that is not on disk yet.
        source: the model with the zero points that the target accepts.
        original: the source that all targets share.
        exporter: the target's exporter.
    """

    bundle: Bundle
    source: Source
    original: Source
    exporter: Exporter


@dataclass(frozen=True)
class Verified:
    """Result of comparing a bundle's outputs on the held-out rows with PyTorch's.

    Args:
        parity: the figures of the comparison; see `bmc.export.parity`.
        scores: scores of the bundle on the held-out rows.
        stand_in: target that ran the bundle's source file because the bundle's own target has no
            device here; None where the bundle's own target ran.
        failure: message about the broken limit; None where no limit is broken.
        reject_below: probability below which a row gets no label; None where every row gets one.
    """

    parity: dict[str, Any]
    scores: dict[str, Any]
    stand_in: str | None
    failure: str | None
    reject_below: float | None = None


@dataclass(frozen=True)
class Timed:
    """The operators that a quantized bundle executes, and its speed relative to its fp32 export.

    Args:
        executed: operator, precision and count of the multiplications; None for an fp32 bundle.
        over_fp32: latency of the fp32 export over latency of the bundle; None if not measured.
        failure: message for a bundle that is refused as slower than fp32; None otherwise.
        warnings: what a caller must know of a bundle that is not refused.
        p50_ms: median latency of the bundle in milliseconds; None if not measured.
    """

    executed: list[tuple[str, str, int]] | None = None
    over_fp32: Interval | None = None
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    p50_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest records under `build`, without the warnings."""
        facts: dict[str, Any] = {}
        if self.executed is not None:
            facts["executed"] = self.executed
        if self.over_fp32 is not None:
            described = machine.describe()
            facts["over_fp32"] = asdict(self.over_fp32)
            facts["machine"] = {name: described[name] for name in machine.HARDWARE}
        if self.p50_ms is not None:
            facts["p50_ms"] = self.p50_ms
        return facts


def export(source: Source, target: str, output: Path, force: bool) -> Bundle:
    """Export a model to one target: write, compare with PyTorch, score, time, and publish.

    Raises:
        GateError: the bundle breaks a parity limit, or is slower than its fp32 export; the bundle
            is kept as `output`.failed.
        UsageError: the target cannot execute the model.
        ExportError: the target's runtime cannot run the exported file.
    """
    source.check(target)
    with new_folder(output, force) as folder:
        draft = write(source, target, folder)
        try:
            verified = verify(draft)
            timed = Timed() if verified.failure else time(draft)
        except ArtifactError as error:
            raise ExportError(f"{target} cannot run the exported model: {error}") from error
        publish(draft, verified, timed)
        if failure := verified.failure or timed.failure:
            check = "parity" if verified.failure else "speed"
            raise keep_failed(folder, output, f"{target}: {failure}", check)
        check_reloaded(folder, output)
    return bundle.read(output)


def keep_failed(folder: Path, output: Path, reason: str, check: str) -> GateError:
    """Keep a bundle that failed a check as NAME.failed, and return the error.

    Args:
        folder: the bundle, with its manifest.
        output: path of the bundle, had it passed.
        reason: the target, and the check that failed.
        check: name of the check; see `GateError`.
    """
    failed = output.with_name(f"{output.name}.failed")
    with new_folder(failed, force=True) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    kept = bundle.read(failed)
    if check != "speed":
        reason += deviation.cause_of(kept)
    return GateError(f"{reason}. Kept as {failed} for inspection", check, kept)


def write(source: Source, target: str, folder: Path) -> Draft:
    """Write the model in the target's format, and the encoder that turns raw rows into inputs."""
    exporter = exporter_of(target)
    adapted = source.adapted_to(target)
    written = exporter.write(adapted, folder, adapted.options)
    adapted.model.encoder.save(folder)
    draft = Bundle(folder, manifest_of(adapted, target, written))
    return Draft(draft, adapted, source, exporter)


def verify(draft: Draft) -> Verified:
    """Run a draft on the held-out rows, compare its outputs with PyTorch's, and score them.

    The golden rows and the outputs on the held-out rows are written next to the model.
    """
    runnable = as_runnable(draft.bundle)
    source, task = draft.source, draft.source.model.task
    with Pipeline(runnable, RuntimeOptions()) as pipeline:
        _write_golden(draft.bundle, pipeline, source)
        probe_error = _error_at_other_shapes(pipeline, source)
        rows = source.rows
        text = f"running {draft.bundle.manifest.target}"
        with console.progress(text, len(rows)) as advance:
            logits = pipeline.outputs(rows, _BATCH, advance)
        if task == EMBEDDING:
            _write_ranges(draft.bundle, pipeline, source)
        reject_below = rejecting.threshold_of(pipeline, source, _BATCH)
    evaluation = draft.bundle.path / bundle.EVALUATION
    np.savez_compressed(evaluation, logits=logits, labels=source.labels)
    thresholds = source.model.thresholds
    relative, expected = (relative_to(each, thresholds) for each in (logits, source.reference))
    comparison = parity.compare(relative, expected, source.labels, task, source.model.labels)
    scale = parity.scale_of(source.reference, task)
    failure = None
    try:
        precision = draft.bundle.manifest.precision
        parity.check_reference(source.reference)
        parity.check(comparison, precision, scale, probe_error, task, source.model.labels)
    except GateError as error:
        failure = str(error)
    target = runnable.manifest.target
    rejected = rejecting.scores_of(source, logits, reject_below)
    figures = {**comparison.to_json(), "max_error_other_shapes": probe_error, "scale": scale}
    return Verified(
        finite(figures) if failure else figures,
        {} if failure else _scores(logits, source) | rejected,
        target if target != draft.bundle.manifest.target else None,
        failure,
        reject_below,
    )


def time(draft: Draft) -> Timed:
    """List the operators that a quantized draft executes, and time it against its fp32 export.

    A copy of the draft in a scratch folder is timed, since timing needs a manifest on disk and the
    draft's manifest is written last.
    """
    manifest, exporter = draft.bundle.manifest, draft.exporter
    if manifest.precision == "fp32":
        return Timed()
    with scratch() as work:
        folder = work / "quantized"
        shutil.copytree(draft.bundle.path, folder, copy_function=_link)
        bundle.write(folder, manifest)
        trial = bundle.read(folder)
        executed = exporter.executed(trial)
        # PyTorch computes quantized models in float: no speed-up is expected.
        is_reference = format_of(manifest.target).is_reference
        if is_reference or not targets.load(manifest.target).available().devices:
            return Timed(counted(executed))
        measured = speed.over_fp32(trial, exporter, draft.original.in_fp32)
    return judged(measured, executed, manifest.precision, draft.source.options.allow_slower)


def judged(
    measured: speed.Speed, executed: Sequence[Executed], precision: str, allow_slower: bool
) -> Timed:
    """Return a quantized bundle's speed, as a failure if the bundle is slower than in fp32.

    Args:
        measured: its speed.
        executed: the operators that it executes.
        precision: its precision.
        allow_slower: whether a slower bundle is no failure.
    """
    failure = None
    if not allow_slower:
        try:
            speed.refuse_slower(measured, executed, precision)
        except GateError as error:
            failure = str(error)
    doubt = speed.doubt_of(measured.ratio, precision)
    warnings = (doubt,) if doubt else ()
    return Timed(counted(executed), measured.ratio, failure, warnings, measured.p50)


def publish(draft: Draft, verified: Verified, timed: Timed) -> Manifest:
    """Write the manifest, with parity, scores, speed and the failure if there is one."""
    manifest = draft.bundle.manifest
    build = {**manifest.build, **timed.to_json()}
    if timed.warnings:
        build["warnings"] = list(timed.warnings)
    stand_in = StandIn(verified.stand_in, verified.scores) if verified.stand_in else None
    manifest = replace(
        manifest,
        parity=verified.parity,
        scores={} if stand_in else verified.scores,
        stand_in=stand_in,
        failure=verified.failure or timed.failure,
        reject_below=verified.reject_below,
        build=build,
    )
    bundle.write(draft.bundle.path, manifest)
    return manifest


def finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the finite figures: a failed bundle may output NaN, which JSON cannot hold."""
    return {name: value for name, value in figures.items() if value is None or isfinite(value)}


def _link(source: str, copy: str) -> None:
    """Hard-link a file; copy it where the folders are on different disks."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copyfile(source, copy)


def _scores(logits: NDArray[np.float32], source: Source) -> dict[str, Any]:
    model = source.model
    custom = custom_score(model)
    own_scores = scores.of_task(
        *(model.task, logits, source.labels, custom, model.thresholds), names=model.labels
    )
    return {"rows": len(source.labels), **own_scores}


def check_reloaded(folder: Path, output: Path) -> None:
    """Load the written bundle in a new session, and compare its outputs on the golden rows.

    The model for mobile devices, if there is one, may differ as much as another device may.

    Raises:
        ArtifactError: the bundle cannot be loaded, or its outputs differ; nothing is kept.
    """
    try:
        runnable = as_runnable(bundle.read(folder))
        _check_golden(runnable, _RELOAD_TOLERANCE)
        mobile = runnable.in_mobile_format()
        if mobile is not None:
            _check_golden(mobile, PRECISIONS[mobile.manifest.precision].device_tolerance)
    except BmcError as error:
        reason = str(error).replace(str(folder), str(output))
        raise ArtifactError(f"{output} was not written: {reason}") from error


def _check_golden(runnable: Bundle, tolerance: float) -> None:
    """Compare the outputs of a bundle's model for its golden rows with those in the bundle.

    Args:
        runnable: the bundle.
        tolerance: allowed change of an output, relative to the scale of the outputs.

    Raises:
        ArtifactError: the model cannot be loaded, or an output differs.
    """
    inputs, expected = runnable.golden()
    try:
        with targets.load(runnable.manifest.target).load(runnable, RuntimeOptions()) as session:
            outputs = session.run(inputs)
    except BmcError as error:
        raise ArtifactError(f"the bundle could not be loaded ({error})") from error
    change = deviation.largest_change(runnable, outputs, expected)
    allowed = tolerance * deviation.scale_of(runnable, expected)
    if not change <= allowed:  # NaN is not
        raise ArtifactError(
            f"loaded again, the outputs of {runnable.manifest.model} differ by up to {change:.2g}; "
            f"allowed is {allowed:.2g}"
        )


def as_runnable(exported: Bundle) -> Bundle:
    """Return a bundle that can run here: the bundle itself, or its source file on a stand-in.

    For example, the ONNX file of a TensorRT engine runs in ONNX Runtime where there is no GPU.

    Raises:
        MissingError: neither the target nor a stand-in can run the bundle.
    """
    availability = targets.load(exported.manifest.target).available()
    if availability.devices:
        return exported
    target_format = format_of(exported.manifest.target)
    for stand_in in target_format.stand_ins:
        dialect = dialect_of(stand_in)
        if dialect is None or exported.manifest.precision not in dialect.unsupported:
            manifest = replace(exported.manifest, target=stand_in, model=target_format.source)
            return Bundle(exported.path, manifest)
    raise MissingError(f"{exported.manifest.target} runs on no device here: {availability.note}")


def _write_golden(exported: Bundle, pipeline: Pipeline, source: Source) -> None:
    encoder = pipeline.bundle.encoder
    count = min(_GOLDEN_ROWS, exported.manifest.build.get("max_batch", _GOLDEN_ROWS))
    # Golden rows come from the validation split: bundles are passed on, and the test split must
    # not be passed on with them.
    candidates = source.data.validation.rows if source.model.has_labels else range(count)
    samples = encoder.settings.samples if isinstance(encoder, AudioEncoder) else None
    inputs = len(exported.manifest.inputs)
    arrays_of_row = inputs if encoder.kind == "array" else 1
    room = most_rows(inputs, len(exported.manifest.outputs), arrays_of_row)
    candidates = _read_at_once(candidates, encoder)[: min(count, room)]
    rows = [portable(row, encoder.kind, samples) for row in candidates]
    encoded, indices = encoder.encode(rows), range(len(rows))
    arrays = encoder.batch(encoded, indices)
    outputs = pipeline.session.run(arrays)
    labels: list[str] = []
    task = task_of(source.model.task)
    if task.classes:
        first_output = outputs[exported.manifest.outputs[0].name]
        manifest = exported.manifest
        places = OutputRows(encoder, encoded)
        selected = places.selected(first_output, indices)
        predictions = task.predictions(selected, manifest.labels, manifest.thresholds)
        written = [  # a row whose outputs are not finite has none, and fails the parity check
            "" if prediction is None else task.classes.written(prediction)
            for prediction in predictions
        ]
        labels = [SEPARATOR.join(written[index] for index in places.at([row])) for row in indices]
    golden = GoldenRows(rows, labels)
    bundle.write_golden(exported.path / bundle.GOLDEN, arrays, outputs, golden)


def _read_at_once(rows: Many, encoder: Encoder) -> Many:
    """Return the first rows of words that need no second window; all rows of other kinds.

    The golden labels of a row are then those of all its words.
    """
    if not isinstance(encoder, Aligned):
        return rows
    first = rows[: 16 * _GOLDEN_ROWS]
    return [row for row in first if len(encoder.encode([row])) == 1] or first


def _write_ranges(exported: Bundle, pipeline: Pipeline, source: Source) -> None:
    """Write the least and the largest value of each number of the vectors of some texts.

    They are the validation texts, and training texts where these are few.
    """
    validation, train = source.data.validation.rows, source.data.train.rows
    rows = joined(validation, train[: max(0, _RANGE_ROWS - len(validation))])
    vectors = pipeline.outputs(rows, _BATCH)
    ranges = np.stack([vectors.min(axis=0), vectors.max(axis=0)])
    np.savez(exported.path / bundle.RANGES, ranges=ranges)


def _error_at_other_shapes(pipeline: Pipeline, source: Source) -> float:
    """Return the largest change of an output at input shapes that were not traced."""
    form = inference_form(source.model)
    max_rows = pipeline.bundle.manifest.build.get("max_batch", _BATCH)
    name = source.model.outputs()[0].name
    errors = []
    for arrays in source.model.encoder.probes(max_rows):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            expected = output_of(form, tensors).numpy()
        errors.append(np.abs(pipeline.session.run(arrays)[name] - expected).max())
    return float(np.max(errors))  # NaN if any error is NaN, unlike Python's max
