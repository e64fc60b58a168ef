"""A teacher's logits, cached on disk; after an interruption only missing ones are computed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bmc import console, disk
from bmc.contracts import families
from bmc.data import content_of
from bmc.inputs import Many
from bmc.model import Model, output_of
from bmc.training.batches import Batch, Rows
from bmc.training.device import autocast, device_of, has_bf16
from bmc.training.identity import structure_of
from bmc.training.loop import outputs_of
from bmc.training.memory import return_large_blocks
from bmc.writing import write_atomically

CHUNK = 2048
_DIGEST = 32  # bytes of a sha256


def cached_logits(teacher: Model, sha256: str, texts: Many, cache: Path, device: str) -> Tensor:
    """Return the teacher's logits (rows, classes) in fp32.

    They are stored in chunks, whose names are hashes of everything they depend on: the teacher's
    weights and structure, the texts and the tokenizer, the precision, and the version of torch. A
    longer list of texts therefore reuses the chunks of a shorter one. A chunk ends with its own
    sha256; a damaged one is computed again.

    Args:
        teacher: a trained model.
        sha256: of its weights.
        texts: rows to answer.
        cache: folder of all chunks; safe to delete.
        device: where to compute.
    """
    folder = cache / f"teacher-{sha256[:16]}"
    disk.make_folders(folder)
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    depends = _depends(teacher, sha256, device)
    paths = [folder / f"{_name(depends, chunk)}.npy" for chunk in chunks]
    logits_of_chunks = {}
    for path, chunk in zip(paths, chunks, strict=True):
        if (logits := read_logits(path, (len(chunk), _width(teacher)))) is not None:
            logits_of_chunks[path] = logits
    known = sum(len(logits) for logits in logits_of_chunks.values())
    if known < len(texts):
        return_large_blocks()
        with console.progress("teacher's answers", len(texts), done=known) as advance:
            for path, chunk in zip(paths, chunks, strict=True):
                if path not in logits_of_chunks:
                    logits_of_chunks[path] = _compute(teacher, chunk, device)
                    write_logits(path, logits_of_chunks[path])
                    advance(len(chunk))
    return torch.from_numpy(np.concatenate([logits_of_chunks[path] for path in paths]))


def live_logits(teacher: Model, device: str) -> Callable[[Batch], Tensor]:
    """Return a function that computes a teacher's logits for a batch, augmented or not.

    Source: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent".
    """
    where = device_of(device)
    teacher.module.to(where, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def logits(batch: Batch) -> Tensor:
        with torch.no_grad(), autocast("auto", where):
            return output_of(teacher.module, batch.inputs).float()

    return logits


def _compute(teacher: Model, texts: Many, device: str) -> NDArray[np.float32]:
    rows = Rows(texts, [], teacher.encoder)
    family = families.network(teacher.family)
    forming = family.training_form
    form = forming(teacher.module) if forming else None
    return outputs_of(teacher.module, rows, "auto", device, form)


def _width(teacher: Model) -> int:
    return max(len(teacher.labels), 1)


def _depends(teacher: Model, sha256: str, device: str) -> str:
    """Return what all of a teacher's logits depend on, except the texts."""
    where = device_of(device)
    bf16 = where.type == "cuda" or has_bf16()
    return f"{sha256} {structure_of(teacher)} {where.type} {bf16} {torch.__version__}"


def _name(depends: str, texts: Many) -> str:
    digest = hashlib.sha256(f"{depends} {len(texts)}".encode())
    for row in texts:
        digest.update(content_of(row) + b"\x1e")
    return digest.hexdigest()[:24]


def write_logits(path: Path, logits: NDArray[np.float32]) -> None:
    """Write a chunk's logits and their sha256, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, logits)
    content = buffer.getvalue()
    write_atomically(path, content + hashlib.sha256(content).digest())


def read_logits(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return a chunk's logits; None if it is missing or damaged."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        stored = b""
    content, digest = stored[:-_DIGEST], stored[-_DIGEST:]
    if hashlib.sha256(content).digest() == digest:
        logits = np.load(io.BytesIO(content), allow_pickle=False)
        if logits.shape == shape and logits.dtype == np.float32:
            return logits  # type: ignore[no-any-return]
    console.note(f"{path} is damaged: these answers are computed again")
    return None
