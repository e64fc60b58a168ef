"""Contracts of model families: the models that `bmc train` builds and other verbs load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bmc.contracts.base import Contract, function, instance_of, value
from bmc.errors import PluginError, unknown
from bmc.plugins import Kind, Origin, load_part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bmc.contracts.signals import View
    from bmc.data import Dataset
    from bmc.measure.custom import CustomScore
    from bmc.model import AfterStep, CustomLoss, Form, Model, Parts
    from bmc.training.adversarial import Guide
    from bmc.training.epochs import Fitted
    from bmc.training.settings import TrainingSettings

_HINT = "bmc models lists all"


@dataclass(frozen=True, kw_only=True)
class Family(Contract):
    """Describe a model family; the file `bmc/families/NAME.py` ends with `FAMILY = Family(...)`.

    The file must not import torch, since `bmc models` and completion import all families.

    Args:
        takes: kinds of data, which are names of files in `bmc/inputs`: "text", "image", "series",
            "features".
        settings: frozen dataclass of the settings that `--set` can change, all with defaults.
        recipe: function that returns the default training settings of a baseline or student, by
            its name.
        recipe_with: function that returns the default training settings of a model with some
            settings: by its name, its settings, and whether a teacher teaches it; None where
            `recipe` decides by the name alone.
        network: name of the module with `NETWORK = Network(...)`, which may import torch.
        baselines: descriptions of the models that `bmc train` accepts, by name.
        students: settings of the models that `bmc distill --student` accepts, by name: objects of
            a frozen dataclass whose fields all have defaults. The family's `Network` then needs
            the function `student`.
        prefix: prefix of the references `PREFIX:...` to models of this family, such as "timm"; ""
            for none.
        references: descriptions of further models, by the form of their references, for lists.
        model_types: values of `model_type` in config.json of the Hugging Face folders that this
            family loads; the models in these folders can be teachers.
        runs_user_code: whether `build` runs code of the user.
        recipes: default training settings for kinds of data that need others than `recipe`
            returns, by kind.
    """

    takes: tuple[str, ...] = field(metadata=value(tuple))
    settings: type[Any] = field(metadata=value(type))
    recipe: Callable[[str], TrainingSettings] = field(metadata=function("name"))
    network: str = field(metadata=value(str))
    recipe_with: Callable[[str, Any, bool], TrainingSettings] | None = field(
        default=None, metadata=function("name", "settings", "taught")
    )
    baselines: Mapping[str, str] = field(default_factory=dict, metadata=value(Mapping))
    students: Mapping[str, Any] = field(default_factory=dict, metadata=value(Mapping))
    prefix: str = field(default="", metadata=value(str))
    references: Mapping[str, str] = field(default_factory=dict, metadata=value(Mapping))
    model_types: tuple[str, ...] = field(default=(), metadata=value(tuple))
    runs_user_code: bool = field(default=False, metadata=value(bool))
    recipes: Mapping[str, TrainingSettings] = field(default_factory=dict, metadata=value(Mapping))


def recipe_of(family: Family, name: str, settings: Any, taught: bool = False) -> TrainingSettings:
    """Return the default training settings of a model.

    Args:
        family: family of the model.
        name: name of the baseline or student.
        settings: settings of its network.
        taught: whether a teacher teaches it.
    """
    if family.recipe_with is None:
        return family.recipe(name)
    return family.recipe_with(name, settings, taught)


class Train(Protocol):
    """Train a model of a family that does not use the common training loop."""

    def __call__(
        self,
        model: Model,
        data: Dataset,
        settings: TrainingSettings,
        folder: Path,
        run: str = "",
        after_step: AfterStep | None = None,
        guide: Guide | None = None,
    ) -> Fitted:
        """Train a model in place, with checkpoints in `folder`.

        `guide` is a teacher to learn from. It is passed only when a model is distilled, so a family
        that is never taught may leave the parameter out.
        """


@dataclass(frozen=True, kw_only=True)
class Network(Contract):
    """The functions of a model family; its network's module ends with `NETWORK = Network(...)`.

    Args:
        baseline: function that builds a model for a data set, by the name of a built-in model and
            the family's settings. The model may be untrained or pretrained.
        build: function that builds the untrained module in evaluation mode, given only the spec
            in config.json.
        examples: function that returns two inputs of different shapes, for tracing and checks.
        parts: function that returns the paths of layers, heads, embeddings and outputs.
        inference_form: function that returns a module to export with the same outputs in fewer
            operations; None where the model's module is exported.
        training_form: function that returns a function with the module's outputs and gradients,
            computed in fewer operations; None where training calls the module.
        train: function that trains a model; None where the common training loop does.
        view: function that computes a batch as signals of distillation compare it, such as hidden
            states; None where only outputs can be compared.
        student: function that builds an untrained student of a trained teacher for a data set,
            with the classes in the data's order; None where the family has no students.
        loss: function that returns the loss of a model that replaces the loss of its task, or None;
            None where no model of the family has such a loss.
        score: function that returns the score that selects a model's epoch instead of the score
            of its task, or None; None where no model of the family has such a score.
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
    view: Callable[[nn.Module, Mapping[str, Tensor]], View] | None = field(
        default=None, metadata=function("module", "inputs")
    )
    student: Callable[[Model, Any, Dataset], Model] | None = field(
        default=None, metadata=function("teacher", "settings", "data")
    )


