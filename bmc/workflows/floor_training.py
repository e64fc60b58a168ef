"""Train and export the simple models of a report's floor, each in at most a few minutes.

For large data, first the number of epochs is reduced, then the number of training rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bmc import artifact, console, workspace
from bmc import data as datasets
from bmc.contracts.targets import exporter_of
from bmc.contracts.tasks import EMBEDDING
from bmc.data import Dataset, Examples
from bmc.errors import BmcError, DataError, UnknownError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.models import ngram
from bmc.stored_rows import StoredRows
from bmc.training.settings import TrainingSettings
from bmc.training.teacher_logits import cached_rows
from bmc.workflows import baselines, scoring, vectors
from bmc.workflows.baselines import Chosen
from bmc.workflows.data import DataSource, data_record
from bmc.workflows.distill import distill
from bmc.workflows.floor import FloorPlan
from bmc.workflows.lineage import fold_of, load_recorded
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation

_MAX_WORDS = 6_400_000
"""Words that an n-gram model trains on, over all rows and epochs; 40 seconds on one core."""
_WORDS_PER_TEXT = 20  # estimate for unlabeled texts
_NGRAM_EPOCHS = 4
# In each step the optimizer updates the whole table, which takes most of the time. So the batch is
# twice that of the family's recipe, with a learning rate that suits it.
_NGRAM_RECIPE: Mapping[str, Any] = {"batch_size": 128, "learning_rate": 0.14}
_VECTOR_EPOCHS = 10
_VECTOR_WIDTH = 64  # numbers in a row of the table from which vectors are computed
_MAX_TAUGHT = 30_000
"""Texts, at most, of which the teacher's vectors are computed for the floor; some minutes."""
# Words alone, as in the literature; the table is as large as that of the n-grams.
_SVD_SETTINGS: Mapping[str, Any] = {"width": 128, "buckets": 2**15, "words": 1, "characters": 0}
_MAX_WEIGHTS = 2**22
_MIN_BUCKETS = 2**12
_MAX_PIXELS = 130_000_000
"""Pixels that an image model trains on, over all rows and epochs; 50 seconds on one core."""
_FILE_PIXELS = 8_000
"""Number of pixels whose training takes as long as reading one image file."""
_SIDE = 64
"""Height and width to which larger images are scaled down."""
_MAX_ROWS = 2_000_000
"""Rows of numbers that a linear model trains on, over all epochs; 50 seconds on one core."""
_MAX_CLIPS = 40_000
"""Clips of sound that a linear model trains on, over all epochs; 50 seconds on one core."""
_EPOCHS = {"linear": 4, "cnn": 3, "sound": 20}
_SEED = 0


def make(plan: FloorPlan) -> Path:
    """Train a simple model by its plan, export it, and return the bundle's folder.

    After an interruption, training resumes from the last checkpoint; a trained model is reused.

    Raises:
        DataError: the data was changed since the plan's record, or does not suit the model.
        BmcError: the model cannot be trained or exported.
    """
    exporter_of(plan.target)  # raises MissingError for a missing package before the training
    data = data_of(plan)
    folder = plan.folder / plan.name
    if not _is_complete(folder, plan):
        _train(plan, data, folder)
    vectors_of_teacher = artifact.reference_of(folder, artifact.describe(folder))
    if vectors_of_teacher is not None:
        data = datasets.with_reference(data, vectors_of_teacher)
    with source_of(folder, data, ExportOptions()) as source:
        # A report compares bundles whose data has the same reference. If the data was moved, the
        # loaded reference differs from that of the report's models, so theirs is recorded.
        reference = plan.data["reference"]
        source.model.data = {**source.model.data, "reference": reference}
        flow.export(source, plan.target, plan.bundle, force=True)
    return plan.bundle


def data_of(plan: FloorPlan) -> Dataset:
    """Load the data of a plan.

    Raises:
        DataError: the data was changed since the report's models were trained.
    """
    data = load_recorded(plan.data, plan.source)
    if data.fingerprint != plan.data.get("fingerprint"):
        raise DataError(
            f"{plan.data['reference']} was changed since {plan.source.name} was trained on it "
            f"(fingerprint {data.fingerprint[:12]}, recorded {str(plan.data['fingerprint'])[:12]})"
        )
    return data


def _is_complete(folder: Path, plan: FloorPlan) -> bool:
    """Tell whether a folder holds the trained model, as after an interrupted export."""
    try:
        manifest = artifact.describe(folder)
        artifact.load(folder)
    except (BmcError, OSError):
        return False
    return bool(manifest["data"].get("fingerprint") == plan.data.get("fingerprint"))


