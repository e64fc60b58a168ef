"""Activations of a model's layers: ranges, dead units and saturation, in constant memory."""

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
from bmc.inspect.layers import countable_kernels
from bmc.model import output_of
from bmc.training.batches import Rows

PERCENTS = (1, 25, 50, 75, 99)
ACTIVE = 1e-3  # a unit below this is dead: GELU and SiLU are not exactly 0 for negative inputs
_MARGIN = 0.01  # of a bound, within which a value is saturated
_BOUNDS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
_RECTIFIERS = ("relu", "relu6", "gelu", "silu", "hardswish")
_CHANNELS_FIRST = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm),
)
_NAMES = {"hardtanh": "relu6"}  # PyTorch runs relu6 as hardtanh from 0 to 6
# A bin is a float32 without its last 18 bits: sign, exponent and 5 bits of the fraction are left,
# so a bin is at most 1/32 of its value wide.
_SHIFT = 18
BINS = 2 ** (32 - _SHIFT)


@dataclass(frozen=True)
class Activation:
    """Statistics of the outputs of a layer or activation function over all rows.

    Args:
        path: path of the module that computed the values.
        operation: class of the module, or name of the activation function that the module called.
        values: number of finite values.
        smallest: smallest value.
        largest: largest value.
        percentiles: value at each percent of PERCENTS, with a relative error of at most 1/32.
        not_finite: number of values that were NaN or infinite, which nothing else counts.
        units: number of channels or features; None for functions that cannot switch units off.
        dead: number of units that were not above ACTIVE on any row.
        saturated: share of the values of a tanh or sigmoid within 0.01 of a bound.
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
        """Return the statistics as a JSON object."""
        return asdict(self)


def activations_of(module: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> list[Activation]:
    """Run a model, and return statistics of its layers with weights and activation functions.

    Activation functions are observed in modules, in `forward` methods and in LSTM gates.

    Args:
        module: the model, in evaluation mode.
        batches: input tensors of each batch, without padding, which would be counted like input.
    """
    observer = ActivationObserver(module)
    with ExitStack() as stack:
        if any(isinstance(layer, nn.LSTM) for layer in module.modules()):
            stack.enter_context(countable_kernels())  # oneDNN's LSTM hides its gates
        stack.enter_context(torch.no_grad())
        stack.enter_context(observer.hooked())
        stack.enter_context(observer)
        for inputs in batches:
            observer.calls.clear()
            output_of(module, inputs)
    return [
        histogram.summary(path, operation)
        for (path, operation), histogram in observer.histograms.items()
    ]


def unpadded(rows: Rows, size: int = 32) -> Iterator[dict[str, Tensor]]:
    """Yield inputs in batches of rows of equal length, which need no padding.

    Args:
        rows: encoded rows.
        size: maximum number of rows in a batch.
    """
    for length in np.unique(rows.lengths):
        indices = np.flatnonzero(rows.lengths == length).tolist()
        for start in range(0, len(indices), size):
            yield rows.batch(indices[start : start + size]).inputs


class ActivationObserver(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that collects histograms of layers and activation functions while a module runs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.histograms: dict[tuple[str, str], _Histogram] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self._paths = {layer: path for path, layer in module.named_modules()}
        self._hookable = dict.fromkeys(hookable(module))  # a shared layer is one module
        self._running: list[nn.Module] = []  # submodules whose call has not returned, outer first
        # Axis of the channels and their number, of the newest layer's output with so many axes.
        self._newest: dict[int, tuple[int, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_")  # relu_ works in place
        name = _NAMES.get(name, name)
        is_activation = name in _BOUNDS or name in _RECTIFIERS
        if not is_activation or (name == "relu6" and (len(args) < 2 or args[1] != 0)):
            return result
        caller = self._running[-1] if self._running else None
        path = self._paths[caller] if caller is not None else ""
        if not isinstance(caller, nn.RNNBase):  # a recurrent layer calls the function at each step
            self.calls[path, name] += 1
            call = self.calls[path, name]
            name = name if call == 1 else f"{name} {call}"
        self._add(path, name, result)
        return result

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Track which submodule runs, and collect the outputs of submodules with weights."""

        def enter(layer: nn.Module, inputs: Any) -> None:
            self._running.append(layer)

        def leave(layer: nn.Module, inputs: Any, output: Any) -> None:
            self._running.pop()
            values = _first_tensor(output)
            axis = None if values is None else _channels_axis(layer, values)
            if values is not None and axis is not None:
                self._newest[values.dim()] = (axis, values.shape[axis])
            if values is not None and any(True for _ in layer.parameters(recurse=False)):
                self._add(self._paths[layer], type(layer).__name__, values)

        hooks = [layer.register_forward_pre_hook(enter) for layer in self._hookable]
        hooks += [layer.register_forward_hook(leave) for layer in self._hookable]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _add(self, path: str, operation: str, values: Tensor) -> None:
        if values.is_floating_point():
            key = (path, operation)
            histogram = _Histogram(operation.partition(" ")[0])
            axis, channels = self._newest.get(values.dim(), (-1, 0))
            if not channels or values.shape[axis] != channels:
                axis = 1 if values.dim() > 3 else -1
            self.histograms.setdefault(key, histogram).add(values, axis)


