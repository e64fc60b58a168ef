"""Everything bmc raises on purpose.

BmcError                      exit  what happened
├── UsageError                2     what was typed makes no sense (unknown name, output exists)
│   ├── SettingError          2     a setting lies outside what it may be
│   └── UnknownError          2     a model, data set or file that cannot be found
├── DataError                 2     the data cannot be used (columns, classes, empty texts)
├── ArtifactError             2     a model directory or bundle is damaged, foreign or too new
│   └── StaleEngineError      2     an engine for another TensorRT or GPU; `bmc check` rebuilds it
├── ModelCodeError            2     the user's network, or other code of theirs, failed: file, line
├── PluginError               2     a plug-in lacks what its contract asks for, or two have one name
├── ExportError               2     an exporter or its runtime does not take the network
├── AssetError                2     a pinned file has the wrong content, or no source has it
├── StorageError              2     the disk is full or not writable
├── DivergedError             1     the loss became NaN or infinite
├── GateError                 1     a result failed parity, accuracy or budget; it is kept
└── MissingError              3     a package or a device is not there

A message names the thing, its value and the way out, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_FEW = 12  # names that a message lists although it has a guess, where nothing else lists them


class BmcError(Exception):
    """Base of all errors that bmc raises on purpose; its text is meant for the user."""

    exit_code = 2


class UsageError(BmcError):
    """What was asked for makes no sense."""


class SettingError(UsageError):
    """A setting lies outside what it may be."""


class UnknownError(UsageError):
    """A model, data set, target, method or file that cannot be found."""


class DataError(BmcError):
    """The data cannot be used."""


class ArtifactError(BmcError):
    """A model directory or bundle is damaged, foreign or too new."""


class StaleEngineError(ArtifactError):
    """An engine that this TensorRT or this GPU cannot load; `bmc check` makes it again."""


class ModelCodeError(BmcError):
    """The user's own code failed: the message names its file and line, or the layer."""


class PluginError(BmcError):
    """A plug-in cannot be imported, lacks what its contract asks for, or two have one name."""


class ExportError(BmcError):
    """An exporter, or a runtime's converter, does not take the network."""


class AssetError(BmcError):
    """A pinned file has the wrong content, or no source has it."""


class StorageError(BmcError):
    """The disk is full or not writable."""


class GateError(BmcError):
    """A result was made but failed a gate; it is kept for inspection."""

    exit_code = 1


class DivergedError(BmcError):
    """The loss became NaN or infinite in training; the last good checkpoint is kept."""

    exit_code = 1


class MissingError(BmcError):
    """A package or a device is not there."""

    exit_code = 3


def reason_of(error: BaseException, line: int = 0) -> str:
    """Return one line of what another library's error says; its type's name if it says nothing.

    Args:
        error: what was caught.
        line: which line; -1 is the last.
    """
    lines = str(error).strip().splitlines()
    return lines[line].strip() if lines else type(error).__name__


def unknown(
    kind: str, name: str, choices: Iterable[str], hint: str = "", meant: str = ""
) -> UnknownError:
    """Say that `name` is no `kind`, with the nearest choice and the way to see all of them.

    Args:
        kind: what was looked for, such as "model".
        name: what was typed.
        choices: the names that exist.
        hint: the command that lists them, such as "bmc models lists all".
        meant: the choice that another tool gives this name; "" for the one spelled nearest.
    """
    names = sorted(choices)
    near = [meant] if meant else difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    every = (
        f" There are: {', '.join(names)}." if not near or (not hint and len(names) <= _FEW) else ""
    )
    return UnknownError(f"no {kind} named {name!r}.{guess}{every}{f' ({hint})' if hint else ''}")
