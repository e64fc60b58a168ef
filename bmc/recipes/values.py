"""Check one value of a recipe against the setting that it is for; types are checked by pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.types import Strict

from bmc.choices import Choice
from bmc.errors import BmcError, SettingError
from bmc.folds import Fold
from bmc.recipes.recipe import Place
from bmc.settings import Setting

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_WORDS |= {Fold: "a fold such as 2/5"}
_FOLD = {"type": "string", "pattern": r"^\d+/\d+$"}
_TEXT = {"type": ["string", "number"]}


def check_value(setting: Setting, value: Any, place: Place, names_model: bool = False) -> Any:
    """Return a value in the type of its setting.

    Args:
        setting: the setting.
        value: what the file says.
        place: where it says so.
        names_model: whether the value may be the name of a step, which no choice has.

    Raises:
        SettingError: it is of another type, or none of the possible values.
    """
    try:
        return adapter_of(setting, names_model).validate_python(value)
    except ValidationError as error:
        shown = repr(value) if len(repr(value)) <= 60 else f"{value!r:.57}..."
        if error.errors()[0]["type"] == "finite_number":
            raise SettingError(f"{place} is {shown}; it must be a finite number") from error
        raise SettingError(f"{place} is {shown}; it must be {words_for(setting)}") from error
    except BmcError as error:
        raise type(error)(f"{place}: {error}") from error


def words_for(setting: Setting) -> str:
    """Say which values a setting takes."""
    word = _WORDS.get(setting.element, "a value")
    if setting.has_names:
        return "a table of names and values"
    return f"{word}, or a list of them" if setting.is_several else word


@cache
def _adapter(kind: Any, choice: Choice | None) -> TypeAdapter[Any]:
    if get_origin(kind) is tuple:
        return TypeAdapter(_tuple_of(get_args(kind)[0], choice))
    if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping):
        named: Any = GenericAlias(dict, (StrictStr, _single(get_args(kind)[1], None)))
        return TypeAdapter(named)
    return TypeAdapter(_single(kind, choice))


def adapter_of(setting: Setting, names_model: bool = False) -> TypeAdapter[Any]:
    """Return pydantic's checks of a setting's values; see `check_value`."""
    return _adapter(setting.kind, None if names_model else setting.choice)


def _tuple_of(element: Any, choice: Choice | None) -> Any:
    commas = choice is not None and choice.commas

    def listed(value: Any) -> Any:
        if commas and isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return tuple(value) if isinstance(value, list | tuple) else (value,)

    single = _single(element, choice)
    schema = TypeAdapter(single).json_schema()
    either = {"anyOf": [schema, {"type": "array", "items": schema}]}
    several: Any = GenericAlias(tuple, (single, ...))
    return Annotated[several, BeforeValidator(listed), WithJsonSchema(either)]


def _single(kind: Any, choice: Choice | None) -> Any:
    """Return pydantic's type of one value."""
    if choice is not None:
        names: dict[str, Any] = {"enum": choice.names()}
        schema = {"anyOf": [names, {"type": "string"}]} if choice.others else names
        return Annotated[StrictStr, AfterValidator(_one_of(choice)), WithJsonSchema(schema)]
    if kind is Fold:
        return Annotated[StrictStr, AfterValidator(_fold), WithJsonSchema(_FOLD)]
    if kind is float:
        return Annotated[float, Strict(), AllowInfNan(False)]
    if kind is str:
        return Annotated[StrictStr, BeforeValidator(_as_text), WithJsonSchema(_TEXT)]
    return {bool: StrictBool, int: StrictInt}.get(kind, Any)


def _one_of(choice: Choice) -> Any:
    def check(name: str) -> str:
        for part in [part.strip() for part in name.split(",")] if choice.commas else [name]:
            choice.read(part)
        return name

    return check


def _fold(text: str) -> str:
    Fold.read(text)
    return text


def _as_text(value: Any) -> Any:
    """Return a number as text: 2000 tokens of a vocabulary, 50e6 multiply-accumulates."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value
