"""bmc report"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from bmc.cli._common import Answer, Writing
from bmc.report import text
from bmc.workflows import report as workflow


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
    made = workflow.report(bench, length, launches, reference, common.output, common.force)
    return Answer(
        {"output": str(made.path), **made.content},
        (
            text.terminal(made.report),
            *text.notes(made.report),
            f"wrote {made.path}: open {made.path / 'index.html'} in a browser",
        ),
    )
