"""The times of bundles on another device, as a report holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bmc.measure.scores import Interval


@dataclass(frozen=True)
class DeviceTimes:
    """The times of one bundle on a device.

    Args:
        threads: the better thread count, which the times refer to.
        p50: median latency in milliseconds.
        p90: 90th percentile of the latency in milliseconds.
        speed_up: ratio of the latency of the device's reference, on that device, to this latency;
            None for the reference.
        cold_start_seconds: time from the start of a fresh process to the first prediction.
        peak_mb: peak memory of that process.
        millijoules: energy of all processors a row; None where the device does not tell.
    """

    threads: int
    p50: Interval | None
    p90: Interval | None
    speed_up: Interval | None
    cold_start_seconds: float
    peak_mb: float
    millijoules: Interval | None


@dataclass(frozen=True)
class Device:
    """What one bench measured on a device.

    Args:
        name: name of the device, such as "pi@board".
        started: time of the bench, in UTC.
        machine: description of the machine.
        versions: versions of the runtimes there.
        launches: number of launches.
        references: for each data set, the bundle that the device's speed-ups refer to.
        times: times of the report's bundles that were measured there, by name.
        skipped: reason for each bundle of the report that could not be measured there, by name.
    """

    name: str
    started: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    launches: int
    references: Mapping[str, str]
    times: Mapping[str, DeviceTimes]
    skipped: Mapping[str, str] = field(default_factory=dict)
