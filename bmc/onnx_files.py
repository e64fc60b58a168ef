"""Find the external data files that an ONNX file names, without loading the file.

Source: onnx.proto of ONNX 1.17; the wire format of protobuf, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_FIELDS = 2_000_000
_MAX_NUMBERS = 50_000_000  # of attributes, such as the thresholds of trees: a field each
_MAX_DEPTH = 40
_EXTERNAL_DATA = 13
# Messages that can contain a TensorProto, and the fields of each that lead to one.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {_EXTERNAL_DATA: "entry"},
}


class _Content(Protocol):
    """Bytes that are read in place: a memory map, or bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: int | slice, /) -> int | bytes: ...


def external_files(content: _Content) -> set[str]:
    """Return the locations of all external data files that an ONNX file names.

    Args:
        content: bytes of the ONNX file.

    Raises:
        ValueError: the content is not protobuf, or has far more fields than a network needs.
    """
    locations: set[str] = set()
    work = [("model", 0, len(content), 0)]
    left, numbers_left = _MAX_FIELDS, _MAX_NUMBERS
    while work:
        message, start, end, depth = work.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} levels")
        for number, first, last in _fields(content, start, end):
            kind = _INSIDE[message].get(number)
            if kind is None and message == "attribute":
                numbers_left -= 1
            else:
                left -= 1
            if left < 0 or numbers_left < 0:
                raise ValueError(f"more than {_MAX_FIELDS:,} parts, or {_MAX_NUMBERS:,} numbers")
            if kind == "entry":
                locations |= _location(content, first, last)
            elif kind and first >= 0:
                work.append((kind, first, last, depth + 1))
    return locations


def _location(content: _Content, start: int, end: int) -> set[str]:
    """Return the value of an entry if its key is "location"."""
    texts = {number: content[first:last] for number, first, last in _fields(content, start, end)}
    value = texts.get(2, b"")
    if texts.get(1) != b"location" or not isinstance(value, bytes):
        return set()
    return {value.decode()}


def _fields(content: _Content, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field; the start is -1 for fields without bytes."""
    position = start
    while position < end:
        tag, position = _varint(content, position, end)
        number, kind = tag >> 3, tag & 7
        first = -1
        if kind == _VARINT:
            _, position = _varint(content, position, end)
        elif kind == _BYTES:
            length, first = _varint(content, position, end)
            position = first + length
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if position > end or not number:
            raise ValueError("a field that ends outside its message")
        yield number, first, position


def _varint(content: _Content, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        if not isinstance(byte, int):
            break
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value & (2**64 - 1), position
        shift += 7
    raise ValueError("a number without an end")
