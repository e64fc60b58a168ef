"""Modules that hold plug-ins: found by name, imported, and refused with their file and package."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

from bmc._packages import missing as missing
from bmc.errors import BmcError, MissingError, PluginError, reason_of, unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Where a plug-in comes from.

    Args:
        module: module that holds the plug-in.
        attribute: attribute of the module; "" for the name that the kind of plug-in prescribes.
        package: the installed package that brings the plug-in; "" for bmc itself.
        version: version of the package.
    """

    module: str
    attribute: str = ""
    package: str = ""
    version: str = ""

    def __str__(self) -> str:
        file = f"{self.module.replace('.', '/')}.py"
        return f"{file} of the package {self.package} {self.version}" if self.package else file


def load_part(origin: Origin, member: str, accept: Callable[[Any], T], what: str) -> T:
    """Import a plug-in, or a part of one, check it, and return it.

    Args:
        origin: module and attribute of the plug-in.
        member: its name in the module, where the origin has no attribute.
        accept: checks the object and returns the plug-in.
        what: the plug-in in messages, such as "the target 'onnx'".

    Raises:
        MissingError: a package that it needs is not installed.
        PluginError: the plug-in cannot be imported, or does not follow its contract.
    """
    value: Any = imported(origin, what)
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
    """List the plug-ins in the files of a package without importing any of them."""
    return _inside(package, folders=False)


def folders(package: str) -> list[str]:
    """List the packages inside a package without importing any of them."""
    return _inside(package, folders=True)


def _inside(package: str, folders: bool) -> list[str]:
    spec = importlib.util.find_spec(package)
    locations = tuple(spec.submodule_search_locations or ()) if spec else ()
    times = tuple(os.stat(folder).st_mtime_ns for folder in locations if os.path.isdir(folder))
    return list(_listed(locations, times, folders))


@cache
def _listed(locations: tuple[str, ...], times: tuple[int, ...], folders: bool) -> tuple[str, ...]:
    """List what is in folders; listing takes a millisecond, and a command asks some 1,000 times.

    Args:
        locations: the folders.
        times: when a file was last added or removed in each.
        folders: list packages instead of modules.
    """
    return tuple(
        sorted(
            module.name.replace("_", "-")
            for module in pkgutil.iter_modules(locations)
            if module.ispkg is folders and not module.name.startswith("_")
        )
    )


def load(package: str, name: str, kind: str, hint: str = "") -> ModuleType:
    """Import a file of a package of bmc by its name, with dashes.

    Args:
        package: package, such as "bmc.inputs".
        name: name of the file, with dashes.
        kind: word for the plug-in in messages.
        hint: the command that lists them all.

    Raises:
        UnknownError: there is no such file; the message names the nearest.
        MissingError: it needs a package that is not installed; the message names the extra.
    """
    if name not in names(package):
        raise unknown(kind, name, names(package), hint)
    return imported(Origin(f"{package}.{name.replace('-', '_')}"), f"the {kind} {name!r}")


@cache
def entry_points(group: str, path: tuple[str, ...]) -> tuple[tuple[str, Origin], ...]:
    """Return name, with dashes, and origin of a group's entry points on a search path."""
    has_archives = any(os.path.isfile(folder) for folder in path)
    if not has_archives and not any(f"[{group}]".encode() in text for text in _declared(path)):
        return ()
    from importlib import metadata  # noqa: PLC0415  its import takes longer than reading the files

    origins = []
    for entry in metadata.entry_points(group=group):
        package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "")
        origin = Origin(entry.module, entry.attr, package, version)
        origins.append((entry.name.replace("_", "-"), origin))
    return tuple(origins)


@cache
def _declared(path: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the entry points of the packages in the folders of a search path, unparsed."""
    texts = []
    for folder in path:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if entry.name.lower().endswith((".dist-info", "egg-info")):
                    texts.append(_content_of(os.path.join(entry.path, "entry_points.txt")))
    return tuple(texts)


def _content_of(path: str) -> bytes:
    with suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""


def imported(origin: Origin, what: str) -> ModuleType:
    """Import a plug-in's module; an error names the package of the module."""
    try:
        return importlib.import_module(origin.module)
    except BmcError as error:
        raise PluginError(f"{what} ({origin}): {error}") from error
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0]
        if origin.package and absent == origin.module.partition(".")[0]:
            raise PluginError(f"{what} ({origin}) has no module {error.name}") from error
        raise needs(error, what, origin) from error
    except Exception as error:  # another package's code raises anything
        lacking = _lacking(error)
        if not origin.package and not lacking:
            raise  # a bug of bmc, or a library that does not load
        reason = lacking or f"cannot be imported ({type(error).__name__}: {reason_of(error)})"
        raise PluginError(f"{what} ({origin}) {reason}") from error


def needs(error: ModuleNotFoundError, what: str, origin: Origin) -> MissingError:
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
    problem = "lacks" if call[2] == "missing" else "has an unknown member"
    return f"{problem} {members}; bmc.contracts.{call[1]} says what it must have"
