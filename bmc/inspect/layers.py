"""Costs of each layer of a model: parameters, bytes, multiply-accumulates and time."""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bmc.inference.scripted import hookable
from bmc.model import output_of

_WARM_UP_RUNS = 2
_IDLE = (nn.Dropout, nn.Identity)  # in evaluation mode
REST = "(rest, clocks)"


@dataclass(frozen=True)
class Layer:
    """Costs of one module of a model, without its submodules.

    Args:
        path: path of the module in the model; "(rest, clocks)" for the operations of containers and
            the overhead of measuring in them.
        kind: class of the module.
        parameters: number of values in its parameters, without those of a layer before it.
        bytes: stored size of these parameters and of its buffers.
        macs: multiply-accumulates in one call of the model.
        milliseconds: time in one call of the model.
        shared_with: path of the layer before it that shares its parameters, and counts them.
    """

    path: str
    kind: str
    parameters: int
    bytes: int
    macs: int
    milliseconds: float
    shared_with: str | None = None


@dataclass(frozen=True)
class Costs:
    """Costs of all layers of a model, in order, for inputs of one size.

    Args:
        inputs: shape of each input tensor by name.
        threads: number of threads of the time measurement.
        milliseconds: time of one call, without the overhead of measuring layers.
        layers: layers that have parameters or compute something; the last entry is the rest.
    """

    inputs: Mapping[str, tuple[int, ...]]
    threads: int
    milliseconds: float
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Return the number of parameters; shared ones are counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Return the stored size of parameters and buffers in bytes."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one call."""
        return sum(layer.macs for layer in self.layers)

    def time_share(self, layer: Layer) -> float:
        """Return a layer's share of the time, in [0, 1]."""
        return layer.milliseconds / max(sum(other.milliseconds for other in self.layers), 1e-12)

    def to_json(self) -> dict[str, Any]:
        """Return totals and layers as a JSON object."""
        totals = {"parameters": self.parameters, "bytes": self.bytes, "macs": self.macs}
        layers = [{**asdict(layer), "time_share": self.time_share(layer)} for layer in self.layers]
        return {**asdict(self), **totals, "layers": layers}


def costs_of(module: nn.Module, inputs: Mapping[str, Tensor], runs: int = 9) -> Costs:
    """Count and time a model's layers in eager PyTorch, in the module's precision.

    MACs are of matrix products, convolutions and attention (FLOPs / 2); additions, activations and
    norms are not counted.

    Args:
        module: the model, in evaluation mode.
        inputs: input tensors by name, of the size to measure.
        runs: number of timed calls, whose median is taken.
    """
    flops = _flops(module, inputs)
    times, total_time = _times(module, inputs, runs)
    paths = {layer: path for path, layer in module.named_modules()}
    owners: dict[int, str] = {}  # the path of the layer that counts a parameter, by data pointer
    layers: list[Layer] = []
    rest = 0.0
    for layer, path in paths.items():
        parameters = list(layer.parameters(recurse=False))
        is_leaf = layer in times and not any(layer.children()) and not isinstance(layer, _IDLE)
        if not parameters and not flops.get(layer) and not is_leaf:
            rest += times.get(layer, 0.0)
            continue
        shared_with = {
            owners[value.data_ptr()] for value in parameters if value.data_ptr() in owners
        }
        new = {value.data_ptr(): value for value in parameters if value.data_ptr() not in owners}
        owners |= dict.fromkeys(new, path)
        layers.append(
            Layer(
                path or type(layer).__name__,
                type(layer).__name__,
                sum(value.numel() for value in new.values()),
                sum(value.nbytes for value in [*new.values(), *_stored_buffers(layer)]),
                int(flops.get(layer, 0)) // 2,
                times.get(layer, 0.0),
                min(shared_with, default=None),
            )
        )
    layers.append(Layer(REST, "", 0, 0, 0, rest))
    shapes = {name: tuple(tensor.shape) for name, tensor in inputs.items()}
    return Costs(shapes, torch.get_num_threads(), total_time, tuple(layers))


@contextmanager
def countable_kernels() -> Iterator[None]:
    """Run the block without fused kernels, whose operations cannot be counted or observed.

    FlopCounterMode has no formula for oneDNN's LSTM, the fast path of transformer layers and the
    attention kernel of the CPU, and would count 0 for them.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")  # the flags of oneDNN warn that there is no GPU
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.backends.mkldnn.flags(enabled=False):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)


def _stored_buffers(layer: nn.Module) -> list[Tensor]:
    """Return a module's persistent buffers, without those of submodules."""
    excluded = layer._non_persistent_buffers_set
    return [value for name, value in layer.named_buffers(recurse=False) if name not in excluded]


@torch.no_grad()
def _flops(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[nn.Module, float]:
    """Return the FLOPs of each module, without its submodules."""
    counter = FlopCounterMode(display=False)
    with ExitStack() as stack:
        stack.enter_context(_without_gradients(module))
        stack.enter_context(countable_kernels())
        stack.enter_context(counter)
        flops = stack.enter_context(_metered(module, counter.get_total_flops))
        output_of(module, inputs)
    return flops


@contextmanager
def _without_gradients(module: nn.Module) -> Iterator[None]:
    """Unset `requires_grad` in the block: the counter fails on modules that return parameters."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad = True


@torch.no_grad()
def _times(
    module: nn.Module, inputs: Mapping[str, Tensor], runs: int
) -> tuple[dict[nn.Module, float], float]:
    """Return the milliseconds of each module without submodules, and of a call without hooks."""
    runs_by_layer: list[dict[nn.Module, float]] = []
    total_times: list[float] = []
    for _ in range(_WARM_UP_RUNS + runs):
        with _metered(module, time.perf_counter) as seconds:
            output_of(module, inputs)
        runs_by_layer.append(seconds)
        started = time.perf_counter()
        output_of(module, inputs)
        total_times.append(1000 * (time.perf_counter() - started))
    timed = runs_by_layer[_WARM_UP_RUNS:]
    layer_times = {layer: 1000 * median(run[layer] for run in timed) for layer in timed[0]}
    return layer_times, median(total_times[_WARM_UP_RUNS:])


@contextmanager
def _metered(module: nn.Module, meter: Callable[[], float]) -> Iterator[dict[nn.Module, float]]:
    """Measure how much a meter rises in each module, without its submodules.

    Args:
        module: the model to run in the block.
        meter: function that returns the meter, such as a clock.
    """
    rises: dict[nn.Module, float] = defaultdict(float)
    running: list[list[float]] = []  # meter at the start, and the rise in submodules since

    def enter(layer: nn.Module, inputs: Any) -> None:
        running.append([meter(), 0.0])

    def leave(layer: nn.Module, inputs: Any, output: Any) -> None:
        start, in_submodules = running.pop()
        rise = meter() - start
        rises[layer] += rise - in_submodules
        if running:
            running[-1][1] += rise

    layers = list(dict.fromkeys(hookable(module)))  # a shared layer is one module
    hooks = [layer.register_forward_pre_hook(enter) for layer in layers]
    hooks += [layer.register_forward_hook(leave) for layer in layers]
    try:
        yield rises
    finally:
        for hook in hooks:
            hook.remove()