def _train(plan: FloorPlan, data: Dataset, folder: Path) -> None:
    if plan.model == "tfidf":
        _fit_tfidf(plan, data, folder)
    elif plan.model == "svd":
        _fit_vectors(plan, data, folder)
    elif data.task == EMBEDDING:
        _check_teacher(plan, data)
        _teach(plan, data, folder)
    elif plan.model == "ngram":
        if plan.teacher and _can_be_taught(plan, data) and _is_taught(plan, data, folder):
            return
        epochs, train = _within_words(data)
        chosen = _ngram(data, width=0)
        _train_on_labels(chosen, replace(data, train=train), plan, folder, epochs)
    elif data.features:
        chosen = baselines.choose("mlp", {"depth": 0})
        train = part_of(data, _MAX_ROWS)
        epochs = _epochs(len(train), _MAX_ROWS, chosen.recipe_for(data).epochs)
        _train_on_labels(chosen, replace(data, train=train), plan, folder, epochs)
    elif data.kind == "audio":
        _train_on_sound(plan, data, folder)
    else:
        _train_on_images(plan, data, folder)


def _train_on_sound(plan: FloorPlan, data: Dataset, folder: Path) -> None:
    chosen = baselines.choose("mlp", {"depth": 0})
    train = part_of(data, _MAX_CLIPS)
    epochs = _epochs(len(train), _MAX_CLIPS, _EPOCHS["sound"])
    _train_on_labels(chosen, replace(data, train=train), plan, folder, epochs)


def _fit_tfidf(plan: FloorPlan, data: Dataset, folder: Path) -> None:
    # Imported here, so that the other models can be trained without scikit-learn.
    from bmc.training.tfidf import fit_tfidf, width_of  # noqa: PLC0415

    started = time.monotonic()
    data = replace(data, train=_within_words(data)[1])
    chosen = _ngram(data, width_of(data.task, len(data.labels)))
    model = baselines.built(chosen, data)
    fit_tfidf(model, data)
    scoring.score_validation(model, data.validation)
    model.data = data_record(data, _source(plan))
    model.origin = {
        **model.origin,
        **{"command": "report", "baseline": "tfidf", "options": asdict(chosen.options)},
        "seconds": round(time.monotonic() - started, 1),
    }
    artifact.save(model, folder, force=True)


def _fit_vectors(plan: FloorPlan, data: Dataset, folder: Path) -> None:
    # Imported here, so that the other models can be trained without scikit-learn.
    from bmc.training.tfidf_vectors import fit_vectors  # noqa: PLC0415

    started = time.monotonic()
    reference = artifact.reference_of(plan.source, artifact.describe(plan.source))
    if reference is None:
        raise DataError(
            f"{plan.source} lacks {artifact.REFERENCE}, with which vectors are compared"
        )
    chosen = baselines.choose("ngram", _SVD_SETTINGS)
    model = ngram.of_vectors(data, chosen.options, _SVD_SETTINGS["width"])
    fit_vectors(model, _within_words(data)[1].rows)
    model.reference = reference
    vectors.add_scores(model, data, reference)
    model.data = data_record(data, _source(plan))
    model.origin = {
        **model.origin,
        **{"command": "report", "baseline": "svd", "options": asdict(chosen.options)},
        "seconds": round(time.monotonic() - started, 1),
    }
    artifact.save(model, folder, force=True)


def _check_teacher(plan: FloorPlan, data: Dataset) -> None:
    """Check that a teacher's vectors can be had in a few minutes: texts have no labels instead.

    Raises:
        DataError: the teacher is not in the workspace, or there are many texts, whose vectors are
            not in the cache.
    """
    if plan.teacher is None:
        raise DataError(f"its teacher (weights {plan.teacher_sha256[:12]}) is not in the workspace")
    compared = datasets.compared(data)
    texts = len(data.train) + int(plan.transfer.get("rows", 0))
    texts += len(compared.validation) + len(compared.test)
    if texts > _MAX_TAUGHT and cached_rows(plan.teacher_sha256, workspace.cache()) < texts:
        raise DataError(
            f"the vectors of {plan.teacher} for {texts:,} texts are not in the cache, and "
            "computing them takes long"
        )


def _can_be_taught(plan: FloorPlan, data: Dataset) -> bool:
    """Tell whether the teacher's logits are cached; computing them would take too long."""
    rows = len(data.train) + int(plan.transfer.get("rows", 0))
    # `cached_rows` is an upper bound, because the last chunk of a list of texts may not be full.
    if cached_rows(plan.teacher_sha256, workspace.cache()) >= rows:
        return True
    console.note(
        f"{plan.name} is trained on the labels: the answers of {plan.teacher} to the {rows:,} "
        "texts of its students are not in the cache"
    )
    return False


def _is_taught(plan: FloorPlan, data: Dataset, folder: Path) -> bool:
    """Distill an n-gram model; return False if the students' unlabeled texts cannot be loaded."""
    try:
        _teach(plan, data, folder)
    except (DataError, UnknownError) as error:
        console.note(f"{plan.name} is trained on the labels: {error}")
        return False
    return True


