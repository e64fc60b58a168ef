"""Results of a bench: rows for people, saved with their raw samples, and read again."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from bmc import bundle as bundles
from bmc import disk
from bmc.contracts.targets import format_of
from bmc.errors import ArtifactError, MeasuringError, MissingError, SettingError
from bmc.files import sha256
from bmc.measure import machine
from bmc.measure.latency import BenchSettings, Candidate, Measured, measure
from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide
from bmc.measure.statistics import energy, percentile, percentiles, speed_up, throughput
from bmc.targets import RuntimeOptions
from bmc.targets import load as load_target
from bmc.typed import read_as
from bmc.writing import write_atomically

_LONGEST = 86_400 * 10**9  # nanoseconds of a call
_EXECUTION = ("device", "precision")  # entries of an execution that are shown


@dataclass(frozen=True)
class Row:
    """The figures of one candidate.

    Args:
        name: name of the bundle's folder.
        manifest_sha256: sha256 of the bundle's manifest.
        threads: number of CPU threads.
        best: whether this thread count has the lowest median latency of the bundle.
        execution: device, threads and precision that the session reported.
        p50: median latency in milliseconds; None where there are too few samples.
        p90: 90th percentile of the latency in milliseconds; None where there are too few samples.
        speed_up: latency of the reference at its best thread count over this latency; None for that
            row of the reference.
        cold_start_seconds: time from the start of a process to its first output, median of the
            launches.
        peak_mb: peak memory of that process after its first output in MB, median of the launches.
        samples: number of measured calls.
        p99: 99th percentile of the latency in milliseconds; None where there are too few samples.
        throughput: rows per second by rows a call, as text; one entry for each batch size.
        millijoules: energy of all processors a row, idle power included; None where the machine
            does not tell.
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
    p99: Interval | None = None
    throughput: dict[str, Interval] = field(default_factory=dict)
    millijoules: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class GoldenCheck:
    """The outputs of a bundle for its golden rows, on the device that measured it.

    Args:
        max_error: largest absolute change of an output value since the export.
        allowed: largest absolute change that passes.
        rows: number of raw golden rows that got the same labels.
    """

    max_error: float
    allowed: float
    rows: int


@dataclass(frozen=True)
class Run:
    """One bench: its rows, the raw samples, and the machine.

    Args:
        started: time of the start, in UTC.
        machine: description of the machine.
        settings: settings of the measurement.
        rows: figures of the candidates.
        skipped: reason for each bundle that was not measured, by name.
        samples: raw samples of each row.
        versions: versions of the runtimes; empty in files of bmc 0.1.
        skipped_sha256: sha256 of the manifest of each skipped bundle, by name; empty in files of
            bmc 0.1.
        failed: names of the skipped bundles that failed while they were run.
        device: name of the device that measured, such as "pi@board"; "" for this machine.
        checks: check of each bundle's golden outputs on that device, by name; empty for this
            machine, where `bmc check` makes it.
        asked_threads: numbers of threads that were asked for; empty where a file does not say.
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
    device: str = ""
    checks: dict[str, GoldenCheck] = field(default_factory=dict)
    asked_threads: tuple[int, ...] = ()

    @property
    def threads(self) -> list[int]:
        """The numbers of threads that were tried."""
        return sorted(set(self.asked_threads) or {row.threads for row in self.rows})


def measure_bundles(
    folders: Sequence[Path],
    threads: Sequence[int],
    settings: BenchSettings,
    precision: str = "f32",
    skip_broken: bool = False,
) -> Run:
    """Measure bundles in turn with each thread count; bundles that cannot run here are skipped.

    Bundles whose folders have the same name are named by their paths.

    Args:
        folders: folders of the bundles; the first bundle that runs is the reference of the
            speed-ups.
        threads: thread counts.
        settings: settings of the measurement; a bundle that takes fewer tokens or time steps is
            measured with its largest number.
        precision: "f32" or "bf16"; targets whose file determines the precision ignore this.
        skip_broken: whether to skip bundles that fail while they run, each with the reason;
            otherwise the first failure is an error.

    Raises:
        MeasuringError: a bundle was made anew meanwhile.
    """
    RuntimeOptions(precision=precision)  # checks the precision before any process is started
    started = now()
    candidates: list[Candidate] = []
    skipped: dict[str, str] = {}
    folders = list(dict.fromkeys(folders))
    names = _names(folders)
    for folder in folders:
        target = bundles.read(folder).manifest.target
        chosen = precision if precision in format_of(target).precisions else "f32"
        try:
            availability = load_target(target).available()
        except MissingError as error:
            skipped[names[folder]] = str(error)
            continue
        if availability.devices:
            candidates += [Candidate(folder, count, chosen) for count in threads]
        else:
            skipped[names[folder]] = availability.note
    hashes = {folder: sha256(folder / bundles.MANIFEST) for folder in folders}
    failed: dict[Path, str] = {}
    measured = measure(candidates, settings, are_steady, failed if skip_broken else None)
    for folder in hashes:
        if sha256(folder / bundles.MANIFEST) != hashes[folder]:
            failed[folder] = "it was made anew while it was measured: bmc bench again"
            if not skip_broken:
                raise MeasuringError(f"{folder}: {failed[folder]}")
    measured = [each for each in measured if each.candidate.bundle not in failed]
    skipped |= {names[folder]: reason for folder, reason in failed.items()}
    return Run(
        started=started,
        machine=machine.describe(),
        settings=settings,
        rows=_rows(measured, names, settings.batch),
        skipped=skipped,
        samples=tuple(measured),
        versions=machine.runtime_versions(),
        skipped_sha256={
            names[folder]: sha256(folder / bundles.MANIFEST)
            for folder in folders
            if names[folder] in skipped
        },
        failed=tuple(names[folder] for folder in failed),
        asked_threads=tuple(threads),
    )


def now() -> str:
    """Return the time in UTC, as runs record it and as their files are named."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())


