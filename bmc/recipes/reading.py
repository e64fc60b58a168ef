"""Read a recipe: a TOML or YAML file that says which steps are run, and what is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bmc.choices import of_plugins
from bmc.contracts.targets import TARGETS
from bmc.errors import BmcError, SettingError, UnknownError, UsageError, unknown
from bmc.recipes.document import read_document
from bmc.recipes.recipe import Place, Recipe, RecipeStep, Values
from bmc.recipes.tables import Known, flat, read_values, refuse_unknown, table
from bmc.recipes.values import check_value
from bmc.recipes.verbs import VERBS
from bmc.recipes.vocabulary import OWN, key_of_own, models_of_verb, own_settings, settings_of_verb
from bmc.report.gates import read_gates
from bmc.settings import Setting, described
from bmc.synonyms import verb_of
from bmc.workflows.data import DataSource
from bmc.workflows.options import Measurement, Reporting

KEYS = ("name", "data", "seeds", "steps", "targets", "export", "bench", "report", "gates")
"""The names at the top of a recipe, in the order in which they are mostly written."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SEEDS = Setting("seeds", tuple[int, ...], (), "seeds of the steps that have one.")
TARGET_LIST = Setting(
    *("targets", tuple[str, ...], (), "targets to which every step's model is exported."),
    choice=of_plugins(TARGETS),
)
GATES = Setting("gates", tuple[str, ...], (), "limits that every bundle must keep.")
EXPORTED = Setting("steps", tuple[str, ...], (), "steps whose models are exported; all by default.")
NOT_REPORTING = ("bench", "gate")  # keys of a recipe of their own


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe.

    Args:
        path: a file that ends with .toml, .yaml or .yml.

    Raises:
        UnknownError: there is no such file, or a key is unknown; the message has the nearest.
        SettingError: a value is of another type, or out of its range.
        UsageError: the file is not valid, a name is used twice, or a sweep has no value.

    Example:
        >>> recipe = read_recipe("recipe.toml")
    """
    path = Path(path)
    return recipe_from(read_document(path), str(path), path.stem)


def recipe_from(document: Mapping[str, Any], file: str, name: str = "recipe") -> Recipe:
    """Check a recipe that was read, or was made in Python; see `read_recipe`.

    Args:
        document: what the file holds.
        file: the file, for messages.
        name: its name, if it names none.
    """
    place = Place(file)
    entries = table(document, place)
    for key in entries:
        refuse_unknown(key, KEYS, "key of a recipe", place)
    named = check_value(Setting("name", str, ""), entries.get("name", name), place.at("name"))
    steps = _steps(entries.get("steps"), place.at("steps"))
    seeds = check_value(SEEDS, entries.get("seeds", ()), place.at("seeds"))
    if "seeds" in entries and not seeds:
        raise UsageError(f"{place.at('seeds')} is a sweep of zero points: name a seed")
    if len(set(seeds)) < len(seeds) or any(not 0 <= seed < 2**63 for seed in seeds):
        raise SettingError(f"{place.at('seeds')} is {list(seeds)}; seeds differ, and are 0 or more")
    gates = check_value(GATES, entries.get("gates", ()), place.at("gates"))
    try:
        read_gates(gates)
    except BmcError as error:
        raise type(error)(f"{place.at('gates')}: {error}") from error
    steps += _exports(entries, steps, place)
    _refuse_twice([step.name for step in steps], place)
    return Recipe(
        named,
        place,
        steps,
        _data(entries["data"], place.at("data")) if "data" in entries else Values(),
        seeds,
        _options(entries.get("bench", {}), Measurement, (), place.at("bench")),
        _options(entries.get("report", {}), Reporting, NOT_REPORTING, place.at("report")),
        gates,
    )


def _steps(value: Any, place: Place) -> tuple[RecipeStep, ...]:
    if value is None or value == {}:
        raise UsageError(f"{place.file} has no steps: [steps.NAME] with a verb makes one")
    steps = []
    for name, entry in table(value, place).items():
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{place}.{name!r:.80}: a step's name has letters, digits, - and _, 64 at most"
            )
        steps.append(_step(name, table(entry, place.at(name)), place.at(name)))
    return tuple(steps)


def _step(name: str, entries: dict[str, Any], place: Place) -> RecipeStep:
    verb = entries.pop("verb", None)
    if verb is None:
        raise UsageError(f"{place} has no verb: verb = {' | '.join(VERBS)}")
    if verb not in VERBS:
        meant = verb_of(verb) if isinstance(verb, str) else ""
        error = unknown("verb", str(verb), VERBS, meant=meant if meant in VERBS else "")
        raise UnknownError(f"{place.at('verb')}: {error}")
    entries = flat(entries, place)
    chooser, default = key_of_own(verb)
    verbs_own = settings_of_verb(verb)
    models = models_of_verb(verb)
    chosen = Values()
    if chooser:
        sweep = entries.get("sweep")
        parts = {chooser: entries[chooser]} if chooser in entries else {}
        if isinstance(sweep, dict) and chooser in sweep:
            parts["sweep"] = {chooser: sweep[chooser]}
        chosen = read_values(parts, lambda name: verbs_own[name], place, models)
    own = [(each, own_settings(verb, each)) for each in chosen.possible(chooser) or (default,)]
    known = partial(_known, verb, verbs_own, own, place)
    return RecipeStep(name, verb, read_values(entries, known, place, models), place)


def _known(
    verb: str,
    verbs_own: Mapping[str, Setting],
    own: list[tuple[str, Mapping[str, Setting] | None]],
    place: Place,
    name: str,
) -> Setting | None:
    """Return the setting of a name: of the verb, or "settings.NAME" of each technique or network.

    Raises:
        UnknownError: there is none.
    """
    table_name, _, own_name = name.partition(f"{OWN}.")
    if table_name:
        everywhere = [settings for _, settings in own if settings is not None]
        if name not in verbs_own and any(name in settings for settings in everywhere):
            raise UnknownError(
                f"{place}.{name}: {own[0][0]} has this setting, not {verb}: write {OWN}.{name}"
            )
        refuse_unknown(name, verbs_own, f"setting of {verb}", place)
        return verbs_own[name]
    setting = None
    for each, settings in own:
        if settings is not None:
            refuse_unknown(own_name, settings, f"setting of {each}", place.at(OWN))
            setting = settings[own_name]
    return setting


def _exports(
    entries: Mapping[str, Any], steps: tuple[RecipeStep, ...], place: Place
) -> tuple[RecipeStep, ...]:
    """Return the steps of export that `targets` asks for."""
    targets = check_value(TARGET_LIST, entries.get("targets", ()), place.at("targets"))
    at = place.at("export")
    options = table(entries.get("export", {}), at)
    if "export" in entries and not targets:
        raise UsageError(f"{at} is for targets, and {place.file} names none: targets = ['onnx']")
    _refuse_twice(targets, place.at("targets"))
    chosen = check_value(EXPORTED, options.pop("steps", ()), at.at("steps"))
    models = [step.name for step in steps if step.verb != "export"]
    for name in chosen:
        refuse_unknown(name, models, "step that makes a model", at.at("steps"))
    known = settings_of_verb("export")
    for name in ("model", "target"):
        known.pop(name)

    def find(name: str) -> Setting:
        refuse_unknown(name, [*known, "steps"], "setting of export", at)
        return known[name]

    values = read_values(options, find, at)
    return tuple(
        RecipeStep(
            f"{name}-{target}",
            "export",
            Values({"model": name, "target": target, **values.fixed}, values.swept),
            at,
            of=name,
        )
        for name in chosen or models
        for target in targets
    )


def _data(value: Any, place: Place) -> Values:
    """Read `data`: a name, a list of names, or a table."""
    entries = table(value, place) if isinstance(value, dict) else {"data": value}
    return read_values(entries, _known_of(DataSource, (), "setting of data", place), place)


def _options(value: Any, kind: type, without: tuple[str, ...], place: Place) -> Any:
    """Read the table `bench` or `report`; None where it is false."""
    if value is False:
        return None
    entries = {} if value is True else table(value, place)
    values = read_values(
        entries, _known_of(kind, without, f"setting of {place.keys[0]}", place), place
    )
    if values.swept:
        name = next(iter(values.swept))
        raise SettingError(f"{place.at(name)} takes one value; steps alone are swept")
    try:
        kind(**values.fixed)
    except BmcError as error:
        raise type(error)(f"{place}: {error}") from error
    return values.fixed


def _known_of(kind: type, without: tuple[str, ...], what: str, place: Place) -> Known:
    settings = {name: each for name, each in described(kind).items() if name not in without}

    def find(name: str) -> Setting:
        refuse_unknown(name, settings, what, place)
        return settings[name]

    return find


def _refuse_twice(names: Any, place: Place) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{place}: the name {name!r} is used twice; rename one of them")
        seen.add(name)
