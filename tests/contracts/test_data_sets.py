"""Every named data set: described without optional packages, and whole when it is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bmc import assets, plugins
from bmc.contracts import DataSet
from bmc.contracts.data_sets import DATA_SETS, data_set, with_sentences
from bmc.errors import AssetError, MissingError

EVERY = DATA_SETS.names()


def test_descriptions_import_no_optional_package() -> None:
    code = (
        "import sys\n"
        "from bmc.contracts.data_sets import with_sentences\n"
        "with_sentences()\n"
        "print({'torch', 'sklearn', 'pyarrow', 'PIL', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", EVERY)
def test_it_says_what_it_is_and_under_which_license(name: str) -> None:
    described = data_set(name)
    assert isinstance(described, DataSet)
    assert described.about
    assert described.license or described.asset
    if described.asset:
        assert assets.ASSETS[described.asset].license


@pytest.mark.parametrize("name", EVERY)
def test_its_table_has_rows_of_one_kind_with_a_label_each(name: str) -> None:
    try:
        table = data_set(name).table()
    except (AssetError, MissingError) as error:
        pytest.skip(str(error))
    assert table.kind in plugins.names("bmc.inputs")
    for part in filter(None, (table, table.official_test)):
        assert part.kind == table.kind
        assert len(part.rows) == len(part.labels) > 0
    assert len(set(table.labels)) > 1


def test_some_have_unlabeled_texts_for_a_teacher() -> None:
    assert "imdb" in with_sentences()
