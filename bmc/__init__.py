"""bmc: compress a trained model, deploy it, and prove what was won and lost.

On the edge, without torch:

    import bmc
    classify = bmc.load("bmc-runs/tiny-movie-reviews-onnx")
    classify("an hour of wit and charm")        # Prediction(label='positive', score=0.99)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bmc import _telemetry
from bmc.errors import BmcError

_telemetry.switch_off()

if TYPE_CHECKING:
    from bmc.pipeline import Pipeline, Prediction, load

__version__ = "0.1.0"
__all__ = ["BmcError", "Pipeline", "Prediction", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the pipeline when it is first used: `bmc --help` needs no numpy."""
    if name in ("Pipeline", "Prediction", "load"):
        from bmc import pipeline  # noqa: PLC0415  that is the point

        return getattr(pipeline, name)
    raise AttributeError(f"module 'bmc' has no attribute {name!r}")
