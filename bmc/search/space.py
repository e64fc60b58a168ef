"""What a search chooses from: students, techniques, their order and their settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bmc.choices import Among, Between

NONE, ITSELF = "none", "itself"
RATIO = "ratio"
"""The setting of techniques that remove a share of something; costs fall in proportion to it."""
_SLOTS = ("first", "second")
"""Parameters that name a technique each; their order is that of the steps."""
_TRAINED = ("qat",)
"""Quantization that trains; the others take no epochs."""


class Chooser(Protocol):
    """What draws the value of a parameter: a trial of Optuna, or a table of fixed values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number of an interval."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return a whole number of an interval, both ends included."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of several values."""


@dataclass(frozen=True)
class Option:
    """A technique or a student that a search may take, and what it tries for its settings.

    Args:
        verb: prune, share, quantize or distill.
        name: name of the technique or student.
        ranges: values to try for each setting; the other settings keep their default.
        whole: names of the settings that are whole numbers.
        in_float: whether layers may be left in float.
        fixed: settings that are no choice, and differ from their default.
    """

    verb: str
    name: str
    ranges: Mapping[str, Between | Among] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    in_float: bool = False
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """An option with the value of each setting.

    Args:
        verb: prune, share, quantize or distill.
        name: name of the technique or student.
        settings: value of each setting.
    """

    verb: str
    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A way to compress a model: what is done, in order.

    Args:
        student: the student that is distilled first; None where the model itself is compressed.
        structural: techniques that change the structure, in order; fine-tuning follows the last.
        quantization: technique that quantizes at the end; None for fp32.
    """

    student: Chosen | None
    structural: tuple[Chosen, ...]
    quantization: Chosen | None

    @property
    def parts(self) -> tuple[Chosen, ...]:
        """Everything that is done, in order; nothing for the model as it is."""
        ends = (self.student,), self.structural, (self.quantization,)
        return tuple(part for group in ends for part in group if part is not None)

    @property
    def has_qat(self) -> bool:
        """Whether the quantization trains; the other ones do not."""
        return self.quantization is not None and self.quantization.name in _TRAINED

    def without_last(self) -> Candidate:
        """Return the candidate without the last thing that is done; at least one is done."""
        if self.quantization is not None:
            return replace(self, quantization=None)
        if self.structural:
            return replace(self, structural=self.structural[:-1])
        return replace(self, student=None)

    def shown(self) -> str:
        """Write the candidate for people: "tiny, structured(ratio=0.4), static"."""
        return ", ".join(_shown(part) for part in self.parts) or "the model as it is"


