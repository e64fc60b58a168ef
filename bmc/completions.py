"""The values that a shell offers for an argument: models, bundles, data sets, settings.

A shell asks at every TAB: nothing here imports numpy, torch or a technique. A folder that cannot be
read offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bmc import workspace
from bmc.contracts import families, techniques
from bmc.contracts.data_sets import DATA_SETS, with_sentences


@dataclass(frozen=True)
class UnfinishedCommand:
    """What stands in an unfinished command.

    Args:
        verb: the verb, such as "train".
        values: values of arguments and options by name, None where nothing was typed.
        rest: words that belong to no argument yet, because they stand before an unfinished option.
    """

    verb: str
    values: Mapping[str, Any] = field(default_factory=dict)
    rest: Sequence[str] = ()


def _kept(*kinds: str) -> list[str]:
    """Return the names of the workspace's models or bundles, the newest first."""
    with suppress(OSError):
        return [path.name for kind in kinds for path in reversed(workspace.entries(kind))]
    return []


def _models(command: UnfinishedCommand) -> list[str]:
    """Return what stands for a model: for some verbs baselines, or bundles, besides."""
    baselines = families.baselines() if command.verb in ("train", "distill") else ()
    return [*baselines, *_kept("model", *(["bundle"] if command.verb == "inspect" else []))]


def _bundles(command: UnfinishedCommand) -> list[str]:
    return _kept("bundle")


def _entries(command: UnfinishedCommand) -> list[str]:
    return _data(command) if command.verb == "datasets" else _kept("model", "bundle")


def _data(command: UnfinishedCommand) -> list[str]:
    return [*DATA_SETS.names(), "imagefolder:", "audiofolder:", "hf:"]


def _transfers(command: UnfinishedCommand) -> list[str]:
    return [*with_sentences(), "imagefolder:", "none"]


def _settings(command: UnfinishedCommand) -> list[str]:
    """Return what `--set` takes: settings of the method, or of the model, that was typed."""
    if command.verb in ("train", "distill"):
        values = command.values
        model = values.get("student") or next(iter(command.rest), values.get("model"))
        names = families.setting_names(str(model))
    else:
        names = techniques.setting_names(command.verb, str(command.values.get("method")))
    return [f"{name}=" for name in names]


BY_NAME: Mapping[str, Callable[[UnfinishedCommand], list[str]]] = {
    "model": _models,
    "teacher": _models,
    "bundle": _bundles,
    "reference": _bundles,
    "name": _entries,
    "data": _data,
    "transfer": _transfers,
    "settings": _settings,
}
