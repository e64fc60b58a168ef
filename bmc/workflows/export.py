"""Export a model to targets, and check that the bundles' outputs match PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.contracts.targets import TARGETS, exporter_of
from bmc.errors import BmcError, GateError, UsageError, unknown
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.measure.scores import Interval
from bmc.measure.shown import megabytes, with_interval
from bmc.workflows.lineage import data_of
from bmc.workflows.options import Files
from bmc.workflows.outputs import refuse_output


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
    files: Files = Files(),  # noqa: B008  frozen
) -> Exported:
    """Write a bundle for each target, compare its outputs with PyTorch's, and score it.

    Args:
        reference: a model directory, or a model's name in the workspace; the newest when None.
        targets: names of targets.
        options: settings of the export.
        files: present location of the model's data, and the output folder for a single target; the
            default is MODEL-TARGET in the workspace.

    Raises:
        UnknownError: there is no such model or target.
        UsageError: a target cannot execute the model, or one output is named for several targets.
        GateError: a bundle's outputs differ too much from PyTorch's, or it is slower than in fp32;
            the bundle is kept as NAME.failed.
    """
    _check_targets(targets, files.output)
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
    data = data_of(folder, files.data)
    written: list[Bundle] = []
    failures: list[GateError] = []
    with source_of(folder, data, options) as source:
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
    built = " of its ONNX file; the engine was built, not run here"
    whose = built if manifest.stand_in else ""
    agreement = manifest.parity["agreement"]
    alike = "" if agreement is None else f"{agreement:.2%} answered as in PyTorch, "
    return (
        f"wrote {bundle.path}: {megabytes(bundle.model_size())}{_score(scores)}{whose} "
        f"({scores['rows']} rows; {alike}"
        f"largest change of an output {manifest.parity['max_error']:.1g}"
        f"{_over_fp32(manifest.build)})"
    )


def _check_targets(targets: Sequence[str], output: Path | None) -> None:
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


def _score(scores: Mapping[str, Any]) -> str:
    """Show accuracy, or R2 of a regression, with its interval; nothing for a generator."""
    for key, name in (("accuracy", "accuracy"), ("r2", "R2")):
        if key in scores:
            return f", test {name} {with_interval(Interval(**scores[key]))}"
    return ""
