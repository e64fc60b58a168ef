"""What all verbs share: the common options, and the answer that a verb returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from bmc import console
from bmc import data as datasets
from bmc.data import Dataset, Fold
from bmc.errors import SettingError
from bmc.trust import trust


def _fold(_: Any, tokens: Sequence[Token]) -> Fold:
    """Read a fold such as 2/5."""
    number, _, of = tokens[0].value.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise SettingError(f"--fold is {tokens[0].value!r}; it must look like 2/5")
    return Fold(int(number), int(of))


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every verb.

    Args:
        json: print one JSON document on stdout and everything else on stderr.
        quiet: no notes and no progress.
        code: module:function of yours that builds the model named; it runs because you typed it.
    """

    json: bool = False
    quiet: bool = False
    code: str = ""

    def begin(self) -> None:
        """Set up the terminal, and whose code may run, as these options say."""
        console.set_mode(quiet=self.quiet, json=self.json)
        trust(self.code)


@Parameter(name="*")
@dataclass(frozen=True)
class Writing(Common):
    """Options of verbs that write something.

    Args:
        output: where to write; MODEL-METHOD, MODEL-DATA or MODEL-TARGET in the workspace when left
            out.
        force: replace the output if it exists.
    """

    output: Annotated[Path | None, Parameter(alias="-o")] = None
    force: bool = False


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Options of verbs that read data.

    Args:
        data: a data set's name, a .csv, .tsv, .jsonl, .json, .parquet or .npz file,
            imagefolder:DIR, or hf:NAME.
        text_column: the file's column with the text; name two for sentence pairs.
        label_column: the file's column with the class.
        task: classification, or regression: labels are numbers.
        fold: hold out one part of a cross-validation, such as 2/5, instead of the test split.
    """

    data: Annotated[str, Parameter(alias="-d")] = "movie-reviews"
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    task: str = "classification"
    fold: Annotated[Fold | None, Parameter(converter=_fold, n_tokens=1, accepts_keys=False)] = None

    def load(self) -> Dataset:
        """Load and split the data, and say what was decided about it."""
        data = datasets.load(self.data, self.text_column, self.label_column, self.task, self.fold)
        console.note(f"data {data.described()}")
        for text in data.summary.notes:
            console.note(f"data {data.name}: {text}")
        return data


@dataclass(frozen=True)
class Answer:
    """What a verb found: a JSON document, what a person sees, and the exit code."""

    data: dict[str, Any]
    shown: tuple[object, ...] = field(default=())
    exit_code: int = 0
