"""bmc report"""

from __future__ import annotations

from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.options import Answer, Writing

PANEL = "Report"


def report(
    *bundle: Annotated[str, typer.Argument(autocompletion=_complete.bundles)],
    bench: Annotated[bool, typer.Option("--bench/--no-bench")] = True,
    length: int = 32,
    launches: int = 5,
    reference: Annotated[
        str | None, typer.Option("--reference", autocompletion=_complete.bundles)
    ] = None,
    common: Writing = Writing(),
) -> Answer:
    """Compare accuracy, size and latency of all bundles in the workspace, or of those named.

    Latencies come from the newest `bmc bench` of all these bundles; without one they are measured
    now. The command writes index.html (opens offline), report.md, report.json and report.svg.

    Args:
        bundle: bundles' folders, or their names in the workspace; when left out all of them, and
            those that failed a gate.
        bench: measure latencies, or leave them out.
        length: tokens or time steps per row for the latencies.
        launches: processes per bundle; up to three times as many where times are unsteady.
        reference: bundle that the speed-ups of its data set refer to. The default is that of the
            teacher, or of the model that the others were made from.

    Example:
        bmc report
        bmc report bert-movie-reviews-onnx tiny-movie-reviews-onnx
    """
    from bmc.report import table
    from bmc.workflows import report as workflow

    common.begin()
    made = workflow.report(
        bench, length, launches, reference, common.output, common.force, names=bundle
    )
    return Answer(
        {"output": str(made.path), **made.content},
        (
            table.terminal(made.report),
            *table.notes(made.report),
            f"wrote {made.path}: open {made.path / 'index.html'} in a browser",
        ),
    )
