"""Read one table of a recipe: unknown keys are refused, lists become sweeps, values are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bmc import synonyms
from bmc.errors import SettingError, UnknownError, UsageError, unknown
from bmc.recipes.recipe import Place, Values
from bmc.recipes.values import check_value
from bmc.recipes.vocabulary import OWN
from bmc.settings import Setting

SWEEP = "sweep"
"""Name of the table in which every value is a list to sweep over."""
Known = Callable[[str], Setting | None]
"""Returns the setting of a name, None for a value of any type; raises where there is none."""


def table(value: Any, place: Place) -> dict[str, Any]:
    """Return a table of a recipe.

    Raises:
        SettingError: the value is no table, or a name in it is no text.
    """
    if not isinstance(value, dict):
        raise SettingError(f"{place} is {value!r:.60}; it must be a table of names and values")
    for name in value:
        if not isinstance(name, str):
            raise SettingError(f"{place} has the name {name!r}; write it in quotes")
    return {name: entry for name, entry in value.items() if entry is not None}


def refuse_unknown(name: str, known: Iterable[str], what: str, place: Place) -> None:
    """Refuse a key that a table does not have.

    Raises:
        UnknownError: there is no such key; the message has the nearest.
    """
    names = list(known)
    if name not in names:
        meant = synonyms.setting_of(name.replace("-", "_"), names, near=False)
        raise UnknownError(f"{place}: {unknown(what, name, names, meant=meant)}")


def read_values(
    entries: Mapping[str, Any], known: Known, place: Place, models: Iterable[str] = ()
) -> Values:
    """Read the settings of a table, and the values of those that are swept.

    A list where a setting takes one value is a sweep; so is each list of the table `sweep`, where
    a setting that is a list can be swept, too.

    Args:
        entries: the table, with the technique's settings named "settings.NAME".
        known: see `Known`.
        place: where the table stands.
        models: settings that may name a step.

    Raises:
        UnknownError: there is no such setting.
        SettingError: a value is of another type, or none of the possible values.
        UsageError: a sweep has no value or has one twice, or a setting is there twice.
    """
    fixed: dict[str, Any] = {}
    swept: dict[str, tuple[Any, ...]] = {}
    for name, value, is_sweep in _with_sweeps(entries, place):
        setting = known(name)
        at = place.at(*([SWEEP] if is_sweep else []), *name.split("."))
        if name in fixed or name in swept:
            raise UsageError(f"{at} sets {name}, which {place} sets too: a name is used once")
        if is_sweep or (isinstance(value, list) and setting and not setting.is_several):
            swept[name] = _points(value, setting, at, name in models)
        elif setting is None:
            fixed[name] = value
        else:
            fixed[name] = check_value(setting, value, at, name in models)
    return Values(fixed, swept)


def flat(entries: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return a table whose table `settings` is replaced by entries named "settings.NAME"."""
    named = {name: value for name, value in entries.items() if name != OWN}
    for name, value in table(entries.get(OWN, {}), place.at(OWN)).items():
        named[f"{OWN}.{name}"] = value
    return named


def _with_sweeps(entries: Mapping[str, Any], place: Place) -> list[tuple[str, Any, bool]]:
    """Return name, value and whether it stands in the table `sweep`, for each setting."""
    listed = [(name, value, False) for name, value in entries.items() if name != SWEEP]
    at = place.at(SWEEP)
    if SWEEP in entries:
        sweeps = flat(table(entries[SWEEP], at), at)
        if not sweeps:
            raise UsageError(f"{at} is empty: a sweep of zero points makes no step; remove it")
        listed += [(name, value, True) for name, value in sweeps.items()]
    return listed


def _points(value: Any, setting: Setting | None, at: Place, names_model: bool) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise SettingError(f"{at} is {value!r:.60}; a sweep is a list of values")
    if not value:
        raise UsageError(f"{at} is a sweep of zero points, which makes no step: name a value")
    points: list[Any] = []
    seen: set[str] = set()
    for number, each in enumerate(value):
        name = at.keys[-1]
        here = Place(at.file, (*at.keys[:-1], f"{name}[{number}]"))
        point = each if setting is None else check_value(setting, each, here, names_model)
        if repr(point) in seen:
            raise UsageError(f"{here} is {point!r:.60}, which is in the sweep already: remove it")
        seen.add(repr(point))
        points.append(point)
    return tuple(points)
