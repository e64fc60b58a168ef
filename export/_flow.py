"""The way from a model directory to a bundle that is proven to answer the same."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from bmc import bundle, console, plugins, targets
from bmc.bundle import Bundle, Manifest
from bmc.compress.quantize._form import form_of
from bmc.errors import ArtifactError, BmcError, ExportError, GateError
from bmc.export import Exporter, _parity, _speed, dialects
from bmc.export._manifest import manifest_of
from bmc.export._source import Source
from bmc.golden import GoldenRows, portable
from bmc.inspect.executed import counted
from bmc.measure import scores
from bmc.model import output_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.writing import new_folder

_GOLDEN_ROWS = 4
_BATCH = 32
_SAME = 1e-4  # of the largest output: two sessions may sum in another order


def export(source: Source, target: str, output: Path, force: bool) -> Bundle:
    """Export to one target: write, compare with PyTorch, score, and keep as a bundle.

    Raises:
        GateError: the bundle's answers are out of limits; it is kept as `output`.failed.
        UsageError: the target cannot execute the model.
    """
    source.check(target)
    exporter = plugins.load("bmc.export", target, "target")
    source = source.fit_for(target)
    with new_folder(output, force) as folder:
        written = exporter.write(source, folder, source.options)
        source.model.encoder.save(folder)
        failure: GateError | None = None
        manifest = manifest_of(source, target, written)
        try:
            manifest = _prove(Bundle(folder, manifest), source)
            bundle.write(folder, manifest)
            if manifest.precision != "fp32":
                manifest = _timed(bundle.read(folder), exporter, source)
        except ArtifactError as error:
            raise ExportError(f"{target} cannot run what was exported to it: {error}") from error
        except GateError as error:
            failure = error
            manifest = replace(manifest, parity={"failed": str(error)})
        bundle.write(folder, manifest)
        if failure:
            kept = output.with_name(f"{output.name}.failed")
            with new_folder(kept, force=True) as copy:
                shutil.copytree(folder, copy, dirs_exist_ok=True)
            raise GateError(f"{target}: {failure}. Kept as {kept} for inspection")
        _check_reloaded(folder, output)
    return bundle.read(output)


def _check_reloaded(folder: Path, output: Path) -> None:
    """Load what was written, in fresh objects, and let it answer its golden rows.

    Raises:
        ArtifactError: it cannot be loaded, or it answers otherwise; nothing is kept.
    """
    try:
        running, _ = _runnable(bundle.read(folder))
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


def _timed(made: Bundle, exporter: Exporter, source: Source) -> Manifest:
    """Return a quantized bundle's manifest with what it executes, and its speed over fp32.

    Raises:
        GateError: it is slower.
    """
    manifest = made.manifest
    executed = exporter.executed(made)
    build = {**manifest.build, "executed": counted(executed)}
    # PyTorch puts numbers on their grid and multiplies in float: there is nothing to win.
    if manifest.target != "pytorch" and targets.load(manifest.target).available().devices:
        found = _speed.over_fp32(made, exporter, source.in_fp32, manifest_of)
        build["over_fp32"] = asdict(found.ratio)
        if not source.options.allow_slower:
            _speed.refuse_slower(found, executed, manifest.precision)
    return replace(manifest, build=build)


def _prove(made: Bundle, source: Source) -> Manifest:
    """Run the bundle on real rows; return its manifest with parity and scores."""
    running, stand_in = _runnable(made)
    with Pipeline(running, RuntimeOptions()) as pipeline:
        _write_golden(made, pipeline, source)
        worst = _other_shapes(pipeline, source)
        rows = source.rows
        with console.progress(f"{made.manifest.target}'s answers", len(rows)) as advance:
            logits = pipeline.outputs(rows, _BATCH, advance)
    np.savez_compressed(made.path / bundle.EVALUATION, logits=logits, labels=source.labels)
    task = source.model.task
    parity = _parity.compare(logits, source.reference, source.labels, task)
    scale = _parity.scale_of(source.reference, task)
    shown = {**parity.to_json(), "max_error_other_shapes": worst, "scale": scale}
    _parity.check(parity, made.manifest.precision, scale, worst)
    found = {"rows": len(source.labels), **scores.of_task(task, logits, source.labels)}
    if stand_in:
        build = {**made.manifest.build, "scores_of_the_onnx_file": found, "ran_here": False}
        return replace(made.manifest, parity={**shown, "of": "the ONNX file"}, build=build)
    return replace(made.manifest, parity=shown, scores=found)


def _runnable(made: Bundle) -> tuple[Bundle, bool]:
    """Return what can run here: the bundle, or, for an engine without a GPU, its ONNX file.

    ONNX Runtime runs it, or, where that refuses the precision, OpenVINO.
    """
    if targets.load(made.manifest.target).available().devices:
        return made, False
    stand_in = "openvino" if made.manifest.precision in dialects.ONNX.refused else "onnx"
    manifest = replace(made.manifest, target=stand_in, model="model.onnx")
    return Bundle(made.path, manifest), True


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
    form = form_of(source.model)
    most_rows = pipeline.bundle.manifest.build.get("max_batch", _BATCH)
    name = source.model.outputs()[0].name
    errors = []
    for arrays in source.model.encoder.probes(most_rows):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            expected = output_of(form, tensors).numpy()
        errors.append(np.abs(pipeline.session.run(arrays)[name] - expected).max())
    return float(np.max(errors))  # NaN if one is: Python's own max would lose it
