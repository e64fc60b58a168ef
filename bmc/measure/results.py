"""What a bench found: rows that can be shown, saved with their raw samples, and read again."""

from __future__ import annotations

import datetime
import json
import statistics as plain
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bmc import bundle as bundles
from bmc import disk
from bmc.errors import ArtifactError, MissingError, SettingError
from bmc.files import sha256
from bmc.measure import machine
from bmc.measure.latency import BenchSettings, Candidate, Measured, measure
from bmc.measure.scores import Interval
from bmc.measure.statistics import percentile, speed_up
from bmc.targets import RuntimeOptions
from bmc.targets import load as load_target
from bmc.writing import write_atomically


@dataclass(frozen=True)
class Row:
    """One candidate's figures; times in milliseconds where not said otherwise.

    Args:
        name: the bundle's folder.
        manifest_sha256: which bundle exactly.
        threads: threads of the CPU.
        best: whether this is the bundle's better thread count.
        execution: what it really ran with.
        p50: median latency; None where there are too few samples.
        p90: 90th percentile, likewise.
        speed_up: how many times faster than the reference's better thread count; None for itself.
        cold_start_seconds: from a fresh process to the first answer, median of the launches.
        peak_mb: memory of that process after its first answer, median of the launches.
        samples: calls measured.
    """

    name: str
    manifest_sha256: str
    threads: int
    best: bool
    execution: dict[str, Any]
    p50: Interval | None
    p90: Interval | None
    speed_up: Interval | None
    cold_start_seconds: float
    peak_mb: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """One bench: its rows, the raw samples, and the machine."""

    started: str
    machine: dict[str, Any]
    settings: BenchSettings
    rows: tuple[Row, ...]
    skipped: dict[str, str]
    samples: tuple[Measured, ...]


def measure_bundles(
    folders: Sequence[Path],
    threads: Sequence[int],
    settings: BenchSettings,
    precision: str = "f32",
) -> Run:
    """Measure bundles in turn with each thread count; those that cannot run here are skipped.

    Bundles whose folders have the same name are told apart by their paths.

    Args:
        folders: bundles; the first that runs is the reference of the speed-ups.
        threads: thread counts.
        settings: how to measure; a bundle that takes fewer tokens or steps is given its most.
        precision: "f32" or "bf16"; a target that computes as its file says stays at that.
    """
    RuntimeOptions(precision=precision)  # refused here, before any process is started
    started = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    candidates: list[Candidate] = []
    skipped: dict[str, str] = {}
    folders = list(dict.fromkeys(folders))
    names = _names(folders)
    for folder in folders:
        target = bundles.read(folder).manifest.target
        chosen = precision if target in ("openvino", "pytorch") else "f32"
        try:
            here = load_target(target).available()
        except MissingError as error:
            skipped[names[folder]] = str(error)
            continue
        if here.devices:
            candidates += [Candidate(folder, count, chosen) for count in threads]
        else:
            skipped[names[folder]] = here.note
    found = measure(candidates, settings) if candidates else []
    rows = _rows(found, names)
    return Run(started, machine.describe(), settings, rows, skipped, tuple(found))


def ratio(run: Run, slower: str, faster: str) -> Interval:
    """Return how many times faster one bundle is than another, each at its better thread count."""
    return speed_up(_best_samples(run, slower), _best_samples(run, faster))


def save(run: Run, path: Path) -> None:
    """Write a run with all its samples as JSON."""
    disk.make_folders(path.parent)
    content = {
        "started": run.started,
        "machine": run.machine,
        "settings": asdict(run.settings),
        "skipped": run.skipped,
        "rows": [row.to_json() for row in run.rows],
        "samples": [asdict(one) for one in run.samples],
    }
    write_atomically(path, json.dumps(content, default=str).encode())


def read(path: Path) -> Run:
    """Read what `save` wrote.

    Raises:
        ArtifactError: the file is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**_with_intervals(row)) for row in content["rows"])
        samples = tuple(
            Measured(**{**one, "candidate": Candidate(**_with_path(one["candidate"]))})
            for one in content["samples"]
        )
        settings = BenchSettings(**content["settings"])
        rest = content["started"], content["machine"], content["skipped"]
    except (OSError, ValueError, KeyError, TypeError, SettingError) as error:
        raise ArtifactError(f"{path} is no bench result: {error}") from error
    return Run(rest[0], rest[1], settings, rows, rest[2], samples)


def cut_rows(run: Run) -> list[str]:
    """Say which bundles were given fewer tokens or steps than the others: all that they take."""
    return [
        f"{row.name} was given {row.execution['cut_to']} tokens or steps, the most that it takes"
        for row in run.rows
        if row.best and "cut_to" in row.execution
    ]


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    counts = Counter(folder.name for folder in folders)
    return {one: one.name if counts[one.name] == 1 else str(one) for one in folders}


def _rows(found: Sequence[Measured], names: Mapping[Path, str]) -> tuple[Row, ...]:
    rows = [
        Row(
            name=names[one.candidate.bundle],
            manifest_sha256=sha256(one.candidate.bundle / bundles.MANIFEST),
            threads=one.candidate.threads,
            best=False,
            execution=one.execution,
            p50=percentile(one.nanoseconds, 50),
            p90=percentile(one.nanoseconds, 90),
            speed_up=None,
            cold_start_seconds=plain.median(one.cold_start_seconds),
            peak_mb=plain.median(one.peak_mb),
            samples=sum(len(turn) for launch in one.nanoseconds for turn in launch),
        )
        for one in found
    ]
    best = {name: _best(rows, name) for name in dict.fromkeys(row.name for row in rows)}
    marked = []
    for place, row in enumerate(rows):
        reference = best[rows[0].name]
        faster = None
        if row.name != rows[0].name:
            faster = speed_up(found[reference].nanoseconds, found[place].nanoseconds)
        marked.append(replace(row, best=best[row.name] == place, speed_up=faster))
    return tuple(marked)


def _best(rows: Sequence[Row], name: str) -> int:
    own = [place for place, row in enumerate(rows) if row.name == name]
    return min(own, key=lambda place: _median(rows[place]))


def _median(row: Row) -> float:
    return row.p50.value if row.p50 else float("inf")


def _best_samples(run: Run, name: str) -> list[list[list[int]]]:
    place = next(place for place, row in enumerate(run.rows) if row.name == name and row.best)
    return run.samples[place].nanoseconds


def _with_intervals(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("p50", "p90", "speed_up")
    return {**row, **{key: Interval(**row[key]) if row[key] else None for key in keys}}


def _with_path(candidate: dict[str, Any]) -> dict[str, Any]:
    return {**candidate, "bundle": Path(candidate["bundle"])}
