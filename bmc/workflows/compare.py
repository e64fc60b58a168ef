"""Compare bundles: scores, size, and latency measured alternately in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmc import workspace
from bmc.errors import UsageError
from bmc.measure import results
from bmc.report.collect import Report, collect, newest_run
from bmc.workflows import device_bench
from bmc.workflows.options import Device, Measurement


def compare(
    folders: Sequence[Path],
    bench: bool = True,
    threads: Sequence[int] = (1, 2),
    length: int = 32,
    launches: int = 5,
    rounds: int = 6,
    device: Device = Device(),
) -> Report:
    """Compare bundles; the newest bench that measured just these is used, else they are measured.

    Args:
        folders: the bundles.
        bench: whether there are latencies.
        threads: thread counts to measure.
        length: tokens or time steps of a row.
        launches: fresh processes per bundle; up to three times as many if the times vary much.
        rounds: turns of each bundle in a launch.
        device: the device to measure on; this machine by default.

    Raises:
        UsageError: there are no bundles, or two folders have one name.
        MissingError: the device cannot be reached, or lacks what the bundles need.
    """
    if not folders:
        raise UsageError("there are no bundles to compare")
    workspace.refuse_equal_names(folders)
    run = None
    if bench:
        measurement = Measurement(tuple(threads), length=length, launches=launches, rounds=rounds)
        if device.on is not None:
            names = [str(folder) for folder in folders]
            run = device_bench.bench(names, measurement, device=device).run
            return collect(run, folders=folders)
        settings = measurement.settings()
        run = newest_run(folders, settings, threads)
        if run is None:
            run = results.measure_bundles(folders, threads, settings, skip_broken=True)
            results.save_new(run, workspace.runs())
    return collect(run, folders=folders)
