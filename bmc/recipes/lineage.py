"""Write the recipe that made a model, from the calls that its bmc.json records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmc import artifact, workspace
from bmc.errors import BmcError, UsageError
from bmc.memory import PREFIX
from bmc.recipes.expand import plan_of
from bmc.recipes.reading import NAME, recipe_from
from bmc.recipes.toml import toml_of
from bmc.workflows.calls import KEY
from bmc.workflows.data import DataSource

_DATA = ("data", "text_column", "label_column", "task", "features", "fold")
_DEEPEST = 16  # teachers of teachers; bmc.json may come from somebody else


@dataclass(frozen=True)
class MadeBy:
    """The recipe that made a model.

    Args:
        model: its folder.
        document: the recipe.
        text: the recipe as TOML.
    """

    model: Path
    document: Mapping[str, Any]
    text: str


@dataclass
class _Steps:
    """Steps of a recipe that is written."""

    folder: Path
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of models that were made, by their calls

    def refuse(self, reason: str) -> UsageError:
        return UsageError(f"no recipe can be written for {self.folder}: {reason}")

    def made(self, model: Any, depth: int = 0) -> str:
        """Add the steps that made a model, and return the name of the last one.

        Raises:
            UsageError: the record of the model does not say how it was made.
        """
        if not isinstance(model, dict) or depth > _DEEPEST:
            raise self.refuse("its record of calls is damaged")
        name, calls = str(model.get("name")), model.get(KEY)
        if model.get("bundle"):
            raise self.refuse(f"its teacher {name:.80} is a bundle, which records no calls")
        if not isinstance(calls, list) or not calls:
            raise self.refuse(
                f"{name:.80} was made by an earlier bmc, or by bmc.wrap, and its calls are not "
                "recorded; bmc show has its commands"
            )
        last = ""
        for number, call in enumerate(calls):
            so_far = json.dumps(calls[: number + 1], sort_keys=True)
            if so_far not in self.names:
                self.names[so_far] = self._add(call, last, depth)
            last = self.names[so_far]
        return last

    def _add(self, call: Any, before: str, depth: int) -> str:
        """Add the step of a call, and return its name.

        Args:
            call: the record of the call.
            before: the step whose model it changed; "" for none.
            depth: how many teachers stand above it.
        """
        settings = call.get("settings") if isinstance(call, dict) else None
        if not isinstance(settings, dict):
            raise self.refuse("its record of calls is damaged")
        verb = str(call.get("verb"))
        step = {"verb": verb, **settings}
        for value in (settings.get(key) for key in ("model", "data", "transfer")):
            if isinstance(value, str) and value.startswith(PREFIX):
                raise self.refuse(f"{value.removeprefix(PREFIX):.80} was in memory, in no file")
        if verb not in ("train", "distill"):
            if not before:
                raise self.refuse(f"the call that {verb} followed is not recorded")
            step = {"verb": verb, "model": before, **settings}
        teachers = call.get("teachers") or []
        if not isinstance(teachers, list):
            raise self.refuse("its record of calls is damaged")
        if teachers:
            step["teacher"] = ",".join(self.made(each, depth + 1) for each in teachers)
        if "start" in call:
            step["student"] = self.made(call["start"], depth + 1)
        name = self._free(str(call.get("name")))
        self.steps[name] = {key: value for key, value in step.items() if value != {}}
        return name

    def _free(self, wanted: str) -> str:
        """Return a name of a step that is not taken yet."""
        slug = workspace.slug(wanted).replace(".", "-")[:60] or "model"
        name, number = slug if NAME.fullmatch(slug) else "model", 1
        while name in self.steps:
            number += 1
            name = f"{slug}-{number}"
        return name


def recipe_of(reference: str | None) -> MadeBy:
    """Return the recipe that made a model, with all settings of each step, teachers included.

    Args:
        reference: a model directory or its name in the workspace; the newest when None.

    Raises:
        UnknownError: there is no such model.
        UsageError: no recipe says how the model was made; the message has the reason.

    Example:
        >>> print(recipe_of("tiny-movie-reviews").text)
    """
    places = workspace.candidates(reference) if reference else ()
    if any(workspace.kind_of(path) == "bundle" for path in places):
        raise UsageError(
            f"{reference} is a bundle: name the model that it was exported from, and add "
            "targets = ['onnx'] to its recipe"
        )
    folder = workspace.find(reference, "model")
    origin = artifact.describe(folder)["origin"]
    steps = _Steps(folder)
    steps.made({"name": folder.name, KEY: origin.get(KEY)})
    document = _with_common_data(steps.steps)
    try:
        plan_of(recipe_from(document, "the recipe"))
    except BmcError as error:
        raise steps.refuse(f"its record is not valid ({error})") from error
    about = f"# made {folder.name}\n\n"
    return MadeBy(folder, document, about + toml_of(document))


def _with_common_data(steps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a recipe whose data stands at its top, if all steps have the same."""
    defaults = DataSource()
    sources: list[dict[str, Any]] = []
    for step in steps.values():
        if step["verb"] in ("train", "distill"):
            source = {key: step[key] for key in _DATA if key in step}
            if source not in sources:
                sources.append(source)
    if len(sources) != 1 or "data" not in sources[0]:
        return {"steps": steps}
    plain = {
        key: value
        for key, value in sources[0].items()
        if key == "data" or value != _listed(getattr(defaults, key))
    }
    bare = {
        name: {
            key: value
            for key, value in step.items()
            if key not in _DATA or step["verb"] not in ("train", "distill")
        }
        for name, step in steps.items()
    }
    return {"data": plain["data"] if len(plain) == 1 else plain, "steps": bare}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
