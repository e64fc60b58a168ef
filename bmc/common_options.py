"""Options of every verb, and arguments that several have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bmc import console

ModelName = Annotated[
    str | None, "a model directory or its name, or an .onnx file; the newest model when left out."
]
BundleName = Annotated[
    str | None, "a bundle's folder, or its name in the workspace; the newest when left out."
]


@dataclass(frozen=True)
class Common:
    """Options of every verb.

    Args:
        json: print one JSON document on stdout and everything else on stderr.
        quiet: no notes and no progress.
    """

    GROUP: ClassVar[str] = "Output"

    json: bool = False
    quiet: bool = False

    def begin(self) -> None:
        """Set up the terminal as these options say."""
        console.set_mode(quiet=self.quiet, json=self.json)
