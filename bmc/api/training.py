"""The verbs that make a model: train and distill, as functions; each returns a handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bmc import workspace
from bmc.api._calls import Progress, call, path_of
from bmc.api._rows import Unlabeled, referenced
from bmc.api.frames import Rows, named_data
from bmc.api.handles import BundleHandle, ModelHandle, reference_of
from bmc.api.references import Reference, TeacherReference
from bmc.api.sources import joined_columns, source_beside, source_of
from bmc.api.wording import worded
from bmc.memory import PREFIX
from bmc.settings import described
from bmc.training.settings import TrainingSettings
from bmc.workflows import distill as distilling
from bmc.workflows import train as training
from bmc.workflows.named_teachers import data_of
from bmc.workflows.options import Output
from bmc.workflows.settings import settings_from
from bmc.workflows.tuning import Distillation


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
        column = joined_columns(label_column)
        data = named_data(data, features, column, task, labels, sampling_rate, speakers)
    source = source_of(
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
    described_settings = described(TrainingSettings).values()
    setting_names = {name for each in described_settings for name in (each.name, each.alias)}
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
    named: str | list[str] = (
        teacher if isinstance(teacher, str) else [reference_of(each) for each in teachers]
    )
    recorded = data_of(named, None if data is None else "")
    with call(verbose, progress, *teachers):
        data = named_data(
            data,
            features or recorded.get("features"),
            joined_columns(label_column or str(recorded.get("label_column", "label"))),
            task or str(recorded.get("task", "classification")),
            labels,
            sampling_rate,
            speakers,
        )
    source = source_beside(recorded, data, text_column, label_column, features, task, fold)
    name, wrapped = _baseline_of(student)
    output_path = path_of(output)
    if wrapped and output_path is None:
        output_path = workspace.root() / f"{name.removeprefix(PREFIX)}-distilled"
    with referenced(transfer) as unlabeled, call(verbose, progress, *teachers, student):
        distillation = Distillation(
            student=name, settings=student_settings or {}, transfer=unlabeled, **values
        )
        files = Output(output_path, force)
        result = distilling.distill(named, source, distillation, files)
    return ModelHandle(result.path, result.code or "")


def _baseline_of(model: Reference) -> tuple[str, ModelHandle | None]:
    """Return what `bmc train` takes for a model, and the handle if `bmc.wrap` returned it.

    A handle of what was made of a wrapped network names its own directory, with its own weights.
    """
    baseline = model.baseline if isinstance(model, ModelHandle) else ""
    if isinstance(model, ModelHandle) and baseline.startswith(PREFIX) and model.is_as_wrapped:
        return baseline, model
    return reference_of(model), None
