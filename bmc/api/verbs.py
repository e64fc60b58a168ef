"""The verbs as functions: train, distill, prune, share, quantize; each returns a handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bmc import workspace
from bmc.api._calls import Progress, call, path_of
from bmc.api._rows import Unlabeled, referenced
from bmc.api.frames import Rows, named_data
from bmc.api.handles import BundleHandle, ModelHandle, reference_of
from bmc.api.wording import worded
from bmc.data import Fold
from bmc.export import ExportOptions
from bmc.memory import PREFIX
from bmc.training.settings import TrainingSettings
from bmc.workflows import distill as distilling
from bmc.workflows import train as training
from bmc.workflows.data import DataSource
from bmc.workflows.export import export as workflows_export
from bmc.workflows.options import Files, Output, Pruning, Quantization, SampledFiles, Sharing
from bmc.workflows.prune import prune_model as workflows_prune
from bmc.workflows.quantize import quantize_model as workflows_quantize
from bmc.workflows.settings import settings_from
from bmc.workflows.share import share_model as workflows_share
from bmc.workflows.tuning import Distillation, Tuning

Reference = ModelHandle | str | Path
"""A model: its handle, its folder, or its name in the workspace."""
TeacherReference = Reference | BundleHandle
"""A teacher: a model, or a bundle, whose logits are all that it teaches."""


@worded()
def train(
    model: Reference = "bert",
    data: str | Path | Rows | None = None,
    labels: Any = None,
    *,
    sampling_rate: int | None = None,
    speakers: Any = None,
    text_column: str | Sequence[str] = "text",
    label_column: str | Sequence[str] = "label",
    features: str | Sequence[str] | None = None,
    task: str | None = None,
    fold: tuple[int, int] | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Train or fine-tune a baseline, or a network of your own, on labeled data.

    Settings that are left out take the training settings of the built-in model. A run that
    is interrupted resumes from its last checkpoint when the same call is made again.

    Args:
        model: the name of a built-in model, a Hugging Face folder, hf:org/name@revision, timm:NAME,
            python:module:function, or the handle of a network that `bmc.wrap` took. Training
            starts from the weights that the network had when `bmc.wrap` copied it.
        data: a data set's name, a .csv, .tsv, .jsonl, .json, .parquet, .arrow or .npz file,
            imagefolder:DIR, audiofolder:DIR, or hf:NAME; with task="tokens" a .conll, .txt or
            .jsonl file of words with tags; or rows of numbers in memory: a data frame, a dictionary
            of columns, or a list of dictionaries; or clips of sound in memory: an array (clips,
            samples), or a list of arrays (samples) of any lengths, float in -1..1 or int16. When
            None, the data of a wrapped network, else movie-reviews.
        labels: a label for each clip of sound in memory; other data has a column of labels.
        sampling_rate: samples a second of the clips in memory, which are resampled to 16,000;
            16,000 when None.
        speakers: the speaker of each clip in memory, all of whose clips are then in one part; when
            None, clips are split one by one.
        text_column: the file's column with the text, or two for sentence pairs.
        label_column: the file's column with the class; of several labels a row the column with all
            of them, or a list of columns of 0 and 1.
        features: the table's columns of numbers, to be read instead of a text: a list of names, or
            "all" for every column of numbers but the label's.
        task: "classification", "multilabel" where a row has several labels, "tokens" where each
            word has a tag, "regression" where labels are numbers, or "embedding" for vectors of
            texts, which need no labels; when None, the task of a wrapped network, else
            classification.
        fold: (number, of): part of a cross-validation that is held out instead of the test split.
        output: the model directory; when None, MODEL-DATA in the workspace, or NAME-trained of a
            wrapped network.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: fields of `TrainingSettings`, such as epochs=3 or learning_rate=1e-3, and
            settings of the model, such as width=256.

    Returns:
        a handle of the model directory.

    Raises:
        UnknownError: there is no such model, data set or setting.
        SettingError: a setting is out of range or of another type.
        DataError: the data cannot be used, or is of another kind than the model takes.
        UsageError: the output exists, and `force` is off.
        DivergedError: the loss became NaN or infinite.

    Example:
        >>> teacher = bmc.train("bert", data="movie-reviews", epochs=2)
        >>> spotter = bmc.train("ds-cnn", clips, words, sampling_rate=44_100)
    """
    reference, wrapped = _baseline_of(model)
    wrapped_data = wrapped.data if wrapped else {}
    task = task or wrapped_data.get("task", "classification")
    with call(verbose, progress, model):
        column = _joined(label_column)
        data = named_data(data, features, column, task, labels, sampling_rate, speakers)
    source = _source(
        data or wrapped_data.get("reference", "movie-reviews"),
        text_column,
        label_column,
        features,
        task,
        fold,
    )
    output_path = path_of(output)
    if wrapped and output_path is None and data is None:
        output_path = workspace.root() / f"{reference.removeprefix(PREFIX)}-trained"
    setting_names = {field.name for field in fields(TrainingSettings)}
    recipe = {name: value for name, value in settings.items() if name in setting_names}
    options = {name: value for name, value in settings.items() if name not in setting_names}
    recipe = settings_from(TrainingSettings, recipe, "training")
    with call(verbose, progress, model):
        result = training.train(reference, source, options, recipe, Output(output_path, force))
    return ModelHandle(result.path, result.code or "")


