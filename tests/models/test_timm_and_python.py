"""Models of others: timm's, and the user's own code, which no file may start."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bmc import artifact
from bmc.errors import ArtifactError, SettingError
from bmc.trust import trust, trusting

Bmc = Callable[..., tuple[int, str, str]]

CODE = """
from pathlib import Path
from torch import nn

Path("imported").touch()


def network(classes, channels, height, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))


def without_arguments():
    return nn.Identity()


def broken(**sizes):
    return 1 / 0


def number(**sizes):
    return 42


def unchanged(**sizes):
    return nn.Identity()


def for_text(**sizes):
    return nn.Embedding(10, 10)
"""
QUICK = ("--data", "digits", "--epochs", 1, "--device", "cpu")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a folder that holds the module `mine`, which leaves a file when it is imported."""
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget()
    trust("")


def forget() -> None:
    """Let the next import run the module anew."""
    sys.modules.pop("mine", None)
    Path("imported").unlink(missing_ok=True)


def test_timm_that_is_not_installed_is_named_with_the_way_to_get_it(
    blocked: Callable[..., object],
) -> None:
    code = (
        "from bmc import cli\n"
        "raise SystemExit(cli.run(['train', 'timm:resnet18', '--data', 'digits']))"
    )
    done = blocked(code, "timm")
    assert getattr(done, "returncode", None) == 3
    assert "pip install 'bmc-toolkit[timm]'" in str(getattr(done, "stderr", ""))


def test_your_own_network_is_trained_and_is_loaded_only_when_its_code_is_typed_again(
    here: Path, bmc: Bmc
) -> None:
    code, _, err = bmc("train", "python:mine:network", *QUICK, "--output", "own")
    assert code == 0, err
    with torch.no_grad(), trusting("mine:network"):
        trained = artifact.load(here / "own")
        assert (here / "imported").is_file()
    forget()

    for typed in ((), ("--code", "mine:unchanged"), ("--code", "mine:network_of_others")):
        code, _, err = bmc("export", "own", "--target", "onnx", *typed)
        assert code == 2
        assert "--code mine:network" in err
        assert not (here / "imported").exists()
        assert "mine" not in sys.modules

    for target in ("onnx", "pytorch"):
        code, _, err = bmc("export", "own", "--target", target, "--code", "mine:network")
        assert code == 0, err
    with trusting("mine:network"):
        again = artifact.load(here / "own").module.state_dict()
    assert all(
        torch.equal(value, again[name]) for name, value in trained.module.state_dict().items()
    )


def test_what_was_typed_holds_for_one_command_alone(here: Path, bmc: Bmc) -> None:
    assert bmc("train", "python:mine:network", *QUICK, "--output", "own")[0] == 0
    assert bmc("models")[0] == 0
    with pytest.raises(ArtifactError, match="--code mine:network"):
        artifact.load(here / "own")


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("python:mine", "must look like module:function"),
        ("python:mine:a b", "must look like module:function"),
        ("python:nowhere:network", "no module named 'nowhere'"),
        ("python:mine:missing", "no function 'missing'"),
        ("python:mine:without_arguments", "TypeError"),
        ("python:mine:broken", "mine.py:17, in broken: ZeroDivisionError"),
        ("python:mine:number", "must return an nn.Module"),
        ("python:mine:unchanged", "5 rows of 10 outputs need shape (5, 10)"),
        ("python:mine:for_text", "the network fails in layer network (Embedding)"),
    ],
)
def test_code_that_makes_no_classifier_is_refused_in_one_line(
    here: Path, bmc: Bmc, reference: str, complaint: str
) -> None:
    code, _, err = bmc("train", reference, *QUICK)
    assert code == 2
    assert complaint in err
    assert sum(line.startswith("bmc: ") for line in err.splitlines()) == 1
    assert err.strip().splitlines()[-1].startswith("bmc: ")


def test_trusted_code_is_named_as_module_and_function() -> None:
    for typed in ("os.system", "mine:network()", "../mine:network", "python:"):
        with pytest.raises(SettingError, match="module:function"):
            trust(typed)
