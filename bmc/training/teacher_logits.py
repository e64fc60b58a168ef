"""A teacher's logits, cached on disk; after an interruption only missing logits are computed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from bmc import console, disk, processes
from bmc.contracts.targets import runtime_of
from bmc.contracts.tasks import EMBEDDING
from bmc.inference.form import training_form
from bmc.inputs import Aligned, Many, OutputRows
from bmc.inputs.audio import AudioEncoder
from bmc.inputs.image import ImageEncoder
from bmc.model import Model, output_of
from bmc.split import identity_of
from bmc.training import collective
from bmc.training.batches import Batch, Rows
from bmc.training.bundle_network import is_bundle
from bmc.training.code_identity import identity_of_code
from bmc.training.device import autocast, device_of, has_bf16, precision_of_answers
from bmc.training.identity import structure_of
from bmc.training.loop import outputs_of
from bmc.training.memory import return_large_blocks
from bmc.training.pixels import converted
from bmc.writing import write_atomically

CHUNK = 2048
_DIGEST_BYTES = 32  # sha256


def cached_logits(
    teacher: Model, sha256: str, texts: Many, cache: Path, device: str, precision: str = "auto"
) -> Tensor:
    """Return a teacher's logits, float32 (rows, classes); of rows of words (words, classes).

    The logits are stored in chunks. The name of a chunk is a hash of everything that its logits
    depend on: the teacher's weights and structure, the texts and the tokenizer, the precision, the
    version of torch, and that of a bundle's runtime. So a longer list of texts reuses the chunks of
    a shorter list. A chunk ends with a sha256 of its content; a damaged chunk is computed again.

    Several processes compute each some batches of a chunk, the batches of one process. Only the
    first reads and writes the cache.

    Args:
        teacher: a trained model.
        sha256: sha256 of the teacher's weights.
        texts: rows to compute logits for.
        cache: folder of all chunks, which is safe to delete.
        device: "cpu", "cuda", or "auto".
        precision: "fp32", or "auto", which may be bf16 where outputs are logits.
    """
    folder = cache / f"teacher-{sha256[:16]}"
    precision = precision_of_answers(teacher.task, precision)
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    identity = _identity(teacher, sha256, device)
    if precision != "auto":
        identity += f" {precision}"
    paths = [folder / f"{_name(identity, chunk)}.npy" for chunk in chunks]

    def read() -> dict[Path, NDArray[np.float32]]:
        disk.make_folders(folder)
        shapes = ((_outputs(teacher, chunk), _width(teacher)) for chunk in chunks)
        every = {path: read_logits(path, shape) for path, shape in zip(paths, shapes, strict=True)}
        return {path: logits for path, logits in every.items() if logits is not None}

    logits_of_chunks = collective.from_first(read)
    cached = sum(
        len(chunk) for path, chunk in zip(paths, chunks, strict=True) if path in logits_of_chunks
    )
    if cached < len(texts):
        return_large_blocks()
        with console.progress("teacher's logits", len(texts), done=cached) as advance:
            for path, chunk in zip(paths, chunks, strict=True):
                if path not in logits_of_chunks:
                    logits_of_chunks[path] = _compute(teacher, chunk, device, precision)
                    if processes.is_first():
                        write_logits(path, logits_of_chunks[path])
                    advance(len(chunk))
    return torch.from_numpy(np.concatenate([logits_of_chunks[path] for path in paths]))


def cached_rows(sha256: str, cache: Path) -> int:
    """Return the number of rows, at most, whose logits a cache holds of one teacher.

    Args:
        sha256: sha256 of the teacher's weights.
        cache: folder of all chunks.
    """
    return CHUNK * sum(1 for _ in (cache / f"teacher-{sha256[:16]}").glob("*.npy"))


def live_logits(teacher: Model, student: Model, device: str) -> Callable[[Batch], Tensor]:
    """Return a function that computes a teacher's logits for augmented images or sound.

    A batch has the student's pixels or samples. Where the teacher's encoder has another
    normalization or size, it gets the same augmented images as its own encoder makes pixels of
    them; where it has another length of clips, the same clips, padded or cut.

    Args:
        teacher: a trained model of images or sound.
        student: the model whose inputs a batch has.
        device: "cpu", "cuda", or "auto".

    Source: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent".
    """
    torch_device = device_of(device)
    teacher.module.to(torch_device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    source, target = student.encoder, teacher.encoder

    def logits(batch: Batch) -> Tensor:
        inputs = batch.inputs
        if isinstance(source, ImageEncoder) and isinstance(target, ImageEncoder):
            pixels = converted(inputs["pixels"], source.settings, target.settings)
            inputs = {**inputs, "pixels": pixels}
        if isinstance(target, AudioEncoder):
            samples = inputs["samples"]
            missing = target.settings.samples - samples.shape[1]
            inputs = {**inputs, "samples": pad(samples, (0, missing))}
        rows = len(batch.rows)
        own = collective.own_share(inputs)
        with torch.no_grad(), autocast(precision_of_answers(teacher.task), torch_device):
            return collective.gather(output_of(teacher.module, own).float(), rows)

    return logits


def _compute(teacher: Model, texts: Many, device: str, precision: str) -> NDArray[np.float32]:
    rows = Rows(texts, [], teacher.encoder)
    if is_bundle(teacher):
        return outputs_of(teacher.module, rows, "fp32", "cpu", divided=True)
    form = training_form(teacher)
    return outputs_of(teacher.module, rows, precision, device, form, divided=True)


def _outputs(teacher: Model, texts: Many) -> int:
    """Return the number of outputs for some rows: one each, or one for each word."""
    encoder = teacher.encoder
    is_aligned = isinstance(encoder, Aligned)
    return len(OutputRows(encoder, encoder.encode(texts))) if is_aligned else len(texts)


def _width(teacher: Model) -> int:
    if teacher.task == EMBEDDING:
        return int(teacher.outputs()[0].shape[1])
    return max(len(teacher.labels), 1)


def _identity(teacher: Model, sha256: str, device: str) -> str:
    """Return everything that a teacher's logits depend on, except the texts."""
    device_type = device_of(device).type
    bf16 = device_type == "cuda" or has_bf16()
    runtime = f" {_runtime(teacher.spec['target'])}" if is_bundle(teacher) else ""
    code = ""
    if getattr(teacher.module, "is_user_network", False):
        code = f" {identity_of_code(teacher.module)}"
    return (
        f"{sha256} {structure_of(teacher)} {device_type} {bf16} {torch.__version__}{runtime}{code}"
    )


def _runtime(target: str) -> str:
    """Return the name and the version of a target's runtime."""
    return f"{target} {runtime_of(target).available().version}"


def _name(identity: str, texts: Many) -> str:
    digest = hashlib.sha256(f"{identity} {len(texts)}".encode())
    for row in texts:
        digest.update(identity_of(row) + b"\x1e")
    return digest.hexdigest()[:24]


def write_logits(path: Path, logits: NDArray[np.float32]) -> None:
    """Write the logits of a chunk and their sha256 atomically."""
    buffer = io.BytesIO()
    np.save(buffer, logits)
    content = buffer.getvalue()
    write_atomically(path, content + hashlib.sha256(content).digest())


def read_logits(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the logits of a chunk; None if the chunk is missing or damaged."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        stored = b""
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() == digest:
        logits = np.load(io.BytesIO(content), allow_pickle=False)
        if logits.shape == shape and logits.dtype == np.float32:
            return logits  # type: ignore[no-any-return]
    console.note(f"{path} is damaged: its logits are computed again")
    return None
