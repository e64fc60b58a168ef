"""A mark for tests whose int8 bundle must equal PyTorch: without VNNI, accumulators saturate."""

from __future__ import annotations

import pytest

from bmc import processor

HAS_VNNI = not processor.saturates_int8()
WEIGHT_BITS = 8 if HAS_VNNI else 7
"""Bits of weights with which int8 answers as PyTorch on this processor."""
needs_vnni = pytest.mark.skipif(not HAS_VNNI, reason="int8 accumulators saturate without VNNI")
