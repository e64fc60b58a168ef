"""What a bench found: rows that can be shown, saved with their raw samples, and read again."""

from __future__ import annotations

import datetime
import hashlib
import json
import statistics as plain
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bmc import bundle as bundles
from bmc import disk
from bmc.contracts.targets import format_of
from bmc.errors import ArtifactError, MissingError, SettingError
from bmc.files import sha256
from bmc.measure import machine
from bmc.measure.latency import BenchSettings, Candidate, Measured, measure
from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide
from bmc.measure.statistics import percentile, speed_up
from bmc.targets import RuntimeOptions
from bmc.targets import load as load_target
from bmc.typed import read_as
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
    """One bench: its rows, the raw samples, and the machine.

    Args:
        started: when, in UTC.
        machine: what it was measured on.
        settings: how.
        rows: each candidate's figures.
        skipped: why a bundle could not run there, by name.
        samples: of each row, raw.
        versions: of the run times; empty in files of earlier versions.
        skipped_sha256: which bundles were skipped exactly, likewise.
        failed: those skipped bundles that failed when they were run.
    """

    started: str
    machine: dict[str, Any]
    settings: BenchSettings
    rows: tuple[Row, ...]
    skipped: dict[str, str]
    samples: tuple[Measured, ...]
    versions: dict[str, str] = field(default_factory=dict)
    skipped_sha256: dict[str, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()


def measure_bundles(
    folders: Sequence[Path],
    threads: Sequence[int],
    settings: BenchSettings,
    precision: str = "f32",
    skip_broken: bool = False,
) -> Run:
    """Measure bundles in turn with each thread count; those that cannot run here are skipped.

    Bundles whose folders have the same name are told apart by their paths.

    Args:
        folders: bundles; the first that runs is the reference of the speed-ups.
        threads: thread counts.
        settings: how to measure; a bundle that takes fewer tokens or steps is given its most.
        precision: "f32" or "bf16"; a target that computes as its file says stays at that.
        skip_broken: leave out bundles that fail when they are run, each with the reason; else the
            first of them is an error.
    """
    RuntimeOptions(precision=precision)  # refused here, before any process is started
    started = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    candidates: list[Candidate] = []
    skipped: dict[str, str] = {}
    folders = list(dict.fromkeys(folders))
    names = _names(folders)
    for folder in folders:
        target = bundles.read(folder).manifest.target
        chosen = precision if precision in format_of(target).precisions else "f32"
        try:
            here = load_target(target).available()
        except MissingError as error:
            skipped[names[folder]] = str(error)
            continue
        if here.devices:
            candidates += [Candidate(folder, count, chosen) for count in threads]
        else:
            skipped[names[folder]] = here.note
    failed: dict[Path, str] = {}
    found = measure(candidates, settings, are_steady, failed if skip_broken else None)
    skipped |= {names[folder]: why for folder, why in failed.items()}
    rows = _rows(found, names)
    left_out = {names[one]: one for one in folders if names[one] in skipped}
    exactly = {name: sha256(one / bundles.MANIFEST) for name, one in left_out.items()}
    about = machine.describe(), settings, rows, skipped, tuple(found)
    broken = tuple(names[folder] for folder in failed)
    return Run(started, *about, machine.run_times(), exactly, broken)


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
        "skipped_sha256": run.skipped_sha256,
        "failed": run.failed,
        "versions": run.versions,
        "rows": [row.to_json() for row in run.rows],
        "samples": [asdict(one) for one in run.samples],
    }
    content = json.loads(json.dumps(content, default=str))
    write_atomically(path, json.dumps({**content, "sha256": _digest(content)}).encode())


def read(path: Path) -> Run:
    """Read what `save` wrote.

    Raises:
        ArtifactError: the file is something else, or was changed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no JSON object")
        recorded = content.pop("sha256", None)  # files of earlier versions have none
        if recorded not in (None, _digest(content)):
            raise ValueError("it was changed after it was written")
        run = read_as(Run, content)
        _check(run)
    except (OSError, ValueError, RecursionError, SettingError) as error:
        raise ArtifactError(f"{path} is no bench result: {error}; remove it") from error
    return run


def cut_rows(run: Run) -> list[str]:
    """Say which bundles were given fewer tokens or steps than the others: all that they take."""
    return [
        f"{row.name} was given {row.execution['cut_to']} tokens or steps, the most that it takes"
        for row in run.rows
        if row.best and "cut_to" in row.execution
    ]


def are_steady(found: Sequence[Measured]) -> bool:
    """Tell whether no median has a wide interval, each bundle at its better thread count."""
    medians: dict[Path, list[Interval]] = {}
    for one in found:
        median = percentile(one.nanoseconds, 50)
        if median:
            medians.setdefault(one.candidate.bundle, []).append(median)
    better = [min(each, key=lambda median: median.value) for each in medians.values()]
    return not any(is_wide(median) for median in better)


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


def _check(run: Run) -> None:
    """Check that rows, samples and machine of a file belong together.

    Raises:
        ValueError: they do not.
    """
    read_as(machine.Telling, {name: run.machine.get(name) for name in machine.TELLING}, "machine")
    if len(run.rows) != len(run.samples):
        raise ValueError(f"{len(run.rows)} rows of {len(run.samples)} samples")
    for name in {row.name for row in run.rows}:
        if sum(row.best for row in run.rows if row.name == name) != 1:
            raise ValueError(f"{name} has no single best row")
    shapes = {tuple(len(launch) for launch in one.nanoseconds) for one in run.samples}
    turns = [turn for one in run.samples for launch in one.nanoseconds for turn in launch]
    if len(shapes) > 1 or any(len(shape) < 2 or 0 in shape for shape in shapes):
        raise ValueError("its candidates were not measured in turn, in two launches or more")
    if not all(turn and min(turn) > 0 for turn in turns):
        raise ValueError("a turn has no calls, or one that took no time")


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
