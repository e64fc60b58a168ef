"""`bmc --help` and `bmc VERB --help`: without torch, in panels, with examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bmc.cli import app
from tests.cli._refusals import Run, refused

Blocked = Callable[..., CompletedProcess[str]]
VERBS = (
    *("train", "distill", "prune", "share", "quantize", "export", "predict", "serve", "check"),
    *("inspect", "bench", "report", "show", "models", "rename", "remove", "datasets", "doctor"),
    *("pack", "unpack", "run", "recipe", "compress"),
)
HEAVY = ("torch", "transformers", "numpy", "onnx", "onnxruntime", "openvino")


def help_of(bmc: Run, *words: str) -> str:
    code, out, err = bmc(*words, "--help")
    assert (code, err) == (0, "")
    return out


def test_help_works_where_torch_is_not_installed_and_imports_nothing_heavy(
    blocked: Blocked,
) -> None:
    code = (
        "import sys\n"
        "from bmc import cli\n"
        f"for words in {[[], *([verb] for verb in VERBS)]!r}:\n"
        "    code = cli.run([*words, '--help'])\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    if code or heavy:\n"
        "        sys.exit(f'{words} ends with {code} and imports {heavy}')\n"
    )
    done = blocked(code, *HEAVY)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in ("bmc", *(f"bmc {verb}" for verb in VERBS)):
        assert f"Usage: {words} [OPTIONS]" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_help_ends_with_two_examples_of_it(bmc: Run, verb: str) -> None:
    _, examples = help_of(bmc, verb).split("Examples:")
    lines = [line.strip() for line in examples.strip().splitlines()]
    assert len(lines) == 2
    assert all(line.startswith(f"bmc {verb}") for line in lines)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_an_example_exists(bmc: Run, verb: str) -> None:
    text, examples = help_of(bmc, verb).split("Examples:")
    for line in examples.strip().splitlines():
        for word in shlex.split(line):
            if word.startswith("-"):
                assert re.search(rf"(^|\W){re.escape(word)}\W", text), word


def test_the_verbs_and_a_verbs_options_stand_in_panels(bmc: Run) -> None:
    text = help_of(bmc)
    for panel in ("Train and compress", "Deploy", "Inspect and compare", "Recipes", "Workspace"):
        assert f"─ {panel} ─" in text
    for panel in ("Model", "Data", "Training", "Output"):
        assert f"─ {panel} ─" in help_of(bmc, "train")


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_is(bmc: Run, verb: str) -> None:
    """A row is: name, short name, type, text; one without text ends behind its type."""
    for line in help_of(bmc, verb).splitlines():
        cells = re.split(r"\s{2,}", line.strip("│ "))
        if line.startswith("│") and cells[0].lstrip("* ").startswith("--"):
            assert re.search(r"[a-z]", re.sub(r"<.*?>|--?[\w-]+|NAME=VALUE", "", line)), line


@pytest.mark.parametrize(
    ("verb", "option", "values"),
    [
        ("prune", "--method", ("depth", "movement", "nm", "structured", "unstructured")),
        ("quantize", "--method", ("bf16", "dynamic", "fp16", "mixed", "qat", "static")),
        ("share", "--method", ("cluster", "embedding", "layers", "lowrank", "tie")),
        ("export", "--target", ("onnx", "openvino", "pytorch", "tensorrt")),
        ("distill", "--student", ("tiny", "mini", "small", "ngram")),
        ("train", "--optimizer", ("adamw", "adam", "sgd", "adagrad")),
        ("train", "--device", ("auto", "cpu", "cuda")),
        ("bench", "--precision", ("f32", "fp32", "bf16")),
    ],
)
def test_choices_are_shown_and_another_is_refused_with_the_nearest(
    bmc: Run, monkeypatch: pytest.MonkeyPatch, verb: str, option: str, values: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    row = next(line for line in help_of(bmc, verb).splitlines() if f" {option} " in line)
    assert set(values) <= set(re.split(r"[<|>]", row[row.index("<") : row.index(">") + 1]))
    line = refused(bmc(verb, option, f"{values[0]}x"), f"named '{values[0]}x'")
    assert f"Did you mean '{values[0]}'?" in line


def test_no_verb_has_an_option_that_it_does_not_use(bmc: Run) -> None:
    for verb in ("report", "models", "datasets", "doctor"):
        assert "--code" not in help_of(bmc, verb)
        refused(bmc(verb, "--code", "mine:net"), "has no option --code")


def test_what_users_wrote_in_brackets_is_shown_as_it_is(bmc: Run) -> None:
    refused(bmc("predict", "[bold]x[/bold]"), "[bold]x[/bold]")
    refused(bmc("train", "--[red]x", "1"), "--[red]x")


def test_help_is_a_result_on_stdout_and_no_command_shows_it_too(bmc: Run) -> None:
    code, out, err = bmc()
    assert (code, err) == (0, "")
    assert out == help_of(bmc)
    assert bmc("train", "-h")[1] == help_of(bmc, "train")


def test_the_version_is_printed(bmc: Run) -> None:
    from bmc import __version__

    assert bmc("--version") == (0, f"{__version__}\n", "")


def test_a_choice_of_calibrators_is_what_the_technique_takes() -> None:
    from bmc.compress.quantize.static import Static

    for name in ("mse", "minmax", "percentile"):
        assert Static(calibrator=name).calibrator == name


def test_the_command_line_only_parses_and_prints_and_stays_short() -> None:
    """Decision 43: 1,200 lines in all, and 60 in the file of a verb."""
    folder = Path(app.__file__).parent
    lines = {path.stem: len(path.read_text().splitlines()) for path in folder.glob("*.py")}
    assert sum(lines.values()) <= 1_200
    files = {verb: app.FILES.get(verb, verb) for verb in app.VERBS}
    assert {verb: lines[file] for verb, file in files.items() if lines[file] > 60} == {}
