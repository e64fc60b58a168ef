"""What a shell completes of an argument or option, by its name.

A shell asks at every TAB: nothing here imports numpy, torch or a technique. A folder that cannot be
read completes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import typer

from bmc import workspace
from bmc.contracts import families, techniques
from bmc.contracts.data_sets import DATA_SETS, with_sentences


def _kept(*kinds: str) -> list[str]:
    """Return the names of the workspace's models or bundles, the newest first."""
    with suppress(OSError):
        return [path.name for kind in kinds for path in reversed(workspace.entries(kind))]
    return []


def _models(context: typer.Context) -> list[str]:
    """Return what stands for a model: for some verbs baselines, or bundles, besides."""
    verb = context.info_name
    baselines = families.baselines() if verb in ("train", "distill") else ()
    return [*baselines, *_kept("model", *(["bundle"] if verb == "inspect" else []))]


def _bundles(context: typer.Context) -> list[str]:
    return _kept("bundle")


def _entries(context: typer.Context) -> list[str]:
    return _data(context) if context.info_name == "datasets" else _kept("model", "bundle")


def _data(context: typer.Context) -> list[str]:
    return [*DATA_SETS.names(), "imagefolder:", "hf:"]


def _transfers(context: typer.Context) -> list[str]:
    return [*with_sentences(), "none"]


def _settings(context: typer.Context) -> list[str]:
    """Return what `--set` takes: settings of the method, or of the model, that was typed."""
    verb, typed = str(context.info_name), context.params
    if verb in ("train", "distill"):
        # Words before an unfinished option are not given to their arguments: they are what is left.
        typed_model = typed.get("student") or next(iter(context.args), typed.get("model"))
        names = families.setting_names(str(typed_model))
    else:
        names = techniques.setting_names(verb, str(typed.get("method")))
    return [f"{name}=" for name in names]


BY_NAME: Mapping[str, Callable[[Any], list[str]]] = {
    "model": _models,
    "teacher": _models,
    "bundle": _bundles,
    "reference": _bundles,
    "name": _entries,
    "data": _data,
    "transfer": _transfers,
    "settings": _settings,
}
