"""What all verbs share: the common options, and the answer that a verb returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bmc import console


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every verb.

    Args:
        json: print one JSON document on stdout and everything else on stderr.
        quiet: no notes and no progress.
    """

    json: bool = False
    quiet: bool = False

    def begin(self) -> None:
        """Set up the terminal as these options say."""
        console.set_mode(quiet=self.quiet, json=self.json)


@Parameter(name="*")
@dataclass(frozen=True)
class Writing(Common):
    """Options of verbs that write something.

    Args:
        output: where to write; named after its content, in the workspace, when left out.
        force: replace the output if it exists.
    """

    output: Annotated[Path | None, Parameter(alias="-o")] = None
    force: bool = False


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Options of verbs that read data.

    Args:
        data: a data set's name, or a .csv, .jsonl or .parquet file.
        text_column: the file's column with the text; name two for sentence pairs.
        label_column: the file's column with the class.
    """

    data: Annotated[str, Parameter(alias="-d")] = "movie-reviews"
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"


@dataclass(frozen=True)
class Answer:
    """What a verb found: a JSON document, what a person sees, and the exit code."""

    data: dict[str, Any]
    shown: tuple[object, ...] = field(default=())
    exit_code: int = 0
