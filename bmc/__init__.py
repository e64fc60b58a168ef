"""bmc: compress a trained model, deploy it, and measure accuracy, size and speed.

In a notebook:

    import bmc
    teacher = bmc.train("bert", data="movie-reviews")
    student = bmc.distill(teacher, student="tiny")
    small = bmc.quantize(student, method="static", samples=256)
    bmc.compare(small.to("onnx", "openvino")).show()

On the edge, without torch:

    import bmc
    classify = bmc.load("bmc-runs/tiny-movie-reviews-onnx")
    classify("an hour of wit and charm")        # Prediction(label='positive', score=0.99)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bmc import _telemetry, plugins
from bmc.errors import BmcError

_telemetry.switch_off()

if TYPE_CHECKING:
    from bmc.api.comparison import Comparison, compare
    from bmc.api.handles import BundleHandle, ModelHandle
    from bmc.api.handles import open_handle as open  # noqa: A004  bmc.open
    from bmc.api.onnx import OnnxHandle
    from bmc.api.packing import pack, unpack
    from bmc.api.recipes import run
    from bmc.api.searching import compress_within
    from bmc.api.steps import prune, quantize, share
    from bmc.api.training import distill, train
    from bmc.api.wrapping import wrap
    from bmc.console import Event
    from bmc.listening import Heard, ListeningSession
    from bmc.pipeline import Pipeline, load
    from bmc.predictions import Prediction, Span
    from bmc.vector_precision import quantize_vectors

__version__ = "0.3.0.dev0"
__all__ = [
    "BmcError",
    "BundleHandle",
    "Comparison",
    "Event",
    "Heard",
    "ListeningSession",
    "ModelHandle",
    "OnnxHandle",
    "Pipeline",
    "Prediction",
    "Span",
    "__version__",
    "compare",
    "compress_within",
    "distill",
    "load",
    "open",
    "pack",
    "prune",
    "quantize",
    "quantize_vectors",
    "run",
    "share",
    "train",
    "unpack",
    "wrap",
]
_HOMES = {
    "BundleHandle": "bmc.api.handles",
    "Comparison": "bmc.api.comparison",
    "Event": "bmc.console",
    "Heard": "bmc.listening",
    "ListeningSession": "bmc.listening",
    "ModelHandle": "bmc.api.handles",
    "OnnxHandle": "bmc.api.onnx",
    "Pipeline": "bmc.pipeline",
    "Prediction": "bmc.predictions",
    "Span": "bmc.predictions",
    "compare": "bmc.api.comparison",
    "compress_within": "bmc.api.searching",
    "distill": "bmc.api.training",
    "load": "bmc.pipeline",
    "open": "bmc.api.handles:open_handle",
    "pack": "bmc.api.packing",
    "prune": "bmc.api.steps",
    "quantize": "bmc.api.steps",
    "quantize_vectors": "bmc.vector_precision",
    "run": "bmc.api.recipes",
    "share": "bmc.api.steps",
    "train": "bmc.api.training",
    "unpack": "bmc.api.packing",
    "wrap": "bmc.api.wrapping",
}


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first used: `import bmc` needs neither numpy nor torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bmc' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    try:
        return getattr(import_module(module), attribute or name)
    except ModuleNotFoundError as error:
        raise plugins.missing(error, f"bmc.{name}") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
