"""The steps from an ONNX file of another tool to a bundle: write, compare, publish."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import onnx_ir

from bmc import artifact, bundle, console, provenance, targets
from bmc.bundle import Bundle, Manifest
from bmc.contracts import Exporter
from bmc.contracts.targets import TARGETS, exporter_of
from bmc.contracts.tasks import TENSORS
from bmc.errors import ArtifactError, BmcError, ExportError
from bmc.export import Written, speed
from bmc.export.flow import Timed, check_reloaded, finite, judged, keep_failed
from bmc.export.graph_files import copy_graph
from bmc.export.onnx_compare import Compared, Limits, compare, golden_call
from bmc.export.onnx_ladder import layers_by_input, most_harmful_first
from bmc.export.onnx_nodes import LINEAR
from bmc.export.onnx_source import CompressedSource, OnnxSource, QuantizedSource
from bmc.files import sha256, size_of
from bmc.golden import GoldenRows
from bmc.inspect.executed import counted
from bmc.inspect.zeros import COMPRESSION, compressed_size
from bmc.manifest import StandIn
from bmc.measure.shown import megabytes
from bmc.onnx_models.reading import weights_of
from bmc.writing import new_folder, scratch

_UNTIMED = Timed()
_REFUSED = "export"


def export(
    source: OnnxSource, target: str, output: Path, force: bool, limits: Limits | None = None
) -> Bundle:
    """Export an ONNX file to one target, and compare its outputs with the original file's.

    Args:
        source: the file, or a file whose weights were changed.
        target: name of the target.
        output: the bundle's folder.
        force: replace the output if it exists.
        limits: how much outputs may differ; what the file's precision explains when None.

    Raises:
        GateError: an output differs by more than the limits allow; the bundle is kept as
            `output`.failed.
        UsageError: the target cannot execute the file.
        ExportError: the target's converter or runtime cannot run the file.
    """
    source.check(target)
    with new_folder(output, force) as folder:
        draft = write(source, target, folder)
        try:
            compared = compare(source, draft, limits)
        except ArtifactError as error:
            raise ExportError(f"{target} cannot run {source.file.path}: {error}") from error
        publish(draft, compared)
        if compared.failure:
            raise keep_failed(folder, output, f"{target}: {compared.failure}", compared.check)
        check_reloaded(folder, output)
    return bundle.read(output)


def quantize(
    source: QuantizedSource,
    fp32: OnnxSource,
    target: str,
    output: Path,
    force: bool,
    limits: Limits,
) -> Bundle:
    """Write a quantized bundle, with as many layers in float as the limits take.

    If the outputs differ too much, the layers that change them most return to float, layers that
    read the same tensor together: of one tensor, two, four, up to half of all layers.

    Args:
        source: the quantized source.
        fp32: the same file in fp32.
        target: name of the target.
        output: the bundle's folder.
        force: replace the output if it exists.
        limits: how much the outputs may differ from the original file's.

    Raises:
        GateError: the outputs differ too much, the target's runtime refuses the file although it
            runs it in fp32, or the bundle is slower than in fp32; it is kept as `output`.failed.
        ExportError: the target's runtime refuses the file in fp32, too.
    """
    source.check(target)
    groups = layers_by_input(source)
    total = sum(len(group) for group in groups)
    count = 0
    with new_folder(output, force) as folder:
        while True:
            returned = [name for group in groups[:count] for name in group]
            in_float = (*source.in_float, *returned)
            draft, compared = _attempt(source, fp32, in_float, target, folder, limits)
            if compared.check == _REFUSED:
                break
            if compared.failure and not count:
                groups = most_harmful_first(source, groups, target)
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
            check = compared.check if compared.failure else "speed"
            raise keep_failed(folder, output, f"{target}: {failure}", check)
        check_reloaded(folder, output)
    return bundle.read(output)


def _attempt(
    source: QuantizedSource,
    fp32: OnnxSource,
    in_float: tuple[str, ...],
    target: str,
    folder: Path,
    limits: Limits,
) -> tuple[Bundle, Compared]:
    """Write a bundle with these layers in float, over an earlier one, and compare it."""
    for path in folder.iterdir():
        path.unlink()
    source = replace(source, in_float=in_float)
    graph = source.file_for(target)
    graph.unlink(missing_ok=True)
    source.reference.release()
    try:
        draft = write(source, target, folder)
        return draft, compare(source, draft, limits)
    except (ArtifactError, ExportError) as error:
        if not graph.is_file():
            raise
        _check_fp32(fp32, target)
        return _refused(source, target, folder, graph, error)


def _check_fp32(fp32: OnnxSource, target: str) -> None:
    """Run the file in fp32 on a target that refuses it in 8 bits.

    Raises:
        ExportError: the target refuses it, too.
    """
    with scratch() as work:
        draft = write(fp32, target, work)
        try:
            compare(fp32, draft)
        except ArtifactError as error:
            raise ExportError(f"{target} cannot run {fp32.file.path}: {error}") from error


def _refused(
    source: QuantizedSource, target: str, folder: Path, graph: Path, error: BmcError
) -> tuple[Bundle, Compared]:
    """Keep an ONNX file that the target's runtime refuses, as a bundle of the onnx target."""
    for path in folder.iterdir():
        path.unlink()
    copy_graph(graph, folder)
    encoder = source.model.encoder
    written = Written(graph.name, encoder.tensors(), source.model.outputs(), source.batch)
    draft = Bundle(folder, _manifest(source, "onnx", folder, written))
    rows, arrays = golden_call(source, draft.manifest.build.get("max_batch", len(source.samples)))
    outputs = source.reference.run(arrays)
    bundle.write_golden(folder / bundle.GOLDEN, arrays, outputs, GoldenRows(rows, []))
    operators = sorted({node.op_type for node in onnx_ir.load(graph).graph})
    reason = str(error).replace(f"{folder}{os.sep}", "")
    if not any(name in reason for name in operators):
        layers = {node.op_type for node in source.file.graph if node.op_type in LINEAR}
        reason += f" (operators in 8 bits: {', '.join(sorted(layers))})"
    return draft, Compared({}, None, f"{reason}; --in-float leaves layers in float", check=_REFUSED)


