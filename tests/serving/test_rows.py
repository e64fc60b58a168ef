"""Rows of requests: every kind in JSON, files as they are, and what is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from bmc.errors import BmcError, DataError, RequestError
from bmc.serving.rows import rows_of

JSON = "application/json; charset=utf-8"


def read(rows: Any, kind: str) -> list[Any]:
    return rows_of(json.dumps({"rows": rows}).encode(), JSON, kind)


@pytest.mark.parametrize(
    ("kind", "rows", "expected"),
    [
        ("text", ["a film", ["one", "two"]], ["a film", ("one", "two")]),
        ("ngram", ["a film"], ["a film"]),
        ("words", [["Grace", "Hopper"], "Grace left"], [("Grace", "Hopper"), "Grace left"]),
        (
            "features",
            [{"age": 40, "hours": None}, [40, 1.5]],
            [{"age": 40, "hours": None}, (40, 1.5)],
        ),
        ("latent", [7], [7]),
        ("image", [{"b64": base64.b64encode(b"PNG").decode()}], [b"PNG"]),
    ],
)
def test_a_row_has_the_form_that_python_takes(
    kind: str, rows: list[Any], expected: list[Any]
) -> None:
    assert read(rows, kind) == expected


def test_lists_of_numbers_become_arrays() -> None:
    (series,) = read([[[1, 2], [3, 4.5]]], "series")
    assert series.tolist() == [[1, 2], [3, 4.5]]
    (row,) = read([{"inputs": [[1, 2], [0.5]]}], "array")
    assert [array.tolist() for array in row] == [[1, 2], [0.5]]
    (tensors,) = read([{"ids": [[1, 2]]}], "tensors")
    np.testing.assert_array_equal(tensors["ids"], [[1, 2]])


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("text", 7),
        ("text", ["one", 2]),
        ("image", "/etc/passwd"),
        ("image", {"b64": "?"}),
        ("audio", {"path": "clip.wav"}),
        ("features", "40,1"),
        ("series", [[1], [1, 2]]),
        ("series", ["a"]),
        ("series", 7),
        ("latent", "7"),
        ("latent", True),
        ("tensors", [1]),
        ("tensors", {"x": [[1, "a"]]}),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_number(kind: str, row: Any) -> None:
    good = {"text": "a film", "features": [1], "series": [[1]], "latent": 1, "tensors": {"x": [1]}}
    first = good.get(kind, {"b64": ""})
    with pytest.raises(DataError, match=r"^row 2: "):
        read([first, row], kind)


@pytest.mark.parametrize("kind", ["series", "array", "tensors"])
def test_a_long_text_among_numbers_is_refused_before_an_array_of_such_texts_is_made(
    kind: str,
) -> None:
    lists: Any = [["x" * 20_000] + [""] * 1_000]
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"^row 1: the lists must hold numbers alone"):
            read([{"x": lists} if kind == "tensors" else lists], kind)
        assert tracemalloc.get_traced_memory()[1] < 5e6  # such an array takes 80 MB
    finally:
        tracemalloc.stop()


def test_other_bodies_are_one_text_or_one_file() -> None:
    assert rows_of("un été".encode(), "text/plain; charset=utf-8", "text") == ["un été"]
    assert rows_of(b"\xef\xbb\xbffine \r\n", "text/plain", "text") == ["fine "], "a file's line"
    assert rows_of(b"\x89PNG", "image/png", "image") == [b"\x89PNG"]
    assert rows_of(b"RIFF", "", "audio") == [b"RIFF"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"rows": ["\xff"]}', JSON, 400),
        (b"\xff", "text/plain", 400),
        (b"{", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'["a film"]', JSON, 400),
        (b'{"rows": "a film"}', JSON, 400),
        (b'{"rows": [], "max_batch": 9}', JSON, 400),
        (b'{"rows": [NaN]}', JSON, 400),
        (b'{"rows": [' + b"1" * 5_000 + b"]}", JSON, 400),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"", "", 415),
    ],
)
def test_a_body_that_cannot_be_read_has_the_status_of_its_cause(
    content: bytes, content_type: str, status: int
) -> None:
    with pytest.raises(RequestError) as refused:
        rows_of(content, content_type, "text")
    assert refused.value.status == status
    assert isinstance(refused.value, BmcError)


def test_more_rows_than_may_wait_are_refused_before_they_are_read() -> None:
    with pytest.raises(RequestError, match="the request has 3 rows; at most 2") as refused:
        rows_of(b'{"rows": [7, 8, 9]}', JSON, "text", max_rows=2)
    assert refused.value.status == 413


def test_a_key_that_is_repeated_is_refused() -> None:
    with pytest.raises(RequestError, match="not JSON"):
        rows_of(b'{"rows": [{"age": 40, "age": 4}]}', JSON, "features")
