"""Export a candidate and score it on validation rows: the test split is not read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bmc import bundle as bundles
from bmc.data import Dataset, Examples
from bmc.errors import GateError, UsageError
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.training.custom import measure_of
from bmc.writing import new_folder


def without_test(data: Dataset) -> Dataset:
    """Return a data set whose test split is empty, so that nothing can be chosen by it."""
    return replace(data, test=Examples((), ()))


def export_and_score(folder: Path, data: Dataset, target: str, output: Path) -> tuple[float, int]:
    """Write a bundle of a model for measurements, and score the bundle on the validation rows.

    The bundle holds no test scores, and is not timed against fp32.

    Args:
        folder: the model directory.
        data: the data of the model, without its test split.
        target: name of the target.
        output: folder to write; an earlier bundle there is replaced.

    Returns:
        the score (accuracy, or what the task counts instead), and the bytes of the model's file.

    Raises:
        GateError: the outputs of the bundle differ too much from PyTorch's.
        UsageError: the target cannot execute the model.
    """
    if len(data.test):
        raise UsageError("a search scores validation rows; the test split must be removed first")
    scored = replace(data, test=data.validation)
    with source_of(folder, scored, ExportOptions(allow_slower=True)) as source:
        source.check(target)
        with new_folder(output, force=True) as temporary:
            draft = flow.write(source, target, temporary)
            verified = flow.verify(draft)
            if verified.failure:
                raise GateError(f"{target}: {verified.failure}", "parity")
            flow.publish(draft, verified, flow.Timed())
            score = verified.scores[measure_of(source.model)]
    value = score["value"] if isinstance(score, dict) else score
    return float(value), bundles.read(output).model_size()