def _time(draft: Bundle, fp32: OnnxSource) -> Timed:
    """List what a quantized bundle executes, and time it against the same file in fp32."""
    manifest, exporter = draft.manifest, exporter_of(draft.manifest.target)
    fp32.reference.release()  # the process that times the file in fp32 loads it again
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
        warnings = _larger(draft.model_size(), reference.model_size())
        bundle.write_golden(original / bundle.GOLDEN, *trial.golden(), trial.golden_rows())
        bundle.write(original, reference.manifest)
        measured = speed.over(trial, original)
    timed = judged(measured, executed, manifest.precision, fp32.options.allow_slower)
    return replace(timed, warnings=(*warnings, *timed.warnings))


def _larger(size: int, fp32: int) -> tuple[str, ...]:
    """Say that a file in 8 bits is larger than in fp32; sizes are bytes."""
    if size <= fp32:
        return ()
    return (f"8 bits make the file larger: {megabytes(size)}, in fp32 {megabytes(fp32)}",)


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


def publish(draft: Bundle, compared: Compared, timed: Timed = _UNTIMED) -> None:
    """Write the manifest, with the comparison, the speed, and the failure if there is one."""
    figures, build = compared.figures, {**draft.manifest.build, **timed.to_json()}
    if warnings := [*compared.warnings, *timed.warnings, *compared.doubts]:
        build["warnings"] = warnings
    if compared.failure:
        figures = finite({key: value for key, value in figures.items() if key not in _NESTED})
    scores: dict[str, Any] = {}
    if compared.scored and isfinite(compared.scored.lost):
        scores, figures = compared.scored.scores(), {**figures, **compared.scored.figures()}
    manifest = replace(
        draft.manifest,
        parity=figures,
        scores={} if compared.stand_in else scores,
        stand_in=StandIn(compared.stand_in, scores) if compared.stand_in else None,
        failure=compared.failure or timed.failure,
        build=build,
    )
    bundle.write(draft.path, manifest)


_NESTED = ("scales", "outputs")


def _manifest(source: OnnxSource, target: str, folder: Path, written: Written) -> Manifest:
    samples, packages = source.samples, TARGETS.record(target)
    weights = {id(tensor): tensor for tensor in source.file.weights().values()}
    lineage: dict[str, Any] = {
        "model": source.name,
        "file": source.file.path.name,
        "weights_sha256": _digest(source),
        "parameters": sum(int(tensor.size) for tensor in weights.values()),
        "data": {"reference": samples.reference, "fingerprint": samples.fingerprint},
        "steps": [],
        **_made_from(source, folder, written),
        provenance.KEY: provenance.commands_of(provenance.recorded({})),
    }
    build = {**written.build, "versions": artifact.versions()}
    if isinstance(source, QuantizedSource):
        build["layers"] = len(source.quantized.layers)
        build["in_float"] = list(source.in_float)
        build["weight_bits"] = source.weight_bits
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
    """Return how a compressed bundle was made; {} for one of the file as it is."""
    made_from = {
        "from": source.name,
        "from_sha256": _digest(source),
        "weights_sha256": _digest_of(_model_files(folder, written)),
    }
    if isinstance(source, QuantizedSource):
        return {"steps": ["quantize/static"], **made_from}
    if isinstance(source, CompressedSource):
        zeros = _zeros(source, folder) if "parameters" in source.record else {}
        return {"steps": [source.step], "record": source.record, **made_from, **zeros}
    return {}


def _zeros(source: CompressedSource, folder: Path) -> dict[str, Any]:
    """Return the share of zeros among the weights, and the size of the file when compressed."""
    weights = [w for w in weights_of(source.changed).values() if len(w.shape) > 1]
    count = sum(int((tensor.numpy() == 0).sum()) for tensor in weights)
    path = max((path for path in folder.iterdir() if path.is_file()), key=size_of)
    return {
        "sparsity": count / max(sum(int(tensor.size) for tensor in weights), 1),
        "compressed": {
            "of_bytes": size_of(path),
            "bytes": compressed_size(path),
            "by": COMPRESSION,
        },
    }


def _model_files(folder: Path, written: Written) -> list[Path]:
    """Return the files of a written model: the graph, and its weights where they are apart."""
    files = folder.glob(f"{Path(written.model).stem}.*")
    return sorted(path for path in files if path.is_file())


def _digest(source: OnnxSource) -> str:
    """Return the sha256 of the original file; with external data, of all hashes together."""
    return _digest_of((source.file.path, *source.file.external))


def _digest_of(paths: Iterable[Path]) -> str:
    """Return the sha256 of a file; of several files, that of all hashes together."""
    hashes = [sha256(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()
