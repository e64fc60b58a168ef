"""Find the teacher that a user names, or train a built-in model as the teacher.

The name of a built-in model stands for a model directory of the workspace only if that directory
holds this model, trained on the same data. Any other teacher may have been trained on other data,
but not on rows that are held out here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bmc import artifact, console, workspace
from bmc import bundle as bundles
from bmc.contracts import families
from bmc.contracts.signals import SIGNALS, signal
from bmc.contracts.tasks import EMBEDDING, GENERATION, TOKENS, labeled_tasks
from bmc.data import Dataset, Fold
from bmc.errors import UnknownError, UsageError
from bmc.inputs import kind_of_rows
from bmc.inputs.features import listed
from bmc.model import Model
from bmc.training.bundle_network import load_bundle
from bmc.workflows import baselines, lineage, vectors
from bmc.workflows.data import DataSource

_WAY_OUT = (
    ". Train a teacher on this data with the same --fold, or remove these rows from one of the two"
)
_HASH_DIGITS = 12  # digits of a fingerprint in messages
_NOT_REPORTED = (
    "seed",
    "device",
    "checkpoint_every",
)  # settings that do not change what is learned


@dataclass(frozen=True)
class Teacher:
    """A teacher, and the way in which it was chosen.

    Args:
        folder: the teacher's model directory.
        sha256: sha256 of the teacher's weights.
        chosen: "named" by the user, "found" in the workspace (trained on this data), or "trained"
            for this student.
        data: records of all data that the teacher has learned from.
    """

    folder: Path
    sha256: str
    chosen: str
    data: Sequence[Mapping[str, Any]]

    def to_json(self, before: object = None, more: Sequence[Teacher] = ()) -> dict[str, Any]:
        """Return the record of the teacher for bmc.json.

        Args:
            before: such a record of an earlier teacher, from whose data the student has learned.
            more: further teachers of the same student.
        """
        records = {str(record.get("fingerprint")): dict(record) for record in self.data}
        for record in lineage.teachers_data(before):
            records.setdefault(str(record.get("fingerprint")), record)
        for further_record in (record for teacher in more for record in teacher.data):
            records.setdefault(str(further_record.get("fingerprint")), dict(further_record))
        further = [teacher._identity() for teacher in more]
        return {
            **self._identity(),
            "data": list(records.values()),
            **({"more": further} if further else {}),
        }

    def _identity(self) -> dict[str, str]:
        return {"name": self.folder.name, "sha256": self.sha256, "chosen": self.chosen}


def load(folder: Path) -> Model:
    """Load a teacher: a model directory, or a bundle, which gives logits and nothing else.

    Raises:
        ArtifactError: the folder is damaged.
        MissingError: the runtime of the bundle is not installed.
    """
    return load_bundle(folder) if lineage.is_bundle(folder) else artifact.load(folder)


def teacher_of(folder: Path, chosen: str = "named") -> Teacher:
    """Return the teacher in a folder.

    Raises:
        ArtifactError: the folder is neither a model directory nor a bundle.
    """
    data = lineage.learned_from(lineage.described(folder))
    return Teacher(folder, lineage.weights_sha256(folder), chosen, data)


def find(reference: str, task: str = "classification") -> Path | None:
    """Find the teacher's model directory or bundle; None for the name of a built-in model.

    Args:
        reference: the teacher, as the user named it.
        task: name of the task; for sentence embeddings a Hugging Face or sentence-transformers
            folder is read as a built-in model is.

    Raises:
        UnknownError: the reference is no model directory, no bundle and no built-in model.
    """
    if is_baseline(reference) or (task == EMBEDDING and vectors.is_folder(reference)):
        return None
    try:
        return find_folder(reference)
    except UnknownError as error:
        baselines = _baselines()
        near = difflib.get_close_matches(reference, baselines, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownError(f"{error} ({guess}baselines: {', '.join(baselines)})") from error


def find_folder(reference: str) -> Path:
    """Find a teacher's model directory or bundle, by path or by its name in the workspace.

    Raises:
        UnknownError: there is neither.
    """
    for path in workspace.candidates(reference):
        if workspace.kind_of(path) is not None:
            return path
    return workspace.find(reference, "model")


def is_baseline(reference: str) -> bool:
    """Tell whether a reference names a baseline, which bmc can train as a teacher."""
    return reference in _baselines() or reference.startswith("hf:")


def _baselines() -> list[str]:
    """Return the baselines that can teach a student."""
    return list(families.baselines())


def find_baseline(reference: str, data: Dataset, fold: Fold | None) -> tuple[Path, bool]:
    """Find the model directory of a baseline that was trained on some data, or a free folder.

    Directories of that name which hold another model, or one trained on other data, are reported.

    Args:
        reference: the name of a built-in model, or hf:NAME.
        data: data that the student learns from.
        fold: fold of a cross-validation that is held out; None for the test split.

    Returns:
        the folder, and whether it holds the model; if not, the model can be trained into it.

    Raises:
        UsageError: other models have taken every folder in which the model could be.
    """
    suffix = f"-fold{fold.number}of{fold.of}" if fold else ""
    usual = workspace.root() / f"{workspace.slug(reference)}-{data.name}{suffix}"
    of_this_data = usual.with_name(f"{usual.name}-{data.fingerprint[:6]}")
    free: Path | None = None
    for path in (Path(reference), workspace.root() / reference, usual, of_this_data):
        if not artifact.is_model_directory(path):
            is_output = path in (usual, of_this_data) and not path.exists()
            free = free or (path if is_output else None)
            continue
        difference = _difference(artifact.describe(path), reference, data)
        if not difference:
            _note_settings(path, reference, data)
            return path, True
        console.note(f"{path} is not used as the teacher: {difference}")
    if free is None:
        raise UsageError(
            f"{usual} and {of_this_data} exist, and neither is a {reference} trained on "
            f"{data.name} as it is now: name a teacher's folder with --teacher, or remove one of "
            "them"
        )
    return free, False


def train(
    reference: str, data: Dataset, source: DataSource, seed: int, device: str, output: Path
) -> None:
    """Train a baseline by its recipe, as a teacher; a run that was stopped resumes."""
    said = f"no {reference} trained on {data.name} yet: training it first, into {output}"
    if data.task == EMBEDDING:
        said = f"reading {reference} as the teacher, into {output}"
    console.note(said)
    chosen = baselines.choose(reference, {})
    settings = replace(chosen.recipe_for(data), seed=seed, device=device)
    baselines.train_baseline(chosen, data, source, settings, output, force=False)


def check(teacher: Path, data: Dataset, labels: tuple[str, ...]) -> None:
    """Check that a teacher can teach a student, and has learned no row that is held out here.

    Args:
        teacher: the teacher's model directory or bundle.
        data: data that the student learns from and is scored on.
        labels: the student's classes, in any order; empty in a regression.

    Raises:
        UsageError: the teacher has another task, other classes or other inputs, or has learned
            rows of the test split.
    """
    manifest = lineage.described(teacher)
    if manifest["task"] != data.task:
        other = f", or pass --task {manifest['task']}"
        raise UsageError(
            f"the teacher {teacher} is for {manifest['task']}, and the task here is {data.task}. "
            f"{_other_signals()}: name a teacher trained for {data.task}"
            f"{other if manifest['task'] in labeled_tasks() else ''}"
        )
    _check_inputs(teacher, manifest["inputs"], data)
    _check_labels(teacher, tuple(manifest["labels"]), labels)
    lineage.refuse_learned("teacher", teacher, data, _WAY_OUT)


def note_failure(folder: Path) -> None:
    """Report a bundle that failed a check when it was exported."""
    failure = bundles.read(folder).manifest.failure if lineage.is_bundle(folder) else None
    if failure:
        console.note(
            f"the teacher {folder} failed a check at its export, so it may answer worse than the "
            f"model that it was exported from: {failure}"
        )


def check_generator(teacher: Path, data: Dataset) -> None:
    """Check that a generator's teacher is a generator, and has learned no row held out here.

    Args:
        teacher: the teacher's model directory.
        data: data that the student learns from.

    Raises:
        UsageError: the teacher is not a generator, is a bundle, or has learned rows of the test
            split.
    """
    if lineage.is_bundle(teacher):
        raise UsageError(
            f"the teacher {teacher} is a bundle, which lacks the discriminator that a generator "
            "learns from: name the model directory that the bundle was exported from"
        )
    task = artifact.describe(teacher)["task"]
    if task != GENERATION:
        raise UsageError(
            f"the teacher {teacher} is for {task}, and the student draws images: a generator "
            "learns from a generator only"
        )
    lineage.refuse_learned("teacher", teacher, data, _WAY_OUT)


def _difference(manifest: Mapping[str, Any], reference: str, data: Dataset) -> str:
    """Return why a model directory is not this baseline, trained on this data; "" if it is."""
    origin, trained_on = manifest["origin"], manifest["data"]
    if manifest["steps"] or origin.get("command") != "train":
        return f"it was made by bmc {origin.get('command')}"
    if origin.get("baseline") != reference:
        return f"it was trained from {origin.get('baseline')}"
    if trained_on.get("fingerprint") != data.fingerprint:
        return (
            f"it was trained on other data ({trained_on.get('reference')}, fingerprint "
            f"{str(trained_on.get('fingerprint'))[:_HASH_DIGITS]}; "
            f"this one has {data.fingerprint[:_HASH_DIGITS]})"
        )
    columns = trained_on.get("text_columns")
    tasks = (data.task, GENERATION)  # a generator's task is its own, whatever the labels
    if data.task in (EMBEDDING, TOKENS):  # whose rows have no columns
        columns = data.columns
    if manifest["task"] not in tasks or (columns and len(columns) != len(data.columns)):
        return "it has another task or other text columns"
    if vectors.was_changed(reference, data.task, origin):
        return f"{reference} was changed since it was read"
    return ""


def _note_settings(path: Path, reference: str, data: Dataset) -> None:
    """Report the teacher, and the settings in which its training differs from the defaults."""
    origin = artifact.describe(path)["origin"]
    chosen = baselines.choose(reference, {})
    used: dict[str, Any] = {**(origin.get("options") or {}), **(origin.get("settings") or {})}
    differences = []
    for settings in (chosen.options, chosen.recipe_for(data)):
        for name, default in asdict(settings).items():
            value = used.get(name, default)
            value = tuple(value) if isinstance(value, list) else value
            if value != default and name not in _NOT_REPORTED:
                differences.append(f"{name.replace('_', ' ')} {value} (default {default})")
    suffix = f" with {', '.join(differences)}" if differences else ""
    console.note(f"teacher: {path}, trained on this data{suffix}")


def _check_inputs(teacher: Path, inputs: Mapping[str, Any], data: Dataset) -> None:
    kind, columns = inputs.get("kind"), inputs.get("columns", 1)
    if kind_of_rows(str(kind)) not in data.kinds:
        raise UsageError(f"the teacher {teacher} takes {kind}, and {data.name!r} holds {data.kind}")
    if data.features:
        refuse_other_features(f"the teacher {teacher}", inputs, data)
    if data.kind == "text" and columns != len(data.columns):
        raise UsageError(
            f"the teacher {teacher} takes {columns} text(s) a row, and {data.name!r} has "
            f"{len(data.columns)}: name as many with --text-column"
        )


def refuse_other_features(model: str, inputs: Mapping[str, Any], data: Dataset) -> None:
    """Refuse a model that takes other numbers than the data has, or in another order.

    Args:
        model: what messages call the model.
        inputs: the preprocessing of the model.
        data: rows of named numbers.

    Raises:
        UsageError: it does.
    """
    if inputs.get("kind") == "features":
        columns = tuple(inputs.get("columns") or ())
        if columns != data.features:
            raise UsageError(
                f"{model} takes the columns {listed(columns)}, and {data.name!r} has "
                f"{listed(data.features)}: name the same with --features, in the same order"
            )
        return
    shapes = [info.get("shape") for info in inputs.get("inputs", ())]
    if shapes != [[len(data.features)]]:
        raise UsageError(
            f"{model} takes arrays of shapes {shapes!r:.60}, and a row of {data.name!r} has "
            f"{len(data.features)} numbers: name as many columns with --features"
        )


def _check_labels(teacher: Path, teacher_labels: tuple[str, ...], labels: tuple[str, ...]) -> None:
    if set(teacher_labels) == set(labels):
        return
    missing = ", ".join(sorted(set(labels) - set(teacher_labels)))
    additional = ", ".join(sorted(set(teacher_labels) - set(labels)))
    differences = [f"the teacher lacks {missing}"] * bool(missing)
    differences += [f"the data lacks {additional}"] * bool(additional)
    raise UsageError(
        f"the teacher {teacher} predicts {', '.join(teacher_labels)}; "
        f"the data has {', '.join(labels)} ({'; '.join(differences)}). Logits of "
        f"different labels cannot be compared. {_other_signals()}: train a teacher on this data"
    )


def _other_signals() -> str:
    """Say what signals remain where the logits of student and teacher have no common meaning."""
    others = [name for name in SIGNALS.names() if not {"rows", "logits"} & set(signal(name).needs)]
    return f"The signals that compare no logits ({', '.join(others)}) do not teach the answers"
