"""What `bmc bench` shows."""

from __future__ import annotations

from rich import box
from rich.table import Table

from bmc.measure import results
from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide, significant, with_interval
from bmc.rendering.rendered import Rendered
from bmc.workflows.bench import Benched


def benched(measured: Benched) -> Rendered:
    """Render what `bmc bench` measured."""
    run = measured.run
    return Rendered(
        {
            "machine": run.machine,
            "samples": str(measured.samples),
            "skipped": run.skipped,
            "rows": [row.to_json() for row in run.rows],
        },
        (
            _table(run),
            *results.cut_rows(run),
            *(f"not measured: {name}: {why}" for name, why in run.skipped.items()),
        ),
    )


def _table(run: results.Run) -> Table:
    about = f"batch {run.settings.batch}, {run.settings.length} tokens, milliseconds [95 %]"
    table = Table(title=about, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("bundle", overflow="fold")
    for column in ("threads", "runs in", "p50", "p90", "times faster", "cold start", "MB"):
        table.add_column(column, no_wrap=True)
    for row in run.rows:
        table.add_row(
            row.name,
            f"{row.threads}{' *' if row.best else ''}",
            row.execution["precision"],
            _marked(row.p50),
            _marked(row.p90),
            _marked(row.speed_up) if row.speed_up else "1 (reference)",
            f"{significant(row.cold_start_seconds)} s",
            significant(row.peak_mb),
        )
    table.caption = (
        "* the better thread count of that bundle; speed-ups are over the first bundle's; "
        "? upper end more than twice the lower"
    )
    return table


def _marked(interval: Interval | None) -> str:
    """Return a time as text; a time with a wide interval is marked."""
    return with_interval(interval) + (" ?" if is_wide(interval) else "")
