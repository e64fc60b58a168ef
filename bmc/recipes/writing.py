"""Write a recipe that runs, from three answers: the model, the data, and what it is for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bmc import console, workspace
from bmc.contracts import families
from bmc.contracts.data_sets import DATA_SETS
from bmc.data import Dataset
from bmc.errors import DataError, UsageError
from bmc.recipes.options import PURPOSES, Answers
from bmc.recipes.reading import recipe_from
from bmc.recipes.schema import schema_text
from bmc.recipes.toml import toml_of
from bmc.workflows.data import Columns, DataSource
from bmc.workflows.options import Output
from bmc.writing import write_atomically

SCHEMA_FILE = "recipe.schema.json"
"""The JSON Schema that is written beside a recipe; its first line names it for editors."""
_OUTPUT = Path("recipe.toml")
_BY_HAND = ("gan", "ngram", "python")  # families that most techniques do not change
_WITHOUT_LINEAR = ("recurrent",)
_RATIOS = [0.3, 0.5]
_EXPORT = "a quantized bundle that is no faster stands in the report, too"


@dataclass(frozen=True)
class Written:
    """A recipe that was written.

    Args:
        path: the recipe.
        schema: its JSON Schema, beside it.
        steps: names of its steps.
    """

    path: Path
    schema: Path
    steps: tuple[str, ...]


def init(answers: Answers, data: str | None, columns: Columns, files: Output) -> Written:
    """Write a recipe that runs; what is not answered is asked on the terminal.

    The data is read first, so that a recipe of data that cannot be used is not written.

    Args:
        answers: the model, what the recipe is for, and the targets.
        data: the data; asked for when None.
        columns: columns of the data, and its task.
        files: file to write.

    Raises:
        UsageError: a question cannot be asked here, the file exists, or it ends with another
            suffix than .toml.
        UnknownError: there is no such model or data.
        DataError: the data cannot be used, or the model does not take it.

    Example:
        >>> init(Answers("mlp", "smaller"), "digits", Columns(), Output())
    """
    path = files.output or _OUTPUT
    if path.suffix.lower() != ".toml":
        raise UsageError(f"{path} does not end with .toml, which bmc recipe init writes")
    if path.exists() and not files.force:
        raise UsageError(f"{path} exists; --force replaces it, --output names another file")
    model = answers.model or _asked("Which model (bmc models lists all)?", "bert", "--model")
    family = _family_of(model)
    known = ", ".join(DATA_SETS.names())
    data = data or _asked(f"Which data, a file or one of {known}?", "movie-reviews", "--data")
    purposes = "; ".join(f"{name}: {text}" for name, text in PURPOSES.items())
    purpose = answers.purpose or _asked(f"What for ({purposes})?", "compare", "--purpose")
    if purpose not in PURPOSES:
        raise UsageError(f"what for is {purpose!r}; possible: {', '.join(PURPOSES)}")
    source = DataSource(**asdict(columns), data=data)
    _check(model, family, source.read())
    document, comments = recipe_for(model, family, source, purpose, answers.target)
    recipe = recipe_from(document, str(path), path.stem)
    schema = path.with_name(SCHEMA_FILE)
    write_atomically(schema, schema_text().encode())
    text = f"#:schema ./{SCHEMA_FILE}\n# {purpose}: {PURPOSES[purpose]}\n\n"
    write_atomically(path, (text + toml_of(document, comments)).encode())
    return Written(path, schema, tuple(step.name for step in recipe.steps))


def recipe_for(
    model: str, family: str, source: DataSource, purpose: str, targets: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a recipe for a purpose, and a comment for each of its tables.

    Args:
        model: the model that is trained.
        family: its family.
        source: the data.
        purpose: one of `PURPOSES`.
        targets: target runtimes.
    """
    name = workspace.slug(model).replace(".", "-")
    reads_tokens = bool(families.family(family).model_types)
    distilled = {"verb": "distill", "teacher": name, "student": "tiny"}
    pruned = {"verb": "prune", "model": name, "ratio": _RATIOS, "epochs": 3, "distill": True}
    steps: dict[str, dict[str, Any]] = {name: {"verb": "train", "model": model}}
    comments = {f"steps.{name}": "the model that the others are compared with"}
    if purpose != "smaller" and reads_tokens:
        steps["tiny"] = distilled
        comments["steps.tiny"] = "a student: 2 layers x 128; bmc models lists others"
    if purpose == "compare" or (purpose == "faster" and not reads_tokens):
        steps["pruned"] = pruned
        comments["steps.pruned"] = "a list where one value stands is a sweep"
    if purpose == "smaller":
        steps["weights"] = {"verb": "quantize", "model": name, "method": "weights", "bits": [8, 4]}
        comments["steps.weights"] = "the weights alone, computed in float"
    if purpose == "smaller" and reads_tokens:
        steps["words"] = {"verb": "prune", "model": name, "method": "vocabulary", "epochs": 0}
        steps["words-8-bit"] = {**steps["weights"], "model": "words", "bits": 8}
        comments["steps.words"] = "without the words that the data never uses"
    if purpose == "compare":
        steps["int8"] = {"verb": "quantize", "model": name, "method": "static"}
        shared = {"verb": "share", "model": name}
        if family in _WITHOUT_LINEAR:
            steps["codebooks"] = {**shared, "method": "cluster", "settings": {"values": 16}}
        else:
            steps["lowrank"] = {**shared, "method": "lowrank", "settings": {"energy": 0.8}}
    typed = {each.name: getattr(source, each.name) for each in fields(source)}
    changed = {
        key: value
        for key, value in typed.items()
        if value != getattr(DataSource(), key) and key != "data"
    }
    document: dict[str, Any] = {
        "data": {"data": source.data, **changed} if changed else source.data,
        "targets": list(targets),
        "steps": steps,
        "export": {"allow_slower": True},
    }
    return document, {**comments, "export": _EXPORT}


def _asked(question: str, default: str, option: str) -> str:
    return console.ask(question, default, option)


def _family_of(model: str) -> str:
    """Return the family of a model that a recipe can train.

    Raises:
        UnknownError: there is no such model.
        UsageError: no recipe is written for it.
    """
    if workspace.kind_of(Path(model)) or workspace.kind_of(workspace.root() / model):
        raise UsageError(
            f"{model} is a model that exists; bmc recipe init writes recipes that train their "
            "model. A step of your own recipe takes it by its name: model = "
            f"{model!r}; bmc show {model} --recipe writes what made it"
        )
    is_folder = model not in families.baselines() and (
        model.startswith("hf:") or Path(model).is_dir()
    )
    family = families.of_prefix(model) or ("bert" if is_folder else families.of_baseline(model))
    if family in _BY_HAND:
        raise UsageError(
            f"bmc recipe init writes no recipe for {model}: name another model (bmc models lists "
            "all), or write the recipe by hand"
        )
    return family


def _check(model: str, family: str, data: Dataset) -> None:
    """Refuse data that a model does not take.

    Raises:
        DataError: it does not.
    """
    takes = families.family(family).takes
    if not set(data.kinds) & set(takes):
        others = [
            name
            for name, owner in families.baselines().items()
            if set(data.kinds) & set(families.family(owner).takes)
        ]
        raise DataError(
            f"{model} takes {' or '.join(takes)}; {data.name!r} holds {data.kind}: name another "
            f"model, such as {', '.join(others[:4])}"
        )
