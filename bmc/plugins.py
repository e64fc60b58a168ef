"""Plug-ins: found by a file's name or an installed package's entry point, checked when loaded.

A plug-in is one object that follows the contract of its kind (`bmc.contracts`). It stands in a file
of bmc, such as `bmc/families/cnn.py`, or in another package, which names it in an entry point. A
name that a model directory or a bundle holds is only compared with the names of these: it imports
nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar

from bmc._packages import missing as missing
from bmc.errors import BmcError, MissingError, PluginError, reason_of, unknown

T = TypeVar("T")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Origin:
    """Where a plug-in comes from.

    Args:
        module: that holds it.
        attribute: of the module; "" for the name that the kind prescribes.
        package: the installed package that brings the plug-in; "" for bmc itself.
        version: of that package.
    """

    module: str
    attribute: str = ""
    package: str = ""
    version: str = ""

    def __str__(self) -> str:
        file = f"{self.module.replace('.', '/')}.py"
        return f"{file} of the package {self.package} {self.version}" if self.package else file


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of plug-in.

    Args:
        what: the kind in messages, such as "model family".
        package: of bmc, whose files are plug-ins; a file whose name starts with _ is none.
        group: of entry points, by which other packages add plug-ins.
        member: the name of the object in a plug-in's file, such as FAMILY.
        accept: checks that object and returns the plug-in; a PluginError says what it lacks.
        hint: the command that lists all plug-ins of the kind.
        prefix: of the entry points' names, where one group holds several kinds.
    """

    what: str
    package: str
    group: str
    member: str
    accept: Callable[[Any], T]
    hint: str = ""
    prefix: str = ""

    def names(self) -> list[str]:
        """Return all names, sorted, without importing a plug-in."""
        return sorted({*names(self.package), *(name for name, _ in self._installed())})

    def origin(self, name: str, made_with: object = ()) -> Origin:
        """Return where a plug-in comes from.

        Args:
            name: with dashes.
            made_with: plug-ins that a model directory or bundle records, as `record` returns
                them; it may come from a stranger.

        Raises:
            UnknownError: there is no such plug-in; the message names the nearest.
            MissingError: `made_with` names the package that has it, and it is not installed.
            PluginError: several plug-ins have this name.
        """
        origins = [origin for known, origin in self._installed() if known == name]
        if name in names(self.package):
            origins.insert(0, Origin(f"{self.package}.{name.replace('-', '_')}"))
        if not origins:
            raise self._absent(name, made_with)
        if len(origins) > 1:
            raise PluginError(
                f"two plug-ins are the {self.what} {name!r}: {origins[0]} and {origins[1]}; "
                "uninstall one of the packages"
            )
        return origins[0]

    def load(self, name: str, made_with: object = ()) -> T:
        """Import a plug-in, check it, and return it.

        Args:
            name: with dashes.
            made_with: see `origin`.

        Raises:
            UnknownError: there is no such plug-in; the message names the nearest.
            MissingError: the plug-in, or a package that it needs, is not installed.
            PluginError: it cannot be imported, lacks a member, or several have its name.
        """
        origin = self.origin(name, made_with)
        return load_part(origin, self.member, self.accept, f"the {self.what} {name!r}")

    def usable(self) -> dict[str, T]:
        """Return all plug-ins that can be loaded, by name; `refused` says why others cannot."""
        refused = self.refused()
        return {name: self.load(name) for name in self.names() if name not in refused}

    def refused(self) -> dict[str, BmcError]:
        """Return why plug-ins cannot be loaded, by their names."""
        errors: dict[str, BmcError] = {}
        for name in self.names():
            try:
                self.load(name)
            except (MissingError, PluginError) as error:
                errors[name] = error
        return errors

    def needs(self, error: ModuleNotFoundError, name: str) -> MissingError:
        """Say which package a plug-in needs, from an import that failed while it was used."""
        return _needs(error, f"the {self.what} {name!r}", self.origin(name))

    def record(self, name: str) -> list[dict[str, str]]:
        """Return which package a plug-in comes from, for bmc.json; nothing for bmc's plug-ins."""
        return [
            {
                "kind": self.what,
                "name": name,
                "package": origin.package,
                "version": origin.version,
            }
            for known, origin in self._installed()
            if known == name
        ]

    def _installed(self) -> list[tuple[str, Origin]]:
        """Return the names and origins of other packages' plug-ins."""
        return [
            (name.removeprefix(self.prefix), origin)
            for name, origin in _entry_points(self.group, tuple(sys.path))
            if name.startswith(self.prefix)
        ]

    def _absent(self, name: str, made_with: object) -> BmcError:
        for entry in made_with if isinstance(made_with, Sequence) else ():
            if not isinstance(entry, Mapping) or entry.get("kind") != self.what:
                continue
            package = entry.get("package")
            is_package = isinstance(package, str) and _PACKAGE_NAME.fullmatch(package)
            if entry.get("name") == name and is_package:
                return MissingError(
                    f"the {self.what} {name!r} is a plug-in of the package {package}, which is not "
                    f"installed; if you trust it: pip install {package}"
                )
        return unknown(self.what, name, self.names(), self.hint)


