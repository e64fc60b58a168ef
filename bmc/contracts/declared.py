"""The settings that a technique of bmc declares, read from the text of its file.

A technique's file imports torch, which takes seconds; a recipe is checked, and a command line is
completed, without it.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from bmc import plugins
from bmc.docstrings import arguments_in
from bmc.settings import Setting, without_none


def declared(kind: str, name: str) -> dict[str, Setting]:
    """Return a technique's settings by name without importing torch; inherited ones first.

    A default that is no literal is MISSING.

    Args:
        kind: "prune", "share", "quantize" or "distill".
        name: name of the technique; for a technique that is not part of bmc, there is none.
    """
    package = f"bmc.compress.{kind}"
    if kind not in plugins.folders("bmc.compress") or name not in plugins.names(package):
        return {}
    module = f"{package}.{name.replace('-', '_')}"
    steps = [
        ast.unparse(node.value)
        for node in _parse(module).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STEP"
    ]
    settings: dict[str, Setting] = {}
    for step in steps:
        for setting in _settings_of(module, step):
            settings[setting.name] = setting
    return settings


def _settings_of(module: str, class_name: str) -> Iterator[Setting]:
    """Read the fields of a class that a module of bmc defines or imports."""
    for node in _parse(module).body:
        if isinstance(node, ast.ImportFrom) and class_name in {alias.name for alias in node.names}:
            yield from _settings_of(str(node.module), class_name)
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            for base in node.bases:
                yield from _settings_of(module, ast.unparse(base))
            texts = arguments_in(ast.get_docstring(node) or "")
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    kind = without_none(_type_of(line.annotation))
                    name = line.target.id
                    yield Setting(name, kind, _literal(line.value), texts.get(name, ""))


def _type_of(annotation: ast.expr) -> Any:
    """Return the type that an annotation names; any type where it is none of the usual ones."""
    try:
        return eval(ast.unparse(annotation), {"Mapping": Mapping, "Any": Any})
    except NameError:
        return Any


def _literal(value: ast.expr | None) -> Any:
    if isinstance(value, ast.Call):  # field(default=...)
        value = next((each.value for each in value.keywords if each.arg == "default"), None)
    try:
        return MISSING if value is None else ast.literal_eval(value)
    except ValueError:
        return MISSING


def _parse(module: str) -> ast.Module:
    """Return the syntax tree of a module of bmc; an empty tree if the module is not one file."""
    package, _, name = module.rpartition(".")
    spec = importlib.util.find_spec(package) if package.startswith("bmc.") else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / f"{name}.py"
        if path.is_file():
            return ast.parse(path.read_text(encoding="utf-8"))
    return ast.Module(body=[], type_ignores=[])
