"""Model families: what `bmc train` can build, and every verb after it can load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bmc.contracts.base import Contract, function, instance_of, value
from bmc.errors import PluginError, unknown
from bmc.plugins import Kind, Origin, load_part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bmc.data import Dataset
    from bmc.measure.custom import CustomScore
    from bmc.model import AfterStep, CustomLoss, Form, Model, Parts
    from bmc.training.epochs import Fitted
    from bmc.training.settings import TrainingSettings

_HINT = "bmc models lists all"


@dataclass(frozen=True, kw_only=True)
class Family(Contract):
    """Describe a model family; the file `bmc/families/NAME.py` ends with `FAMILY = Family(...)`.

    The file imports no torch, since `bmc models` and completion import all of them.

    Args:
        takes: kinds of data, files of `bmc/inputs`: "text", "image", "series".
        settings: a frozen dataclass of what `--set` can change; every field has a default.
        recipe: returns how a baseline is trained, or a student is taught, by its name, where nobody
            says otherwise.
        network: the module with `NETWORK = Network(...)`; it may import torch.
        baselines: names that `bmc train` takes, and what each is.
        students: names that `bmc distill --student` takes, and the settings that each is built
            with: a frozen dataclass all of whose fields have defaults. Its network has `student`.
        prefix: `PREFIX:...` names a model of this family, such as "timm"; "" for none.
        references: how models that are no baselines are written, and what they are, for lists.
        model_types: of Hugging Face's folders that this family loads (`model_type` in their
            config.json); their baselines can be teachers.
        runs_foreign_code: whether `build` runs code of the user's, which bmc does not name.
    """

    takes: tuple[str, ...] = field(metadata=value(tuple))
    settings: type[Any] = field(metadata=value(type))
    recipe: Callable[[str], TrainingSettings] = field(metadata=function("name"))
    network: str = field(metadata=value(str))
    baselines: Mapping[str, str] = field(default_factory=dict, metadata=value(Mapping))
    students: Mapping[str, Any] = field(default_factory=dict, metadata=value(Mapping))
    prefix: str = field(default="", metadata=value(str))
    references: Mapping[str, str] = field(default_factory=dict, metadata=value(Mapping))
    model_types: tuple[str, ...] = field(default=(), metadata=value(tuple))
    runs_foreign_code: bool = field(default=False, metadata=value(bool))


class Train(Protocol):
    """Train a model of a family that the common loop does not fit."""

    def __call__(
        self,
        model: Model,
        data: Dataset,
        settings: TrainingSettings,
        folder: Path,
        run: str = "",
        after_step: AfterStep | None = None,
    ) -> Fitted:
        """Train in place, with checkpoints in `folder`."""


@dataclass(frozen=True, kw_only=True)
class Network(Contract):
    """The functions of a model family; its network's module ends with `NETWORK = Network(...)`.

    Args:
        baseline: builds a model for a data set, by a baseline's name and the family's settings:
            spec, labels, encoder. It need not be trained.
        build: builds the untrained module from the spec in config.json alone, in evaluation mode.
        examples: returns two inputs of different shapes, for tracing and for checking.
        parts: says where the layers, heads, embeddings and outputs are.
        inference_form: returns the module that is exported: the same outputs in fewer operations;
            None where the module itself is exported.
        training_form: returns a function that computes the module's outputs with less work in
            training; None where there is none.
        train: trains a model where the common loop does not fit; None where it does.
        student: builds an untrained student of a trained teacher for a data set, with the classes
            in the data's order; None where the family has no students of its own.
        loss: returns what a model is trained by in place of its task's loss, if anything; None
            where no model of the family has such a loss.
        score: returns what a model's epochs are chosen by in place of its task's score, likewise.
    """

    baseline: Callable[[str, Dataset, Any], Model] = field(
        metadata=function("reference", "data", "settings")
    )
    build: Callable[[Mapping[str, Any]], nn.Module] = field(metadata=function("spec"))
    examples: Callable[[nn.Module], tuple[dict[str, Tensor], dict[str, Tensor]]] = field(
        metadata=function("module")
    )
    parts: Callable[[nn.Module], Parts] = field(metadata=function("module"))
    inference_form: Callable[[Model], nn.Module] | None = field(
        default=None, metadata=function("model")
    )
    training_form: Callable[[nn.Module], Form] | None = field(
        default=None, metadata=function("module")
    )
    train: Train | None = field(
        default=None,
        metadata=function("model", "data", "settings", "folder", "run", "after_step"),
    )
    loss: Callable[[Model], CustomLoss | None] | None = field(
        default=None, metadata=function("model")
    )
    score: Callable[[Model], CustomScore | None] | None = field(
        default=None, metadata=function("model")
    )
    student: Callable[[Model, Any, Dataset], Model] | None = field(
        default=None, metadata=function("teacher", "settings", "data")
    )


FAMILIES = Kind(
    "model family", "bmc.families", "bmc.models", "FAMILY", instance_of(Family, "FAMILY"), _HINT
)


def family(name: str, made_with: object = ()) -> Family:
    """Return a family's description by name; see `Kind.load` for what is raised.

    Args:
        name: of the family, as in bmc.json.
        made_with: the plug-ins that bmc.json lists.
    """
    return FAMILIES.load(name, made_with)


def network(name: str, made_with: object = ()) -> Network:
    """Return a family's functions by name, and import torch with them; see `family`."""
    described = family(name, made_with)
    origin = FAMILIES.origin(name)
    part = Origin(described.network, package=origin.package, version=origin.version)
    accept = instance_of(Network, "NETWORK")
    return load_part(part, "NETWORK", accept, f"the network of the model family {name!r}")