def ratio(run: Run, slower: str, faster: str) -> Interval:
    """Return the latency ratio of two bundles, each at its best thread count.

    Args:
        run: a bench of both bundles.
        slower: name of the bundle in the numerator.
        faster: name of the bundle in the denominator.
    """
    return speed_up(best_samples(run, slower), best_samples(run, faster))


def save_new(run: Run, folder: Path, name: str = "") -> Path:
    """Write a run into a folder, and return the file; no other one is replaced.

    Args:
        run: a bench.
        folder: the folder; files of later runs sort behind those of earlier ones.
        name: name of the file without its ending; the default is the time of the start.
    """
    first = name or run.started
    names = chain([first], (f"{first}_{number}" for number in count(2)))
    path = next(path for name in names if not (path := folder / f"{name}.json").exists())
    save(run, path)
    return path


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
        "device": run.device,
        "checks": {name: asdict(check) for name, check in run.checks.items()},
        "versions": run.versions,
        "asked_threads": run.asked_threads,
        "rows": [row.to_json() for row in run.rows],
        "samples": [asdict(measured) for measured in run.samples],
    }
    content = json.loads(json.dumps(content, default=str))
    write_atomically(path, json.dumps({**content, "sha256": _digest(content)}).encode())


def read(path: Path) -> Run:
    """Read a run that `save` wrote.

    Raises:
        ArtifactError: the file is not a bench result, or was changed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no JSON object")
        recorded = content.pop("sha256", None)  # missing in files of bmc 0.1
        if recorded not in (None, _digest(content)):
            raise ValueError("it was changed after it was written")
        run = read_as(Run, content)
        _check(run)
    except (OSError, ValueError, RecursionError, SettingError) as error:
        raise ArtifactError(f"{path} is not a bench result: {error}; remove it") from error
    return run


def cut_rows(run: Run) -> list[str]:
    """Return a sentence for each bundle that was measured with fewer tokens than the others."""
    return [
        f"{row.name} was measured with {row.execution['cut_to']} tokens or steps, its maximum"
        for row in run.rows
        if row.best and "cut_to" in row.execution
    ]


def are_steady(measured: Sequence[Measured]) -> bool:
    """Tell whether the median of every bundle at its best thread count has a narrow interval."""
    medians: dict[Path, list[Interval]] = {}
    for entry in measured:
        median = percentile(entry.nanoseconds, 50)
        if median:
            medians.setdefault(entry.candidate.bundle, []).append(median)
    best = [min(of_bundle, key=lambda median: median.value) for of_bundle in medians.values()]
    return not any(is_wide(median) for median in best)


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    counts = Counter(folder.name for folder in folders)
    return {folder: folder.name if counts[folder.name] == 1 else str(folder) for folder in folders}


def _rows(measured: Sequence[Measured], names: Mapping[Path, str], batch: int) -> tuple[Row, ...]:
    rows = [_row(entry, names[entry.candidate.bundle], batch) for entry in measured]
    best = {name: _best(rows, name) for name in dict.fromkeys(row.name for row in rows)}
    complete = []
    for index, row in enumerate(rows):
        reference = best[rows[0].name]
        ratio_to_reference = None
        if index != reference:
            ratio_to_reference = speed_up(
                measured[reference].nanoseconds, measured[index].nanoseconds
            )
        is_best = best[row.name] == index
        complete.append(replace(row, best=is_best, speed_up=ratio_to_reference))
    return tuple(complete)


def _row(measured: Measured, name: str, batch: int) -> Row:
    """Return the figures of a candidate without those that compare it with others.

    Args:
        measured: measurements of the candidate.
        name: name of its bundle.
        batch: rows a call of the latencies.
    """
    p50, p90, p99 = percentiles(measured.nanoseconds, (50, 90, 99))
    launches_of = {str(batch): measured.nanoseconds, **measured.batch_nanoseconds}
    return Row(
        name=name,
        manifest_sha256=sha256(measured.candidate.bundle / bundles.MANIFEST),
        threads=measured.candidate.threads,
        best=False,
        execution=measured.execution,
        p50=p50,
        p90=p90,
        speed_up=None,
        cold_start_seconds=statistics.median(measured.cold_start_seconds),
        peak_mb=statistics.median(measured.peak_mb),
        samples=sum(len(turn) for launch in measured.nanoseconds for turn in launch),
        p99=p99,
        throughput={
            rows: throughput(launches, int(rows)) for rows, launches in launches_of.items()
        },
        millijoules=energy(measured.microjoules, measured.nanoseconds, batch),
    )


def _best(rows: Sequence[Row], name: str) -> int:
    """Return the index of a bundle's row with the lowest median latency."""
    indices = [index for index, row in enumerate(rows) if row.name == name]
    return min(indices, key=lambda index: _median(rows[index]))


