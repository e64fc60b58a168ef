"""Compare everything in the workspace: accuracy, size, latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bmc import console, disk, workspace
from bmc.bundle import MANIFEST
from bmc.errors import UsageError, unknown
from bmc.files import sha256, write_json
from bmc.measure import results
from bmc.measure.results import Run
from bmc.report import page, table
from bmc.report.chart import svg
from bmc.report.collect import Report, collect, newest_run
from bmc.report.devices import device_runs, with_devices
from bmc.report.floor import Floor
from bmc.report.read import read_all
from bmc.workflows.floor import floor_of
from bmc.workflows.options import Measurement, Output, Reporting
from bmc.writing import hold, new_folder


@dataclass(frozen=True)
class Reported:
    """A report that was written.

    Args:
        path: the folder with index.html, report.md, report.json and report.svg.
        report: its lines, references, and what could not be read.
        content: content of report.json.
    """

    path: Path
    report: Report
    content: Mapping[str, Any]


def report(
    names: Sequence[str] = (),
    reporting: Reporting = Reporting(),  # noqa: B008  frozen
    files: Output = Output(),  # noqa: B008  frozen
) -> Reported:
    """Compare bundles, and write the comparison as a page, text and picture.

    Args:
        names: bundles' folders, or their names in the workspace; when empty, all bundles, with
            those that failed a check.
        reporting: whether there are latencies, of the newest bench that measured all bundles or
            measured now; whether there are simple models to compare with; and what speed-ups refer
            to.
        files: folder to write; the default is `report` in the workspace, which is replaced.

    Raises:
        UsageError: there is no bundle, or the reference could not be measured.
        UnknownError: there is no such reference.
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
    run = _bench(folders, reporting) if reporting.bench and folders else None
    if run and reference and reference not in {row.name for row in run.rows}:
        raise UsageError(f"{reference} was not measured here: {run.skipped[reference]}")
    collected = collect(run, reference, named, floor)
    if reporting.bench:
        collected = _with_devices(collected, folders, reporting)
    content = {
        "references": dict(collected.references),
        "machine": run.machine if run else None,
        "devices": [asdict(device) for device in collected.devices],
        "lines": [line.to_json() for line in collected.lines],
        "broken": dict(collected.broken),
        "notes": list(collected.notes),
    }
    with new_folder(output, force=replaces) as folder:
        write_json(folder / "report.json", content)
        disk.write(folder / "report.md", table.markdown(collected).encode())
        disk.write(folder / "report.svg", svg(collected).encode())
        disk.write(folder / "index.html", page.html(collected).encode())
    return Reported(output, collected, content)


def _named(names: Sequence[str]) -> list[Path] | None:
    """Find the named bundles; None without names. Folder names must differ."""
    folders = [workspace.find(name, "bundle") for name in dict.fromkeys(names)]
    twice = next(
        (name for name, count in Counter(f.name for f in folders).items() if count > 1), ""
    )
    if twice:
        raise UsageError(f"two bundles are named {twice}: rename one, or report each alone")
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


def _bench(folders: Sequence[Path], reporting: Reporting) -> Run:
    """Return the newest bench of these very bundles; measure them where there is none."""
    settings = Measurement(length=reporting.length, launches=reporting.launches).settings()
    run = newest_run(folders, settings)
    if run:
        console.note(f"latencies of the bench of {run.started}")
        return run
    run = results.measure_bundles(folders, (1, 2), settings, skip_broken=True)
    results.save(run, workspace.root() / ".bench" / f"{run.started}.json")
    return run
