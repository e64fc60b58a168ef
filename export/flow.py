"""The way from a model directory to a bundle: write, verify, time, publish.

Each step takes what the one before returned. That a bundle is out of limits or slower is a value,
which `publish` writes into the manifest; errors are for what cannot be done at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bmc import bundle, console, targets
from bmc.bundle import Bundle, Manifest
from bmc.contracts import Exporter
from bmc.contracts.targets import dialect_of, exporter_of, format_of
from bmc.errors import ArtifactError, BmcError, ExportError, GateError, MissingError
from bmc.export import parity, speed
from bmc.export.manifests import manifest_of
from bmc.export.source import Source
from bmc.golden import GoldenRows, portable
from bmc.inference.form import inference_form
from bmc.inspect.executed import counted
from bmc.manifest import StandIn
from bmc.measure import scores
from bmc.measure.scores import Interval
from bmc.model import output_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.training.custom import custom_score
from bmc.writing import new_folder, scratch

_GOLDEN_ROWS = 4
_BATCH = 32
_SAME = 1e-4  # of the largest output: two sessions may sum in another order


@dataclass(frozen=True)
class Draft:
    """What an exporter wrote, before anything is known of its answers.

    Args:
        bundle: the folder, and a manifest that is not on disk yet.
        source: the model as it fits the target.
        exporter: of the target.
    """

    bundle: Bundle
    source: Source
    exporter: Exporter


@dataclass(frozen=True)
class Verified:
    """How a bundle's answers to the held-out rows compare with PyTorch's.

    Args:
        parity: the figures of the comparison; see `bmc.export.parity`.
        scores: of the held-out rows, computed from the bundle's answers.
        stand_in: the run time that answered in the target's place, where the target could not run.
        failure: which limit is broken; None where none is.
    """

    parity: dict[str, Any]
    scores: dict[str, Any]
    stand_in: str | None
    failure: str | None


@dataclass(frozen=True)
class Timed:
    """What a quantized bundle executes, and its speed over its fp32 export.

    Args:
        executed: operator, precision and count of what is multiplied; None where it was not asked.
        over_fp32: how many times faster; None where it was not measured.
        failure: why the bundle is refused as slower; None where it is not.
    """

    executed: list[tuple[str, str, int]] | None = None
    over_fp32: Interval | None = None
    failure: str | None = None


def export(source: Source, target: str, output: Path, force: bool) -> Bundle:
    """Export to one target: write, compare with PyTorch, score, time, and keep as a bundle.

    Raises:
        GateError: the bundle's answers are out of limits, or it is slower than in fp32; it is kept
            as `output`.failed.
        UsageError: the target cannot execute the model.
        ExportError: the target's run time cannot run what was exported to it.
    """
    source.check(target)
    with new_folder(output, force) as folder:
        draft = write(source, target, folder)
        try:
            verified = verify(draft)
            timed = Timed() if verified.failure else time(draft)
        except ArtifactError as error:
            raise ExportError(f"{target} cannot run what was exported to it: {error}") from error
        publish(draft, verified, timed)
        if failure := verified.failure or timed.failure:
            kept = output.with_name(f"{output.name}.failed")
            with new_folder(kept, force=True) as copy:
                shutil.copytree(folder, copy, dirs_exist_ok=True)
            raise GateError(f"{target}: {failure}. Kept as {kept} for inspection")
        _check_reloaded(folder, output)
    return bundle.read(output)


def write(source: Source, target: str, folder: Path) -> Draft:
    """Write the model in the target's format, and what turns raw rows into its inputs."""
    exporter = exporter_of(target)
    source = source.fit_for(target)
    written = exporter.write(source, folder, source.options)
    source.model.encoder.save(folder)
    return Draft(Bundle(folder, manifest_of(source, target, written)), source, exporter)


def verify(draft: Draft) -> Verified:
    """Run a draft on the held-out rows; compare its answers with PyTorch's, and score them.

    The golden rows and the answers to the held-out rows are written beside the model.
    """
    running = _runnable(draft.bundle)
    source, task = draft.source, draft.source.model.task
    with Pipeline(running, RuntimeOptions()) as pipeline:
        _write_golden(draft.bundle, pipeline, source)
        elsewhere = _other_shapes(pipeline, source)
        rows = source.rows
        text = f"{draft.bundle.manifest.target}'s answers"
        with console.progress(text, len(rows)) as advance:
            logits = pipeline.outputs(rows, _BATCH, advance)
    evaluation = draft.bundle.path / bundle.EVALUATION
    np.savez_compressed(evaluation, logits=logits, labels=source.labels)
    measured = parity.compare(logits, source.reference, source.labels, task)
    scale = parity.scale_of(source.reference, task)
    failure = None
    try:
        parity.check(measured, draft.bundle.manifest.precision, scale, elsewhere)
    except GateError as error:
        failure = str(error)
    target = running.manifest.target
    figures = {**measured.to_json(), "max_error_other_shapes": elsewhere, "scale": scale}
    return Verified(
        _finite(figures) if failure else figures,
        {} if failure else _scores(logits, source),
        target if target != draft.bundle.manifest.target else None,
        failure,
    )


