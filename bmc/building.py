"""Build a model from an untrusted directory without letting it take more memory than its weights.

A few bytes of config.json can ask for any number of layers. bmc builds the model first on PyTorch's
meta device, where tensors have shapes but no memory, and compares the shapes with the header of the
weights file. A model that does not fit its weights is refused before memory is allocated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as registration

from bmc.errors import ArtifactError
from bmc.model import Model
from bmc.weights_header import MAX_TENSORS, Header

_ALLOWANCE = 512 << 20  # bytes that any model may take
# Bytes in memory allowed for each byte of the weights file. A model is built at its full size in
# fp32 before its recorded compression steps are replayed: shared tensors are still separate, 4-bit
# weights take 8 times their stored size, and an embedding still has the rows that a step removed.
_BYTES_PER_STORED_BYTE = 16
_META_WORDS = ("meta tensor", "Meta", "meta device", "on meta")


def max_bytes(stored: Header) -> int:
    """Return how many bytes of memory a model may take while it is built.

    Args:
        stored: the header of the model's weights file.
    """
    return _ALLOWANCE + _BYTES_PER_STORED_BYTE * stored.size


def check_fit(build: Callable[[], Model], stored: Header, folder: Path) -> None:
    """Build a model on the meta device and compare names and shapes with the stored weights.

    A model that cannot be built without the values of its tensors is not compared here; loading its
    weights compares them.

    Args:
        build: builds the model.
        stored: the header of the model's weights file.
        folder: the model directory, for messages.

    Raises:
        ArtifactError: the model does not fit the weights, or would take far more memory than they.
    """
    limit = max_bytes(stored)
    try:
        # The code of a network may draw random numbers: the caller's generator keeps its state.
        with torch.random.fork_rng(devices=[]), torch.device("meta"), bounded(4 * limit):
            module = build().module
    except (ArtifactError, NotImplementedError, RuntimeError) as error:
        if _asks_for_values(error):
            return
        raise
    tensors = module.state_dict(keep_vars=True)
    unique = {id(tensor): tensor for tensor in [*tensors.values(), *module.buffers()]}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in unique.values())
    if needed > limit:
        raise _too_large(needed, limit)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name, shape in stored.shapes.items():
        if shapes.get(name) != shape:
            raise ArtifactError(
                f"{folder}: the weights do not fit the model ({name:.100} has shape {shape} in the "
                f"file, {shapes.get(name, 'none')} in the model)"
            )
    covered = {id(tensors[name]) for name in stored.shapes}
    missing = [name for name, tensor in tensors.items() if id(tensor) not in covered]
    if missing:
        rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        verb = "are" if rest else "is"
        raise ArtifactError(
            f"{folder}: the weights do not fit the model ({missing[0]:.100}{rest} {verb} not in "
            "the file)"
        )


@contextmanager
def bounded(limit: int) -> Iterator[None]:
    """Stop building a network that registers too many modules and tensors, or too large tensors.

    PyTorch allocates a tensor's memory before the tensor is registered, but most layers fill it
    with values only afterwards, and the operating system provides memory when it is written to: the
    check comes early enough.

    Args:
        limit: bytes that all tensors registered in this block may have together.

    Raises:
        ArtifactError: the tensors have more bytes, or there are more than `MAX_TENSORS`.
    """
    thread = threading.get_ident()
    count = used_bytes = 0

    def count_registration(_module: nn.Module, _name: str, value: Any) -> None:
        nonlocal count, used_bytes
        if threading.get_ident() != thread or value is None:
            return
        count += 1
        if isinstance(value, torch.Tensor) and not nn.parameter.is_lazy(value):
            used_bytes += value.numel() * value.element_size()
        if count > MAX_TENSORS:
            raise ArtifactError(f"the model has more than {MAX_TENSORS:,} layers and tensors")
        if used_bytes > limit:
            raise _too_large(used_bytes, limit)

    hooks = [
        registration.register_module_parameter_registration_hook(count_registration),
        registration.register_module_buffer_registration_hook(count_registration),
        registration.register_module_module_registration_hook(count_registration),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _too_large(needed: int, limit: int) -> ArtifactError:
    return ArtifactError(
        f"the model would take {needed:,} bytes, and its weights file allows {limit:,}: its "
        "config.json or a step asks for more than the file holds"
    )


def _asks_for_values(error: BaseException | None) -> bool:
    """Tell whether building failed because tensors on the meta device have no values."""
    while error is not None:
        text = str(error)
        if isinstance(error, NotImplementedError) or any(word in text for word in _META_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
