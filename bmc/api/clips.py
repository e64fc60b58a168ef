"""Clips of sound in memory as data: arrays of samples, with a label for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from bmc import memory
from bmc.contracts.tasks import label_reading, labeled_tasks
from bmc.data import Table, clips_in_memory, content_of
from bmc.errors import UsageError
from bmc.inputs.audio import RATE


def named_clips(
    clips: Any,
    labels: Any,
    sampling_rate: int | None,
    speakers: Any,
    features: str | Sequence[str] | None,
    task: str,
) -> str:
    """Return a reference of clips, under which bmc finds them until the process ends.

    Args:
        clips: an array (clips, samples), or a sequence of arrays (samples).
        labels: a label for each clip.
        sampling_rate: samples a second of each clip; 16,000 when None.
        speakers: the speaker of each clip; None where clips are split one by one.
        features: names of columns, which clips do not have.
        task: name of the task.

    Raises:
        DataError: the clips or the labels cannot be used.
        SettingError: the sampling rate is out of range.
        UsageError: columns are named.
    """
    if features:
        raise UsageError(
            "--features names columns of a table, and data with labels is clips of sound: leave "
            "one of them out"
        )
    several = task in labeled_tasks() and label_reading(task).several
    rate = RATE if sampling_rate is None else sampling_rate
    table = clips_in_memory(clips, labels, rate, several, speakers)
    name = f"{memory.CLIPS}{_digest(table)}"
    memory.keep_table(name, table)
    return memory.PREFIX + name


def _digest(table: Table) -> str:
    names = "\x1f".join((*table.classes, *table.groups))
    digest = hashlib.sha256(names.encode())
    for row, label in zip(table.rows, table.labels, strict=True):
        digest.update(content_of(row) + b"\x1f" + label.encode() + b"\x1e")
    return digest.hexdigest()[:12]