def time(draft: Draft) -> Timed:
    """Say what a quantized draft executes, and time it against its fp32 export.

    It is timed as a bundle of its own, in another folder: its own manifest is written last.
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
        # PyTorch computes quantized values in float: there is nothing to gain.
        is_reference = format_of(manifest.target).is_reference
        if is_reference or not targets.load(manifest.target).available().devices:
            return Timed(counted(executed))
        measured = speed.over_fp32(trial, exporter, draft.source)
    failure = None
    if not draft.source.options.allow_slower:
        try:
            speed.refuse_slower(measured, executed, manifest.precision)
        except GateError as error:
            failure = str(error)
    return Timed(counted(executed), measured.ratio, failure)


def publish(draft: Draft, verified: Verified, timed: Timed) -> Manifest:
    """Write the manifest: what was exported, what was found of it, and why it failed if it did."""
    manifest = draft.bundle.manifest
    build = dict(manifest.build)
    if timed.executed is not None:
        build["executed"] = timed.executed
    if timed.over_fp32 is not None:
        build["over_fp32"] = asdict(timed.over_fp32)
    stand_in = StandIn(verified.stand_in, verified.scores) if verified.stand_in else None
    manifest = replace(
        manifest,
        parity=verified.parity,
        scores={} if stand_in else verified.scores,
        stand_in=stand_in,
        failure=verified.failure or timed.failure,
        build=build,
    )
    bundle.write(draft.bundle.path, manifest)
    return manifest


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that JSON can hold: a failed bundle may answer with NaN."""
    return {name: value for name, value in figures.items() if value is None or isfinite(value)}


def _link(source: str, copy: str) -> None:
    """Give a file a second name; where the folders lie on two disks, copy it."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copyfile(source, copy)


def _scores(logits: NDArray[np.float32], source: Source) -> dict[str, Any]:
    model = source.model
    made = scores.of_task(model.task, logits, source.labels, custom_score(model))
    return {"rows": len(source.labels), **made}


def _check_reloaded(folder: Path, output: Path) -> None:
    """Load what was written, in fresh objects, and let it answer its golden rows.

    Raises:
        ArtifactError: it cannot be loaded, or it answers otherwise; nothing is kept.
    """
    try:
        running = _runnable(bundle.read(folder))
        inputs, expected = running.golden()
        with targets.load(running.manifest.target).load(running, RuntimeOptions()) as session:
            answers = session.run(inputs)
    except BmcError as error:
        reason = str(error).replace(str(folder), str(output))
        raise ArtifactError(
            f"{output} was not written: the bundle could not be loaded ({reason})"
        ) from error
    for name, array in expected.items():
        allowed = _SAME * max(1.0, float(np.abs(array).max(initial=0)))
        if not np.allclose(answers[name], array, rtol=0, atol=allowed, equal_nan=True):
            raise ArtifactError(
                f"{output} was not written: loaded again, the bundle answers otherwise ({name})"
            )


def _runnable(made: Bundle) -> Bundle:
    """Return what can run here: the bundle, or, for an engine without a GPU, its ONNX file.

    Raises:
        MissingError: neither can.
    """
    here = targets.load(made.manifest.target).available()
    if here.devices:
        return made
    described = format_of(made.manifest.target)
    for stand_in in described.stand_ins:
        dialect = dialect_of(stand_in)
        if dialect is None or made.manifest.precision not in dialect.unsupported:
            manifest = replace(made.manifest, target=stand_in, model=described.source)
            return Bundle(made.path, manifest)
    raise MissingError(f"{made.manifest.target} runs on no device here: {here.note}")


def _write_golden(made: Bundle, pipeline: Pipeline, source: Source) -> None:
    encoder = pipeline.bundle.encoder
    count = min(_GOLDEN_ROWS, made.manifest.build.get("max_batch", _GOLDEN_ROWS))
    # Golden rows are validation's: a bundle travels, and the test split should not.
    given = range(count) if source.model.task == "generation" else source.data.validation.rows
    rows = [portable(row) for row in given[:count]]
    arrays = encoder.batch(encoder.encode(rows), range(len(rows)))
    outputs = pipeline.session.run(arrays)
    labels: list[str] = []
    if source.model.task == "classification":
        best = outputs[made.manifest.outputs[0].name].argmax(axis=1)
        labels = [made.manifest.labels[place] for place in best]
    golden = GoldenRows(rows, labels)
    bundle.write_golden(made.path / bundle.GOLDEN, arrays, outputs, golden)


def _other_shapes(pipeline: Pipeline, source: Source) -> float:
    """Return the largest error at shapes that the tracer has not seen."""
    form = inference_form(source.model)
    most_rows = pipeline.bundle.manifest.build.get("max_batch", _BATCH)
    name = source.model.outputs()[0].name
    errors = []
    for arrays in source.model.encoder.probes(most_rows):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            expected = output_of(form, tensors).numpy()
        errors.append(np.abs(pipeline.session.run(arrays)[name] - expected).max())
    return float(np.max(errors))  # NaN if one is: Python's own max would lose it
