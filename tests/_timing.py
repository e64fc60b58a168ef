"""Timings that take little time: tests ask what is measured, and never how fast it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc import bundle as bundles
from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.export import speed
from bmc.export.source import Source
from bmc.export.speed import Speed
from bmc.measure import latency, results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions

over_fp32, over_in_processes = speed.over_fp32, speed.over
_LENGTH = 32
_ALIKE = Speed(Interval(1.0, 0.9, 1.1), None)


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Let benches warm up briefly and add no launches, and exports write no fp32 bundle to time."""
    patch.setattr(latency, "WARM_UP_SECONDS", 0.01)
    patch.setattr(results, "are_steady", lambda measured: True)
    patch.setattr(speed, "TIMING", BenchSettings(launches=2, rounds=2, turn_seconds=0.0))
    patch.setattr(speed, "THREADS", (1,))
    patch.setattr(speed, "over", run_both)
    patch.setattr(speed, "over_fp32", call_alike)


def run_in_fp32_too(patch: pytest.MonkeyPatch) -> None:
    """Let exports of quantized models write their fp32 bundles again, and run both once."""
    patch.setattr(speed, "over_fp32", over_fp32)


def in_processes(patch: pytest.MonkeyPatch) -> None:
    """Let exports of quantized models time them in fresh processes, as users' exports do."""
    run_in_fp32_too(patch)
    patch.setattr(speed, "over", over_in_processes)


def call_alike(quantized: Bundle, exporter: Exporter, fp32: Source) -> Speed:
    """Call a quantized bundle as fast as its fp32 export, which is half of the export's work."""
    return _ALIKE


def run_both(quantized: Bundle, fp32: Path) -> Speed:
    """Run a quantized bundle and its fp32 export once, in this process, and call them as fast.

    `bmc.export.speed.over` starts two processes for each of them, which takes seconds.
    """
    for bundle in (bundles.read(fp32), quantized):
        with Pipeline(bundle, RuntimeOptions(threads=1)) as pipeline:
            encoder = pipeline.bundle.encoder
            pipeline(encoder.example())
            length = min(_LENGTH, encoder.longest().get("sequence", _LENGTH))
            pipeline.session.run(encoder.sized(bundle.golden()[0], 1, length))
    return _ALIKE
