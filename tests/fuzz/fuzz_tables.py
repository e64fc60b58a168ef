"""Mutated tables and arrays: each is read as what it is, or refused by name; nothing else."""

from __future__ import annotations

import csv
import io
import json
import struct
import tempfile
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from hypothesis import strategies as st
from pyarrow import parquet

from bmc import data as datasets
from bmc.errors import BmcError

Case = tuple[str, bytes, str]
"""A file's ending, its content, and the task."""

_ROWS = [(f"the film number {number}", "ab"[number % 2]) for number in range(30)]
_ODD_TEXTS = ["", " ", "nan", "None", "1", "1.0", "é", "\ud800", "\0", 'a "b"', "a,b", "x\ny", "=1"]
_USUAL = {".csv": ",", ".tsv": "\t"}
_DTYPES = ["|u1", "<f4", ">f8", "<f2", "<i8", ">i4", "|b1", "<U4", "|S3", "<c8", "|O", "<M8[s]"]
_SHAPES = [(30,), (30, 1), (30, 4), (30, 8, 2), (30, 8, 8), (30, 3, 8, 8), (30, 8, 8, 3), (2**40,)]


def cases() -> st.SearchStrategy[Case]:
    """Return files of every kind: valid ones with bytes changed, and odd values written well."""
    files = st.one_of(_mutated(), _csv_files(), _json_files(), _parquet_files(), _npz_files())
    tasks = st.sampled_from(["classification", "classification", "regression"])
    return st.builds(lambda file, task: (*file, task), files, tasks)


def check(case: Case, folder: Path) -> None:
    """Load a file.

    Raises:
        BmcError: it is refused.
        AssertionError: a row, a text or a label was lost or changed into none.
    """
    ending, content, task = case
    path = folder / f"own{ending}"
    path.write_bytes(content)
    with suppress(BmcError):
        numbers = datasets.load(str(path), task=task, features=("all",))
        for part in (numbers.train, numbers.validation, numbers.test):
            assert not np.isinf(np.asarray(part.rows)).any()
            assert np.asarray(part.rows).shape == (len(part), len(numbers.features))
    data = datasets.load(str(path), task=task)
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) + data.summary.dropped == data.summary.rows
    assert all(label.strip() and "\0" not in label for label in data.labels)
    if data.kind == "text":
        texts = [text for part in parts for row in part.rows for text in row]
        assert all(text and text == text.strip() and "\0" not in text for text in texts)
    assert data.described().isprintable()


@cache
def originals() -> tuple[tuple[str, bytes], ...]:
    """Return a small valid file of each kind."""
    records = [{"text": text, "label": label} for text, label in _ROWS]
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    files = [
        (".csv", _csv_of([("text", "label"), *_ROWS], ",", "utf-8", "\n")),
        (".tsv", _csv_of([("text", "label"), *_ROWS], "\t", "utf-8", "\r\n")),
        (".jsonl", lines),
        (".ndjson", lines),
        (".json", json.dumps(records).encode()),
    ]
    table = pyarrow.Table.from_pylist(records)
    for options in ({}, {"compression": "none"}, {"use_dictionary": False}, {"version": "1.0"}):
        files.append((".parquet", _parquet_of(table, **options)))
    series = np.random.default_rng(0).normal(size=(30, 8, 2)).astype(np.float32)
    labels = np.arange(30) % 2
    for save in (np.savez, np.savez_compressed):
        content = io.BytesIO()
        save(content, series=series, labels=labels, lengths=labels + 1)
        files.append((".npz", content.getvalue()))
    content = io.BytesIO()
    np.savez(content, images=(series * 9).astype(np.uint8)[..., None], labels=labels.astype(str))
    files.append((".npz", content.getvalue()))
    return tuple(files)


def _mutated() -> st.SearchStrategy[tuple[str, bytes]]:
    numbers = st.sampled_from([0, 1, 127, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1])
    new = st.one_of(
        st.binary(min_size=1, max_size=8),
        st.builds(lambda number: struct.pack("<I", number), numbers),
        st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"}", b"[", b"NaN", b"1e999"]),
    )
    how = st.sampled_from(["overwrite", "flip", "insert", "cut", "end", "repeat"])
    # The structure of parquet and npz is at the end.
    where = st.one_of(st.floats(0, 1), st.floats(0, 0.1), st.floats(0.8, 1))
    changes = st.lists(st.tuples(how, where, new), min_size=1, max_size=5)
    return st.builds(
        lambda file, created: (file[0], _changed(file[1], created)),
        st.sampled_from(originals()),
        changes,
    )


