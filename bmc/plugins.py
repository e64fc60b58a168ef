"""Plug-ins: found by a file's name or an installed package's entry point, checked when loaded.

A plug-in is one object that follows the contract of its kind (`bmc.contracts`). It stands in a file
of bmc (`bmc/families/cnn.py`), or in a package of somebody else's that names it in an entry point.
A name from a stranger's file is only ever compared with these two lists: it imports nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar

from bmc._packages import missing as missing
from bmc.errors import BmcError, MissingError, PluginError, reason_of, unknown

T = TypeVar("T")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Origin:
    """Where a plug-in comes from.

    Args:
        module: that holds it.
        attribute: of the module; "" where the kind's own name for it is meant.
        package: the installed package that brings it; "" for bmc itself.
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
        what: it is, for messages, such as "model family".
        package: of bmc, whose files are plug-ins; those that start with _ are none.
        group: of entry points, by which other packages add theirs.
        member: the name of the object in its file, such as FAMILY.
        accept: returns what a file's object stands for; a PluginError says what it lacks.
        hint: the command that lists them all.
        prefix: of the entry points' names, where one group has several kinds.
    """

    what: str
    package: str
    group: str
    member: str
    accept: Callable[[Any], T]
    hint: str = ""
    prefix: str = ""

    def names(self) -> list[str]:
        """Return all names, sorted, and import no plug-in."""
        return sorted({*names(self.package), *(name for name, _ in self._others())})

    def origin(self, name: str, made_with: object = ()) -> Origin:
        """Say where a plug-in comes from.

        Args:
            name: with dashes.
            made_with: what a file of bmc's recorded of the plug-ins that it was made with.

        Raises:
            UnknownError: there is no such plug-in; the message names the nearest.
            MissingError: there is none here, but the file says which package has it.
            PluginError: several have this name.
        """
        origins = [origin for known, origin in self._others() if known == name]
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
        """Import a plug-in and check it; see `origin` for the arguments.

        Raises:
            UnknownError: there is no such plug-in; the message names the nearest.
            MissingError: it, or a package that it needs, is not installed.
            PluginError: it cannot be imported, lacks a member, or several have its name.
        """
        origin = self.origin(name, made_with)
        return load_part(origin, self.member, self.accept, f"the {self.what} {name!r}")

    def needs(self, error: ModuleNotFoundError, name: str) -> MissingError:
        """Say which package a plug-in needs, from the import that failed while it was used."""
        return _needs(error, f"the {self.what} {name!r}", self.origin(name))

    def _others(self) -> list[tuple[str, Origin]]:
        """Return the names and origins of other packages' plug-ins."""
        entries = _entry_points(self.group, tuple(sys.path))
        return [
            (name.removeprefix(self.prefix), origin)
            for name, origin in entries
            if name.startswith(self.prefix)
        ]

    def _absent(self, name: str, made_with: object) -> BmcError:
        for entry in made_with if isinstance(made_with, Sequence) else ():
            if not isinstance(entry, Mapping) or entry.get("kind") != self.what:
                continue
            package = entry.get("package")
            is_named = isinstance(package, str) and _PACKAGE.fullmatch(package)
            if entry.get("name") == name and is_named:
                return MissingError(
                    f"the {self.what} {name!r} is a plug-in of the package {package}, which is not "
                    f"installed; if you trust it: pip install {package}"
                )
        return unknown(self.what, name, self.names(), self.hint)


def load_part(origin: Origin, member: str, accept: Callable[[Any], T], what: str) -> T:
    """Import the object that a plug-in, or a part of one, stands in, and check it.

    Args:
        origin: where it stands.
        member: its name there, if the origin has none.
        accept: returns what it stands for.
        what: it is, for messages.

    Raises:
        MissingError: a package that it needs is not installed.
        PluginError: it cannot be imported, or is not what its contract asks for.
    """
    module = _imported(origin, what)
    try:
        found = module
        for name in filter(None, (origin.attribute or member).split(".")):
            found = getattr(found, name)
        if isinstance(found, ModuleType):
            found = getattr(found, member)
    except AttributeError as error:
        raise PluginError(f"{what} ({origin}) has no {error.name}") from error
    try:
        return accept(found)
    except PluginError as error:
        raise PluginError(f"{what} ({origin}): {error}") from error


def recorded(used: Iterable[tuple[Kind[Any], str]]) -> list[dict[str, str]]:
    """Say which plug-ins of other packages something was made with, for its file.

    Args:
        used: kind and name of all plug-ins; bmc's own, and names of none, are left out.
    """
    found = []
    for kind, name in used:
        for origin in [origin for known, origin in kind._others() if known == name]:
            about = {"package": origin.package, "version": origin.version}
            found.append({"kind": kind.what, "name": name, **about})
    return found


def names(package: str) -> list[str]:
    """List the plug-ins that are a package's files, without importing them."""
    path = importlib.import_module(package).__path__
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(path)
        if not module.name.startswith("_")
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
    found = []
    for entry in metadata.entry_points(group=group):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "")
        origin = Origin(entry.module, entry.attr, package, version)
        found.append((entry.name.replace("_", "-"), origin))
    return tuple(found)


def _imported(origin: Origin, what: str) -> ModuleType:
    """Import a plug-in's module; what fails there says whose it is."""
    try:
        return importlib.import_module(origin.module)
    except BmcError as error:
        raise PluginError(f"{what} ({origin}): {error}") from error
    except ModuleNotFoundError as error:
        own = origin.package and (error.name or "").split(".")[0] == origin.module.split(".")[0]
        if own:
            raise PluginError(f"{what} ({origin}) has no module {error.name}") from error
        raise _needs(error, what, origin) from error
    except Exception as error:  # the code of others raises anything
        lacking = _lacking(error)
        if not origin.package and not lacking:
            raise  # of bmc's own: a bug, or a library that does not load
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
    """Say which members a contract was made without, or with and does not know; else ""."""
    text = str(error)
    made = re.match(r"(\w+)\.__init__\(\) (missing|got an unexpected)", text)
    if not isinstance(error, TypeError) or not made:
        return ""
    if not hasattr(sys.modules.get("bmc.contracts"), made[1]):
        return ""
    members = ", ".join(re.findall(r"'(\w+)'", text))
    says = "lacks" if made[2] == "missing" else "has an unknown member"
    return f"{says} {members}; bmc.contracts.{made[1]} says what it must have"
