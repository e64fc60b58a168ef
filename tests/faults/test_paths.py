"""An output is found again by the path that was typed, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("output", ["foo", "sub/my foo"])
def test_what_output_named_the_next_command_finds_by_the_same_name(
    bmc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("--set", "width=8", "--epochs", "1")
    code, _, err = bmc("train", "mlp", "-d", "digits", *small, "-o", output)
    assert code == 0, err
    code, _, err = bmc("export", output, "--target", "pytorch")
    assert code == 0, err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [
        f"{Path(output).name.replace(' ', '-')}-pytorch"
    ]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = bmc("export", output, "--target", "pytorch")
    assert code == 2
    assert "name a folder" in err


def test_a_workspace_or_cache_that_is_a_file_is_one_line(
    bmc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BMC_HOME", str(tmp_path / "file"))
    code, _, err = bmc("train", "mlp", "-d", "digits", "--epochs", "1")
    assert code == 2
    assert "file is not a folder" in err.splitlines()[-1]


def test_a_name_that_is_too_long_is_one_line(bmc: Run) -> None:
    for command in (("export", "n" * 300, "--target", "onnx"), ("check", "n" * 300)):
        code, _, err = bmc(*command)
        assert code == 2
        assert "bug" not in err
    code, _, err = bmc("train", "mlp", "-d", "digits", "-o", "n" * 300)
    assert code == 2
    assert "name a shorter one" in err
