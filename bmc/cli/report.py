"""bmc report"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from bmc import console, disk, workspace
from bmc.cli._common import Answer, Writing
from bmc.errors import UsageError
from bmc.files import write_json
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.report import page, text
from bmc.report.chart import svg
from bmc.report.collect import collect, newest_run
from bmc.writing import hold, new_folder


def report(
    *,
    bench: Annotated[bool, Parameter(negative="--no-bench")] = True,
    length: int = 32,
    launches: int = 5,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Compare everything in the workspace: accuracy, size, latency.

    Latencies come from the newest bench that measured all of the bundles; where there is none,
    they are measured now. Writes index.html (opens offline), report.md, report.json and the
    picture as report.svg.

    Args:
        bench: measure latencies; --no-bench leaves them out.
        length: tokens of the texts that latencies are measured with.
        launches: fresh processes of each candidate.
    """
    common.begin()
    folders = workspace.entries("bundle")
    if not folders:
        raise UsageError(f"no bundle in {workspace.root()} yet; make one with bmc export")
    output = common.output or workspace.root() / "report"
    hold(output)
    run = None
    if bench:
        settings = BenchSettings(length=length, launches=launches)
        run = newest_run(folders, settings)
        if run is None:
            run = results.measure_bundles(folders, (1, 2), settings)
            results.save(run, workspace.root() / ".bench" / f"{run.started}.json")
        else:
            console.note(f"latencies of the bench of {run.started}")
    found = collect(run)
    with new_folder(output, force=common.force or common.output is None) as folder:
        content = {
            "references": dict(found.references),
            "machine": run.machine if run else None,
            "lines": [line.to_json() for line in found.lines],
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
