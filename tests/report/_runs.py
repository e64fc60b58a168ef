"""Benches that were never run: times as they are told."""

from __future__ import annotations

from pathlib import Path

from bmc.measure.latency import BenchSettings, Candidate, Measured
from bmc.measure.results import Row, Run
from bmc.measure.statistics import percentile


def timed(workspace: Path, microseconds: dict[str, float]) -> Run:
    """Return a bench in which each bundle's calls took so long, give or take 2 % a launch."""
    samples = [
        Measured(
            Candidate(workspace / name, 1),
            {"precision": "f32", "device": "cpu"},
            [
                [
                    [
                        int(1000 * time * (1 + 0.02 * (-1) ** (launch + index))) + call
                        for call in range(30)
                    ]
                ]
                for launch in range(4)
            ],
        )
        for index, (name, time) in enumerate(microseconds.items())
    ]
    rows = [
        Row(
            name=sample.candidate.bundle.name,
            manifest_sha256="",
            threads=1,
            best=True,
            execution=sample.execution,
            p50=percentile(sample.nanoseconds, 50),
            p90=None,
            speed_up=None,
            cold_start_seconds=0.1,
            peak_mb=50.0,
            samples=120,
        )
        for sample in samples
    ]
    machine = {"processor": "a processor", "cores": 2, "instructions": ["avx2"]}
    return Run("20260101-000000", machine, BenchSettings(), tuple(rows), {}, tuple(samples))
