"""Plug-ins: found by a file's name or an installed package's entry point, checked when loaded.

A plug-in is one object that follows the contract of its kind (`bmc.contracts`). It is defined in a
file of bmc, such as `bmc/families/cnn.py`, or in another package, which declares it as an entry
point. A name in a model directory or a bundle is only compared with the names of plug-ins; it never
decides what is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bmc.errors import BmcError, MissingError, PluginError, unknown
from bmc.plugin_modules import Origin as Origin
from bmc.plugin_modules import entry_points, needs
from bmc.plugin_modules import folders as folders
from bmc.plugin_modules import load as load
from bmc.plugin_modules import load_part as load_part
from bmc.plugin_modules import missing as missing
from bmc.plugin_modules import names as names

T = TypeVar("T")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of plug-in.

    Args:
        what: the kind in messages, such as "model family".
        package: package of bmc whose files are plug-ins, except files whose names start with _.
        group: group of entry points by which other packages add plug-ins.
        member: the name of the object in a plug-in's file, such as FAMILY.
        accept: function that checks a plug-in and returns it; a PluginError names what it lacks.
        hint: the command that lists all plug-ins of the kind.
        prefix: prefix of the entry points' names, if several kinds of plug-ins share the group.
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
            name: name of the plug-in, with dashes.
            made_with: plug-ins that a model directory or bundle records, as `record` returns them;
                untrusted.

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
            name: name of the plug-in, with dashes.
            made_with: see `origin`.

        Raises:
            UnknownError: there is no such plug-in; the message names the nearest.
            MissingError: the plug-in, or a package that it needs, is not installed.
            PluginError: the plug-in cannot be imported, lacks a member, or shares its name with
                another.
        """
        origin = self.origin(name, made_with)
        return load_part(origin, self.member, self.accept, f"the {self.what} {name!r}")

    def usable(self) -> dict[str, T]:
        """Return the plug-ins that can be loaded, by name; `refused` returns why others cannot."""
        refused = self.refused()
        return {name: self.load(name) for name in self.names() if name not in refused}

    def refused(self) -> dict[str, BmcError]:
        """Return the error of each plug-in that cannot be loaded, by name."""
        errors: dict[str, BmcError] = {}
        for name in self.names():
            try:
                self.load(name)
            except (MissingError, PluginError) as error:
                errors[name] = error
        return errors

    def needs(self, error: ModuleNotFoundError, name: str) -> MissingError:
        """Say which package a plug-in needs, from an import that failed while it was used."""
        return needs(error, f"the {self.what} {name!r}", self.origin(name))

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
            for name, origin in entry_points(self.group, tuple(sys.path))
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
