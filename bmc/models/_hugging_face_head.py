"""Match the head of a fine-tuned Hugging Face folder with a data set, by the names of classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bmc.errors import ArtifactError

_DEFAULT_NAME = re.compile(r"LABEL_\d+")
PROBLEM_TYPES = {"regression": "regression", "multilabel": "multi_label_classification"}
"""Of each task: what transformers calls it in config.json; of others nothing."""
_MAX_NAMES = 6  # in a message


@dataclass(frozen=True)
class Head:
    """The classifier or regression head of a folder.

    Args:
        rows: number of outputs of the last layer; 0 where the folder has no head.
        names: class name of each output; empty where the folder has no class names.
        value: whether the head has one output, which may be the number of a regression.
    """

    rows: int
    names: tuple[str, ...] = ()
    value: bool = False


@dataclass(frozen=True)
class Match:
    """The rows of a folder's head that a new head takes over.

    Args:
        rows: for each row of the new head, the index of the folder's row; None for a row that is
            initialized anew.
        explanation: sentence for the user about the rows that are kept.
    """

    rows: tuple[int | None, ...]
    explanation: str

    @property
    def kept(self) -> int:
        """The number of rows that are kept."""
        return sum(row is not None for row in self.rows)


def head_of(config: Mapping[str, Any], rows: int, task: str = "classification") -> Head:
    """Return the head that a folder's config.json describes.

    Args:
        config: content of config.json.
        rows: number of outputs of the last layer in the folder's weights; 0 where there is none.
        task: name of the task that the model is loaded for.

    Raises:
        ArtifactError: names and numbers contradict each other, or the folder's head gives a row
            several labels and the task is another.
    """
    if not rows:
        return Head(0)
    problem = config.get("problem_type")
    if problem == PROBLEM_TYPES["multilabel"] and task != "multilabel":
        raise ArtifactError(
            "its head gives a text several labels (problem_type multi_label_classification): "
            "--task multilabel keeps it; to train a fresh head for one label, take problem_type "
            "and id2label out of its config.json"
        )
    if problem == "regression" and rows != 1:
        raise ArtifactError(
            f"config.json says problem_type regression, but the head has {rows} outputs; a "
            "regression has one"
        )
    names = _names(config)
    num_labels = config.get("num_labels", config.get("_num_labels"))
    if names and num_labels is not None and num_labels != len(names):
        raise ArtifactError(
            f"config.json: num_labels is {num_labels!r:.40}, but id2label has {len(names)} names; "
            "correct one of them"
        )
    if names and len(names) != rows:
        raise ArtifactError(
            f"config.json names {len(names)} classes ({_listed(names)}), but the head has {rows} "
            "rows; correct id2label"
        )
    names = names or tuple(f"LABEL_{row}" for row in range(rows))  # as transformers calls them
    return Head(rows, names, value=rows == 1 and problem in ("regression", None))


def match_head(head: Head, labels: Sequence[str]) -> Match:
    """Match the rows of a head with the labels of the data, by name.

    Default names (LABEL_0) match only if the data has labels with these names.

    Args:
        head: head of the folder.
        labels: class names of the data; empty for a regression.
    """
    if not labels:
        if head.value:
            return Match((0,), "the folder's head outputs one number, and is kept")
        return Match((None,), _fresh_head(head, "the data is for a regression, with one output"))
    names = set(labels)
    has_names = any(not _DEFAULT_NAME.fullmatch(name) for name in head.names)
    shares_names = bool(names & {*head.names})
    if not (has_names or shares_names) or (head.value and not shares_names):
        reason = "it names no classes: write their names into id2label of config.json to keep it"
        return Match((None,) * len(labels), _fresh_head(head, reason))
    row_of = {name: row for row, name in enumerate(head.names)}
    rows = tuple(row_of.get(label) for label in labels)
    kept = [label for label in labels if label in row_of]
    fresh = [label for label in labels if label not in row_of]
    if not kept:
        reason = (
            f"its classes are {_listed(head.names)}, the data's are {_listed(labels)}, and no name "
            "is the same"
        )
        return Match(rows, _fresh_head(head, reason))
    explanation = f"the folder's head is kept by its names: {_listed(kept)}"
    if fresh:
        explanation += f"; fresh rows: {_listed(fresh)}"
    left_out = [name for name in head.names if name not in names]
    if left_out:
        explanation += f"; left out: {_listed(left_out)}"
    return Match(rows, explanation)


def _fresh_head(head: Head, reason: str) -> str:
    return f"a fresh head: {reason}" if head.rows else "a fresh head: the folder has none"


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class name of each row.

    Raises:
        ArtifactError: id2label and label2id are malformed, or contradict each other.
    """
    by_row = _in_order(config.get("id2label"), "id2label")
    label2id = config.get("label2id")
    if label2id is not None and (
        not isinstance(label2id, dict) or not all(type(row) is int for row in label2id.values())
    ):
        raise _malformed("label2id", label2id)
    by_name = _in_order({row: name for name, row in (label2id or {}).items()}, "label2id")
    if len(by_name) != len(label2id or ()):
        raise _malformed("label2id", label2id)
    own_names = [names for names in (by_row, by_name) if names and not _are_default(names)]
    if len(own_names) == 2 and own_names[0] != own_names[1]:
        raise ArtifactError(
            f"config.json: id2label says {_listed(by_row)}, label2id says {_listed(by_name)}; "
            "correct one of them"
        )
    return own_names[0] if own_names else by_row or by_name


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
    duplicates = sorted(name for name, count in Counter(ordered).items() if count > 1)
    if duplicates:
        raise ArtifactError(
            f"config.json: {key} names {_listed(duplicates)} twice; each class needs its own name"
        )
    return ordered


def _are_default(names: Sequence[str]) -> bool:
    return all(_DEFAULT_NAME.fullmatch(name) for name in names)


def _malformed(key: str, value: object) -> ArtifactError:
    return ArtifactError(
        f"config.json: {key} is {value!r:.80}; it must number the classes' names from 0"
    )


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(repr(name)[:40] for name in names[:_MAX_NAMES])
    return listed if len(names) <= _MAX_NAMES else f"{listed} and {len(names) - _MAX_NAMES} more"
