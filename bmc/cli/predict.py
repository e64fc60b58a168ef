"""bmc predict"""

from __future__ import annotations

import sys

from bmc.common_options import BundleName
from bmc.rendering.rendered import Rendered
from bmc.workflows.options import OwnCode, PredictOptions


def predict(
    bundle: BundleName = None,
    row: tuple[str, ...] = (),
    *,
    options: PredictOptions = PredictOptions(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Predict rows with a bundle.

    Without rows, standard input is read, a row per line. The prediction of an empty text is null.
    Rows that cannot be read get null, too, and make the exit code 2.

    Args:
        row: texts, or files with texts (.csv, .jsonl, .parquet, or .txt with a text per line);
            image files; time series as .npy or .csv files (a time step per line); for a
            generative model (GAN), random seeds; for a model of sentence pairs, the first
            sentences.

    Example:
        bmc predict tiny-movie-reviews-onnx "an hour of wit and charm"
        bmc predict tiny-movie-reviews-onnx reviews.csv --text-column body --json
    """
    from bmc.rendering import predictions as render
    from bmc.workflows import predict as workflow

    return render.predicted(workflow.predict_arguments(bundle, row, options, sys.stdin))
