"""bmc report"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bmc import console, disk, workspace
from bmc.cli._common import Answer, Writing
from bmc.errors import UsageError, unknown
from bmc.files import write_json
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.report import page, text
from bmc.report.chart import svg
from bmc.report.collect import collect, newest_run
from bmc.report.read import read_all
from bmc.writing import hold, new_folder


def report(
    *,
    bench: Annotated[bool, Parameter(negative="--no-bench")] = True,
    length: int = 32,
    launches: int = 5,
    reference: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Compare everything in the workspace: accuracy, size, latency.

    Latencies come from the newest bench that measured all of the bundles; where there is none,
    they are measured now. Writes index.html (opens offline), report.md, report.json and the
    picture as report.svg.

    Args:
        bench: measure latencies; --no-bench leaves them out.
        length: tokens of the texts that latencies are measured with.
        launches: fresh processes of each candidate; where times are unsteady, up to three times
            as many.
        reference: the bundle that speed-ups of its data set refer to; left out, the teacher's, or
            that of the model which the others were made from.
    """
    common.begin()
    if not workspace.entries("bundle"):
        raise UsageError(f"no bundle in {workspace.root()} yet; make one with bmc export")
    output = common.output or workspace.root() / "report"
    hold(output)
    readable, _ = read_all()
    folders = [one.bundle.path for one in readable]
    if reference is not None:
        _check_reference(reference, folders, bench)
    run = _bench(folders, length, launches) if bench and folders else None
    if run and reference and reference not in {row.name for row in run.rows}:
        raise UsageError(f"{reference} was not measured here: {run.skipped[reference]}")
    found = collect(run, reference)
    with new_folder(output, force=common.force or common.output is None) as folder:
        content = {
            "references": dict(found.references),
            "machine": run.machine if run else None,
            "lines": [line.to_json() for line in found.lines],
            "broken": dict(found.broken),
        }
        write_json(folder / "report.json", content)
        disk.write(folder / "report.md", text.markdown(found).encode())
        disk.write(folder / "report.svg", svg(found).encode())
        disk.write(folder / "index.html", page.html(found).encode())
    return Answer(
        {"output": str(output), **content},
        (
            text.terminal(found),
            *text.notes(found),
            f"wrote {output}: open {output / 'index.html'} in a browser",
        ),
    )


def _check_reference(reference: str, folders: Sequence[Path], bench: bool) -> None:
    """Refuse a reference that there is not, or that nothing is compared with.

    Raises:
        UnknownError: no bundle of the workspace has that name.
        UsageError: no latencies are asked for.
    """
    names = [folder.name for folder in folders]
    if reference not in names:
        raise unknown("bundle", reference, names)
    if not bench:
        raise UsageError("--reference is what latencies are compared with; leave --no-bench out")


def _bench(folders: Sequence[Path], length: int, launches: int) -> results.Run:
    """Return the newest bench of these very bundles; measure them where there is none."""
    settings = BenchSettings(length=length, launches=launches, most_launches=3 * launches)
    run = newest_run(folders, settings)
    if run:
        console.note(f"latencies of the bench of {run.started}")
        return run
    run = results.measure_bundles(folders, (1, 2), settings, skip_broken=True)
    results.save(run, workspace.root() / ".bench" / f"{run.started}.json")
    return run
