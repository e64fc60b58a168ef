"""The errors that bmc raises on purpose, with the exit codes of the command line.

BmcError                      exit  cause
├── UsageError                2     the command or call makes no sense (unknown name, output exists)
│   ├── SettingError          2     a setting is outside its range
│   └── UnknownError          2     a model, data set or file cannot be found
├── DataError                 2     the data cannot be used (columns, classes, empty texts)
│   └── TooLongError          2     a text is longer than a bounded encoder may read
├── ArtifactError             2     a model directory or bundle is damaged, too new or not bmc's
│   └── StaleEngineError      2     an engine for another TensorRT or GPU; `bmc check` rebuilds it
├── ModelCodeError            2     the user's network or other user code failed: file and line
├── PluginError               2     a plug-in breaks its contract, or two have the same name
├── ExportError               2     an exporter or a runtime cannot convert the network
├── AssetError                2     a pinned file has the wrong content, or no source has the file
├── StorageError              2     the disk is full or not writable
├── RequestError              2     a service refuses a request: too large, too many, too slow
├── MeasuringError            2     a latency could not be measured this time
├── DivergedError             1     the loss became NaN or infinite
├── ProcessError              1     another process of the same training ended or does not answer
├── GateError                 1     a parity, accuracy, speed or budget check failed
└── MissingError              3     a package or a device is missing

A message names the thing, its value and the way out, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# With a suggestion, a message also lists all names if there are at most this many and no command
# lists them.
_FEW = 12


class BmcError(Exception):
    """Base class of all errors that bmc raises on purpose; the text is meant for the user."""

    exit_code = 2


class UsageError(BmcError):
    """The command or call makes no sense."""


class SettingError(UsageError):
    """A setting is outside its range."""


class UnknownError(UsageError):
    """A model, data set, target, method or file cannot be found."""


class DataError(BmcError):
    """The data cannot be used."""


class TooLongError(DataError):
    """A text is longer than an encoder with a bound may read; see `TextEncoder.bounded`."""


class ArtifactError(BmcError):
    """A model directory or bundle is damaged, too new, or was not written by bmc."""


class StaleEngineError(ArtifactError):
    """The installed TensorRT or the GPU cannot load an engine; `bmc check` rebuilds the engine."""


class ModelCodeError(BmcError):
    """The user's code failed; the message names the file and line, or the layer."""


class PluginError(BmcError):
    """A plug-in cannot be imported or breaks its contract, or two plug-ins have the same name."""


class ExportError(BmcError):
    """An exporter, or a runtime's converter, cannot convert the network."""


class AssetError(BmcError):
    """A pinned file has the wrong content, or no source has the file."""


class StorageError(BmcError):
    """The disk is full or not writable."""


class RequestError(BmcError):
    """A service refuses a request.

    Args:
        message: the limit, the value and the way out.
        status: the HTTP status of the answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class GateError(BmcError):
    """A result failed its parity, accuracy, speed or budget check; the result is kept on disk.

    Args:
        message: the figure that failed, the limit, and the way out.
        check: name of the check: "parity", "accuracy", "speed", "budget", "preprocessing" or
            "export" (the bundle failed when it was exported).
        result: what the workflow returns otherwise, with the path of what was kept; None where
            nothing was measured.
        failures: the failed checks, if there are several.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        check: str = "",
        result: object = None,
        failures: Sequence[GateError] = (),
    ) -> None:
        super().__init__(message)
        self.check = check
        self.result = result
        self.failures = tuple(failures) or (self,)


class DivergedError(BmcError):
    """The loss became NaN or infinite in training; the last good checkpoint is kept."""

    exit_code = 1


class ProcessError(BmcError):
    """Another process of the same training ended, does not answer, or trains something else."""

    exit_code = 1


class MeasuringError(BmcError):
    """A latency could not be measured this time; another attempt may succeed."""


class MissingError(BmcError):
    """A package or a device is missing."""

    exit_code = 3


class OutputsWarning(UserWarning):
    """A bundle failed a check at its export, or its outputs here differ from those then."""


def reason_of(error: BaseException, line: int = 0) -> str:
    """Return one line of an error's message; the error's class name if the message is empty.

    Args:
        error: an exception of another library.
        line: index of the line; -1 is the last.
    """
    lines = str(error).strip().splitlines()
    return lines[line].strip() if lines else type(error).__name__


def unknown(
    kind: str, name: str, choices: Iterable[str], hint: str = "", meant: str = ""
) -> UnknownError:
    """Return the error for an unknown name, with the most similar name or all names.

    Args:
        kind: kind of the thing, such as "model".
        name: the name that the user typed.
        choices: the existing names.
        hint: sentence on the command that lists the names, such as "bmc models lists all".
        meant: the choice that has this name in another tool, to suggest in place of the most
            similar name; "" for none.
    """
    names = sorted(choices)
    near = [meant] if meant else difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    listing = (
        f" There are: {', '.join(names)}." if not near or (not hint and len(names) <= _FEW) else ""
    )
    return UnknownError(f"no {kind} named {name!r}.{guess}{listing}{f' ({hint})' if hint else ''}")
