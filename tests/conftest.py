"""The order of the tests, and what they share: loaded where tests run, as its imports take long."""

from __future__ import annotations

import importlib
import os

import pytest

_LONG_FILES = (
    *("test_readme", "test_quantize_after", "test_floor", "test_quantize_export", "test_law"),
    *("test_encoders", "test_quantize", "test_api", "test_notebook", "test_site", "test_sound"),
    *("test_multilabel", "test_example_plugin", "test_checkpoint", "test_kills"),
    "test_example_cpp",  # compiles the programs where they are not compiled yet
)


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures, but not in the process that hands the tests out to xdist's workers.

    The workers start after this, and their libraries have one thread each.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(config, "workerinput") or not config.getoption("tx", None):
        config.pluginmanager.register(importlib.import_module("tests._fixtures"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that take longest, so that no core waits for one at the end."""
    rank = {name: number for number, name in enumerate(_LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
