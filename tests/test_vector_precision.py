"""Vectors in fewer bits: the values that sentence-transformers documents, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bmc
from bmc.errors import BmcError, DataError, SettingError, UsageError

RANGES = np.array([[-1.0, 0.0], [1.0, 2.55]])
VECTORS = np.array([[-1.0, 2.55], [0.0, 0.01], [1.0, 1.0]], np.float32)


def test_eight_bits_number_255_steps_between_the_ranges() -> None:
    """0 lies at half of 255 steps, 127; 0.01 and 1.0 at steps of 0.01."""
    expected = np.array([[0, 255], [127, 1], [255, 100]])
    towards_zero = np.array([[-127, 127], [0, -126], [127, -27]])
    unsigned = bmc.quantize_vectors(VECTORS + np.float32(1e-6), "uint8", RANGES)
    assert (unsigned.dtype.name, unsigned.tolist()) == ("uint8", expected.tolist())
    signed = bmc.quantize_vectors(VECTORS + np.float32(1e-6), "int8", RANGES)
    assert (signed.dtype.name, signed.tolist()) == ("int8", towards_zero.tolist())


def test_values_outside_of_the_ranges_are_cut_instead_of_wrapped() -> None:
    outside = np.array([5.0, -5.0], np.float32)
    assert bmc.quantize_vectors(outside, "int8", RANGES).tolist() == [127, -128]


def test_signs_are_packed_eight_to_a_byte() -> None:
    signs = np.array([1, -1, -1, -1, -1, -1, -1, 1, 1, 1], np.float32)
    assert bmc.quantize_vectors(signs, "ubinary").tolist() == [0b10000001, 0b11000000]
    binary = bmc.quantize_vectors(signs[None], "binary")
    assert (binary.dtype.name, binary.tolist()) == ("int8", [[1, 64]])
    assert bmc.quantize_vectors(VECTORS, "float32").tolist() == VECTORS.tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((VECTORS, "int4", RANGES), SettingError, "possible: float32, int8, uint8, binary"),
        ((VECTORS, "int8"), UsageError, "pass ranges=embed.ranges"),
        ((VECTORS, "int8", RANGES[:, :1]), DataError, r"shape \(2, 2\)"),
        ((np.full((1, 2), np.nan), "binary"), DataError, "finite"),
        ((np.ones((1, 2), np.int8), "binary"), DataError, "vectors are int8"),
    ],
)
def test_what_cannot_be_quantized_is_refused(
    arguments: tuple[Any, ...], error: type[BmcError], message: str
) -> None:
    with pytest.raises(error, match=message):
        bmc.quantize_vectors(*arguments)
