"""The answers to requests for predictions, as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi.responses import Response

from bmc.errors import DataError, RequestError, TooLongError
from bmc.predictions import renumbered
from bmc.rendering.predictions import content_of

_TOO_LARGE = 413
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SMALL = 64  # predictions that are written in less time than another thread takes to start


async def answer_of(results: Sequence[Any]) -> Response:
    """Return the answer to a request.

    Args:
        results: for each row its prediction, or its error, which calls the row "row 1".

    Raises:
        DataError: no row has a prediction; this is the first row's error.
        RequestError: likewise, and the first row is too long a text.
        Exception: the model could not compute a row.
    """
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, DataError):
            raise result
    errors = {
        number: renumbered(result, number)
        for number, result in enumerate(results, start=1)
        if isinstance(result, DataError)
    }
    if results and len(errors) == len(results):
        first = errors[1]
        if isinstance(first, TooLongError):
            raise RequestError(f"{first} (--max-text of the service)", _TOO_LARGE)
        raise first
    has_arrays = any(isinstance(result, np.ndarray | dict) for result in results[:1])
    if len(results) <= _SMALL and not has_arrays:
        body = _body(results, errors)
    else:
        body = await asyncio.to_thread(_body, results, errors)
    return Response(body, media_type="application/json")


def _body(results: Sequence[Any], errors: dict[int, DataError]) -> bytes:
    """Return predictions and notes as JSON.

    Each prediction is written by a call of its own, between which other threads can run.
    """
    write = _ENCODER.encode
    predictions = ",".join(
        write(None if number in errors else content_of(result))
        for number, result in enumerate(results, start=1)
    )
    notes = [{"row": number, "note": str(error)} for number, error in errors.items()]
    return f'{{"predictions":[{predictions}],"notes":{write(notes)}}}'.encode()
