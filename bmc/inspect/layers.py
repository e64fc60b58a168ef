"""What each layer of a model costs: parameters, bytes, multiply-accumulates and time."""

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

_WARM_UP = 2
_IDLE = (nn.Dropout, nn.Identity)
REST = "(rest, clocks)"


@dataclass(frozen=True)
class Layer:
    """A module's own share of a model; what its submodules do stands with them.

    Args:
        path: the module's name in the model; "(rest, clocks)" for what containers do themselves
            and for the time that measuring takes in them.
        kind: its class.
        parameters: numbers in its own parameters that no layer before it holds.
        bytes: of these and of its own buffers, as they are stored.
        macs: multiply-accumulates of one call of the model.
        milliseconds: of one call of the model.
        shared_with: the layer that holds its parameters too and counts them.
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
    """All layers of a model, in order, at one size of its input.

    Args:
        inputs: shape of each input tensor.
        threads: that the time was measured with.
        milliseconds: of one call, without the clocks in between.
        layers: every one that holds or computes something, then the rest.
    """

    inputs: Mapping[str, tuple[int, ...]]
    threads: int
    milliseconds: float
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Return the model's parameters; a shared one is counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Return what parameters and buffers take."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one call."""
        return sum(layer.macs for layer in self.layers)

    def time_share(self, layer: Layer) -> float:
        """Return a layer's part of the time, 0 to 1."""
        return layer.milliseconds / max(sum(each.milliseconds for each in self.layers), 1e-12)

    def to_json(self) -> dict[str, Any]:
        """Return totals and layers as a JSON object."""
        totals = {"parameters": self.parameters, "bytes": self.bytes, "macs": self.macs}
        shares = [{**asdict(each), "time_share": self.time_share(each)} for each in self.layers]
        return {**asdict(self), **totals, "layers": shares}


def costs_of(module: nn.Module, inputs: Mapping[str, Tensor], runs: int = 9) -> Costs:
    """Count and time a model's layers in eager PyTorch, as the module stands (fp32, evaluation).

    MACs are those of matrix products, convolutions and attention (FLOPs / 2); additions,
    activations and norms count none.

    Args:
        module: in evaluation mode.
        inputs: its tensors, of the size to be measured.
        runs: calls of which the median is taken.
    """
    macs = _macs(module, inputs)
    times, whole = _times(module, inputs, runs)
    paths = {layer: path for path, layer in module.named_modules()}
    held: dict[int, str] = {}
    found: list[Layer] = []
    rest = 0.0
    for layer, path in paths.items():
        own = list(layer.parameters(recurse=False))
        leaf = layer in times and not any(layer.children()) and not isinstance(layer, _IDLE)
        if not own and not macs.get(layer) and not leaf:
            rest += times.get(layer, 0.0)
            continue
        first = {held[value.data_ptr()] for value in own if value.data_ptr() in held}
        new = {value.data_ptr(): value for value in own if value.data_ptr() not in held}
        held |= dict.fromkeys(new, path)
        found.append(
            Layer(
                path or type(layer).__name__,
                type(layer).__name__,
                sum(value.numel() for value in new.values()),
                sum(value.nbytes for value in [*new.values(), *_stored(layer)]),
                int(macs.get(layer, 0)) // 2,
                times.get(layer, 0.0),
                min(first, default=None),
            )
        )
    found.append(Layer(REST, "", 0, 0, 0, rest))
    shapes = {name: tuple(tensor.shape) for name, tensor in inputs.items()}
    return Costs(shapes, torch.get_num_threads(), whole, tuple(found))


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Compute by operations that can be counted and watched, instead of by fused ones.

    FlopCounterMode knows no formula for oneDNN's LSTM, for the transformer layers' fast path and
    for the CPU's attention kernel, and would count nothing for them.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")  # oneDNN's flags warn of GPUs that are not there
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.backends.mkldnn.flags(enabled=False):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)


def _stored(layer: nn.Module) -> list[Tensor]:
    """Return a module's own buffers that are stored with the weights."""
    temporary = layer._non_persistent_buffers_set
    return [value for name, value in layer.named_buffers(recurse=False) if name not in temporary]


@torch.no_grad()
def _macs(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[nn.Module, float]:
    """Return the FLOPs of each module, its submodules' not among them."""
    counter = FlopCounterMode(display=False)
    with ExitStack() as stack:
        stack.enter_context(_without_gradients(module))
        stack.enter_context(plain_kernels())
        stack.enter_context(counter)
        flops = stack.enter_context(_metered(module, counter.get_total_flops))
        output_of(module, inputs)
    return flops


@contextmanager
def _without_gradients(module: nn.Module) -> Iterator[None]:
    """Let no parameter want a gradient: the counter cannot follow a module that returns one."""
    wanting = [one for one in module.parameters() if one.requires_grad]
    for one in wanting:
        one.requires_grad = False
    try:
        yield
    finally:
        for one in wanting:
            one.requires_grad = True


@torch.no_grad()
def _times(
    module: nn.Module, inputs: Mapping[str, Tensor], runs: int
) -> tuple[dict[nn.Module, float], float]:
    """Return each module's own milliseconds, and those of a whole call without hooks."""
    seen: list[dict[nn.Module, float]] = []
    whole: list[float] = []
    for _ in range(_WARM_UP + runs):
        with _metered(module, time.perf_counter) as seconds:
            output_of(module, inputs)
        seen.append(seconds)
        started = time.perf_counter()
        output_of(module, inputs)
        whole.append(1000 * (time.perf_counter() - started))
    kept = seen[_WARM_UP:]
    own = {layer: 1000 * median(run[layer] for run in kept) for layer in kept[0]}
    return own, median(whole[_WARM_UP:])


@contextmanager
def _metered(module: nn.Module, meter: Callable[[], float]) -> Iterator[dict[nn.Module, float]]:
    """Read a meter as modules are entered and left; each gets what its submodules did not use."""
    own: dict[nn.Module, float] = defaultdict(float)
    open_: list[list[float]] = []  # what the meter showed, and what submodules used since

    def enter(layer: nn.Module, given: Any) -> None:
        open_.append([meter(), 0.0])

    def leave(layer: nn.Module, given: Any, output: Any) -> None:
        started, below = open_.pop()
        used = meter() - started
        own[layer] += used - below
        if open_:
            open_[-1][1] += used

    layers = list(dict.fromkeys(hookable(module)))  # a shared layer is one module
    hooks = [layer.register_forward_pre_hook(enter) for layer in layers]
    hooks += [layer.register_forward_hook(leave) for layer in layers]
    try:
        yield own
    finally:
        for hook in hooks:
            hook.remove()