def load_part(origin: Origin, member: str, accept: Callable[[Any], T], what: str) -> T:
    """Import the object that is a plug-in, or a part of one, check it, and return it.

    Args:
        origin: where the object stands.
        member: its name in the module, where the origin has no attribute.
        accept: checks the object and returns the plug-in.
        what: the plug-in in messages, such as "the target 'onnx'".

    Raises:
        MissingError: a package that it needs is not installed.
        PluginError: it cannot be imported, or does not follow its contract.
    """
    value: Any = _imported(origin, what)
    try:
        for name in (origin.attribute or member).split("."):
            value = getattr(value, name)
        if isinstance(value, ModuleType):  # an entry point may name a module inside another
            value = getattr(value, member)
    except AttributeError as error:
        raise PluginError(f"{what} ({origin}) has no {error.name}") from error
    try:
        return accept(value)
    except PluginError as error:
        raise PluginError(f"{what} ({origin}): {error}") from error


def names(package: str) -> list[str]:
    """List the plug-ins that are a package's files, and import none of them, nor the package."""
    return _inside(package, folders=False)


def folders(package: str) -> list[str]:
    """List the packages inside a package, and import none of them, nor the package."""
    return _inside(package, folders=True)


def _inside(package: str, folders: bool) -> list[str]:
    found = importlib.util.find_spec(package)
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(found.submodule_search_locations if found else [])
        if module.ispkg is folders and not module.name.startswith("_")
    )


def load(package: str, name: str, kind: str, hint: str = "") -> ModuleType:
    """Import a file of a package of bmc by its name, with dashes.

    Args:
        package: such as "bmc.inputs".
        name: of the file, with dashes.
        kind: what a user calls it, for messages.
        hint: the command that lists them all.

    Raises:
        UnknownError: there is no such file; the message names the nearest.
        MissingError: it needs a package that is not installed; the message names the extra.
    """
    if name not in names(package):
        raise unknown(kind, name, names(package), hint)
    return _imported(Origin(f"{package}.{name.replace('-', '_')}"), f"the {kind} {name!r}")


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[tuple[str, Origin], ...]:
    """Return name, with dashes, and origin of a group's entry points on a search path."""
    origins = []
    for entry in metadata.entry_points(group=group):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "")
        origin = Origin(entry.module, entry.attr, package, version)
        origins.append((entry.name.replace("_", "-"), origin))
    return tuple(origins)


def _imported(origin: Origin, what: str) -> ModuleType:
    """Import a plug-in's module; an error says whose module it is."""
    try:
        return importlib.import_module(origin.module)
    except BmcError as error:
        raise PluginError(f"{what} ({origin}): {error}") from error
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0]
        if origin.package and absent == origin.module.partition(".")[0]:
            raise PluginError(f"{what} ({origin}) has no module {error.name}") from error
        raise _needs(error, what, origin) from error
    except Exception as error:  # another package's code raises anything
        lacking = _lacking(error)
        if not origin.package and not lacking:
            raise  # a bug of bmc, or a library that does not load
        reason = lacking or f"cannot be imported ({type(error).__name__}: {reason_of(error)})"
        raise PluginError(f"{what} ({origin}) {reason}") from error


def _needs(error: ModuleNotFoundError, what: str, origin: Origin) -> MissingError:
    """Say which package is missing, and how to get it."""
    if not origin.package:
        return missing(error, what)
    package = (error.name or "").partition(".")[0]
    return MissingError(
        f"{what} of the package {origin.package} needs the package {package}: pip install {package}"
    )


def _lacking(error: Exception) -> str:
    """Say which members a contract was made without, or does not know; "" for other errors."""
    text = str(error)
    call = re.match(r"(\w+)\.__init__\(\) (missing|got an unexpected)", text)
    if not isinstance(error, TypeError) or not call:
        return ""
    if not hasattr(sys.modules.get("bmc.contracts"), call[1]):
        return ""
    members = ", ".join(re.findall(r"'(\w+)'", text))
    says = "lacks" if call[2] == "missing" else "has an unknown member"
    return f"{says} {members}; bmc.contracts.{call[1]} says what it must have"
