"""What `bmc bench` shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ParamSpec, cast

from rich import box
from rich.table import Table

from bmc.errors import GateError
from bmc.measure import results
from bmc.measure.results import Row, Run
from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide, significant, with_interval
from bmc.measure.statistics import needed
from bmc.rendering.rendered import Rendered, with_failures
from bmc.workflows.bench import Benched
from bmc.workflows.device_bench import RunnerFolder

P = ParamSpec("P")


def benched(measured: Benched) -> Rendered:
    """Render what `bmc bench` measured."""
    run = measured.run
    return Rendered(
        {
            "device": run.device,
            "machine": run.machine,
            "samples": str(measured.samples),
            "checks": {name: vars(check) for name, check in run.checks.items()},
            "skipped": run.skipped,
            "rows": [row.to_json() for row in run.rows],
        },
        (
            _table(run),
            *([_throughputs(run)] if run.settings.batches else []),
            *_slowest(run),
            *_energies(run),
            *results.cut_rows(run),
            *_golden(run),
            *(f"not measured: {name}: {why}" for name, why in run.skipped.items()),
            *_device(run),
        ),
    )


def benched_there(work: Callable[P, Benched], *args: P.args, **kwargs: P.kwargs) -> Rendered:
    """Measure on a device, and render what was measured, also if a bundle failed there.

    Args:
        work: the workflow; it is called with `args` and `kwargs`.
    """
    try:
        return benched(work(*args, **kwargs))
    except GateError as error:
        return with_failures(benched(cast(Benched, error.result)), error)


def runner(folder: RunnerFolder) -> Rendered:
    """Render the folder that measures bundles on another machine."""
    return Rendered(
        {
            "output": str(folder.path),
            "bundles": list(folder.bundles),
            "packages": list(folder.packages),
            "bytes": folder.size,
        },
        (
            f"wrote {folder.path}: {len(folder.bundles)} bundles, {folder.size / 1e6:.1f} MB",
            f"copy it to the device, install there {', '.join(folder.packages)}, and run there: "
            "python3 run.py",
            "then copy result.json back, and read it here: bmc bench --read result.json",
        ),
    )


def _table(run: Run) -> Table:
    about = f"batch {run.settings.batch}, {run.settings.length} tokens, milliseconds [95 %]"
    title = f"{run.device}: {about}" if run.device else about
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
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


def _throughputs(run: Run) -> Table:
    """Return the rows per second by batch size."""
    table = Table(title="rows per second [95 %]", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("bundle", overflow="fold")
    table.add_column("threads", no_wrap=True)
    sizes = [str(rows) for rows in sorted((run.settings.batch, *run.settings.batches))]
    for size in sizes:
        table.add_column(f"batch {size}", no_wrap=True)
    for row in run.rows:
        table.add_row(
            *(row.name, str(row.threads)), *(_marked(row.throughput.get(size)) for size in sizes)
        )
    return table


def _slowest(run: Run) -> Iterator[str]:
    """Say how long the slowest calls take, or how many calls are needed to say it."""
    launches = max((len(sample.nanoseconds) for sample in run.samples), default=0)
    # Launches are added where intervals are wide: the next bench may do without.
    added = max(launches / run.settings.launches, 1)
    for row in _best(run):
        if row.p99:
            yield f"p99 of {row.name}: {_marked(row.p99)} ms ({row.samples:,} calls)"
        elif row.samples:
            rounds = math.ceil(added * run.settings.rounds * needed(99) / row.samples)
            yield (
                f"p99 of {row.name} needs {needed(99):,} calls, and {row.samples:,} were measured: "
                f"--rounds {rounds} measures enough"
            )


def _energies(run: Run) -> Iterator[str]:
    for row in _best(run):
        if row.millijoules:
            yield f"energy of {row.name}: {_marked(row.millijoules)} mJ a row, whole processor"


def _golden(run: Run) -> Iterator[str]:
    for name, check in run.checks.items():
        yield (
            f"golden outputs of {name}: changed by {check.max_error:.2g} at most, allowed is "
            f"{check.allowed:.2g}"
        )


def _device(run: Run) -> Iterator[str]:
    if run.device:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        yield (
            f"{run.device}: {run.machine['processor']}, {run.machine['cores']} cores, "
            f"{run.machine.get('memory_gib')} GiB, {run.machine.get('system')}, Python "
            f"{run.machine.get('python')}, {versions}"
        )


def _best(run: Run) -> Iterator[Row]:
    return (row for row in run.rows if row.best)


def _marked(interval: Interval | None) -> str:
    """Return a time as text; a time with a wide interval is marked."""
    return with_interval(interval) + (" ?" if is_wide(interval) else "")
