"""What flows through a model's layers: ranges, dead units, saturation; in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bmc.inference.scripted import hookable
from bmc.inspect.layers import plain_kernels
from bmc.model import output_of
from bmc.training.batches import Rows

PERCENTS = (1, 25, 50, 75, 99)
ACTIVE = 1e-3  # GELU and SiLU leave a trace below zero, and a little above it, in a dead unit
_EDGE = 0.01
_BOUNDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
_GATED = ("relu", "relu6", "gelu", "silu", "hardswish")
_NAMES = {"hardtanh": "relu6"}
_SHIFT = 18  # leaves sign, exponent and five bits of a float32: bins no wider than 1/32 of a value
BINS = 2 ** (32 - _SHIFT)


@dataclass(frozen=True)
class Activation:
    """What a layer gave out on all rows.

    Args:
        path: the module that computed it.
        operation: the module's class, or the activation function that was called in it.
        values: how many numbers it gave.
        smallest: of them.
        largest: of them.
        percentiles: value at each percent of PERCENTS, within 1/32 of itself.
        not_finite: how many were NaN or infinite; they are left out of the rest.
        units: channels or features, for functions that can switch a unit off.
        dead: units that were never above ACTIVE on any row.
        saturated: share of a tanh's or sigmoid's values within 0.01 of its bounds.
    """

    path: str
    operation: str
    values: int
    smallest: float
    largest: float
    percentiles: dict[int, float]
    not_finite: int
    units: int | None
    dead: int | None
    saturated: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def activations_of(module: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> list[Activation]:
    """Watch a model answer rows: the outputs of layers with weights, and of activation functions.

    An activation function is seen wherever it is called, as a module or not; an LSTM's gates too.

    Args:
        module: in evaluation mode.
        batches: input tensors without padding, which would be watched like real input.
    """
    watch = Watch(module)
    with ExitStack() as stack:
        if any(isinstance(layer, nn.LSTM) for layer in module.modules()):
            stack.enter_context(plain_kernels())  # oneDNN's LSTM would hide its gates
        stack.enter_context(torch.no_grad())
        stack.enter_context(watch.hooked())
        stack.enter_context(watch)
        for inputs in batches:
            watch.calls.clear()
            output_of(module, inputs)
    return [seen.summary(path, operation) for (path, operation), seen in watch.found.items()]


def unpadded(rows: Rows, size: int = 32) -> Iterator[dict[str, Tensor]]:
    """Collate rows into batches of exactly one length each, so that none has padding."""
    for length in np.unique(rows.lengths):
        places = np.flatnonzero(rows.lengths == length).tolist()
        for start in range(0, len(places), size):
            yield rows.batch(places[start : start + size]).inputs


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """See every operation of a module, and know in which submodule it happens."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[tuple[str, str], _Seen] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self._paths = {layer: path for path, layer in module.named_modules()}
        self._hookable = dict.fromkeys(hookable(module))  # a shared layer is one module
        self._inside: list[nn.Module] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_")  # relu_ works in place
        name = _NAMES.get(name, name)
        own = name in _BOUNDS or name in _GATED
        if not own or (name == "relu6" and (len(args) < 2 or args[1] != 0)):
            return result
        inside = self._inside[-1] if self._inside else None
        path = self._paths[inside] if inside is not None else ""
        if not isinstance(inside, nn.RNNBase):  # a recurrent layer calls it at every step
            self.calls[path, name] += 1
            call = self.calls[path, name]
            name = name if call == 1 else f"{name} {call}"
        self._see(path, name, result)
        return result

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Follow which submodule is at work, and see the outputs of those with weights."""

        def enter(layer: nn.Module, given: Any) -> None:
            self._inside.append(layer)

        def leave(layer: nn.Module, given: Any, output: Any) -> None:
            self._inside.pop()
            values = _first_tensor(output)
            if values is not None and any(True for _ in layer.parameters(recurse=False)):
                self._see(self._paths[layer], type(layer).__name__, values)

        hooks = [layer.register_forward_pre_hook(enter) for layer in self._hookable]
        hooks += [layer.register_forward_hook(leave) for layer in self._hookable]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _see(self, path: str, operation: str, values: Tensor) -> None:
        if values.is_floating_point():
            key = (path, operation)
            self.found.setdefault(key, _Seen(operation.partition(" ")[0])).add(values)


class _Seen:
    """A histogram whose bins are the leading bits of float32, so that no range is known before."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._counts = torch.zeros(BINS, dtype=torch.int64)
        self._smallest, self._largest = float("inf"), float("-inf")
        self._not_finite = self._at_bounds = 0
        self._most: Tensor | None = None  # of each unit

    def add(self, values: Tensor) -> None:
        values = values.detach().float()
        if self._function in _GATED:
            self._add_units(values)
        flat = values.reshape(-1)
        finite = torch.isfinite(flat)
        if not finite.all():
            self._not_finite += int((~finite).sum())
            flat = flat[finite]
        if not len(flat):
            return
        self._smallest = min(self._smallest, float(flat.min()))
        self._largest = max(self._largest, float(flat.max()))
        bins = (flat.view(torch.int32) >> _SHIFT) & (BINS - 1)
        self._counts += torch.bincount(bins, minlength=BINS)
        if self._function in _BOUNDS:
            low, high = _BOUNDS[self._function]
            self._at_bounds += int(((flat < low + _EDGE) | (flat > high - _EDGE)).sum())

    def summary(self, path: str, operation: str) -> Activation:
        values = int(self._counts.sum())
        most = self._most if self._most is not None and len(self._most) else None
        return Activation(
            path,
            operation,
            values,
            self._smallest if values else 0.0,
            self._largest if values else 0.0,
            self._percentiles() if values else {},
            self._not_finite,
            None if most is None else len(most),
            None if most is None else int((most <= ACTIVE).sum()),
            self._at_bounds / values if self._function in _BOUNDS and values else None,
        )

    def _add_units(self, values: Tensor) -> None:
        """Keep each unit's largest value: of a channel in images, else of the last axis."""
        units = 1 if values.dim() > 3 else values.dim() - 1
        others = [axis for axis in range(values.dim()) if axis != units]
        most = values.nan_to_num(nan=0.0).amax(dim=others)
        if self._most is None:
            self._most = most
        elif len(self._most) == len(most):
            self._most = torch.maximum(self._most, most)
        else:  # the axis is no fixed set of units
            self._most = most.new_empty(0)

    def _percentiles(self) -> dict[int, float]:
        half = BINS // 2  # the bins above hold negative values, larger ones later
        order = torch.cat([torch.arange(BINS - 1, half - 1, -1), torch.arange(half)])
        running = self._counts[order].cumsum(0).double()
        wanted = torch.tensor(PERCENTS, dtype=torch.float64) / 100 * running[-1]
        places = order[torch.searchsorted(running, wanted).clamp(max=BINS - 1)]
        middle = ((places << _SHIFT) | (1 << (_SHIFT - 1))).to(torch.int32).view(torch.float32)
        middle = torch.where(places % half == 0, 0.0, middle).clamp(self._smallest, self._largest)
        return dict(zip(PERCENTS, middle.tolist(), strict=True))


def _first_tensor(output: Any) -> Tensor | None:
    """Return what a module gives out first: recurrent layers give their state too."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None