def _median(row: Row) -> float:
    return row.p50.value if row.p50 else float("inf")


def best_samples(run: Run, name: str) -> list[list[list[int]]]:
    """Return the nanoseconds of a bundle's calls at its best number of threads, by launch and turn.

    Args:
        run: a bench.
        name: name of a bundle that it measured.
    """
    index = next(index for index, row in enumerate(run.rows) if row.name == name and row.best)
    return run.samples[index].nanoseconds


def _check(run: Run) -> None:
    """Check that the rows, samples and machine of a run are consistent.

    Raises:
        ValueError: they are inconsistent.
    """
    read_as(machine.Hardware, {name: run.machine.get(name) for name in machine.HARDWARE}, "machine")
    if len(run.rows) != len(run.samples):
        raise ValueError(f"{len(run.rows)} rows of {len(run.samples)} samples")
    for name in {row.name for row in run.rows}:
        if sum(row.best for row in run.rows if row.name == name) != 1:
            raise ValueError(f"{name} has no single best row")
    shapes = {tuple(len(launch) for launch in entry.nanoseconds) for entry in run.samples}
    turns = [turn for entry in run.samples for launch in entry.nanoseconds for turn in launch]
    if len(shapes) > 1 or any(len(shape) < 2 or 0 in shape for shape in shapes):
        raise ValueError("its candidates were not measured in turn, in two launches or more")
    if not all(turn and 0 < min(turn) <= max(turn) < _LONGEST for turn in turns):
        raise ValueError("a turn has no calls, or one that took no time or more than a day")
    if not all(isinstance(row.execution.get(key), str) for row in run.rows for key in _EXECUTION):
        raise ValueError(f"a row does not say its {' and '.join(_EXECUTION)}")
    if not set(run.failed) <= run.skipped.keys():
        raise ValueError("a bundle failed without a reason")


def _digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a run's content.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
