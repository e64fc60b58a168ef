"""Which plug-ins of other packages the result of a step depends on, and in which form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bmc.contracts import families
from bmc.contracts.data_sets import DATA_SETS
from bmc.contracts.signals import SIGNALS
from bmc.contracts.targets import TARGETS
from bmc.contracts.techniques import techniques
from bmc.plugins import Kind
from bmc.recipes.code_version import code_of_package
from bmc.recipes.content import built_by, each_of
from bmc.recipes.verbs import Call
from bmc.workflows.tuning import Distillation


def plugins_of(call: Call) -> list[dict[str, str]]:
    """Return the plug-ins of other packages that a step uses: package, version and code.

    The code counts besides the version, as that of bmc does: a package that is installed in
    editable form changes without a new version.

    Args:
        call: the step's settings.
    """
    records = []
    for kind, name in _named(call):
        for record in kind.record(name):
            records.append({**record, "code": code_of_package(kind.origin(name).module)})
    return records


def _named(call: Call) -> Iterator[tuple[Kind[Any], str]]:
    """Yield the kind and the name of everything that may be a plug-in."""
    for each in call.settings:
        if hasattr(each, "method"):
            yield techniques(call.verb), each.method
        for name in (getattr(each, "data", None), getattr(each, "transfer", None)):
            if isinstance(name, str):
                yield DATA_SETS, name
        if isinstance(each, Distillation):
            yield from ((SIGNALS, name) for name in each.weights())
        yield from ((TARGETS, name) for name in getattr(each, "target", ()))
    if call.target:
        yield TARGETS, call.target
    for argument, reference in call.models.items():
        if call.verb == "train" or argument == "student":
            owners = [families.baselines().get(reference), families.of_prefix(reference)]
            owners += [families.of_student(reference)] if argument == "student" else []
        else:
            owners = [built_by(name)[0] for name in each_of(reference)]
        yield from ((families.FAMILIES, owner) for owner in owners if owner)
