"""Build a stranger's model within bounds: counted on the meta device before memory is taken.

A few bytes of config.json can ask for layers without end. The model is built first on PyTorch's
meta device, where tensors have shapes and no memory, and compared with the header of the weights'
file; what does not fit is refused there.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as registration

from bmc.errors import ArtifactError
from bmc.model import Model
from bmc.untrusted import MOST_JSON, open_regular, parse_json

_BITS = {
    **{"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16},
    **{"I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8},
}
_MOST_TENSORS = 100_000
_MOST_AXES = 8
_ROOM = 512 << 20
_OF_A_STORED_BYTE = 16  # layers that share, 4 bits, and rows that were cut: so much is built first
_META = ("meta tensor", "Meta", "meta device", "on meta")


@dataclass(frozen=True)
class Header:
    """What a weights' file says of itself before its values.

    Args:
        shapes: of each tensor, by name.
        size: bytes of the file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    size: int


def read_header(path: Path, what: str) -> Header:
    """Read the header of a .safetensors file; every tensor must lie inside the file.

    Raises:
        ArtifactError: it is no such file, or it is cut short.
    """
    with open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MOST_JSON):
            raise _no_weights(path, f"its header would have {length:,} bytes")
        content = parse_json(file.read(length), path)
    content.pop("__metadata__", None)
    if len(content) > _MOST_TENSORS:
        raise _no_weights(path, f"it names {len(content):,} tensors")
    room = size - 8 - length
    return Header({name: _shape(path, name, entry, room) for name, entry in content.items()}, size)


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
        if count > _MOST_TENSORS:
            raise ArtifactError(f"the model has more than {_MOST_TENSORS:,} layers and tensors")
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


def _shape(path: Path, name: str, entry: Any, room: int) -> tuple[int, ...]:
    """Return a tensor's shape, if its values lie inside the file."""
    entry = entry if isinstance(entry, dict) else {}
    shape, offsets, dtype = (entry.get(key) for key in ("shape", "data_offsets", "dtype"))
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    whole = all(
        isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
        for values in (shape, offsets)
    )
    if bits is None or not whole or shape is None or offsets is None or len(offsets) != 2:
        raise _no_weights(path, f"tensor {name!r:.60} is malformed")
    start, end = offsets
    if len(shape) > _MOST_AXES or end - start != math.prod(shape) * bits // 8 or end > room:
        raise _no_weights(path, f"tensor {name!r:.60} does not lie inside it")
    return tuple(shape)


def _no_weights(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path.parent}: the weights do not fit the model ({path.name}: {why})")


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
