"""Export a model to targets, and check that the bundles' outputs match PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.contracts.targets import TARGETS, exporter_of, format_of
from bmc.contracts.tasks import TENSORS, task
from bmc.errors import BmcError, GateError, UsageError, unknown
from bmc.export import ExportOptions, flow
from bmc.export.rejecting import refuse_rejecting
from bmc.export.source import source_of
from bmc.measure import rejection
from bmc.measure.scores import Interval
from bmc.measure.shown import megabytes, significant, with_interval
from bmc.workflows import onnx_files
from bmc.workflows.encoder_folders import as_model, onnx_file, texts_of
from bmc.workflows.lineage import data_of
from bmc.workflows.onnx_samples import SamplesInMemory
from bmc.workflows.options import SampledFiles
from bmc.workflows.outputs import refuse_output

_MEASURES = {
    "accuracy": "accuracy",
    "micro_f1": "micro F1",
    "span_f1": "span F1",
    "recall_at_10": "recall@10",
    "r2": "R2",
}


@dataclass(frozen=True)
class Exported:
    """Bundles that an export wrote.

    Args:
        bundles: bundles in the order of the targets; those that failed a check come last.
    """

    bundles: tuple[Bundle, ...]


def export(
    reference: str | None,
    targets: Sequence[str],
    options: ExportOptions = ExportOptions(),  # noqa: B008  frozen
    files: SampledFiles = SampledFiles(),  # noqa: B008  frozen
    arrays: SamplesInMemory | None = None,
) -> Exported:
    """Write a bundle for each target, compare its outputs with PyTorch's, and score it.

    The outputs of an ONNX file's bundle are compared with those of the file, on samples.

    Args:
        reference: a model directory, or a model's name in the workspace, the folder of a sentence
            encoder, or an ONNX file; the newest model when None.
        targets: names of targets.
        options: settings of the export.
        files: present location of the model's data, or the texts of a sentence encoder, samples of
            an ONNX file, and the output folder for a single target; the default is MODEL-TARGET in
            the workspace.
        arrays: samples of an ONNX file in memory, in place of a path.

    Raises:
        UnknownError: there is no such model or target.
        UsageError: a target cannot execute the model, or one output is named for several targets.
        GateError: a bundle's outputs differ too much from PyTorch's, or it is slower than in fp32;
            the bundle is kept as NAME.failed.
    """
    check_targets(targets, files.output)
    _refuse_mobile(targets, options)
    has_samples = files.samples is not None or files.random_samples or arrays is not None
    path = onnx_file(reference, has_samples)
    if path is not None:
        refuse_rejecting(TENSORS, options)
        return exported(*onnx_files.export_file(path, targets, options, files, arrays))
    texts = texts_of(reference, files.data)
    if texts is not None:  # before a folder is read, which takes a while
        _refuse_options_of_files(reference, options, files)
    reference, files = as_model(reference, texts, files)
    folder = workspace.find(reference, "model") if reference else workspace.newest("model")
    if not reference:
        console.note(f"exporting {folder}, the newest model")
    outputs = {
        name: files.output or workspace.root() / f"{workspace.slug(folder.name)}-{name}"
        for name in targets
    }
    for name, path in outputs.items():
        exporter_of(name)
        refuse_output(path, files.force, source=folder)
    _refuse_options_of_files(folder, options, files)
    data = data_of(folder, files.data)
    written: list[Bundle] = []
    failures: list[GateError] = []
    with source_of(folder, data, options) as source:
        refuse_rejecting(source.model.task, options)
        for name in outputs:
            source.check(name)  # before the first of several is made
        for name, path in outputs.items():
            console.note(f"{name}: exporting")
            try:
                written.append(flow.export(source, name, path, files.force))
            except GateError as error:
                failures.append(error)
            except BmcError:
                _say_kept(written, failures)
                raise
    return exported(written, failures)


def _refuse_options_of_files(model: object, options: ExportOptions, files: SampledFiles) -> None:
    """Refuse options of ONNX files for a model directory, or the folder of a sentence encoder.

    Raises:
        UsageError: such an option is set.
    """
    files.refuse_samples(model)
    if options.batch is not None or options.simplify:
        raise UsageError(
            "--batch and --simplify are for ONNX files: bmc simplifies the graph of a model "
            "directory itself; leave them out"
        )


def _refuse_mobile(targets: Sequence[str], options: ExportOptions) -> None:
    """Refuse --mobile for targets whose runtime has no small build.

    Raises:
        UsageError: such a target is named.
    """
    others = [name for name in targets if options.mobile and not format_of(name).has_mobile]
    if others:
        able = [name for name in TARGETS.names() if format_of(name).has_mobile]
        raise UsageError(
            f"--mobile writes a format of {' and '.join(able)}, and {' and '.join(others)} has "
            f"none: --target {','.join(able)}, or leave --mobile out"
        )


def exported(written: Sequence[Bundle], failures: Sequence[GateError]) -> Exported:
    """Return what was exported; raise the failures, if there are any, with what was kept."""
    if failures:
        _say_kept(written, ())
        kept = [error.result for error in failures if isinstance(error.result, Bundle)]
        message = "; ".join(str(failure) for failure in failures)
        raise GateError(message, "", Exported((*written, *kept)), failures)
    return Exported(tuple(written))


def scores_of(bundle: Bundle) -> Mapping[str, Any]:
    """Return the scores of a bundle, or of the ONNX file from which its engine was built."""
    stand_in = bundle.manifest.stand_in
    return stand_in.scores if stand_in else bundle.manifest.scores


def line_of(bundle: Bundle) -> str:
    """Return one line on a written bundle and its differences from PyTorch's outputs."""
    manifest = bundle.manifest
    scores = scores_of(bundle)
    if manifest.task == TENSORS:
        return _line_of_tensors(bundle)
    built = " of its ONNX file; the engine was built, not run here"
    whose = built if manifest.stand_in else ""
    agreement = manifest.parity["agreement"]
    of_labels = " of a row's labels" if task(manifest.task).thresholds else ""
    alike = "" if agreement is None else f"{agreement:.2%}{of_labels} answered as in PyTorch, "
    return (
        f"wrote {bundle.path}: {megabytes(bundle.model_size())}{_score(scores)}{whose} "
        f"({scores['rows']} {task(bundle.manifest.task).unit}; {alike}"
        f"largest change of an output {manifest.parity['max_error']:.1g}{_rejected(bundle)}"
        f"{_over_fp32(manifest.build)}{_warnings(manifest.build)})"
    )


