"""What the tests of exports share: bundles of a model whose answers differ from row to row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bmc.bundle import Bundle
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of


@pytest.fixture(scope="session")
def lively_bundle(
    lively_folder: Path, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Bundle]]:
    """Return a function that exports the lively model to a target, once a session."""
    folder = tmp_path_factory.mktemp("lively-bundles")
    created: dict[str, Bundle] = {}
    with source_of(lively_folder, reviews, ExportOptions()) as source:

        def export(target: str) -> Bundle:
            if target not in created:
                created[target] = flow.export(source, target, folder / target, force=False)
            return created[target]

        yield export
