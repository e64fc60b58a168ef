"""A mark for tests whose int8 bundle must equal PyTorch: without VNNI, accumulators saturate."""

from __future__ import annotations

import pytest

from bmc.measure import machine

HAS_VNNI = not machine.saturates_int8()
needs_vnni = pytest.mark.skipif(not HAS_VNNI, reason="int8 accumulators saturate without VNNI")