def _changed(original: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    content = bytearray(original)
    for how, where, new in changes:
        index = int(where * max(len(content) - 1, 0))
        if how == "overwrite":
            content[index : index + len(new)] = new
        elif how == "flip" and content:
            content[index] ^= 1 << (new[0] % 8)
        elif how == "insert":
            content[index:index] = new
        elif how == "cut":
            del content[index : index + len(new)]
        elif how == "end":
            del content[index:]
        elif how == "repeat":
            content[index:index] = content[index : index + 200]
    return bytes(content)


def _csv_files() -> st.SearchStrategy[tuple[str, bytes]]:
    cell = st.one_of(st.sampled_from(_ODD_TEXTS), st.text(min_size=1, max_size=8))
    even = st.tuples(cell, cell)
    odd = st.lists(st.one_of(even, even, st.lists(cell, max_size=4).map(tuple)), max_size=3)
    header = st.sampled_from(
        [("text", "label")] * 5
        + [("label", "text"), (" text", "label "), ("text", "text", "label"), ()]
    )
    return st.builds(
        lambda ending, head, rows, delimiter, encoding, end: (
            ending,
            _csv_of([head, *_ROWS, *rows], delimiter or _USUAL[ending], encoding, end),
        ),
        st.sampled_from([".csv", ".csv", ".tsv"]),
        header,
        odd,
        st.sampled_from([""] * 6 + [",", "\t", ";"]),
        st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
        st.sampled_from(["\n", "\r\n", "\r"]),
    )


def _csv_of(rows: list[tuple[str, ...]], delimiter: str, encoding: str, end: str) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    return file.getvalue().encode(encoding, "ignore" if encoding == "latin-1" else "surrogatepass")


def _json_files() -> st.SearchStrategy[tuple[str, bytes]]:
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from(_ODD_TEXTS),
        st.text(max_size=8),
    )
    value = st.recursive(plain, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
    text = st.text(min_size=1, max_size=8)
    even = st.fixed_dictionaries({"text": text, "label": plain}, optional={"other": value})
    odd = st.fixed_dictionaries({"text": value}, optional={"label": value, "other": value})
    record = st.one_of(even, even, even, odd, value)

    def written(ending: str, odd_records: list[Any]) -> tuple[str, bytes]:
        records = [*({"text": text, "label": label} for text, label in _ROWS), *odd_records]
        if ending == ".json":
            return ending, json.dumps(records).encode()
        return ending, "\n".join(json.dumps(record) for record in records).encode()

    return st.builds(
        written, st.sampled_from([".json", ".jsonl", ".ndjson"]), st.lists(record, max_size=4)
    )


def _parquet_files() -> st.SearchStrategy[tuple[str, bytes]]:
    when = datetime(2000, 1, 1, tzinfo=UTC)
    columns: list[pyarrow.Array] = [
        pyarrow.array([text for text, _ in _ROWS]),
        pyarrow.array([label for _, label in _ROWS]).dictionary_encode(),
        pyarrow.array([label for _, label in _ROWS], pyarrow.large_string()),
        pyarrow.array([text.encode() for text, _ in _ROWS], pyarrow.binary()),
        pyarrow.array([b"\xff\xfe"] * 30, pyarrow.large_binary()),
        pyarrow.array([number % 3 for number in range(30)], pyarrow.int8()),
        pyarrow.array([number / 7 for number in range(30)], pyarrow.float32()),
        pyarrow.array([1.0, None, float("nan")] * 10),
        pyarrow.array([True, False, True] * 10),
        pyarrow.array([None] * 30),
        pyarrow.array([["a", "b"]] * 30),
        pyarrow.array([{"en": "a"}] * 30),
        pyarrow.array([Decimal("1.5"), Decimal("2.50"), Decimal("3.00")] * 10),
        pyarrow.array([when] * 30),
        pyarrow.array([2**62 + 1] * 30, pyarrow.timestamp("ns")),
        pyarrow.array([2**62] * 30, pyarrow.duration("ns")),
        pyarrow.array([2**52] * 30, pyarrow.timestamp("s")),
    ]
    names = st.sampled_from([["text", "label"], ["label", "text"], ["text ", " label"]])
    column = st.integers(0, len(columns) - 1)
    return st.builds(
        lambda first, second, named: (
            ".parquet",
            _parquet_of(pyarrow.table([columns[first], columns[second]], names=named)),
        ),
        st.one_of(st.sampled_from([0, 3]), column),
        column,
        names,
    )


def _parquet_of(table: pyarrow.Table, **options: Any) -> bytes:
    content = io.BytesIO()
    parquet.write_table(table, content, **options)
    return content.getvalue()


def _npz_files() -> st.SearchStrategy[tuple[str, bytes]]:
    """Return archives whose arrays' headers promise anything, with sums that agree."""
    name = st.sampled_from(["series", "images", "labels", "lengths", "test_series", "test_labels"])
    array = st.tuples(
        name,
        st.sampled_from(_DTYPES),
        st.one_of(st.sampled_from(_SHAPES), st.lists(st.integers(-1, 40), max_size=4).map(tuple)),
        st.booleans(),
        st.sampled_from([0, 1, 30, 60, 240, 480, 3840, 5760, 7680]),
        st.sampled_from([b"\0", b"\1", b"\0\0\xc0\x7f", b"a\0\0\0", b"\0\1"]),
    )
    good: list[tuple[str, str, tuple[int, ...], bool, int, bytes]]
    good = [("labels", "<i8", (30,), False, 240, struct.pack("<qq", 0, 1))]
    good += [("series", "<f4", (30, 8, 2), False, 1920, b"\1\2\3\4\5")]
    return st.builds(
        lambda odd, count: (".npz", _npz_of([*odd, *good[:count]])),
        st.lists(array, max_size=2),
        st.integers(0, 2),
    )


def _npz_of(arrays: list[tuple[str, str, tuple[int, ...], bool, int, bytes]]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in dict.fromkeys(array[0] for array in arrays):
            _, dtype, shape, fortran, size, pattern = next(one for one in arrays if one[0] == name)
            header = str({"descr": dtype, "fortran_order": fortran, "shape": shape}).encode()
            head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"
            item = np.dtype(dtype).itemsize
            count = int(np.prod(shape, dtype=object)) * item if 0 < max((*shape, 1)) < 99 else size
            length = max(count if size else 0, 0)
            archive.writestr(
                f"{name}.npy", head + (pattern * (length // len(pattern) + 1))[:length]
            )
    return content.getvalue()


def _import_all() -> None:
    """Read each valid file once, so that a case imports nothing."""
    with tempfile.TemporaryDirectory() as folder:
        for ending, content in originals():
            path = Path(folder) / f"own{ending}"
            path.write_bytes(content)
            datasets.load(str(path))


_import_all()
