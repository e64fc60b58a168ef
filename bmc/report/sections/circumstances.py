"""Where and how a report was measured: machine, versions, settings, start-up, and how to rerun."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from markupsafe import Markup

from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.report.line import Report
from bmc.report.templates import render
from bmc.report.words import joined

_STARTED = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\d\d")


def section(report: Report) -> Markup:
    """Return the machine and settings of the bench, the figures of each start, and commands."""
    values = {
        "report": report,
        "facts": list(facts(report)),
        "commands": commands(report),
        "lines": [line for line in report.lines if not line.failed],
    }
    return render("circumstances.html", values)


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the figures depend on, each with its title."""
    if report.run:
        yield from _of_bench(report.run)
    else:
        yield "latency", "not measured: bmc report without --no-bench measures it"
    for device in report.devices:
        machine = device.machine
        versions = ", ".join(f"{name} {version}" for name, version in device.versions.items())
        yield (
            f"on {device.name}",
            f"{machine['processor']}, {machine['cores']} cores; {versions or 'versions unknown'}; "
            f"measured {_time(device.started)} in {device.launches} launches",
        )
    precisions = dict.fromkeys(line.precision for line in report.lines if not line.failed)
    if precisions:
        yield "precision of the weights and activations", ", ".join(precisions)
    yield from _of_exports(report)


def _of_bench(run: Run) -> Iterator[tuple[str, str]]:
    machine, settings = run.machine, run.settings
    yield "measured", _time(run.started) + (f" on {run.device}" if run.device else "")
    yield "processor", f"{machine['processor']}, {machine['cores']} cores"
    yield "instructions", ", ".join(machine["instructions"]) or "none that bmc looks for"
    for key, title, unit in (
        ("memory_gib", "memory", " GiB"),
        ("system", "system", ""),
        ("python", "Python", ""),
    ):
        if machine.get(key):
            yield title, f"{machine[key]}{unit}"
    if run.versions:
        yield "runtimes", ", ".join(f"{name} {version}" for name, version in run.versions.items())
    launches = max((len(sample.nanoseconds) for sample in run.samples), default=settings.launches)
    threads = sorted({row.threads for row in run.rows})
    yield (
        "settings",
        f"batch {settings.batch}, {settings.length} tokens or steps, {launches} launches of "
        f"{settings.rounds} turns each, threads {', '.join(map(str, threads))} "
        "(the table has the better)",
    )
    executed = dict.fromkeys(
        f"{row.execution.get('precision')} on {row.execution.get('device')}" for row in run.rows
    )
    yield "executed in", ", ".join(executed)


def _of_exports(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the versions of the packages of the exports, once for bundles with equal versions."""
    names: dict[str, list[str]] = {}
    for line in report.lines:
        pairs = ", ".join(f"{name} {version}" for name, version in line.lineage.versions.items())
        if pairs:
            names.setdefault(pairs, []).append(line.name)
    for pairs, bundles in names.items():
        title = "exported with" if len(names) == 1 else f"{joined(bundles, 4)} exported with"
        yield title, pairs


def _time(started: str) -> str:
    """Write the time of a bench, "20260101-123000", for people; any other text as it is."""
    match = _STARTED.fullmatch(started)
    return "{}-{}-{} {}:{} UTC".format(*match.groups()) if match else started


def commands(report: Report) -> list[str]:
    """Return the commands that measure the same bundles again and write the report again."""
    names = [line.name for line in report.lines if not line.floor and not line.failed]
    measured = [name for name in names if report.run and name in {r.name for r in report.run.rows}]
    options = _options(report.run) if report.run else []
    bench = [f"bmc bench {shlex.join([*measured, *options])}"] if measured else []
    return [*bench, report.command or f"bmc report {shlex.join(names)}".rstrip()]


def _options(run: Run) -> list[str]:
    """Return the options of `bmc bench` by which a bench differs from its defaults."""
    usual = BenchSettings()
    changed = {
        name: getattr(run.settings, name)
        for name in ("batch", "length", "launches", "rounds")
        if getattr(run.settings, name) != getattr(usual, name)
    }
    device = ["--on", run.device] if run.device else []
    if run.threads != [1, 2]:
        changed["threads"] = ",".join(map(str, run.threads))
    return [
        *device,
        *(part for name, value in changed.items() for part in (f"--{name}", f"{value}")),
    ]