def _teach(plan: FloorPlan, data: Dataset, folder: Path) -> None:
    words = int(datasets.lengths(data.train, data.kind).sum())
    texts = int(plan.transfer.get("rows", 0))
    words += texts * _WORDS_PER_TEXT
    is_vector = data.task == EMBEDDING
    chosen = _ngram(data, width=_VECTOR_WIDTH if is_vector else 0)
    recipe: Mapping[str, Any] = {} if is_vector else _NGRAM_RECIPE
    max_epochs = _VECTOR_EPOCHS if is_vector else _NGRAM_EPOCHS
    settings = Distillation(
        student="ngram",
        vocabulary="keep",  # hashed n-grams have no vocabulary to prune
        settings=asdict(chosen.options),
        transfer=str(plan.transfer.get("reference", "none")) if texts else "none",
        transfer_column=tuple(map(str, plan.transfer.get("columns") or ())),
        transfer_size=texts,
        epochs=_epochs(words, _MAX_WORDS, max_epochs),
        **recipe,
        seed=_SEED,
    )
    distill(str(plan.teacher), _source(plan), settings, Output(folder, force=True))


def _train_on_images(plan: FloorPlan, data: Dataset, folder: Path) -> None:
    rows = data.train.rows
    height, width, _ = datasets.image_shape(data)
    size = _SIDE if max(height, width) > _SIDE else 0
    pixels = size * size or height * width
    if not isinstance(rows, np.ndarray):
        pixels = max(pixels, _FILE_PIXELS)
    train = part_of(data, _MAX_PIXELS // pixels)
    epochs = _epochs(len(train) * pixels, _MAX_PIXELS, _EPOCHS[plan.model])
    options: dict[str, Any] = {"image_size": size}
    if plan.model == "linear":
        chosen = baselines.choose("mlp", {**options, "depth": 0})
    else:
        chosen = baselines.choose("cnn", options)
    _train_on_labels(chosen, replace(data, train=train), plan, folder, epochs)


def _train_on_labels(
    chosen: Chosen, data: Dataset, plan: FloorPlan, folder: Path, epochs: int
) -> None:
    settings: TrainingSettings = replace(chosen.recipe_for(data), epochs=epochs, seed=_SEED)
    baselines.train_baseline(chosen, data, _source(plan), settings, folder, force=True)


def _source(plan: FloorPlan) -> DataSource:
    """Return where a plan's data is now, and how it is read."""
    record = plan.data
    location = record.get("location")
    where = datasets.locate(
        str(record["reference"]), str(location) if location else None, str(plan.source)
    )
    columns = record.get("text_columns") or ["text"]
    return DataSource(
        text_column=tuple(columns),
        features=tuple(record.get("features") or ()),
        label_column=str(record.get("label_column", "label")),
        task=str(record.get("task", "classification")),
        data=where,
        fold=fold_of(record, plan.source),
    )


def _ngram(data: Dataset, width: int) -> Chosen:
    """Return an n-gram model with as many buckets as fit into 16 MB of weights."""
    numbers = width or min(max(len(data.labels) - 1, 1), 16)
    buckets = 2**18
    while buckets * numbers > _MAX_WEIGHTS and buckets > _MIN_BUCKETS:
        buckets //= 2
    return baselines.choose("ngram", {"width": width, "buckets": buckets})


def _within_words(data: Dataset) -> tuple[int, Examples]:
    """Return the number of epochs and the training rows of an n-gram model, within its budget."""
    words = int(datasets.lengths(data.train, data.kind).sum())
    if words <= _MAX_WORDS:
        return _epochs(words, _MAX_WORDS, _NGRAM_EPOCHS), data.train
    return 1, part_of(data, len(data.train) * _MAX_WORDS // words)


def _epochs(cost: int, budget: int, maximum: int) -> int:
    """Return the number of epochs of a cost that fit into a budget, from 1 to the maximum."""
    return min(max(budget // max(cost, 1), 1), maximum)


def part_of(data: Dataset, count: int) -> Examples:
    """Return a random subset of the training rows that has rows of every class."""
    train, labels = data.train, np.array(data.train.labels)
    if len(train) <= count:
        return train
    order = np.random.default_rng(_SEED).permutation(len(train))
    firsts = np.arange(0)
    if labels.ndim == 2:
        firsts = labels[order].argmax(axis=0)
    elif data.labels:
        firsts = np.unique(labels[order], return_index=True)[1]
    chosen = np.unique(np.concatenate([order[firsts], order[:count]]))
    rows: Any = train.rows
    if isinstance(rows, StoredRows):
        subset: Any = rows.take(chosen)
    elif isinstance(rows, np.ndarray):
        subset = rows[chosen]
    else:
        subset = tuple(rows[index] for index in chosen)
    return Examples(subset, tuple(train.labels[index] for index in chosen.tolist()))
