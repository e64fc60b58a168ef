"""What all verbs share: the common options, and the answer that a verb returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from bmc import console
from bmc.data import Fold
from bmc.errors import SettingError
from bmc.trust import trust
from bmc.workflows.data import DataSource
from bmc.workflows.tuning import Tuning


def _fold(_: Any, tokens: Sequence[Token]) -> Fold:
    """Read a fold such as 2/5."""
    number, _, of = tokens[0].value.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise SettingError(f"--fold is {tokens[0].value!r}; it must look like 2/5")
    return Fold(int(number), int(of))


Set = Annotated[tuple[str, ...], Parameter(name=["--set", "-s"])]


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
class DataOptions(DataSource):
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
    fold: Annotated[Fold | None, Parameter(converter=_fold, n_tokens=1, accepts_keys=False)] = None


@Parameter(name="*")
@dataclass(frozen=True)
class TuningOptions(Tuning):
    """Options of verbs that change a model and fine-tune it.

    Args:
        epochs: passes of fine-tuning; 0 leaves the weights as the step made them.
        learning_rate: peak; half of the one that the model was trained with when left out.
        batch_size: rows a step; the one that the model was trained with when left out.
        distill: learn the unchanged model's answers, beside the true labels.
        teacher: learn this model's answers instead: a model directory, or a name in the workspace.
        transfer: unlabelled texts for a teacher to answer: imdb, a .txt file, or none.
        transfer_size: unlabelled texts at most.
        max_drop: points of the validation score that may be lost; more is exit 1, NAME.failed.
        precision: bf16, fp32, or auto (bf16 where the processor has it).
        checkpoint_every: steps between two checkpoints.
        seed: of batches, dropout and what the step draws; the rows that it looks at are the same
            for each.
        device: cpu, cuda, or auto.
    """


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
