"""Contract of compression techniques, which take and return a PyTorch model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from bmc import plugins
from bmc.contracts.base import Contract, function, value
from bmc.contracts.declared import declared
from bmc.errors import ArtifactError, PluginError
from bmc.plugins import Kind

if TYPE_CHECKING:
    from bmc.model import AfterStep, Model, Record, Step

_WITH_TEACHER = "distill"  # `bmc distill` sets the teacher; other techniques need defaults
_STEP_METHODS = {"apply": ("self", "model", "work"), "rebuild": ("model", "record")}


@dataclass(frozen=True, kw_only=True)
class Technique(Contract):
    """A compression technique, as the `STEP` of its file describes it.

    `STEP` is a frozen dataclass of checked settings with the methods of `bmc.model.Step`.

    Args:
        step: the class `STEP`, which is called with the settings.
        rebuild: function that gives a newly built model the recorded architecture, without data,
            training or tracing.
        keep: function that returns a function to call after each step of later training, which
            keeps the technique's result intact (such as zeros at zero); None where training needs
            no such function.
    """

    step: type[Step] = field(metadata=value(type))
    rebuild: Callable[[Model, Record], None] = field(metadata=function("model", "record"))
    keep: Callable[[Model, Record], AfterStep] | None = field(
        default=None, metadata=function("model", "record")
    )


def technique(method: str, made_with: object = ()) -> Technique:
    """Return a technique by its name, such as "share/lowrank".

    Args:
        method: kind and name of the technique.
        made_with: plug-ins that bmc.json lists.

    Raises:
        ArtifactError: there is no such kind.
        UnknownError: there is no such technique of that kind.
        MissingError: the technique is a plug-in that is not installed.
        PluginError: the technique lacks members of its contract.
    """
    kind, _, name = method.partition("/")
    if kind not in kinds():
        raise ArtifactError(f"{method!r} is not a compression step of this version of bmc")
    return techniques(kind).load(name, made_with)


def kinds() -> list[str]:
    """Return the kinds of techniques: the names of the folders in `compress/`."""
    return plugins.folders("bmc.compress")


def techniques(kind: str) -> Kind[Technique]:
    """Return the registry of a kind of techniques.

    Args:
        kind: "prune", "share", "quantize" or "distill". Other packages register a technique as
            an entry point "KIND.NAME" of the group `bmc.techniques`.
    """
    return Kind(
        f"{kind} method",
        f"bmc.compress.{kind}",
        "bmc.techniques",
        "STEP",
        _technique_of if kind == _WITH_TEACHER else _technique_with_defaults,
        f"bmc {kind} --help says what each does",
        f"{kind}.",
    )


def setting_names(kind: str, name: str) -> list[str]:
    """Return the names of a technique's settings without importing torch; inherited ones first.

    A technique's file imports torch, so its `STEP` is read from the text of the file. The files of
    other packages are not read.

    Args:
        kind: "prune", "share", "quantize" or "distill".
        name: name of the technique; for a technique that is not part of bmc, the list is empty.
    """
    return list(declared(kind, name))


def _technique_with_defaults(step: Any) -> Technique:
    """Check a step's class, whose settings must all have defaults; return its technique."""
    technique = _technique_of(step)
    for setting in fields(step):
        if setting.default is setting.default_factory:  # both are MISSING
            raise PluginError(f"its setting {setting.name} needs a default")
    return technique


def _technique_of(step: Any) -> Technique:
    """Check a step's class, and return its technique."""
    parameters = getattr(step, "__dataclass_params__", None)
    if not isinstance(step, type) or parameters is None:
        raise PluginError(f"STEP is {step!r:.60}; it must be a frozen dataclass of settings")
    if not parameters.frozen:
        raise PluginError(f"{step.__name__} must be a frozen dataclass: @dataclass(frozen=True)")
    missing = [name for name in _STEP_METHODS if not callable(getattr(step, name, None))]
    if missing:
        raise PluginError(f"{step.__name__} lacks {' and '.join(missing)}: see bmc.model.Step")
    checked: Any = step
    if not isinstance(inspect.getattr_static(checked, "rebuild"), staticmethod):
        raise PluginError(f"{step.__name__}.rebuild must be a static method")
    try:
        inspect.signature(checked.apply).bind(*_STEP_METHODS["apply"])
    except TypeError as error:
        raise PluginError(
            f"{step.__name__}.apply must take (self, model, work), as bmc.model.Step says"
        ) from error
    keep = getattr(checked, "keep", None)  # the only optional member of a step
    return Technique(step=checked, rebuild=checked.rebuild, keep=keep)
