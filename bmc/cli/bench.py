"""bmc bench"""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from bmc.cli._common import Answer, Common
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide, significant, with_interval
from bmc.workflows import bench as workflow
from bmc.workflows.bench import Benched


def bench(
    *bundle: str,
    threads: tuple[int, ...] = (1, 2),
    batch: int = 1,
    length: int | None = None,
    precision: str = "f32",
    launches: int = 5,
    rounds: int = 6,
    save: Path | None = None,
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """Measure bundles in turn: latency with intervals, cold start, memory.

    All candidates are measured in one run, in turn, each in a process of its own that is stopped
    outside its turns; every launch starts the processes anew. The first bundle is the reference
    of the speed-ups. Raw samples are kept.

    Args:
        bundle: bundles' folders, or their names in the workspace; all of them when left out.
        threads: thread counts to try; each is measured.
        batch: rows a call.
        length: tokens a row, none of them padding; when left out 32, or a model's most.
        precision: what OpenVINO and PyTorch may compute in: f32 (or fp32), or bf16.
        launches: fresh processes of each candidate; where times are unsteady, up to three times
            as many.
        rounds: turns of each candidate in a launch.
        save: where the raw samples go; into the workspace when left out.
    """
    common.begin()
    settings = BenchSettings(
        batch,
        BenchSettings.length if length is None else length,
        launches,
        rounds,
        most_launches=3 * launches,
    )
    return _benched(workflow.bench(bundle, threads, settings, precision, save, length))


def _benched(measured: Benched) -> Answer:
    run = measured.run
    return Answer(
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
    """Write a time; one whose interval is wide is marked."""
    return with_interval(interval) + (" ?" if is_wide(interval) else "")