def families() -> dict[str, Family]:
    """Return the descriptions of all families that can be loaded, by name."""
    return FAMILIES.usable()


def baselines() -> dict[str, str]:
    """Return the family of each baseline, by its name; the first of several, see `of_baseline`."""
    owners: dict[str, str] = {}
    for name, described in families().items():
        for baseline in described.baselines:
            owners.setdefault(baseline, name)
    return owners


def students() -> dict[str, Any]:
    """Return the settings of each student, by its name; the first of several, see `of_student`."""
    known: dict[str, Any] = {}
    for described in families().values():
        for name, settings in described.students.items():
            known.setdefault(name, settings)
    return known


def of_student(name: str) -> str | None:
    """Return the family that a student's name belongs to; None where it is no student's name.

    Raises:
        PluginError: two families have a student of this name.
    """
    return _only([owner for owner, each in families().items() if name in each.students], name)


def is_reference(name: str) -> bool:
    """Tell whether a name stands for a model that `bmc train` takes, though it may not exist."""
    return ":" in name or name in baselines() or (bool(name) and Path(name).is_dir())


def of_prefix(reference: str) -> str | None:
    """Return the family that `PREFIX:...` names; None where no family has that prefix."""
    prefix, colon, _ = reference.partition(":")
    if not colon:
        return None
    for name, described in families().items():
        if prefix and described.prefix == prefix:
            return name
    return None


def model_types() -> list[str]:
    """Return the types of Hugging Face folders that some family loads."""
    return [kind for described in families().values() for kind in described.model_types]


def of_model_type(model_type: str) -> str | None:
    """Return the family that loads Hugging Face folders of a type; None where none does."""
    for name, described in families().items():
        if model_type in described.model_types:
            return name
    return None


def of_baseline(reference: str) -> str:
    """Return the family that a baseline's name belongs to.

    Raises:
        UnknownError: there is no such baseline; the message names the nearest.
        PluginError: two families have a baseline of this name, or none has, and a family of this
            name cannot be loaded.
    """
    owners = [name for name, described in families().items() if reference in described.baselines]
    owner = _only(owners, reference)
    if owner is not None:
        return owner
    refused = FAMILIES.refused()
    if reference in refused:
        raise refused[reference]
    raise unknown("model", reference, baselines(), _HINT)


def _only(owners: list[str], name: str) -> str | None:
    """Return the one family that has a name; None where none has.

    Raises:
        PluginError: two have it.
    """
    if len(owners) > 1:
        raise PluginError(
            f"two model families have a model {name!r}: {FAMILIES.origin(owners[0])} and "
            f"{FAMILIES.origin(owners[1])}; uninstall one of the packages"
        )
    return owners[0] if owners else None
