"""What the tests of the inference form share with those of the techniques."""

from __future__ import annotations

from tests.compress.conftest import build_model as build_model
from tests.compress.conftest import digits as digits
from tests.compress.conftest import work as work
from tests.compress.conftest import work_of as work_of