@dataclass(frozen=True)
class Space:
    """All candidates of a search.

    Args:
        students: students that the model can teach.
        structural: techniques that change the structure.
        quantizations: techniques that quantize.
        in_float: layers that may stay in float, by a name for their group.
        left_out: why a technique is not in the space, by its name.
    """

    students: tuple[Option, ...] = ()
    structural: tuple[Option, ...] = ()
    quantizations: tuple[Option, ...] = ()
    in_float: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_fast_bits(self) -> bool:
        """Whether sums of 8-bit products are computed at once: weights need no 7 bits then."""
        return not any("weight_bits" in option.fixed for option in self.quantizations)

    def draw(self, chooser: Chooser) -> Candidate:
        """Return a candidate, each of whose parameters the chooser draws."""
        student = self._one("start", ITSELF, self.students, chooser)
        structural: dict[str, Chosen] = {}
        for slot in _SLOTS:
            chosen = self._one(slot, NONE, self.structural, chooser)
            if chosen is None:
                break
            structural.setdefault(f"{chosen.verb}/{chosen.name}", chosen)
        quantization = self._one("quantize", NONE, self.quantizations, chooser)
        if quantization is not None and student is None:  # a student has layers of other names
            quantization = self._with_layers_in_float(quantization, chooser)
        return Candidate(student, tuple(structural.values()), quantization)

    def singles(self) -> list[dict[str, Any]]:
        """Return the parameters of each technique that changes the structure, and of each student.

        Techniques come first, since they are measured without training. Their settings, which are
        missing, are drawn.
        """
        none = {"start": ITSELF, "first": NONE, "quantize": NONE}
        taught = [{**none, "start": _key(option)} for option in self.students]
        cut = [{**none, "first": _key(option), "second": NONE} for option in self.structural]
        return cut + taught

    def quantized(self, candidate: Candidate) -> list[dict[str, Any]]:
        """Return the parameters of a candidate with each technique that quantizes.

        Args:
            candidate: what is done before; the settings of the techniques are drawn.
        """
        params = self.params_of(candidate)
        return [{**params, "quantize": _key(option)} for option in self.quantizations]

    def params_of(self, candidate: Candidate) -> dict[str, Any]:
        """Return the parameters of which `draw` makes a candidate."""
        chosen = [candidate.student, *candidate.structural, candidate.quantization]
        names = ("start", *_SLOTS[: len(candidate.structural)], "quantize")
        params: dict[str, Any] = {"start": ITSELF, "quantize": NONE}
        for slot in _SLOTS[len(candidate.structural) :][:1]:
            params[slot] = NONE
        for name, part in zip(names, chosen, strict=True):
            if part is not None:
                params[name] = _key(part)
                params |= self._settings_of(part)
        if candidate.quantization is not None and candidate.student is None:
            params |= self._group_in_float(candidate.quantization)
        return params

    def _settings_of(self, part: Chosen) -> dict[str, Any]:
        option = self.option_of(part)
        return {f"{_key(part)}.{name}": part.settings[name] for name in option.ranges}

    def _group_in_float(self, part: Chosen) -> dict[str, Any]:
        if not (self.option_of(part).in_float and self.in_float):
            return {}
        layers = tuple(part.settings.get("in_float", ()))
        return {"in_float": next((g for g, of in self.in_float.items() if of == layers), NONE)}

    def option_of(self, part: Chosen) -> Option:
        """Return the option of which a part was drawn."""
        options = (*self.students, *self.structural, *self.quantizations)
        kind = (part.verb, part.name)
        return next(option for option in options if (option.verb, option.name) == kind)

    def is_empty(self) -> bool:
        """Tell whether there is nothing to try."""
        return not (self.students or self.structural or self.quantizations)

    def digest(self) -> str:
        """Return a hash of the space: trials of another space cannot be compared with these."""
        parts = (self.students, self.structural, self.quantizations)
        text = repr([[self._described(option) for option in part] for part in parts])
        return hashlib.sha256(f"{text} {sorted(self.in_float.items())}".encode()).hexdigest()

    @staticmethod
    def _described(option: Option) -> tuple[object, ...]:
        ranges, fixed = (sorted(part.items(), key=str) for part in (option.ranges, option.fixed))
        return (_key(option), ranges, option.in_float, fixed)

    def _one(
        self, parameter: str, default: str, options: Sequence[Option], chooser: Chooser
    ) -> Chosen | None:
        """Draw one of several options, and its settings; None for none of them."""
        if not options:
            return None
        by_key = {_key(option): option for option in options}
        key = chooser.suggest_categorical(parameter, (default, *by_key))
        if key == default:
            return None
        option = by_key[key]
        settings = dict(option.fixed)
        for name, of in option.ranges.items():
            settings[name] = _value(f"{key}.{name}", of, name in option.whole, chooser)
        return Chosen(option.verb, option.name, settings)

    def _with_layers_in_float(self, chosen: Chosen, chooser: Chooser) -> Chosen:
        """Draw the layers that stay in float, where the technique leaves that choice."""
        of_technique = {option.name: option.in_float for option in self.quantizations}
        if not (of_technique[chosen.name] and self.in_float):
            return chosen
        group = chooser.suggest_categorical("in_float", (NONE, *self.in_float))
        if group == NONE:
            return chosen
        return replace(chosen, settings={**chosen.settings, "in_float": self.in_float[group]})


def _key(option: Option | Chosen) -> str:
    return option.name if option.verb in ("quantize", "distill") else f"{option.verb}/{option.name}"


def _value(name: str, of: Between | Among, is_whole: bool, chooser: Chooser) -> Any:
    if isinstance(of, Among):
        return chooser.suggest_categorical(name, of.values)
    if is_whole:
        return chooser.suggest_int(name, int(of.low), int(of.high), log=of.log)
    return round(chooser.suggest_float(name, of.low, of.high, log=of.log), 3)


def _shown(part: Chosen) -> str:
    settings = ", ".join(f"{name}={_text(value)}" for name, value in part.settings.items())
    return f"{part.name}({settings})" if settings else part.name


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
