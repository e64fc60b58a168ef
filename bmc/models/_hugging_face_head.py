"""The head of a fine-tuned Hugging Face folder: its rows follow the names of the classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bmc.errors import ArtifactError

_DEFAULT = re.compile(r"LABEL_\d+")
_FEW = 6


@dataclass(frozen=True)
class Head:
    """What the head of a folder answers.

    Args:
        rows: outputs of its last layer; 0 where the folder has no head.
        names: a class name for each row; none where the folder names none.
        value: whether its one output is a number.
    """

    rows: int
    names: tuple[str, ...] = ()
    value: bool = False


@dataclass(frozen=True)
class Match:
    """Which rows of a folder's head are kept.

    Args:
        rows: for each row of the new head, the folder's row; None where it is fresh.
        said: what was decided, for people.
    """

    rows: tuple[int | None, ...]
    said: str

    @property
    def kept(self) -> int:
        """Return how many rows are kept."""
        return sum(row is not None for row in self.rows)


def head_of(config: Mapping[str, Any], rows: int) -> Head:
    """Read what a folder's config.json says of its head.

    Args:
        config: config.json.
        rows: outputs of the last layer in the folder's weights; 0 where it has none.

    Raises:
        ArtifactError: names and numbers contradict each other, or a row has several labels.
    """
    if not rows:
        return Head(0)
    problem = config.get("problem_type")
    if problem == "multi_label_classification":
        raise ArtifactError(
            "its head gives a text several labels (problem_type multi_label_classification), a "
            "task that bmc does not have; to train a fresh head, take problem_type and id2label "
            "out of its config.json"
        )
    if problem == "regression" and rows != 1:
        raise ArtifactError(
            f"config.json says problem_type regression, but the head has {rows} outputs; a "
            "regression has one"
        )
    names = _names(config)
    stated = config.get("num_labels", config.get("_num_labels"))
    if names and stated is not None and stated != len(names):
        raise ArtifactError(
            f"config.json: num_labels is {stated!r:.40}, but id2label has {len(names)} names; "
            "correct one of them"
        )
    if names and len(names) != rows:
        raise ArtifactError(
            f"config.json names {len(names)} classes ({_few(names)}), but the head has {rows} "
            "rows; correct id2label"
        )
    names = names or tuple(f"LABEL_{row}" for row in range(rows))  # as transformers calls them
    return Head(rows, names, value=rows == 1 and problem in ("regression", None))


def matched(head: Head, labels: Sequence[str]) -> Match:
    """Find the head's row of each label of the data; none are labels of a regression.

    Default names (LABEL_0) name nothing, unless the data has these very labels.
    """
    if not labels:
        if head.value:
            return Match((0,), "the folder's head answers one number, and is kept")
        return Match((None,), _fresh(head, "the data asks for one number"))
    wanted = set(labels)
    named = any(not _DEFAULT.fullmatch(name) for name in head.names) or wanted & {*head.names}
    if not named or (head.value and not wanted & {*head.names}):
        why = "it names no classes: write their names into id2label of config.json to keep it"
        return Match((None,) * len(labels), _fresh(head, why))
    places = {name: row for row, name in enumerate(head.names)}
    rows = tuple(places.get(label) for label in labels)
    kept = [label for label in labels if label in places]
    fresh = [label for label in labels if label not in places]
    if not kept:
        why = f"it answers {_few(head.names)}, the data has {_few(labels)}, and no name is the same"
        return Match(rows, _fresh(head, why))
    said = f"the folder's head is kept by its names: {_few(kept)}"
    if fresh:
        said += f"; fresh rows: {_few(fresh)}"
    left = [name for name in head.names if name not in wanted]
    if left:
        said += f"; left out: {_few(left)}"
    return Match(rows, said)


def _fresh(head: Head, why: str) -> str:
    return f"a fresh head: {why}" if head.rows else "a fresh head: the folder has none"


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class name of each row.

    Raises:
        ArtifactError: id2label and label2id are malformed, or contradict each other.
    """
    by_row = _in_order(config.get("id2label"), "id2label")
    turned = config.get("label2id")
    if turned is not None and (
        not isinstance(turned, dict) or not all(type(row) is int for row in turned.values())
    ):
        raise _malformed("label2id", turned)
    by_name = _in_order({row: name for name, row in (turned or {}).items()}, "label2id")
    if len(by_name) != len(turned or ()):
        raise _malformed("label2id", turned)
    said = [names for names in (by_row, by_name) if names and not _is_default(names)]
    if len(said) == 2 and said[0] != said[1]:
        raise ArtifactError(
            f"config.json: id2label says {_few(by_row)}, label2id says {_few(by_name)}; correct "
            "one of them"
        )
    return said[0] if said else by_row or by_name


def _in_order(names: Any, key: str) -> tuple[str, ...]:
    """Return the names in the order of their numbers, which are keys like 0 or "0"."""
    if names is None or names == {}:
        return ()
    if not isinstance(names, dict):
        raise _malformed(key, names)
    rows: dict[int, str] = {}
    for row, name in names.items():
        number = int(row) if isinstance(row, str) and re.fullmatch(r"\d{1,9}", row) else row
        if type(number) is not int or type(name) not in (str, int):
            raise _malformed(key, {row: name})
        rows[number] = str(name)
    ordered = tuple(rows.get(row, "") for row in range(len(names)))
    if sorted(rows) != list(range(len(names))):
        raise _malformed(key, names)
    twice = sorted(name for name, count in Counter(ordered).items() if count > 1)
    if twice:
        raise ArtifactError(
            f"config.json: {key} names {_few(twice)} twice; each class needs its own name"
        )
    return ordered


def _is_default(names: Sequence[str]) -> bool:
    return all(_DEFAULT.fullmatch(name) for name in names)


def _malformed(key: str, value: object) -> ArtifactError:
    return ArtifactError(
        f"config.json: {key} is {value!r:.80}; it must number the classes' names from 0"
    )


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name)[:40] for name in names[:_FEW])
    return shown if len(names) <= _FEW else f"{shown} and {len(names) - _FEW} more"
