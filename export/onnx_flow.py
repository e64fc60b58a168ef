"""The steps from an ONNX file of another tool to a bundle: write, compare, publish."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bmc import artifact, bundle, console, provenance
from bmc.bundle import Bundle, Manifest
from bmc.contracts import Exporter
from bmc.contracts.targets import TARGETS, exporter_of
from bmc.contracts.tasks import TENSORS
from bmc.errors import ArtifactError, ExportError, GateError
from bmc.export import Written, tensor_parity
from bmc.export.flow import as_runnable, check_reloaded, finite, keep_failed
from bmc.export.onnx_source import OnnxSource
from bmc.files import sha256
from bmc.golden import GoldenRows
from bmc.manifest import StandIn
from bmc.onnx_models.logits import logits_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.writing import new_folder

_GOLDEN_ROWS = 4
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
    return Bundle(folder, _manifest(source, target, written))


def compare(source: OnnxSource, draft: Bundle) -> Compared:
    """Run all samples in the original file and in the bundle; write the golden rows."""
    runnable = as_runnable(draft)
    target, samples = draft.manifest.target, source.samples
    comparison = tensor_parity.Comparison(logits_of(source.file.graph))
    with Pipeline(runnable, RuntimeOptions()) as pipeline:
        _write_golden(draft, pipeline, source)
        with console.progress(f"running {target}", len(samples)) as advance:
            for call in samples.calls:
                comparison.add(pipeline.session.run(call), source.reference.run(call))
                advance(1)
    outputs = comparison.outputs()
    failure = None
    try:
        tensor_parity.check(outputs, draft.manifest.precision)
    except GateError as error:
        failure = str(error)
    stand_in = runnable.manifest.target
    return Compared(
        tensor_parity.figures_of(outputs, comparison.calls),
        stand_in if stand_in != target else None,
        failure,
    )


def publish(draft: Bundle, compared: Compared) -> None:
    """Write the manifest, with the comparison and the failure if there is one."""
    figures = compared.figures
    if compared.failure:
        figures = finite({key: value for key, value in figures.items() if key not in _NESTED})
    manifest = replace(
        draft.manifest,
        parity=figures,
        stand_in=StandIn(compared.stand_in, {}) if compared.stand_in else None,
        failure=compared.failure,
    )
    bundle.write(draft.path, manifest)


_NESTED = ("scales", "outputs")


def _manifest(source: OnnxSource, target: str, written: Written) -> Manifest:
    samples, packages = source.samples, TARGETS.record(target)
    lineage: dict[str, Any] = {
        "model": source.name,
        "file": source.file.path.name,
        "weights_sha256": _digest(source),
        "parameters": sum(int(w.size) for w in source.file.weights().values()),
        "data": {"reference": samples.reference, "fingerprint": samples.fingerprint},
        "steps": [],
        provenance.KEY: provenance.commands_of(provenance.recorded({})),
    }
    build = {**written.build, "versions": artifact.versions()}
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
