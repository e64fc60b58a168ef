"""The steps from an ONNX file of another tool to a bundle: write, compare, publish."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import artifact, bundle, console, provenance, targets
from bmc.bundle import Bundle, Manifest
from bmc.contracts import Exporter
from bmc.contracts.targets import TARGETS, exporter_of
from bmc.contracts.tasks import TENSORS
from bmc.errors import ArtifactError, ExportError, GateError
from bmc.export import Written, speed, tensor_parity
from bmc.export.flow import Timed, as_runnable, check_reloaded, finite, keep_failed
from bmc.export.onnx_source import ROWS, OnnxSource, QuantizedSource
from bmc.files import sha256
from bmc.golden import GoldenRows
from bmc.inspect.executed import counted
from bmc.manifest import StandIn
from bmc.onnx_models.logits import logits_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.writing import new_folder, scratch

_GOLDEN_ROWS = 4
_UNTIMED = Timed()
_MAX_ARRAYS = 64  # in golden.npz
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Compared:
    """A bundle's outputs on the samples, compared with the original file's.

    Args:
        figures: entries of the manifest's `parity`.
        stand_in: target that ran the bundle's source file where the target has no device here.
        failure: message about the broken limit; None where no limit is broken.
    """

    figures: dict[str, Any]
    stand_in: str | None
    failure: str | None


def export(source: OnnxSource, target: str, output: Path, force: bool) -> Bundle:
    """Export an ONNX file to one target, and compare its outputs with the original file's.

    Raises:
        GateError: an output differs by more than the precision allows; the bundle is kept as
            `output`.failed.
        UsageError: the target cannot execute the file.
        ExportError: the target's converter or runtime cannot run the file.
    """
    source.check(target)
    with new_folder(output, force) as folder:
        draft = write(source, target, folder)
        try:
            compared = compare(source, draft)
        except ArtifactError as error:
            raise ExportError(f"{target} cannot run {source.file.path}: {error}") from error
        publish(draft, compared)
        if compared.failure:
            raise keep_failed(folder, output, f"{target}: {compared.failure}", "parity")
        check_reloaded(folder, output)
    return bundle.read(output)


def quantize(
    source: QuantizedSource,
    fp32: OnnxSource,
    target: str,
    output: Path,
    force: bool,
    min_agreement: float,
) -> Bundle:
    """Write a quantized bundle, with as many layers in float as the agreement takes.

    If the outputs differ too much, the layers whose activations fit 8 bits worst return to float,
    layers that read the same tensor together: of one tensor, two, four, up to half of all layers.

    Args:
        source: the quantized source.
        fp32: the same file in fp32.
        target: name of the target.
        output: the bundle's folder.
        force: replace the output if it exists.
        min_agreement: smallest agreement with the original file, or cosine similarity of outputs
            that hold no logits.

    Raises:
        GateError: the outputs differ too much, or the bundle is slower than in fp32; it is kept as
            `output`.failed.
    """
    source.check(target)
    groups = _layers_by_input(source)
    total = sum(len(group) for group in groups)
    count = 0
    with new_folder(output, force) as folder:
        while True:
            returned = [name for group in groups[:count] for name in group]
            in_float = (*source.in_float, *returned)
            draft, compared = _quantized(source, in_float, target, folder, min_agreement)
            count = max(1, 2 * count)
            following = sum(len(group) for group in groups[:count])
            if not compared.failure or following in (len(returned), total):
                break
            if following > max(total // 2, len(groups[0])):
                break
            console.note(f"{target}: {compared.failure}: {following} of {total} layers in float")
        timed = Timed() if compared.failure else _time(draft, fp32)
        publish(draft, compared, timed)
        if failure := compared.failure or timed.failure:
            check = "parity" if compared.failure else "speed"
            raise keep_failed(folder, output, f"{target}: {failure}", check)
        check_reloaded(folder, output)
    return bundle.read(output)


def _layers_by_input(source: QuantizedSource) -> list[list[str]]:
    """Return the layers in 8 bits, the worst first, those that read one tensor together.

    They are as accurate as each other, and the tensor has 8 bits as long as one of them has.
    """
    groups: dict[str, list[str]] = {}
    for name in source.quantized.layers:
        if name not in source.in_float:
            groups.setdefault(source.quantized.inputs[name], []).append(name)
    return list(groups.values())


def _quantized(
    source: QuantizedSource,
    in_float: tuple[str, ...],
    target: str,
    folder: Path,
    min_agreement: float,
) -> tuple[Bundle, Compared]:
    """Write a bundle with these layers in float, over an earlier one, and compare it."""
    for path in folder.iterdir():
        path.unlink()
    draft = write(replace(source, in_float=in_float), target, folder)
    try:
        return draft, compare(source, draft, min_agreement)
    except ArtifactError as error:
        raise ExportError(f"{target} cannot run the quantized file: {error}") from error


def _time(draft: Bundle, fp32: OnnxSource) -> Timed:
    """List what a quantized bundle executes, and time it against the same file in fp32."""
    manifest, exporter = draft.manifest, exporter_of(draft.manifest.target)
    with scratch() as work:
        folder, original = work / "quantized", work / "fp32"
        shutil.copytree(draft.path, folder)
        bundle.write(folder, manifest)
        trial = bundle.read(folder)
        executed = exporter.executed(trial)
        if not targets.load(manifest.target).available().devices:
            return Timed(counted(executed))
        original.mkdir()
        reference = write(fp32, manifest.target, original)
        bundle.write_golden(original / bundle.GOLDEN, *trial.golden(), trial.golden_rows())
        bundle.write(original, reference.manifest)
        measured = speed.over(trial, original)
    failure = None
    if not fp32.options.allow_slower:
        try:
            speed.refuse_slower(measured, executed, manifest.precision)
        except GateError as error:
            failure = str(error)
    return Timed(counted(executed), measured.ratio, failure)


def write(source: OnnxSource, target: str, folder: Path) -> Bundle:
    """Write the model in the target's format.

    Raises:
        ExportError: the target's converter cannot read the file.
    """
    exporter: Exporter = exporter_of(target)
    try:
        written = exporter.write(source, folder, source.options)
    except ArtifactError as error:
        raise ExportError(f"{target} cannot convert {source.file.path}: {error}") from error
    return Bundle(folder, _manifest(source, target, folder, written))


def compare(source: OnnxSource, draft: Bundle, min_agreement: float | None = None) -> Compared:
    """Run all samples in the original file and in the bundle; write the golden rows.

    Args:
        source: the source.
        draft: the bundle, whose manifest is not on disk yet.
        min_agreement: see `bmc.export.tensor_parity.check`.
    """
    runnable = as_runnable(draft)
    target, samples = draft.manifest.target, source.samples
    comparison = tensor_parity.Comparison(logits_of(source.file.graph))
    with Pipeline(runnable, RuntimeOptions()) as pipeline:
        _write_golden(draft, pipeline, source)
        encoder, most = source.model.encoder, draft.manifest.build.get("max_batch", ROWS)
        with console.progress(f"running {target}", len(samples)) as advance:
            for rows in samples.calls if most < ROWS else source.batches:
                comparison.add(pipeline.session.run(rows), source.reference.run(rows))
                advance(len(rows[encoder.inputs[0].name]) if encoder.has_batch else 1)
    outputs = comparison.outputs()
    failure = None
    try:
        tensor_parity.check(outputs, draft.manifest.precision, min_agreement)
    except GateError as error:
        failure = str(error)
    stand_in = runnable.manifest.target
    return Compared(
        tensor_parity.figures_of(outputs, len(samples)),
        stand_in if stand_in != target else None,
        failure,
    )


def publish(draft: Bundle, compared: Compared, timed: Timed = _UNTIMED) -> None:
    """Write the manifest, with the comparison, the speed, and the failure if there is one."""
    figures, build = compared.figures, dict(draft.manifest.build)
    if timed.executed is not None:
        build["executed"] = timed.executed
    if timed.over_fp32 is not None:
        build["over_fp32"] = asdict(timed.over_fp32)
    if compared.failure:
        figures = finite({key: value for key, value in figures.items() if key not in _NESTED})
    manifest = replace(
        draft.manifest,
        parity=figures,
        stand_in=StandIn(compared.stand_in, {}) if compared.stand_in else None,
        failure=compared.failure or timed.failure,
        build=build,
    )
    bundle.write(draft.path, manifest)


_NESTED = ("scales", "outputs")


def _manifest(source: OnnxSource, target: str, folder: Path, written: Written) -> Manifest:
    samples, packages = source.samples, TARGETS.record(target)
    lineage: dict[str, Any] = {
        "model": source.name,
        "file": source.file.path.name,
        "weights_sha256": _digest(source),
        "parameters": sum(int(w.size) for w in source.file.weights().values()),
        "data": {"reference": samples.reference, "fingerprint": samples.fingerprint},
        "steps": [],
        **_made_from(source, folder, written),
        provenance.KEY: provenance.commands_of(provenance.recorded({})),
    }
    build = {**written.build, "versions": artifact.versions()}
    if isinstance(source, QuantizedSource):
        build["in_float"] = list(source.in_float)
    return Manifest(
        name=source.name,
        target=target,
        precision=source.precision,
        model=written.model,
        inputs=written.inputs,
        outputs=written.outputs,
        labels=(),
        task=TENSORS,
        preprocessing=source.model.encoder.to_json(),
        lineage=lineage,
        build={**build, "plugins": packages} if packages else build,
    )


def _made_from(source: OnnxSource, folder: Path, written: Written) -> dict[str, Any]:
    """Return how a quantized bundle was made; {} for one in the file's own precision."""
    if not isinstance(source, QuantizedSource):
        return {}
    return {
        "steps": ["quantize/static"],
        "from": source.name,
        "from_sha256": _digest(source),
        "weights_sha256": sha256(folder / written.model),
    }


def _digest(source: OnnxSource) -> str:
    """Return the sha256 of the original file; with external data, of all hashes together."""
    hashes = [sha256(path) for path in (source.file.path, *source.file.external)]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _write_golden(draft: Bundle, pipeline: Pipeline, source: OnnxSource) -> None:
    encoder, calls = source.model.encoder, source.samples.calls
    names = [info.name for info in encoder.inputs]
    shapes = {name: array.shape for name, array in calls[0].items()}
    alike = [call for call in calls if {n: a.shape for n, a in call.items()} == shapes]
    count_rows = encoder.has_batch and all(shape[0] == 1 for shape in shapes.values())
    room = (_MAX_ARRAYS - len(names) - len(source.signature.outputs)) // len(names)
    count = min(_GOLDEN_ROWS, room, len(alike)) if count_rows else 1
    count = min(count, draft.manifest.build.get("max_batch", count))
    rows = [tuple(call[name] for name in names) for call in alike[:count]]
    arrays = encoder.batch(encoder.encode(rows), range(len(rows)))
    outputs = pipeline.session.run(arrays)
    bundle.write_golden(draft.path / bundle.GOLDEN, arrays, outputs, GoldenRows(rows, []))
