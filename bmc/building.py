"""Build a stranger's model within bounds: counted on the meta device before memory is taken.

A few bytes of config.json can ask for layers without end. The model is built first on PyTorch's
meta device, where tensors have shapes and no memory, and compared with the header of the weights'
file; what does not fit is refused there.
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
from bmc.weights_header import MOST_TENSORS, Header

_ROOM = 512 << 20
_OF_A_STORED_BYTE = 16  # layers that share, 4 bits, and rows that were cut: so much is built first
_META = ("meta tensor", "Meta", "meta device", "on meta")


def most_bytes(stored: Header) -> int:
    """Return how much memory a model may take while it is built."""
    return _ROOM + _OF_A_STORED_BYTE * stored.size


def check_fit(build: Callable[[], Model], stored: Header, folder: Path) -> None:
    """Build a model on the meta device and compare names and shapes with the stored weights.

    A model whose building needs values is not compared here; loading its weights does it.

    Raises:
        ArtifactError: it does not fit, or would take far more memory than its weights.
    """
    most = most_bytes(stored)
    try:
        # No value is drawn, but a network's own code may ask for some.
        with torch.random.fork_rng(devices=[]), torch.device("meta"), bounded(4 * most):
            module = build().module
    except (ArtifactError, NotImplementedError, RuntimeError) as error:
        if _asks_for_values(error):
            return
        raise
    tensors = module.state_dict(keep_vars=True)
    unique = {id(tensor): tensor for tensor in [*tensors.values(), *module.buffers()]}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in unique.values())
    if needed > most:
        raise _too_large(needed, most)
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
        raise ArtifactError(
            f"{folder}: the weights do not fit the model ({missing[0]:.100} and "
            f"{len(missing) - 1} others are not in the file)"
        )


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Stop the building of a network that registers too many tensors, or too large ones.

    A tensor is registered before it is filled with values: its memory was not touched yet.

    Args:
        most: bytes that all tensors registered in this block may have together.

    Raises:
        ArtifactError: they have more.
    """
    here = threading.get_ident()
    count = used = 0

    def note(_module: nn.Module, _name: str, value: Any) -> None:
        nonlocal count, used
        if threading.get_ident() != here or value is None:
            return
        count += 1
        if isinstance(value, torch.Tensor) and not nn.parameter.is_lazy(value):
            used += value.numel() * value.element_size()
        if count > MOST_TENSORS:
            raise ArtifactError(f"the model has more than {MOST_TENSORS:,} layers and tensors")
        if used > most:
            raise _too_large(used, most)

    hooks = [
        registration.register_module_parameter_registration_hook(note),
        registration.register_module_buffer_registration_hook(note),
        registration.register_module_module_registration_hook(note),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _too_large(needed: int, most: int) -> ArtifactError:
    return ArtifactError(
        f"the model would take {needed:,} bytes, its weights allow {most:,}: its config.json or a "
        "step asks for more than was stored"
    )


def _asks_for_values(error: BaseException | None) -> bool:
    """Tell whether building failed because the meta device has no values."""
    while error is not None:
        text = str(error)
        if isinstance(error, NotImplementedError) or any(word in text for word in _META):
            return True
        error = error.__cause__ or error.__context__
    return False
