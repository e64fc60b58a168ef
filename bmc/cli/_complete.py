"""What a shell completes: models and bundles of the workspace, data sets, baselines, settings.

A shell asks at every TAB: nothing here imports numpy, torch or a technique; files are read as text.
A folder that cannot be read completes nothing.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import typer

from bmc import plugins, workspace
from bmc.contracts import families
from bmc.contracts.data_sets import DATA_SETS

_BASES = 4  # classes that a settings class may stand on


def models(incomplete: str) -> list[tuple[str, str]]:
    """Return the workspace's models, the newest first."""
    return _entries("model")


def bundles(incomplete: str) -> list[tuple[str, str]]:
    """Return the workspace's bundles, the newest first."""
    return _entries("bundle")


def entries(incomplete: str) -> list[tuple[str, str]]:
    """Return the workspace's models and bundles."""
    return models(incomplete) + bundles(incomplete)


def baselines(incomplete: str) -> list[str]:
    """Return the names of all baselines, then the workspace's models."""
    return [*families.baselines(), *(name for name, _ in models(incomplete))]


def data_sets(incomplete: str) -> list[str]:
    """Return the names of the data sets, and how others are named."""
    return [*DATA_SETS.names(), "imagefolder:", "hf:"]


def transfers(incomplete: str) -> list[str]:
    """Return what a teacher can answer beside the labelled texts."""
    return ["imdb", "none"]


def settings(context: typer.Context) -> list[str]:
    """Return what `--set` takes: settings of the method, or of the baseline, that was typed."""
    verb, typed = str(context.info_name), context.params
    if verb != "train":
        return [f"{name}=" for name in _settings(f"bmc.compress.{verb}", str(typed.get("method")))]
    # Words before an unfinished option are not given to their arguments: they are what is left.
    baseline = str(next(iter(context.args), typed.get("model")))
    family = families.baselines().get(baseline)
    return (
        [f"{field.name}=" for field in fields(families.family(family).settings)] if family else []
    )


def _entries(kind: str) -> list[tuple[str, str]]:
    with suppress(OSError):
        return [(path.name, kind) for path in reversed(workspace.entries(kind))]
    return []


def _settings(package: str, name: str) -> list[str]:
    """Return the settings of a technique's class, those of its bases first.

    A technique imports torch, so its file is read as text; techniques of other packages are not.
    """
    if name not in plugins.names(package):
        return []
    module = f"{package}.{name.replace('-', '_')}"
    return list(dict.fromkeys(_fields(module, _assigned(_tree(module), "STEP"), _BASES)))


def _fields(module: str, kind: str, depth: int) -> Iterator[str]:
    tree = _tree(module)
    imported = {
        alias.asname or alias.name: (str(node.module), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    if kind in imported and depth:
        yield from _fields(*imported[kind], depth - 1)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == kind:
            for base in node.bases if depth else ():
                yield from _fields(module, ast.unparse(base), depth - 1)
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    yield line.target.id


def _assigned(tree: ast.Module, name: str) -> str:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.unparse(node.value)
    return ""


def _tree(module: str) -> ast.Module:
    """Return a module of bmc, parsed; an empty one where it has no file of its own."""
    package, _, name = module.rpartition(".")
    if name and package.startswith("bmc."):
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or ()) if found else ():
            path = Path(folder) / f"{name}.py"
            if path.is_file():
                return ast.parse(path.read_text(encoding="utf-8"))
    return ast.Module(body=[], type_ignores=[])
