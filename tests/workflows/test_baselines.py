"""Baselines: what a name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmc.errors import UnknownError
from bmc.workflows import baselines


@pytest.mark.parametrize("name", ["bert", "mlp", "ngram"])
def test_a_baselines_name_stands_for_the_baseline_where_a_folder_has_this_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert baselines.choose(name, {}).family.network == f"bmc.models.{name}"
    assert f"the folder is named ./{name}" in capsys.readouterr().err
    with pytest.raises(UnknownError, match=f"./{name} is not a Hugging Face model folder"):
        baselines.choose(f"./{name}", {})
