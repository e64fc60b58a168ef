"""Bits of the weights of layers whose inputs have 8 bits: 8, or 7 where accumulators saturate."""

from __future__ import annotations

from bmc.errors import SettingError

WEIGHT_BITS = (8, 7)


def check_weight_bits(bits: int) -> None:
    """Refuse other numbers of bits.

    Raises:
        SettingError: the number is neither 7 nor 8.
    """
    if bits not in WEIGHT_BITS:
        raise SettingError(f"weight_bits is {bits}; 7 and 8 are possible")