def _channels_axis(layer: nn.Module, values: Tensor) -> int | None:
    """Return the axis of the channels of a layer's output; None where that is not known.

    A norm of channels may be a subclass of LayerNorm that turns the axes, as in ConvNeXt.
    """
    if values.dim() < 3:
        return None
    if isinstance(layer, _CHANNELS_FIRST):
        return 1
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
        (channels,) = layer.normalized_shape
        is_turned = type(layer) is not nn.LayerNorm and values.shape[1] == channels
        return 1 if is_turned or values.shape[-1] != channels else -1
    return -1 if isinstance(layer, nn.Linear) else None


class _Histogram:
    """A histogram whose bins are the leading bits of float32: it needs no range in advance."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._counts = torch.zeros(BINS, dtype=torch.int64)
        self._smallest, self._largest = float("inf"), float("-inf")
        self._not_finite = self._at_bounds = 0
        self._maxima: Tensor | None = None  # of each unit

    def add(self, values: Tensor, unit_axis: int) -> None:
        values = values.detach().float()
        if self._function in _RECTIFIERS:
            self._add_units(values, unit_axis % max(values.dim(), 1))
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
            self._at_bounds += int(((flat < low + _MARGIN) | (flat > high - _MARGIN)).sum())

    def summary(self, path: str, operation: str) -> Activation:
        values = int(self._counts.sum())
        maxima = self._maxima if self._maxima is not None and len(self._maxima) else None
        return Activation(
            path,
            operation,
            values,
            self._smallest if values else 0.0,
            self._largest if values else 0.0,
            self._percentiles() if values else {},
            self._not_finite,
            None if maxima is None else len(maxima),
            None if maxima is None else int((maxima <= ACTIVE).sum()),
            self._at_bounds / values if self._function in _BOUNDS and values else None,
        )

    def _add_units(self, values: Tensor, unit_axis: int) -> None:
        """Update the largest value of each unit: channels of convolutions, else the last axis."""
        others = [axis for axis in range(values.dim()) if axis != unit_axis]
        maxima = values.nan_to_num(nan=0.0).amax(dim=others)
        if self._maxima is None:
            self._maxima = maxima
        elif len(self._maxima) == len(maxima):
            self._maxima = torch.maximum(self._maxima, maxima)
        else:  # the length of the axis varies, so its indices are not units
            self._maxima = maxima.new_empty(0)

    def _percentiles(self) -> dict[int, float]:
        half = BINS // 2  # bins from here on are of negative values, by rising magnitude
        order = torch.cat([torch.arange(BINS - 1, half - 1, -1), torch.arange(half)])
        cumulative = self._counts[order].cumsum(0).double()
        ranks = torch.tensor(PERCENTS, dtype=torch.float64) / 100 * cumulative[-1]
        bins = order[torch.searchsorted(cumulative, ranks).clamp(max=BINS - 1)]
        centers = ((bins << _SHIFT) | (1 << (_SHIFT - 1))).to(torch.int32).view(torch.float32)
        centers = torch.where(bins % half == 0, 0.0, centers).clamp(self._smallest, self._largest)
        return dict(zip(PERCENTS, centers.tolist(), strict=True))


def _first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor of a module's outputs; recurrent layers also return their state."""
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None