@worded()
def distill(
    teacher: TeacherReference | Sequence[TeacherReference] = "bert",
    student: str | ModelHandle = "tiny",
    data: str | Path | Rows | None = None,
    labels: Any = None,
    *,
    sampling_rate: int | None = None,
    speakers: Any = None,
    student_settings: Mapping[str, Any] | None = None,
    transfer: Unlabeled | None = None,
    text_column: str | Sequence[str] | None = None,
    label_column: str | Sequence[str] | None = None,
    features: str | Sequence[str] | None = None,
    task: str | None = None,
    fold: tuple[int, int] | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Teach a small student what a trained teacher knows.

    Args:
        teacher: its handle, a model directory, a bundle, a workspace name, or the name of a
            pretrained text encoder, which is trained first where the workspace has none. A list of
            several teaches by the mean of their predictions.
        student: "tiny" (2 layers x 128), "mini" (4 x 256), "small" (4 x 384), any model that
            `train` takes, the handle of a network that `bmc.wrap` took, or a trained model (its
            handle, folder or workspace name), which is taught from its own weights.
        data: what the student learns from; None takes the data that the teacher was trained on,
            split in the same way, or movie-reviews if `teacher` names a built-in model.
        labels: a label for each clip of sound, if `data` is clips in memory; see `train`.
        sampling_rate: samples a second of such clips; 16,000 when None. Those of `transfer` always
            have 16,000.
        speakers: the speaker of each such clip; see `train`.
        student_settings: settings of the student, by name, such as layers=3.
        transfer: unlabeled rows for the teacher: a list of texts, of pairs of texts, or of tuples
            of words where words have tags; an array of images or series, an array for each input of
            a wrapped network; or a source's name, such as "imdb", a .txt, .csv or .npz file, or
            "none". None takes imdb for movie reviews.
        text_column: the file's column with the text; the teacher's when None.
        label_column: the file's column with the class; the teacher's when None.
        features: the table's columns of numbers, or "all"; the teacher's when None.
        task: "classification", "multilabel", "tokens", "regression" or "embedding"; the teacher's
            when None.
        fold: (number, of): held-out part of a cross-validation; the teacher's when `fold` and
            `data` are None.
        output: the model directory; when None, STUDENT-DATA in the workspace, or NAME-distilled of
            a wrapped student.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: further fields of `bmc.workflows.tuning.Distillation`, such as temperature=2.0,
            hard_label_weight=0.5, signals="hidden=1" or epochs=3.

    Returns:
        a handle of the student.

    Raises:
        UnknownError: there is no such teacher, student, data set or setting.
        SettingError: a setting is out of range or of another type.
        UsageError: the teacher does not fit the data, or has learned rows that are held out here.

    Example:
        >>> student = bmc.distill(teacher, student="tiny", epochs=5)
        >>> student = bmc.distill(teacher, transfer=["a text", "another one"])
        >>> small = bmc.distill(large, student=bmc.wrap(network, (x, y)))
    """
    values = settings_from(Distillation, settings, "distill")
    if isinstance(teacher, ModelHandle | BundleHandle | str | Path):
        teachers = [teacher]
    else:
        teachers = list(teacher)
    first = teachers[0] if teachers else ""
    recorded: Mapping[str, Any] = (
        first.data if isinstance(first, ModelHandle | BundleHandle) else {}
    )
    with call(verbose, progress, *teachers):
        data = named_data(
            data,
            features or recorded.get("features"),
            _joined(label_column or str(recorded.get("label_column", "label"))),
            task or str(recorded.get("task", "classification")),
            labels,
            sampling_rate,
            speakers,
        )
    source = _source_of_teacher(recorded, data, text_column, label_column, features, task, fold)
    name, wrapped = _baseline_of(student)
    output_path = path_of(output)
    if wrapped and output_path is None:
        output_path = workspace.root() / f"{name.removeprefix(PREFIX)}-distilled"
    references: str | list[str] = [reference_of(each) for each in teachers]
    if isinstance(teacher, str):
        references = teacher
    with referenced(transfer) as unlabeled, call(verbose, progress, *teachers, student):
        distillation = Distillation(
            student=name, settings=student_settings or {}, transfer=unlabeled, **values
        )
        files = Output(output_path, force)
        result = distilling.distill(references, source, distillation, files)
    return ModelHandle(result.path, result.code or "")


@worded()
def prune(
    model: Reference,
    method: str = "structured",
    *,
    ratio: float | None = None,
    target_macs: int | str | None = None,
    target_params: int | str | None = None,
    target_size: int | str | None = None,
    epochs: int = 3,
    max_drop: float | None = None,
    distill: bool = False,
    teacher: TeacherReference | None = None,
    tuning: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Prune a model, then fine-tune it.

    Args:
        model: a handle, a model directory, a workspace name, or the folder of a sentence encoder.
        method: "structured", "depth", "unstructured", "movement", "nm" or "vocabulary".
        ratio: fraction to remove, 0 to 1; searched when a target or `max_drop` is given.
        target_macs: maximum of multiply-accumulates per row: a number, or a fraction of the present
            number, such as "0.25x".
        target_params: maximum of parameters: a number, or a fraction of the present number.
        target_size: maximum of bytes of the weights: a number, or a fraction of the present size.
        epochs: epochs of fine-tuning; 0 for none.
        max_drop: points of the validation score that may be lost.
        distill: fine-tune with the unpruned model as teacher, in addition to the true labels.
        teacher: another model as teacher instead.
        tuning: further fields of `bmc.workflows.tuning.Tuning`, such as learning_rate or seed.
        data: present location of the model's data, if the data was moved; for the folder of a
            sentence encoder, its texts: a .txt file, a table, or the name of a data set.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: the method's own settings, such as criterion="taylor".

    Returns:
        a handle of the pruned model.

    Raises:
        UnknownError: there is no such model, method or setting.
        SettingError: a setting is out of range or of another type.
        GateError: a target was not met, or more was lost than `max_drop`; the model is kept as
            NAME.failed.

    Example:
        >>> smaller = bmc.prune(model, ratio=0.5, epochs=5)
    """
    limits = _text(target_macs), _text(target_params), _text(target_size)
    pruning = Pruning(method, ratio, *limits, settings)
    tuned = _tuning(epochs, max_drop, distill, teacher, tuning)
    with call(verbose, progress, model, teacher):
        result = workflows_prune(reference_of(model), pruning, tuned, _files(data, output, force))
    return ModelHandle(result.path, result.code or "")


@worded()
def share(
    model: Reference,
    method: str = "lowrank",
    *,
    epochs: int = 3,
    max_drop: float | None = None,
    distill: bool = False,
    teacher: TeacherReference | None = None,
    tuning: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Factorize or share a model's parameters, then fine-tune it.

    Args:
        model: a handle, a model directory, a workspace name, or the folder of a sentence encoder.
        method: "layers", "embedding", "lowrank", "cluster" or "tie".
        epochs: epochs of fine-tuning; 0 for none.
        max_drop: points of the validation score that may be lost.
        distill: fine-tune with the unchanged model as teacher, in addition to the true labels.
        teacher: another model as teacher instead.
        tuning: further fields of `bmc.workflows.tuning.Tuning`, such as learning_rate or seed.
        data: present location of the model's data, if the data was moved; for the folder of a
            sentence encoder, its texts: a .txt file, a table, or the name of a data set.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: the method's own settings, such as energy=0.8.

    Returns:
        a handle of the shared model.

    Raises:
        UnknownError: there is no such model, method or setting.
        SettingError: a setting is out of range or of another type.
        GateError: more was lost than `max_drop`; the model is kept as NAME.failed.

    Example:
        >>> smaller = bmc.share(model, method="lowrank", energy=0.9)
    """
    tuned = _tuning(epochs, max_drop, distill, teacher, tuning)
    sharing = Sharing(method, settings)
    with call(verbose, progress, model, teacher):
        result = workflows_share(reference_of(model), sharing, tuned, _files(data, output, force))
    return ModelHandle(result.path, result.code or "")


@worded()
def quantize(
    model: Reference,
    method: str = "static",
    *,
    samples: int | None = None,
    epochs: int = 0,
    max_drop: float | None = None,
    teacher: TeacherReference | None = None,
    tuning: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> ModelHandle:
    """Quantize a model's weights and activations to fewer bits.

    Args:
        model: a handle, a model directory, a workspace name, or the folder of a sentence encoder.
        method: "static" (8 bits, calibrated), "qat" (static, then quantization-aware training),
            "mixed" (static, with the most sensitive layers in float), "dynamic" (8 bits, activation
            ranges at each call), "weights" (weights of 8 or 4 bits, computed in float), "fp16" or
            "bf16".
        samples: calibration samples, drawn from the training rows.
        epochs: epochs of training (qat; 0 stands for 1). The other methods train nothing.
        max_drop: points of the validation score that may be lost.
        teacher: model whose outputs are learned (qat); the unchanged model when None.
        tuning: further fields of `bmc.workflows.tuning.Tuning`, such as learning_rate or seed.
        data: present location of the model's data, if the data was moved; for the folder of a
            sentence encoder, its texts: a .txt file, a table, or the name of a data set.
        output: the model directory; MODEL-METHOD in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.
        settings: the method's own settings, such as calibrator="minmax", bits=4 or
            in_float=["classifier"].

    Returns:
        a handle of the quantized model.

    Raises:
        UnknownError: there is no such model, method or setting.
        SettingError: a setting is out of range or of another type.
        GateError: more was lost than `max_drop`; the model is kept as NAME.failed.

    Example:
        >>> small = bmc.quantize(student, method="static", samples=256)
    """
    tuned = _tuning(epochs, max_drop, False, teacher, tuning)
    quantization = Quantization(method, _text(samples), settings=settings)
    files = _files(data, output, force)
    with call(verbose, progress, model, teacher):
        result = workflows_quantize(reference_of(model), quantization, tuned, files)
    return ModelHandle(result.path, result.code or "")


def export_handles(
    model: ModelHandle,
    targets: Sequence[str],
    *,
    opset: int | None,
    max_batch: int,
    allow_slower: bool,
    reject_below: float | None,
    reject_rate: float | None,
    accept_accuracy: float | None,
    mobile: bool,
    data: str | Path | None,
    output: str | Path | None,
    force: bool,
) -> tuple[BundleHandle, ...]:
    """Export a model to targets; see `ModelHandle.to`."""
    options = ExportOptions(
        opset,
        max_batch,
        allow_slower,
        mobile=mobile,
        reject_below=reject_below,
        reject_rate=reject_rate,
        accept_accuracy=accept_accuracy,
    )
    files = SampledFiles(path_of(output), force, _text(data))
    result = workflows_export(reference_of(model), targets, options, files)
    return tuple(BundleHandle(bundle.path) for bundle in result.bundles)


def _source(
    data: str | Path,
    text_column: str | Sequence[str],
    label_column: str | Sequence[str],
    features: str | Sequence[str] | None,
    task: str,
    fold: tuple[int, int] | None,
) -> DataSource:
    return DataSource(
        text_column=_names(text_column),
        label_column=_joined(label_column),
        task=task,
        features=_names(features or ()),
        data=str(data),
        fold=Fold(*fold) if fold else None,
    )


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _joined(columns: str | Sequence[str]) -> str:
    return columns if isinstance(columns, str) else ",".join(columns)


def _baseline_of(model: Reference) -> tuple[str, ModelHandle | None]:
    """Return what `bmc train` takes for a model, and the handle if it is a wrapped network's."""
    baseline = model.baseline if isinstance(model, ModelHandle) else ""
    if isinstance(model, ModelHandle) and baseline.startswith(PREFIX):
        return baseline, model
    return reference_of(model), None


def _source_of_teacher(
    recorded: Mapping[str, Any],
    data: str | Path | None,
    text_column: str | Sequence[str] | None,
    label_column: str | Sequence[str] | None,
    features: str | Sequence[str] | None,
    task: str | None,
    fold: tuple[int, int] | None,
) -> DataSource:
    """Return the student's data: what is named, else what the teacher was trained on.

    Args:
        recorded: record of the teacher's data; {} where it is not known.
    """
    data_name = data or recorded.get("location") or recorded.get("reference") or "movie-reviews"
    if fold is None and data is None and recorded.get("fold"):
        number, of = recorded["fold"]
        fold = (number, of)
    return _source(
        data_name,
        text_column or recorded.get("text_columns") or "text",
        label_column or str(recorded.get("label_column", "label")),
        features or recorded.get("features"),
        task or str(recorded.get("task", "classification")),
        fold,
    )


def _tuning(
    epochs: int,
    max_drop: float | None,
    distill: bool,
    teacher: TeacherReference | None,
    more: Mapping[str, Any] | None,
) -> Tuning:
    """Return how a model is fine-tuned; what `more` holds goes before the arguments."""
    values: dict[str, Any] = {
        "epochs": epochs,
        "max_drop": max_drop,
        "distill": distill,
        "teacher": None if teacher is None else reference_of(teacher),
    }
    return Tuning(**{**values, **settings_from(Tuning, more or {}, "tuning")})


def _files(data: str | Path | None, output: str | Path | None, force: bool) -> Files:
    return Files(path_of(output), force, _text(data))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
