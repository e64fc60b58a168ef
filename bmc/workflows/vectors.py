"""Sentence embeddings: the vectors that models are compared with, and what they cannot be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc import data as datasets
from bmc import workspace
from bmc.contracts import families
from bmc.contracts.tasks import EMBEDDING, scoring
from bmc.data import Dataset, Reference
from bmc.errors import UsageError
from bmc.files import sha256
from bmc.model import Model
from bmc.training.teacher_logits import cached_logits
from bmc.workflows import scoring as model_scores
from bmc.workflows.tuning import Distillation

_MODELS = "minilm, minilm-l3, mpnet, or a Hugging Face or sentence-transformers folder"
FOLDER_SHA256 = "folder_sha256"
"""Key of the record, in a model's origin, of the files from which the model was read."""
_TRAINING = ("epochs", "learning_rate", "batch_size", "accumulate")
_TRANSFORMER = "0_Transformer"  # folder of the encoder in some sentence-transformers folders
_MODULES = "modules.json"
_READ_ENDINGS = (".json", ".safetensors", ".txt", ".model")
_OF_CLASSES = (
    "hard_label_weight",
    "temperature",
    "signals",
    "signal_order",
    "signal_epochs",
    "layer_map",
    "teacher_average",
    "teacher_weights",
)


def is_folder(reference: str) -> bool:
    """Tell whether a reference is a Hugging Face or sentence-transformers folder."""
    path = Path(reference)
    if workspace.kind_of(path) is not None:
        return False
    return any((path / name / "config.json").is_file() for name in ("", _TRANSFORMER))


def encoder_in(folder: Path) -> Path:
    """Return the folder of an encoder's files, which may be a sub-folder for the first module."""
    nested = folder / _TRANSFORMER
    is_nested = not (folder / "config.json").is_file() and (nested / "config.json").is_file()
    return nested if is_nested else folder


def has_modules(encoder: Path) -> bool:
    """Tell whether an encoder's folder is one of sentence-transformers."""
    return (_root_of(encoder) / _MODULES).is_file()


def folder_sha256(reference: str) -> str:
    """Return a sha256 of the files that an encoder is read from: settings, tokenizer and weights.

    Args:
        reference: a Hugging Face or sentence-transformers folder.
    """
    root = _root_of(Path(reference))
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*"), *root.glob("*/*")]):
        if path.suffix in _READ_ENDINGS and path.is_file():
            digest.update(f"{path.relative_to(root).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def folder_record(reference: str, task: str) -> dict[str, str]:
    """Return what a model's origin says of the folder that the model was read from.

    Args:
        reference: name or folder of the model.
        task: name of the task; models of other tasks are trained, and have no such record.
    """
    if task != EMBEDDING or not is_folder(reference):
        return {}
    return {FOLDER_SHA256: folder_sha256(reference)}


def was_changed(reference: str, task: str, origin: Mapping[str, Any]) -> bool:
    """Tell whether a folder was changed since a model was read from it.

    Args:
        reference: name or folder of the model.
        task: name of the model's task.
        origin: origin in the model's bmc.json; older ones have no record of the folder.
    """
    recorded = origin.get(FOLDER_SHA256)
    return recorded is not None and folder_record(reference, task) != {FOLDER_SHA256: recorded}


def _root_of(folder: Path) -> Path:
    """Return the folder of modules.json for an encoder's folder, which may be its first module."""
    is_module = folder.name.startswith("0_") and (folder.parent / _MODULES).is_file()
    return folder.parent if is_module else folder


def as_read(model: Model, data: Dataset) -> Model:
    """Return a model as it was loaded, with its own vectors as the reference, and its scores.

    Args:
        model: an encoder of sentences; it is changed in place.
        data: texts.
    """
    compared = datasets.compared(data)
    model.reference = Reference(
        model_scores.outputs_on(model, compared.validation),
        model_scores.outputs_on(model, compared.test),
    )
    add_scores(model, data, model.reference)
    return model


def add_scores(model: Model, data: Dataset, reference: Reference) -> None:
    """Add the scores of the validation texts to a model that was not trained.

    Args:
        model: a model that makes vectors; it is changed in place.
        data: texts.
        reference: the vectors that the model's are compared with.
    """
    labeled = datasets.with_reference(data, reference)
    model_scores.score_validation(model, labeled.validation)
    measure = scoring(EMBEDDING).measure
    recall = model.scores[model_scores.VALIDATION][measure]["value"]
    model.scores = {f"validation_{measure}": recall, **model.scores}


def teachers_reference(
    teacher: Model, weights_sha256: str, data: Dataset, device: str
) -> Reference:
    """Return a teacher's vectors of the rows that a student is scored on.

    Args:
        teacher: the teacher.
        weights_sha256: sha256 of its weights.
        data: texts.
        device: "cpu", "cuda" or "auto".
    """
    compared = datasets.compared(data)
    parts = (
        cached_logits(teacher, weights_sha256, part.rows, workspace.cache(), device, "fp32").numpy()
        for part in (compared.validation, compared.test)
    )
    return Reference(*parts)


def refuse_training(recipe: Mapping[str, Any], reference: str) -> None:
    """Refuse settings of a training, which vectors without a teacher have not.

    Raises:
        UsageError: such a setting was typed.
    """
    typed = [name for name in _TRAINING if recipe.get(name) is not None]
    if typed:
        raise UsageError(
            f"--{typed[0].replace('_', '-')}: texts have no labels that say what their vectors "
            f"are, so bmc train --task embedding reads {reference} as it is; leave it out. "
            "bmc distill trains a student on its vectors"
        )


def refuse_other_models(model: Model, reference: str) -> None:
    """Refuse a model that makes no vectors of texts.

    Raises:
        UsageError: it makes none; the message names those that do.
    """
    if "vector" not in model.spec:
        students = ", ".join((*families.family("bert").students, "ngram"))
        raise UsageError(
            f"{reference} makes no vectors of texts: for --task embedding name {_MODELS}; a "
            f"student of bmc distill may also be {students}"
        )


def refuse_settings(settings: Distillation, teachers: Sequence[object]) -> None:
    """Refuse settings of distillation that need classes or one teacher's hidden states.

    Raises:
        UsageError: such a setting was typed, or there are several teachers.
    """
    defaults = Distillation()
    for name in _OF_CLASSES:
        if getattr(settings, name) != getattr(defaults, name):
            option = "hard" if name == "hard_label_weight" else name.replace("_", "-")
            raise UsageError(
                f"--{option} is for students of classes or numbers; a student of sentence "
                "embeddings learns its teacher's vectors and their similarities "
                "(--similarity-weight): leave it out"
            )
    if len(teachers) > 1:
        raise UsageError(
            f"{len(teachers)} teachers: the numbers in their vectors mean different things, so a "
            "student of sentence embeddings learns from one"
        )


def refuse_similarity(settings: Distillation, task: str) -> None:
    """Refuse the weight of similarities for tasks without vectors.

    Raises:
        UsageError: it was typed.
    """
    if settings.similarity_weight != Distillation().similarity_weight:
        raise UsageError(
            f"--similarity-weight weighs similarities of sentence embeddings, and the task is "
            f"{task}: leave it out, or take --task embedding"
        )
