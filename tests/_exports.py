"""Bundles of one model, each exported when a test first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of


@contextmanager
def exports_of(model: Path, data: Dataset, folder: Path) -> Iterator[Callable[[str], Path]]:
    """Give a function that returns the bundle of a model for a target.

    Args:
        model: the model directory.
        data: the data that the bundles are scored on.
        folder: folder of the bundles.
    """
    with source_of(model, data, ExportOptions()) as source:

        def export(target: str) -> Path:
            output = folder / target
            if not output.exists():
                flow.export(source, target, output, force=False)
            return output

        yield export
