"""Decide which bundles are compared with each other, and which bundle speed-ups refer to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmc.bundle import Bundle
from bmc.contracts.targets import format_of
from bmc.report.remarks import steps_of

Key = tuple[str, str, str]


def key_of(bundle: Bundle) -> Key:
    """Return the data's name, its fingerprint and the task: bundles with equal keys are compared.

    Two files may have the same name; a generator and a classifier may have the same data.
    """
    data = _data(bundle)
    return _name(data), str(data.get("fingerprint") or ""), bundle.manifest.task


def titles(bundles: Sequence[Bundle]) -> dict[Key, str]:
    """Return a distinct title for each group of compared bundles, beginning with the data's name.

    Args:
        bundles: all bundles of a report.
    """
    keys = dict.fromkeys(map(key_of, bundles))
    titles = {}
    for name, fingerprint, task in keys:
        same = [key for key in keys if key[0] == name]
        prints, tasks = {key[1] for key in same}, {key[2] for key in same}
        more = [fingerprint[:6]] if len(prints) > 1 else []
        more += [task] if len(tasks) > 1 else []
        titles[name, fingerprint, task] = f"{name} ({', '.join(more)})" if more else name
    return titles


def reference_of(bundles: Sequence[Bundle]) -> str | None:
    """Choose the bundle that speed-ups refer to, among bundles of one data set.

    This is the teacher of another bundle, else the model from which others were made, else the
    largest model. Among several, it is the largest with the fewest steps, in PyTorch if possible.

    Args:
        bundles: bundles that were measured.
    """
    if not bundles:
        return None
    teachers = {
        str((bundle.manifest.lineage.get("teacher") or {}).get("sha256")) for bundle in bundles
    }
    lineages = [bundle.manifest.lineage for bundle in bundles if steps_of(bundle)]
    origins = {bundle.get("from_sha256") or bundle.get("from") for bundle in lineages}

    def rank(bundle: Bundle) -> tuple[bool, bool, int, int, bool]:
        manifest, steps = bundle.manifest, len(steps_of(bundle))
        weights = manifest.lineage.get("weights_sha256")
        return (
            weights not in teachers,
            weights not in origins and manifest.name not in origins,
            -(parameters_of(bundle) or 0),
            steps,
            not format_of(manifest.target).is_reference,
        )

    return min(bundles, key=rank).path.name


def parameters_of(bundle: Bundle) -> int | None:
    """Return how many parameters a bundle's model has; None where its manifest does not say it."""
    parameters = bundle.manifest.lineage.get("parameters")
    return None if parameters is None else int(parameters)


def _data(bundle: Bundle) -> dict[str, Any]:
    return bundle.manifest.lineage.get("data") or {}


def _name(data: dict[str, Any]) -> str:
    reference = data.get("reference")
    return Path(str(reference)).name if reference else "unknown data"