FAMILIES = Kind(
    "model family", "bmc.families", "bmc.models", "FAMILY", instance_of(Family, "FAMILY"), _HINT
)


def family(name: str, made_with: object = ()) -> Family:
    """Return a family's description by name; see `Kind.load` for the errors.

    Args:
        name: name of the family, as in bmc.json.
        made_with: plug-ins that bmc.json lists.
    """
    return FAMILIES.load(name, made_with)


def network(name: str, made_with: object = ()) -> Network:
    """Return a family's functions by name, and import torch with them; see `family`."""
    description = family(name, made_with)
    origin = FAMILIES.origin(name)
    part = Origin(description.network, package=origin.package, version=origin.version)
    accept = instance_of(Network, "NETWORK")
    return load_part(part, "NETWORK", accept, f"the network of the model family {name!r}")


def families() -> dict[str, Family]:
    """Return the descriptions of all families that can be loaded, by name."""
    return FAMILIES.usable()


def baselines() -> dict[str, str]:
    """Return the family of each baseline, by the baseline's name.

    Where two families have a baseline of the same name, the first family is returned, and
    `of_baseline` raises an error.
    """
    owners: dict[str, str] = {}
    for name, description in families().items():
        for baseline in description.baselines:
            owners.setdefault(baseline, name)
    return owners


def students() -> dict[str, Any]:
    """Return the settings of each student, by the student's name.

    Where two families have a student of the same name, the settings of the first family are
    returned, and `of_student` raises an error.
    """
    students: dict[str, Any] = {}
    for description in families().values():
        for name, settings in description.students.items():
            students.setdefault(name, settings)
    return students


def setting_names(name: str) -> list[str]:
    """Return the settings of a student or a baseline; none where there is no such."""
    student = students().get(name)
    if student is not None:
        return [setting.name for setting in fields(student)]
    owner = baselines().get(name)
    return [setting.name for setting in fields(family(owner).settings)] if owner else []


def of_student(name: str) -> str | None:
    """Return the family of a student; None where no student has that name.

    Raises:
        PluginError: two families have a student of this name.
    """
    owners = [owner for owner, family in families().items() if name in family.students]
    return _single_owner(owners, name)


def is_reference(name: str) -> bool:
    """Tell whether a name has the form of a model for `bmc train`; the model may not exist."""
    return ":" in name or name in baselines() or (bool(name) and Path(name).is_dir())


def of_prefix(reference: str) -> str | None:
    """Return the family that `PREFIX:...` names; None where no family has that prefix."""
    prefix, colon, _ = reference.partition(":")
    if not colon:
        return None
    for name, description in families().items():
        if prefix and description.prefix == prefix:
            return name
    return None


def model_types() -> list[str]:
    """Return the `model_type` of the Hugging Face folders that some family loads."""
    return [kind for description in families().values() for kind in description.model_types]


def of_model_type(model_type: str) -> str | None:
    """Return the family that loads Hugging Face folders of a type; None where no family does."""
    for name, description in families().items():
        if model_type in description.model_types:
            return name
    return None


def of_baseline(reference: str) -> str:
    """Return the family of a baseline.

    Raises:
        UnknownError: there is no such baseline; the message names the most similar baseline.
        PluginError: two families have a baseline of this name, or no family has, and a plug-in
            family of this name cannot be loaded.
    """
    owners = [name for name, family in families().items() if reference in family.baselines]
    owner = _single_owner(owners, reference)
    if owner is not None:
        return owner
    refused = FAMILIES.refused()
    if reference in refused:
        raise refused[reference]
    raise unknown("model", reference, baselines(), _HINT)


def _single_owner(owners: list[str], name: str) -> str | None:
    """Return the only family that has a model of a name; None where no family has.

    Raises:
        PluginError: two families have a model of that name.
    """
    if len(owners) > 1:
        raise PluginError(
            f"two model families have a model {name!r}: {FAMILIES.origin(owners[0])} and "
            f"{FAMILIES.origin(owners[1])}; uninstall one of the packages"
        )
    return owners[0] if owners else None
