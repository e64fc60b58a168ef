"""The samples of an ONNX file: arrays, images, texts or numbers of a caller, or generated ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bmc import console
from bmc import data as datasets
from bmc.data import FORMATS
from bmc.errors import DataError, SettingError, UsageError
from bmc.inputs import Many
from bmc.onnx_models.class_labels import row_labels
from bmc.onnx_models.generated import generate, unknown_integers
from bmc.onnx_models.image_inputs import pixel_format
from bmc.onnx_models.preprocessing import OF_IMAGES, Preprocessing
from bmc.onnx_models.reading import OnnxFile
from bmc.onnx_models.samples import Samples, read_samples, samples_of, split_labels
from bmc.onnx_models.stored_calls import samples_from
from bmc.workflows.onnx_tables import numbers_of, texts_of
from bmc.workflows.options import SampledFiles
from bmc.workflows.settings import settings_from

Arrays = Mapping[str, NDArray[Any]]
SamplesInMemory = Arrays | Iterable[Arrays]
"""Arrays of all samples by input name, or an iterable of those of each sample."""
_IMAGES = "imagefolder:"
_FRACTIONS = ("scale", "mean", "std", "crop")  # names of columns may have a slash
_SEVERAL = ("mean", "std", "size", "stretch")
MAX_ROWS = 1000
"""Rows of a folder or table that are used: they determine ranges, and show a drop of one point."""


def samples_for(
    file: OnnxFile,
    files: SampledFiles,
    arrays: SamplesInMemory | None = None,
    labels: str | NDArray[Any] | None = None,
    are_scored: bool = True,
) -> Samples:
    """Return the samples that a caller named, or generated ones where those were asked for.

    Args:
        file: the ONNX file.
        files: what is named as samples and how it becomes inputs, or whether they are generated.
        arrays: samples in memory, in place of a path.
        labels: labels of the samples, or the name of their array or column; None for none.
        are_scored: whether labels are used that folders and tables have.

    Raises:
        UsageError: there are no samples, or samples of two kinds, or labels of generated samples.
    """
    named = files.samples is not None or arrays is not None
    if files.data:
        raise UsageError(
            f"{file.path} is an ONNX file: name its samples with --samples, not --data"
        )
    if named and files.random_samples:
        raise UsageError("--samples and --random-samples exclude each other")
    if labels is not None and not named:
        raise UsageError("--labels needs the samples that the labels belong to: --samples ROWS.npz")
    if files.preprocess and files.samples is None:
        raise UsageError(
            "--preprocess says how the images, texts or numbers of --samples become inputs, and "
            "there are none: leave it out"
        )
    if isinstance(arrays, Mapping):
        by_input = cast("Arrays", arrays)
        if isinstance(labels, str):
            by_input, labels = split_labels(file, by_input, labels, "samples")
        samples = samples_of(file, by_input, "samples")
    elif arrays is not None:
        key = labels if isinstance(labels, str) else None
        samples = samples_from(file, arrays, "samples", key)
    elif files.samples is not None:
        key = labels if isinstance(labels, str) else None
        samples, rows = _read(file, files.samples, key, files.preprocess)
        has_array = labels is not None and key is None
        if are_scored and rows is not None and not has_array:
            samples = rows.label(file, samples, are_named=key is not None)
    else:
        return _generated(file, files)
    if labels is not None and not isinstance(labels, str):
        samples = samples.labeled(labels)
    return _without_padding(file, samples)


def may_have_labels(reference: object) -> bool:
    """Tell whether samples may have labels that no option names: class folders, a column."""
    text = str(reference)
    return text.startswith(_IMAGES) or Path(text).suffix.lower() in FORMATS


def no_labels(path: Path) -> UsageError:
    """Return the error for a limit of a score where the samples of a file have no labels."""
    return UsageError(
        f"{path} has no labels for --max-drop: --labels names their array in the .npz file, or "
        "their column in the table; without labels, --min-agreement limits the change"
    )


def _read(
    file: OnnxFile, reference: str, labels: str | None, preprocess: Mapping[str, Any]
) -> tuple[Samples, _Rows | None]:
    """Return the samples that a reference names, and their rows if those are not arrays.

    Args:
        file: the ONNX file.
        reference: an .npz file, a table, or imagefolder:DIR.
        labels: name of the labels' array or column; None for those that the samples have.
        preprocess: settings of `Preprocessing` by name.

    Raises:
        UsageError: the reference, a setting, or the model's inputs do not fit each other.
        DataError: the samples cannot be read, or do not fit the model's inputs.
    """
    values = {name: _as_numbers(name, value) for name, value in preprocess.items()}
    typed = Preprocessing(**settings_from(Preprocessing, values, "--preprocess"))
    if reference.startswith(_IMAGES):
        return _image_samples(file, reference, labels, typed)
    path = Path(reference)
    if path.suffix.lower() in FORMATS:
        return _table_samples(file, path, labels, typed)
    typed.refuse_except((), "the arrays of an .npz file are the inputs")
    return read_samples(file, path, labels), None


def _as_numbers(name: str, value: Any) -> Any:
    """Return the quotient of a fraction such as 1/255, and one number of several as a tuple.

    Raises:
        SettingError: a list that a Python caller gave holds something else than numbers.
    """
    if isinstance(value, str):
        return _as_number(name, value) if name in _FRACTIONS and "/" in value else value
    if name not in _SEVERAL:
        return value
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    if name == "size" and not all(isinstance(number, Integral) for number in numbers):
        raise SettingError(f"{name} is {value!r:.60}; it must be a whole number, or a list of them")
    if not all(isinstance(number, Real) for number in numbers):
        raise SettingError(f"{name} is {value!r:.60}; it must be a number, or a list of them")
    return numbers


def _as_number(name: str, value: str) -> float:
    """Return the quotient of a fraction."""
    above, _, below = value.partition("/")
    try:
        return float(above) / float(below)
    except (ValueError, ZeroDivisionError) as error:
        raise SettingError(f"{name} is {value!r}; it must be a number, such as 1/255") from error


def _image_samples(
    file: OnnxFile, reference: str, labels: str | None, typed: Preprocessing
) -> tuple[Samples, _Rows]:
    typed.refuse_except(OF_IMAGES, f"{reference} holds images")
    if labels is not None:
        raise UsageError(
            f"--labels {labels!r}: {reference} has no columns; its labels are the names of its "
            "class folders, which need no option"
        )
    pixels = pixel_format(file, typed)
    table = datasets.images_in(reference.removeprefix(_IMAGES))
    for note in table.notes:
        console.note(note)
    labels_of_rows = tuple(table.labels)
    every_row = _Rows(table.rows, labels_of_rows, frozenset(labels_of_rows))
    rows = every_row.drawn(reference, pixels.rows)
    with console.progress("reading images", len(rows)) as advance:

        def counted() -> Iterable[Arrays]:
            for call in pixels.calls(list(rows.rows)):
                yield call
                advance(pixels.rows)

        return samples_from(file, counted(), reference), rows


def _table_samples(
    file: OnnxFile, path: Path, labels: str | None, typed: Preprocessing
) -> tuple[Samples, _Rows]:
    """Return the samples of a table: numbers for a model of floats, texts for one of integers."""
    kinds = {np.dtype(info.dtype).kind for info in file.inputs}
    if kinds == {"f"} and len(file.inputs) == 1:
        numbers = numbers_of(file, path, labels, typed)
        every_row = _Rows(numbers.rows, numbers.labels, frozenset(numbers.labels))
        rows = every_row.drawn(str(path), numbers.rows_a_call)
        samples = samples_of(file, {file.inputs[0].name: np.asarray(rows.rows)}, str(path))
    elif "f" not in kinds:
        texts = texts_of(file, path, labels, typed)
        every_row = _Rows(texts.rows, texts.labels, frozenset(texts.labels))
        rows = every_row.drawn(str(path), texts.inputs.rows)
        samples = samples_from(file, texts.inputs.calls(list(rows.rows)), str(path))
    else:
        names = ", ".join(f"{info.name} {info.dtype}" for info in file.inputs)
        raise UsageError(
            f"{file.path} takes {names:.200}; a table holds the numbers of one input, or texts: "
            "save arrays of the inputs as an .npz file"
        )
    return samples, rows


@dataclass(frozen=True)
class _Rows:
    """Rows of a folder or a table, their labels, if they have some, and the names of all labels."""

    rows: Many
    labels: Sequence[str]
    names: frozenset[str]

    def __len__(self) -> int:
        return len(self.rows)

    def drawn(self, reference: str, rows_a_call: int) -> _Rows:
        """Return rows that fill whole calls: all of them, or 1,000 drawn from more.

        Raises:
            DataError: there are fewer rows than a call takes.
        """
        count = min(len(self), max(MAX_ROWS, rows_a_call))
        count -= count % rows_a_call
        if not count:
            raise DataError(
                f"{reference} has {len(self)} rows, and the model takes {rows_a_call} a call: add "
                "more"
            )
        if count == len(self):
            return self
        drawn = np.sort(np.random.default_rng(0).permutation(len(self))[:count]).tolist()
        console.note(f"{reference}: {count:,} of {len(self):,} rows are used, drawn at random")
        labels = [self.labels[index] for index in drawn] if self.labels else ()
        return _Rows([self.rows[index] for index in drawn], labels, self.names)

    def label(self, file: OnnxFile, samples: Samples, are_named: bool) -> Samples:
        """Return samples with the labels of their rows, where those are the model's.

        Args:
            file: the ONNX file.
            samples: the samples of these rows.
            are_named: whether the caller named the labels.

        Raises:
            UsageError: the caller named labels that are not those of the model.
        """
        if not self.labels:
            return samples
        names = sorted(self.names)
        labels = row_labels(file, self.labels, names, samples.reference, are_named)
        if labels.values is None:
            if are_named:
                raise UsageError(labels.note)
            console.note(f"{labels.note}; the samples are used without labels")
            return samples
        if labels.note:
            console.note(labels.note)
        return samples.labeled(labels.values)


def _generated(file: OnnxFile, files: SampledFiles) -> Samples:
    if not files.random_samples:
        names = ", ".join(info.name for info in file.inputs)
        raise UsageError(
            f"{file.path} comes without data: name an .npz file with arrays of {names}, a table or "
            "imagefolder:DIR, --samples ROWS.npz; or generate inputs with --random-samples, a "
            "weaker check"
        )
    console.note("inputs are random: agreement on real inputs can be lower or higher")
    if unknown := unknown_integers(file):
        console.note(f"integers of {', '.join(unknown)} are 0 or 1: nothing says what they mean")
    return generate(file)


def _without_padding(file: OnnxFile, samples: Samples) -> Samples:
    """Return samples as they are; say so where a mask shows that rows are padded needlessly."""
    masks = [
        info.name
        for info in file.inputs
        if "attention_mask" in info.name.lower()
        and any(isinstance(size, str) for size in (info.shape or ("any",))[1:] or ("any",))
    ]
    if padded := [name for name in masks if any((call[name] == 0).any() for call in samples.calls)]:
        console.note(
            f"input {padded[0]} holds zeros: the samples are padded, and what stands at the "
            "padding counts in ranges and comparisons; pass rows without padding"
        )
    return samples
