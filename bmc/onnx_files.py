"""Which files an ONNX file names: its protobuf is walked without loading it.

Source: onnx.proto of ONNX 1.17; the wire format of protobuf, https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 2_000_000
_MOST_DEPTH = 40
_EXTERNAL_DATA = 13
# Messages that can hold a TensorProto, and in which of their fields the next such message lies.
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
    """Return the locations of all external data that an ONNX file names.

    Raises:
        ValueError: it is no protobuf, or one with far more parts than a network has.
    """
    locations: set[str] = set()
    work = [("model", 0, len(content), 0)]
    left = _MOST_FIELDS
    while work:
        message, start, end, depth = work.pop()
        if depth > _MOST_DEPTH:
            raise ValueError(f"more than {_MOST_DEPTH} levels")
        for number, first, last in _fields(content, start, end):
            left -= 1
            if left < 0:
                raise ValueError(f"more than {_MOST_FIELDS} parts")
            kind = _INSIDE[message].get(number)
            if kind == "entry":
                locations |= _location(content, first, last)
            elif kind and first >= 0:
                work.append((kind, first, last, depth + 1))
    return locations


def _location(content: _Content, start: int, end: int) -> set[str]:
    """Return the value of an entry whose key is "location"."""
    texts = {number: content[first:last] for number, first, last in _fields(content, start, end)}
    value = texts.get(2, b"")
    if texts.get(1) != b"location" or not isinstance(value, bytes):
        return set()
    return {value.decode()}


def _fields(content: _Content, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field; a field that holds no bytes starts at -1."""
    place = start
    while place < end:
        tag, place = _varint(content, place, end)
        number, kind = tag >> 3, tag & 7
        first = -1
        if kind == _VARINT:
            _, place = _varint(content, place, end)
        elif kind == _BYTES:
            length, first = _varint(content, place, end)
            place = first + length
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        if place > end or not number:
            raise ValueError("a field that ends outside its message")
        yield number, first, place


def _varint(content: _Content, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = content[place]
        if not isinstance(byte, int):
            break
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value & (2**64 - 1), place
        shift += 7
    raise ValueError("a number without an end")
