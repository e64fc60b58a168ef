"""Errors: exit codes, and messages that name the thing and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bmc import errors
from bmc.errors import BmcError, unknown


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.SettingError, 2),
        (errors.UnknownError, 2),
        (errors.DataError, 2),
        (errors.ArtifactError, 2),
        (errors.AssetError, 2),
        (errors.StorageError, 2),
        (errors.RequestError, 2),
        (errors.GateError, 1),
        (errors.DivergedError, 1),
        (errors.ProcessError, 1),
        (errors.MissingError, 3),
    ],
)
def test_every_error_has_the_exit_code_that_is_documented(kind: type[BmcError], code: int) -> None:
    assert issubclass(kind, BmcError)
    assert kind.exit_code == code


def below(kind: type[BmcError], depth: int = 0) -> Iterator[tuple[int, str, int]]:
    """Yield depth, name and exit code of an error's subclasses in bmc/errors.py, at any depth."""
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield depth, child.__name__, child.exit_code
            yield from below(child, depth + 1)


def test_the_drawn_tree_is_that_of_the_classes_with_their_exit_codes() -> None:
    drawn = re.findall(r"^((?:│   )*)[├└]── (\w+) +(\d)", errors.__doc__ or "", re.MULTILINE)
    tree = [(len(indent) // 4, name, int(code)) for indent, name, code in drawn]
    assert sorted(tree) == sorted(below(BmcError))


def test_a_typing_mistake_gets_the_nearest_name_and_the_command_that_lists_all() -> None:
    error = unknown("model", "tinny", ["tiny", "mini"], "bmc models lists all")
    assert str(error) == "no model named 'tinny'. Did you mean 'tiny'? (bmc models lists all)"


def test_a_few_names_that_nothing_else_lists_stand_beside_the_nearest() -> None:
    assert str(unknown("setting", "ratoi", ["ratio", "layers"])) == (
        "no setting named 'ratoi'. Did you mean 'ratio'? There are: layers, ratio."
    )


def test_a_name_like_none_gets_all_names_in_order() -> None:
    assert str(unknown("target", "gpu", ["onnx", "it"])) == (
        "no target named 'gpu'. There are: it, onnx."
    )
