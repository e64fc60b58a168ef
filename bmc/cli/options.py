"""Options that several verbs have in common, each written once, and the answer of a verb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bmc.cli import _complete
from bmc.cli.choices import Choice
from bmc.errors import SettingError
from bmc.training.settings import DEVICES, PRECISIONS
from bmc.trust import trust
from bmc.workflows.tuning import Tuning

if TYPE_CHECKING:
    from bmc.workflows.data import DataSource

MODEL, DATA, METHOD, TRAINING, OUTPUT = "Model", "Data", "Method", "Training", "Output"

ModelName = Annotated[str | None, typer.Argument(autocompletion=_complete.models)]
BundleName = Annotated[str | None, typer.Argument(autocompletion=_complete.bundles)]
DataPath = Annotated[
    str | None,
    typer.Option("--data", "-d", rich_help_panel=DATA, autocompletion=_complete.data_sets),
]
Set = Annotated[
    tuple[str, ...],
    typer.Option(
        "--set",
        "-s",
        metavar="NAME=VALUE",
        rich_help_panel=METHOD,
        autocompletion=_complete.settings,
    ),
]
Precision = Annotated[str | None, Choice("precision", PRECISIONS)]
Device = Annotated[str | None, Choice("device", DEVICES)]
Task = Annotated[str, Choice("task", ("classification", "regression"))]


@dataclass(frozen=True)
class Common:
    """Options of every verb.

    Args:
        json: print one JSON document on stdout and everything else on stderr.
        quiet: no notes and no progress.
    """

    PANEL: ClassVar[str] = OUTPUT

    json: bool = False
    quiet: bool = False

    def begin(self) -> None:
        """Set up the terminal, and whose code may run, as these options say."""
        from bmc import console

        console.set_mode(quiet=self.quiet, json=self.json)
        trust("")


@dataclass(frozen=True)
class Coded(Common):
    """Options of verbs that may build a network of the user's own.

    Args:
        code: your own module:function that builds the network; code that a file names never runs
            unless you type it here.
    """

    code: Annotated[str, typer.Option("--code", rich_help_panel=MODEL, show_default=False)] = ""

    def begin(self) -> None:
        """Set up the terminal, and whose code may run, as these options say."""
        super().begin()
        trust(self.code)


@dataclass(frozen=True)
class Writing(Common):
    """Options of verbs that write something.

    Args:
        output: where to write. The default is a name made of the model and the method, data or
            target, in the workspace.
        force: replace the output if it exists.
    """

    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    force: bool = False


@dataclass(frozen=True)
class CodedWriting(Writing, Coded):
    """Options of verbs that write something made of a network, the user's own included."""


@dataclass(frozen=True)
class DataOptions:
    """Options of verbs that read data.

    Args:
        data: a data set's name (bmc datasets lists all), a .csv, .tsv, .jsonl, .json, .parquet or
            .npz file, imagefolder:DIR, or hf:NAME.
        text_column: column of the text in the file; two for sentence pairs.
        label_column: column of the label in the file.
        task: labels are classes (classification) or numbers (regression).
        fold: hold out one fold of a cross-validation, such as 2/5, instead of the test split.
    """

    PANEL: ClassVar[str] = DATA

    data: Annotated[str, typer.Option("--data", "-d", autocompletion=_complete.data_sets)] = (
        "movie-reviews"
    )
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    task: Task = "classification"
    fold: Annotated[str | None, typer.Option("--fold", metavar="K/N")] = None

    def __post_init__(self) -> None:
        number, _, of = (self.fold or "1/1").partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise SettingError(f"--fold is {self.fold!r}; it must look like 2/5")

    def source(self) -> DataSource:
        """Return where the data comes from, as a workflow takes it."""
        from bmc.data import Fold
        from bmc.workflows.data import DataSource

        number, _, of = (self.fold or "").partition("/")
        fold = Fold(int(number), int(of)) if self.fold else None
        return DataSource(self.data, self.text_column, self.label_column, self.task, fold)


@dataclass(frozen=True)
class TuningOptions(Tuning):
    """Options of verbs that change a model and fine-tune it."""

    PANEL: ClassVar[str] = TRAINING

    teacher: Annotated[str | None, typer.Option("--teacher", autocompletion=_complete.models)] = (
        None
    )
    transfer: Annotated[str, typer.Option("--transfer", autocompletion=_complete.transfers)] = (
        "none"
    )
    precision: Precision = None
    device: Annotated[str, Choice("device", DEVICES)] = "auto"


def pairs_of(typed: Sequence[str]) -> dict[str, str]:
    """Read settings typed as NAME=VALUE.

    Raises:
        SettingError: one looks different.
    """
    options = {}
    for pair in typed:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SettingError(f"--set {pair!r}; it must look like NAME=VALUE")
        options[name] = value
    return options


@dataclass(frozen=True)
class Answer:
    """What a verb found: a JSON document, what a person sees, and the exit code."""

    data: dict[str, Any]
    shown: tuple[object, ...] = field(default=())
    exit_code: int = 0
