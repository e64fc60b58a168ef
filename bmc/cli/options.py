"""Options of every verb, and arguments that several have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bmc import console
from bmc.rendering.rendered import Rendered as Rendered
from bmc.rendering.rendered import render_result as render_result
from bmc.trust import trust

ModelName = Annotated[
    str | None, "a model directory, or its name in the workspace; the newest when left out."
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


@dataclass(frozen=True)
class OwnCode:
    """The option of verbs that may build a user's network; `begin` is called before the verb runs.

    Args:
        code: your module:function that builds the network. Model files may name Python code; bmc
            runs it only if you pass it here.
    """

    GROUP: ClassVar[str] = "Model"

    code: str = ""

    def begin(self) -> None:
        """Allow bmc to run the function named by --code, and no other."""
        trust(self.code)
