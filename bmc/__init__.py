"""bmc: compress a trained model, deploy it, and prove what was won and lost.

On the edge, without torch:

    import bmc
    classify = bmc.load("bmc-runs/tiny-movie-reviews-onnx")
    classify("what a film")        # Prediction(label='positive', score=0.98)
"""

from __future__ import annotations

from bmc.errors import BmcError
from bmc.pipeline import Classifier, Prediction, load

__version__ = "0.1.0"
__all__ = ["BmcError", "Classifier", "Prediction", "__version__", "load"]
