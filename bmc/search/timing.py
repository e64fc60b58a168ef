"""The latency of a candidate, measured on the target in turn with the uncompressed model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmc.errors import BmcError, MeasuringError, StorageError, reason_of
from bmc.measure import results
from bmc.measure.latency import BenchSettings

TRIAL = BenchSettings(launches=2, rounds=4, drop_slower=1.25)
FINAL = BenchSettings(launches=5, rounds=6, most_launches=15)


def milliseconds(
    bundles: Sequence[Path], threads: Sequence[int], settings: BenchSettings
) -> dict[Path, float]:
    """Return the median latency of bundles, each at its best number of threads.

    Args:
        bundles: folders of bundles, which are measured in turn in one run.
        threads: numbers of threads to try.
        settings: settings of the measurement.

    Raises:
        MeasuringError: a bundle cannot be run, or gives too few samples.
        StorageError: the disk is full.
    """
    try:
        run = results.measure_bundles(bundles, threads, settings)
    except StorageError:
        raise
    except BmcError as error:
        raise MeasuringError(f"the latency cannot be measured: {reason_of(error)}") from error
    latencies = {row.name: row.p50.value for row in run.rows if row.best and row.p50}
    measured = {}
    for bundle in bundles:
        name = next((each for each in (bundle.name, str(bundle)) if each in latencies), None)
        if name is None:
            reason = run.skipped.get(bundle.name, "there are too few samples")
            raise MeasuringError(f"the latency of {bundle} cannot be measured: {reason}")
        measured[bundle] = latencies[name]
    return measured
