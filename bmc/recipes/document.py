"""Read the text of a recipe: TOML, or YAML with duplicate keys refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from bmc.errors import UnknownError, UsageError

_MOST_BYTES = 1_000_000
_SUFFIXES = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML"}
_TOML_TWICE = re.compile(r"Cannot (?:declare|overwrite|mutate).*?\(at line (\d+)")
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")


def read_document(path: Path) -> dict[str, Any]:
    """Return what a recipe's file holds.

    Args:
        path: a file that ends with .toml, .yaml or .yml.

    Raises:
        UnknownError: there is no such file.
        UsageError: it is not valid TOML or YAML, has a name twice, or has another ending.
    """
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"{path} ends with {path.suffix!r}; a recipe ends with .toml or .yaml")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        hint = "bmc recipe init writes one"
        raise UnknownError(f"there is no recipe {path} ({hint})") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; name the recipe's file") from None
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{path} has {len(content):,} bytes; a recipe has at most 1 MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error
    document = _toml(text, path) if form == "TOML" else _yaml(text, path)
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no table of names and values: start with steps")
    return document


def _toml(text: str, path: Path) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        twice = _TOML_TWICE.search(str(error))
        if twice:
            line = text.splitlines()[int(twice[1]) - 1].strip()
            raise UsageError(
                f"{path}, line {twice[1]}: a name is used twice: {line:.60}; rename one of them"
            ) from error
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is not valid TOML: it is nested too deeply") from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """A safe loader that refuses a name used twice and aliases, and reads 1e-3 as a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            at = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="a recipe takes no aliases (*)", problem_mark=at)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        names: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a name is a text, not a list or a table", problem_mark=key.start_mark
                )
            if key.value in names:
                raise yaml.MarkedYAMLError(
                    problem=f"the name {key.value!r} is used twice; rename one of them",
                    problem_mark=key.start_mark,
                )
            names.add(key.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        line = f", line {at.line + 1}" if at else ""
        raise UsageError(f"{path}{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} is not valid YAML: {reason:.200}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is not valid YAML: it is nested too deeply") from error
