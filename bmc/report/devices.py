"""Join a report with the benches of other devices: a group of columns for each device.

A ratio is computed within one bench of one device, never between devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmc import bundle as bundles
from bmc import workspace
from bmc.errors import ArtifactError
from bmc.files import sha256
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run
from bmc.measure.scores import Interval
from bmc.measure.shown import is_wide, significant, with_interval
from bmc.measure.statistics import Launches, speed_up
from bmc.report.device import Device, DeviceTimes
from bmc.report.line import Line, Report

TITLES = ("p50 ms", "times faster")
"""Titles of the columns of each device."""


def device_runs(
    folders: Sequence[Path],
    settings: BenchSettings = BenchSettings(),
) -> list[Run]:
    """Return a bench of each device that measured some of these bundles: the one with most of them.

    Among benches with equally many bundles it is the newest. A bench counts if it measured with
    batch size 1, in fp32 and with the same length.

    Args:
        folders: bundles.
        settings: length of the report.
    """
    hashes = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    chosen: dict[str, tuple[int, Run]] = {}
    for path in sorted(workspace.runs().glob("*.json"), reverse=True):
        try:
            run = results.read(path)
        except ArtifactError:  # `newest_run` says so
            continue
        if not run.device or (run.settings.batch, run.settings.length) != (1, settings.length):
            continue
        if any(sample.candidate.precision != "f32" for sample in run.samples):
            continue
        count = len(_measured(run, hashes))
        if count > chosen.get(run.device, (0, run))[0]:
            chosen[run.device] = count, run
    return [chosen[device][1] for device in sorted(chosen)]


def with_devices(report: Report, runs: Sequence[Run], hashes: Mapping[str, str]) -> Report:
    """Return a report with the times of its bundles on other devices.

    Args:
        report: the report.
        runs: a bench of each device.
        hashes: sha256 of the manifests of the report's bundles, by name; times of other bundles of
            the same name are left out.
    """
    return replace(report, devices=tuple(_device(report, run, hashes) for run in runs))


def columns(report: Report) -> list[str]:
    """Return the titles of all devices' columns."""
    return [f"{device.name}: {title}" for device in report.devices for title in TITLES]


def cells(report: Report, line: Line) -> list[str]:
    """Return a bundle's cells in all devices' columns."""
    return [text for device in report.devices for text in cells_on(device, line)]


def cells_on(device: Device, line: Line) -> list[str]:
    """Return a bundle's cells in the columns of one device."""
    times = device.times.get(line.name)
    if times is None:
        return ["not run" if line.name in device.skipped else "", ""]
    p50 = significant(times.p50.value) if times.p50 else "too few samples"
    ratio = with_interval(times.speed_up) if times.speed_up else ""
    return [p50 + _mark(times.p50), ratio + _mark(times.speed_up)]


def _mark(interval: Interval | None) -> str:
    """Return the mark of an interval that is wide."""
    return " ?" if is_wide(interval) else ""


def notes(report: Report) -> Iterator[str]:
    """Say what each device is, what its speed-ups refer to, and what could not be run there."""
    for device in report.devices:
        machine = device.machine
        yield (
            f"{device.name}: {machine['processor']}, {machine['cores']} cores, measured in turn "
            f"there in {device.launches} launches"
        )
        if device.references:
            names = ", ".join(dict.fromkeys(device.references.values()))
            yield f"{device.name}: times faster: than {names} there"
        for name, reason in device.skipped.items():
            yield f"{name} was not run on {device.name}: {reason}"


def _measured(run: Run, hashes: Mapping[str, str]) -> set[str]:
    """Return the names of the bundles that a run measured, in the form that they have here."""
    return {row.name for row in run.rows if hashes.get(row.name) == row.manifest_sha256}


def _device(report: Report, run: Run, hashes: Mapping[str, str]) -> Device:
    measured = _measured(run, hashes)
    samples = {
        row.name: sample.nanoseconds
        for row, sample in zip(run.rows, run.samples, strict=True)
        if row.best
    }
    references = {}
    for data, lines in report.by_data().items():
        reference = _reference(lines, measured, report.references.get(data))
        if reference is not None and len([line for line in lines if line.name in measured]) > 1:
            references[data] = reference
    data_of = {line.name: line.data for line in report.lines}
    times = {}
    for row in run.rows:
        if row.best and row.name in measured and row.name in data_of:
            reference = references.get(data_of[row.name])
            times[row.name] = DeviceTimes(
                threads=row.threads,
                p50=row.p50,
                p90=row.p90,
                speed_up=_faster(samples, reference, row.name),
                cold_start_seconds=row.cold_start_seconds,
                peak_mb=row.peak_mb,
                millijoules=row.millijoules,
            )
    return Device(
        name=run.device,
        started=run.started,
        machine=run.machine,
        versions=run.versions,
        launches=max((len(launches) for launches in samples.values()), default=0),
        references=references,
        times=times,
        skipped={
            name: reason
            for name, reason in run.skipped.items()
            if name in hashes and run.skipped_sha256.get(name) == hashes[name]
        },
    )


def _reference(lines: Sequence[Line], measured: set[str], reference: str | None) -> str | None:
    """Choose what the speed-ups of a data set refer to on a device.

    It is the report's reference; if that was not measured on the device, another bundle of its
    model, else the largest model.

    Args:
        lines: lines of the data set.
        measured: names of the bundles that were measured on the device.
        reference: the report's reference.
    """
    candidates = [line for line in lines if line.name in measured and not line.floor]
    model = next((line.model for line in lines if line.name == reference), None)
    if not candidates:
        return None

    def rank(line: Line) -> tuple[bool, bool, int]:
        return line.name == reference, line.model == model, line.parameters or 0

    return max(candidates, key=rank).name


def _faster(samples: Mapping[str, Launches], reference: str | None, name: str) -> Interval | None:
    if reference is None or reference == name:
        return None
    return speed_up(samples[reference], samples[name])
