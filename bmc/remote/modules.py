"""Find the modules of bmc that a runner needs, and the packages that they import.

The source files are read, not imported: imports for type checkers are left out, and what is
imported inside a function or with a fallback is sent but not required.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bmc.errors import UsageError

_BMC = "bmc"


@dataclass(frozen=True)
class Modules:
    """Modules of bmc.

    Args:
        files: source file of each module, by its path in a folder of modules, such as
            "bmc/measure/worker.py".
        packages: packages outside of bmc and the standard library that importing them needs.
    """

    files: dict[str, Path] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


def needed_by(roots: Iterable[str]) -> Modules:
    """Return the modules that are imported, directly or not, by some modules of bmc.

    Args:
        roots: names of the modules, such as "bmc.measure.worker".

    Raises:
        UsageError: bmc is installed without its source files.
    """
    files: dict[str, Path] = {}
    packages: set[str] = set()
    is_required: dict[str, bool] = {}
    pending = [(name, True) for name in roots]
    while pending:
        name, required = pending.pop()
        if is_required.get(name) or (name in is_required and not required):
            continue
        is_required[name] = required
        path, is_package = _source_of(name)
        files[name.replace(".", "/") + ("/__init__.py" if is_package else ".py")] = path
        parent = name.rpartition(".")[0]
        pending += [(parent, required)] if parent else []
        reader = _Imports()
        reader.visit(ast.parse(path.read_text(encoding="utf-8")))
        for imported, always in reader.modules:
            if imported.partition(".")[0] == _BMC:
                pending += [(part, required and always) for part in _parts(imported)]
            elif required and always:
                packages.add(imported.partition(".")[0])
    third_party = packages - set(sys.stdlib_module_names)
    return Modules(dict(sorted(files.items())), tuple(sorted(third_party)))


class _Imports(ast.NodeVisitor):
    """Collect the names of imported modules, each with whether it is imported in any case.

    Names that `from MODULE import NAME` imports are added as MODULE.NAME.
    """

    def __init__(self) -> None:
        self.modules: list[tuple[str, bool]] = []
        self._optional = 0

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).rpartition(".")[2] != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        self._visit_optional(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_optional(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.modules += [(alias.name, not self._optional) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.modules.append((f"{node.module}.{alias.name}", not self._optional))

    def _visit_optional(self, node: ast.AST) -> None:
        self._optional += 1
        self.generic_visit(node)
        self._optional -= 1


def _parts(imported: str) -> list[str]:
    """Return the modules among MODULE.NAME: MODULE, and MODULE.NAME if NAME is a module."""
    try:
        if importlib.util.find_spec(imported) is not None:
            return [imported]
    except ModuleNotFoundError:  # MODULE is not a package
        pass
    parent = imported.rpartition(".")[0]
    return [parent] if parent else []


def _source_of(name: str) -> tuple[Path, bool]:
    """Return the source file of a module, and whether the module is a package."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise UsageError(
            f"the module {name} has no source file to send to a device: install bmc-toolkit with "
            "pip"
        )
    return Path(spec.origin), spec.submodule_search_locations is not None
