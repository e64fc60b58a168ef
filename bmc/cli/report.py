"""bmc report"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered
from bmc.workflows.options import Output, Reporting

PANEL = "Report"


def report(
    bundle: tuple[str, ...] = (),
    *,
    reporting: Reporting = Reporting(),
    files: Output = Output(),
    watch: bool = False,
) -> Rendered:
    """Compare accuracy, size and latency of all bundles in the workspace, or of those named.

    Latencies come from the newest `bmc bench` of all these bundles; without one they are measured
    now. The command writes index.html (one file, opens offline), report.md, report.json,
    report.csv and report.svg. With --gate, the exit code is 1 if a bundle misses a limit.

    Args:
        bundle: bundles' folders, or their names in the workspace. The default is all bundles, also
            those that failed their accuracy, parity or speed check. With --watch the name of a
            recipe; the default is the one that was run last.
        watch: show how far the recipe is that `bmc run` runs in this workspace, until it ends;
            nothing is measured or written.

    Example:
        bmc report
        bmc report --gate "accuracy>=0.80 size<=5MB p50<=1ms max-drop<=1"
    """
    if watch:
        from bmc.rendering import watching

        return watching.watch(bundle)
    from bmc.rendering import reports as render
    from bmc.workflows import report as workflow

    return render.reported(workflow.report, bundle, reporting, files)
