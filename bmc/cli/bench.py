"""bmc bench"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.choices import Choice
from bmc.cli.options import Answer, Coded
from bmc.contracts.targets import TARGETS, format_of

PANEL = "Measurement"


def _precisions() -> list[str]:
    """Return what some target can be asked for; fp32 is another name of f32."""
    asked = {name for target in TARGETS.names() for name in format_of(target).precisions}
    return sorted({*asked, "fp32"})


def bench(
    *bundle: Annotated[str, typer.Argument(autocompletion=_complete.bundles)],
    threads: tuple[int, ...] = (1, 2),
    batch: int = 1,
    length: int | None = None,
    precision: Annotated[str, Choice("precision", _precisions)] = "f32",
    launches: int = 5,
    rounds: int = 6,
    save: Path | None = None,
    common: Coded = Coded(),
) -> Answer:
    """Measure latency with confidence intervals, cold start and memory of bundles, in turn.

    All bundles are measured in one run, in turn. Each has its own process, which is paused outside
    its turns; each launch starts new processes. Speed-ups refer to the first bundle. The raw
    samples are written to a file.

    Args:
        bundle: bundles' folders, or their names in the workspace; all of them when left out.
        threads: thread count to measure; several are possible.
        batch: batch size.
        length: tokens or time steps per row, without padding. The default is 32, or the model's
            maximum if that is lower.
        precision: inference precision of OpenVINO and PyTorch; f32 and fp32 are the same.
        launches: processes per bundle; up to three times as many where times are unsteady.
        rounds: turns of each bundle per launch.
        save: file for the raw samples; in the workspace when left out.

    Example:
        bmc bench
        bmc bench bert-movie-reviews-onnx tiny-movie-reviews-onnx --threads 1
    """
    from bmc.cli.shown.bench import benched
    from bmc.measure.latency import BenchSettings
    from bmc.workflows import bench as workflow

    common.begin()
    settings = BenchSettings(
        batch,
        BenchSettings.length if length is None else length,
        launches,
        rounds,
        most_launches=3 * launches,
    )
    return benched(workflow.bench(bundle, threads, settings, precision, save, length))
