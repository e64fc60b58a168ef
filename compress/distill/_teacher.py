"""A teacher's logits, kept on disk: computed once, and after a kill only what is missing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bmc import console, plugins
from bmc.data._split import content_of
from bmc.files import write_atomically
from bmc.inputs import Many
from bmc.model import Model, output_of
from bmc.training.batches import Batch, Rows
from bmc.training.loop import autocast, device_of, logits_of
from bmc.training.memory import return_large_blocks

_CHUNK = 2048
_BATCH = 64


def cached_logits(teacher: Model, sha256: str, texts: Many, cache: Path, device: str) -> Tensor:
    """Return the teacher's logits (rows, classes) in fp32.

    They are kept in chunks named by what they depend on (the teacher's weights, the texts, how
    they are cut), so a longer list of texts reuses the chunks of a shorter one.

    Args:
        teacher: a trained model.
        sha256: of its weights.
        texts: rows to answer.
        cache: folder of all chunks; safe to delete.
        device: where to compute.
    """
    folder = cache / f"teacher-{sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
    paths = [folder / f"{_name(teacher, chunk)}.npy" for chunk in chunks]
    found = {path: logits for path in paths if (logits := _read(path)) is not None}
    known = sum(len(logits) for logits in found.values())
    if known < len(texts):
        return_large_blocks()
        with console.progress("teacher's answers", len(texts), done=known) as advance:
            for path, chunk in zip(paths, chunks, strict=True):
                if path not in found:
                    found[path] = _compute(teacher, chunk, device)
                    buffer = io.BytesIO()
                    np.save(buffer, found[path])
                    write_atomically(path, buffer.getvalue())
                    advance(len(chunk))
    return torch.from_numpy(np.concatenate([found[path] for path in paths]))


def live_logits(teacher: Model, device: str) -> Callable[[Batch], Tensor]:
    """Return a function that lets a teacher answer a batch's very inputs, augmented ones too.

    Source: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent".
    """
    where = device_of(device)
    teacher.module.to(where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def answers(batch: Batch) -> Tensor:
        with torch.no_grad(), autocast("auto", where):
            return output_of(teacher.module, batch.inputs).float()

    return answers


def _compute(teacher: Model, texts: Many, device: str) -> np.ndarray:
    rows = Rows(texts, [], teacher.encoder)
    logits = np.empty((len(texts), len(teacher.labels)), np.float32)
    family = plugins.load("bmc.models", teacher.family, "model family")
    forming = getattr(family, "training_form", None)
    form = forming(teacher.module) if forming else None
    for places in rows.in_order(_BATCH):
        logits[places] = logits_of(teacher.module, rows, places, "auto", device, form).numpy()
    return logits


def _name(teacher: Model, texts: Many) -> str:
    digest = hashlib.sha256(f"{teacher.encoder.to_json()} {len(texts)}".encode())
    for row in texts:
        digest.update(content_of(row) + b"\x1e")
    return digest.hexdigest()[:24]


def _read(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError):  # missing, or cut short by something else than us
        return None