def _rejected(bundle: Bundle) -> str:
    """Say which share of the rows gets no label, and the accuracy of the others."""
    scores = scores_of(bundle)
    if bundle.manifest.reject_below is None or rejection.SHARE not in scores:
        return ""
    share = with_interval(Interval(**scores[rejection.SHARE]))
    accuracy = scores.get(rejection.ACCURACY)
    of_others = (
        f", accuracy of the others {with_interval(Interval(**accuracy))}" if accuracy else ""
    )
    return (
        f"; no label below a probability of {significant(bundle.manifest.reject_below)}: share of "
        f"rows {share}{of_others}"
    )


def _line_of_tensors(bundle: Bundle) -> str:
    """Return one line on a bundle of an ONNX file, and its differences from the file's outputs."""
    manifest = bundle.manifest
    stand_in = manifest.stand_in
    ran = " (its ONNX file; the engine was built, not run here)" if stand_in else ""
    parity = manifest.parity
    agreement = parity.get("agreement")
    alike = "" if agreement is None else f"{agreement:.2%} answered alike, "
    return (
        f"wrote {bundle.path}: {megabytes(bundle.model_size())}; against {manifest.lineage['file']}"
        f"{ran} on {parity['rows']} samples: {alike}largest change of an output "
        f"{parity['max_error']:.1g} of up to {significant(parity['scale'])}, cosine "
        f"{parity['cosine']:.6f}{_scored(bundle)}{_over_fp32(manifest.build)}"
        f"{_in_float(manifest.build)}{_warnings(manifest.build)}"
    )


def _scored(bundle: Bundle) -> str:
    """Return the score of labeled samples, and the original file's; "" without labels."""
    score = bundle.manifest.parity.get("score")
    if score is None:
        return ""
    value, original = scores_of(bundle)[score["name"]], score["original"]
    is_named = score["output"] and len(bundle.manifest.outputs) > 1
    of_output = f" of output {score['output']!r}" if is_named else ""
    return (
        f"; {score['name']}{of_output} {with_interval(Interval(**value))}, of the file "
        f"{with_interval(Interval(**original))}, points lost "
        f"{with_interval(Interval(**score['interval']))}"
    )


def check_targets(targets: Sequence[str], output: Path | None) -> None:
    """Refuse unknown targets, and one output for several targets.

    Raises:
        UsageError: no target is named, or an output for several.
        UnknownError: there is no such target.
    """
    names = TARGETS.names()
    if not targets:
        raise UsageError(f"--target names none of {', '.join(names)}")
    for name in targets:
        if name not in names:
            raise unknown("target", name, names)
    if output and len(targets) > 1:
        raise UsageError(f"--output names one bundle, but there are {len(targets)} targets")


def _say_kept(written: Sequence[Bundle], failures: Sequence[GateError]) -> None:
    """Report written and failed bundles before an error ends the export."""
    for bundle in written:
        console.note(line_of(bundle))
    for failure in failures:
        console.note(str(failure))


def _over_fp32(build: Mapping[str, Any]) -> str:
    ratio = build.get("over_fp32")
    return f"; {with_interval(Interval(**ratio))} times as fast as in fp32" if ratio else ""


def _in_float(build: Mapping[str, Any]) -> str:
    """Say how many layers of an ONNX file are not in 8 bits."""
    names = build.get("in_float")
    return f"; {len(names)} of {build['layers']} layers in float" if names else ""


def _warnings(build: Mapping[str, Any]) -> str:
    return "".join(f"; warning: {text}" for text in build.get("warnings", ()))


def _score(scores: Mapping[str, Any]) -> str:
    """Show the measure of the task with its interval; nothing for a generator."""
    for key, name in _MEASURES.items():
        if key in scores:
            return f", test {name} {with_interval(Interval(**scores[key]))}"
    return ""
