"""Compare everything in the workspace: accuracy, size, latency; and judge it by gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bmc import console, provenance, workspace
from bmc.bundle import MANIFEST
from bmc.errors import UsageError, unknown
from bmc.files import sha256
from bmc.measure import results
from bmc.measure.results import Run
from bmc.report import output as forms
from bmc.report.collect import Report, collect, newest_run
from bmc.report.devices import device_runs, with_devices
from bmc.report.floor import Floor
from bmc.report.gates import Gate
from bmc.report.judging import judge, raise_failures
from bmc.report.read import Evaluated, read_all
from bmc.workflows.floor import floor_of
from bmc.workflows.options import Measurement, Output, Reporting
from bmc.workflows.report_rows import with_texts
from bmc.writing import hold, new_folder

_CLEARLY_SLOWER = 1.25  # times a bundle's fastest number of threads: measured no further


@dataclass(frozen=True)
class Reported:
    """A report that was written.

    Args:
        path: the folder with index.html, report.md, report.json, report.csv and report.svg.
        report: its lines, references, and what could not be read.
        content: content of report.json.
    """

    path: Path
    report: Report
    content: Mapping[str, Any]


def report(
    names: Sequence[str] = (),
    reporting: Reporting = Reporting(),
    files: Output = Output(),
    measurement: Measurement | None = None,
) -> Reported:
    """Compare bundles, and write the comparison as a page, text and picture.

    Args:
        names: bundles' folders, or their names in the workspace; when empty, all bundles, with
            those that failed a check.
        reporting: whether there are latencies, of the newest bench that measured all bundles or
            measured now; whether there are simple models to compare with; what speed-ups refer to;
            and the gates that every bundle must pass.
        files: folder to write; the default is `report` in the workspace, which is replaced.
        measurement: numbers of threads and rounds of the latencies, whose other settings are those
            of a report: batch size 1, in fp32. None for any bench that was made already, or 1 and 2
            threads.

    Raises:
        UsageError: there is no bundle, or the reference could not be measured.
        UnknownError: there is no such reference.
        GateError: a bundle failed a gate; the report is written all the same.
    """
    named = _named(names)
    if not named and not workspace.entries("bundle"):
        raise UsageError(f"no bundle in {workspace.root()} yet; make one with bmc export")
    replaces = files.force or files.output is None
    output = files.output or workspace.root() / "report"
    hold(output)
    readable, _ = read_all(named)
    folders = [one.bundle.path for one in readable]
    reference = reporting.reference
    if reference is not None:
        _check_reference(reference, folders, reporting.bench)
    floor = floor_of(readable) if reporting.floor else Floor()
    folders += floor.folders
    run = _bench(folders, reporting, measurement) if reporting.bench and folders else None
    if run and reference and reference not in {row.name for row in run.rows}:
        raise UsageError(f"{reference} was not measured here: {run.skipped[reference]}")
    collected = _collect(run, reference, named, floor, readable, reporting.gates())
    if reporting.bench:
        collected = _with_devices(collected, folders, reporting)
    if reporting.texts:
        collected = with_texts(collected)
    with new_folder(output, force=replaces) as folder:
        content = forms.write(collected, folder)
    result = Reported(output, collected, content)
    raise_failures(collected.gates, result)
    return result


def _collect(
    run: Run | None,
    reference: str | None,
    named: Sequence[Path] | None,
    floor: Floor,
    readable: Sequence[Evaluated],
    gates: Sequence[Gate],
) -> Report:
    """Gather the report of the named bundles, and judge it.

    For gates that compare a bundle with its teacher or with the model that it was made from, their
    bundles are read from the workspace, too; the report shows the named bundles alone.
    """
    relatives: list[Path] = []
    if named is not None and any(gate.is_relative for gate in gates):
        relatives = _relatives(readable)
    whole = collect(run, reference, [*named, *relatives] if named is not None else None, floor)
    hidden = {path.name for path in relatives}
    collected = replace(
        whole,
        lines=tuple(line for line in whole.lines if line.name not in hidden),
        command=" ".join(provenance.commands_of(provenance.recorded({}))),
    )
    return replace(collected, gates=judge(collected, gates))


def _relatives(readable: Sequence[Evaluated]) -> list[Path]:
    """Return the workspace's bundles of the models that bundles were taught by or made from."""
    names = {one.bundle.path.name for one in readable}
    others, _ = read_all([path for path in workspace.entries("bundle") if path.name not in names])
    pending = [one.bundle.manifest.lineage for one in readable]
    folders: dict[Path, None] = {}
    while pending:
        lineage = pending.pop()
        teacher = lineage.get("teacher") or {}
        ancestors = {teacher.get("sha256"), lineage.get("from_sha256")} - {None}
        for other in others:
            path, recorded = other.bundle.path, other.bundle.manifest.lineage
            if recorded.get("weights_sha256") in ancestors and path not in folders:
                folders[path] = None
                pending.append(recorded)
    return list(folders)


def _named(names: Sequence[str]) -> list[Path] | None:
    """Find the named bundles; None without names. Folder names must differ."""
    folders = [workspace.find(name, "bundle") for name in dict.fromkeys(names)]
    workspace.refuse_equal_names(folders)
    return folders or None


def _check_reference(reference: str, folders: Sequence[Path], bench: bool) -> None:
    """Refuse a reference that there is not, or that nothing is compared with.

    Raises:
        UnknownError: no bundle of the workspace has that name.
        UsageError: the report has no latencies.
    """
    names = [folder.name for folder in folders]
    if reference not in names:
        raise unknown("bundle", reference, names)
    if not bench:
        raise UsageError("--reference is what latencies are compared with; leave --no-bench out")


def _with_devices(report: Report, folders: Sequence[Path], reporting: Reporting) -> Report:
    """Add the times of the report's bundles on other devices, where `bmc bench --on` measured."""
    settings = Measurement(length=reporting.length, launches=reporting.launches).settings()
    hashes = {folder.name: sha256(folder / MANIFEST) for folder in folders}
    return with_devices(report, device_runs(folders, settings), hashes)


def _bench(folders: Sequence[Path], reporting: Reporting, measurement: Measurement | None) -> Run:
    """Return the newest bench of these very bundles; measure them where there is none."""
    asked = measurement or Measurement()
    wanted = Measurement(length=reporting.length, launches=reporting.launches, rounds=asked.rounds)
    settings = replace(wanted.settings(), drop_slower=_CLEARLY_SLOWER)
    run = newest_run(folders, settings, asked.threads if measurement else None)
    if run:
        console.note(f"latencies of the bench of {run.started}")
        return run
    run = results.measure_bundles(folders, asked.threads, settings, skip_broken=True)
    results.save_new(run, workspace.runs())
    return run
