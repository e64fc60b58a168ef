"""Options classes become options, docstrings their help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import typer

from bmc.choices import Choice, about
from bmc.cli.expand import expand
from bmc.docstrings import arguments_of, description_of, examples_of
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.signatures import changes


@dataclass(frozen=True)
class Base:
    """What all have.

    Args:
        loud: say more,
            and more [of it].
    """

    GROUP: ClassVar[str] = "Noise"

    loud: bool = False


@dataclass(frozen=True)
class Options(Base):
    """What some have.

    Args:
        color: of the thing.
        sizes: several.
        rate: how fast.
        output: where; `color` has no say.
        settings: of anything.
    """

    color: str = field(
        default="red", metadata=about(Choice("color", ("red", "green")), alias="color")
    )
    sizes: tuple[int, ...] = (1, 2)
    rate: float | None = None
    output: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def verb(
    model: str = "one",
    rest: tuple[str, ...] = (),
    *,
    kinds: Annotated[tuple[str, ...] | None, Choice("kind", ("a", "b"), commas=True)] = None,
    options: Options = Options(),
) -> tuple[Any, ...]:
    """Do one thing.

    And explain it in
    two lines.

    Args:
        model: the first.
        rest: the others.
        kinds: of things.

    Example:
        bmc verb x
        bmc verb y --loud
    """
    return model, rest, kinds, options


def call(*words: str, verb: Any = verb) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(expand(verb, "Mine"))
    command = typer.main.get_command(app)
    with command.make_context("verb", list(words)) as context:
        return command.invoke(context)


def test_what_is_not_typed_keeps_its_default() -> None:
    assert call() == ("one", (), None, Options())


def test_every_field_of_an_options_class_is_an_option() -> None:
    words = ("--loud", "--color", "green", "--sizes", "3", "--sizes", "4", "--rate", "1e-3")
    typed = Options(
        loud=True, color="green", sizes=(3, 4), rate=1e-3, output=Path("x"), settings={"a": "b"}
    )
    assert call("m", "n", "o", *words, "-o", "x", "-s", "a=b") == ("m", ("n", "o"), None, typed)


def test_choices_may_be_typed_with_commas_or_again() -> None:
    assert call("--kinds", "a,b")[2] == ("a", "b")
    assert call("--kinds", "a", "--kinds", " b, ")[2] == ("a", "b")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("--color", "gren"), UnknownError, "no color named 'gren'. Did you mean 'green'?"),
        (("--kinds", "a,c"), UnknownError, "no kind named 'c'"),
        (("--rate", "fast"), SettingError, "--rate is 'fast'; it must be a number"),
        (("--sizes", "1.5"), SettingError, "--sizes is '1.5'; it must be a whole number"),
        (("x", "--model", "y"), UsageError, "MODEL is given twice"),
        (("--set", "a"), SettingError, "--set 'a'; it must look like NAME=VALUE"),
    ],
)
def test_a_wrong_value_is_refused_with_its_option(
    words: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        call(*words)


def test_an_argument_may_be_typed_as_an_option_that_help_does_not_show() -> None:
    assert call("--model", "y")[0] == "y"


def test_help_is_what_docstrings_say() -> None:
    assert description_of(verb) == "Do one thing.\n\nAnd explain it in two lines."
    assert arguments_of(Options)["loud"] == "say more, and more [of it]."
    assert arguments_of(Options)["sizes"] == "several."
    assert examples_of(verb) == ["bmc verb x", "bmc verb y --loud"]
    seen = expand(verb, "Mine").__signature__.parameters
    (kinds,) = seen["kinds"].annotation.__metadata__
    (loud,) = seen["loud"].annotation.__metadata__
    assert (kinds.help, kinds.rich_help_panel) == ("of things.", "Mine")
    assert (loud.help, loud.rich_help_panel) == (r"say more, and more \[of it].", "Noise")
    (output,) = seen["output"].annotation.__metadata__
    assert output.help == "where; --color has no say."


def test_a_default_of_its_own_class_gives_what_was_typed_alone() -> None:
    def partial(*, options: Mapping[str, Any] = changes(Options)) -> Any:
        """Return what was typed."""
        return options

    assert call("--rate", "2", verb=partial) == {"rate": 2.0}


def test_a_name_of_the_last_release_is_known() -> None:
    assert expand(verb).aliases == {"color": "color"}
