"""Render the predictions of `bmc predict`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc.predictions import Prediction, Span
from bmc.rendering.rendered import Rendered
from bmc.workflows.predict import PredictedRows


def predicted(result: PredictedRows) -> Rendered:
    """Render the prediction of each row."""
    pairs = zip(result.predictions, result.rows, strict=True)
    return Rendered(
        {
            "bundle": str(result.path),
            "answers": [content_of(prediction) for prediction in result.predictions],
            "rows": [row.shown for row in result.rows],
            "notes": [
                {"row": number, "note": str(error)} for number, error in result.errors.items()
            ],
        },
        tuple(_line(prediction, row.shown) for prediction, row in pairs),
        exit_code=0 if result.is_complete else 2,
    )


def content_of(prediction: Any) -> Any:
    """Return a prediction in the form of JSON, which has no NaN and no infinity: they are null."""
    if isinstance(prediction, tuple):
        return [_fields(each) for each in prediction]
    if isinstance(prediction, dict):
        return {name: content_of(array) for name, array in prediction.items()}
    if isinstance(prediction, np.ndarray):
        return _numbers(prediction)
    return _fields(prediction) if isinstance(prediction, Prediction | Span) else prediction


def _fields(prediction: Prediction | Span) -> dict[str, Any]:
    """Return a prediction's fields; `rejected` only where it is true."""
    fields = dict(vars(prediction))
    if not fields.get("rejected", True):
        del fields["rejected"]
    return fields


def _numbers(array: NDArray[Any]) -> Any:
    """Return the numbers of an array in nested lists; None for one that is not finite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        numbers = array.astype(object)
        numbers[~np.isfinite(array)] = None
        return numbers.tolist()
    return array.tolist()


def _line(prediction: Any, row: str) -> str:
    """Return a prediction and its row in one line; line breaks of the row become \\n."""
    one_line = row.replace("\n", "\\n")
    return f"{_text(prediction, row)}  {one_line}"


def _text(prediction: Any, row: str = "") -> str:
    if prediction is None:
        return "no answer"
    if isinstance(prediction, tuple) and prediction and isinstance(prediction[0], Span):
        spans = (
            f"{row[span.start : span.end]!r} {span.label} {span.score:.3f}" for span in prediction
        )
        return ", ".join(spans)
    if isinstance(prediction, tuple):
        return ", ".join(map(_text, prediction)) or "no label"
    if isinstance(prediction, Prediction):
        if prediction.rejected:
            return f"rejected {prediction.score:.3f}"
        return f"{prediction.label} {prediction.score:.3f}"
    if isinstance(prediction, np.ndarray):
        return json.dumps([float(f"{number:.6g}") for number in prediction])
    return f"{prediction:.4g}" if isinstance(prediction, float) else str(prediction)
