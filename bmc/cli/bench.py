"""bmc bench"""

from __future__ import annotations

from pathlib import Path

from bmc.rendering.rendered import Rendered
from bmc.workflows.options import Measurement, OwnCode

PANEL = "Measurement"


def bench(
    bundle: tuple[str, ...] = (),
    *,
    measurement: Measurement = Measurement(),
    save: Path | None = None,
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Measure latency with confidence intervals, cold start and memory of bundles.

    Bundles are measured alternately, each in a process of its own that is paused while another is
    measured. This is repeated with fresh processes (--launches). Speed-ups refer to the first
    bundle. The raw samples are written to a file.

    Args:
        bundle: bundles' folders, or their names in the workspace; all of them when left out.
        save: file for the raw samples; in the workspace when left out.

    Example:
        bmc bench
        bmc bench bert-movie-reviews-onnx tiny-movie-reviews-onnx --threads 1
    """
    from bmc.rendering import bench as render
    from bmc.workflows import bench as workflow

    return render.benched(workflow.bench(bundle, measurement, save))
