"""Low-rank layers that are fitted to the outputs of the original layers, not to their weights.

A weight of full rank may have outputs of low rank on real rows. Layers are fitted in the order in
which they run. The inputs of a layer come from the layers before it, which are fitted already; the
target of the layer is the output of the original layer. So the errors of layers do not add up.

Source: Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for Classification and
Detection", section 3.2 (asymmetric reconstruction); Chen et al. 2021, "DRONE: Data-aware Low-rank
Compression for Large NLP Models" (the rank of outputs on real rows).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from bmc.errors import UsageError
from bmc.inference.run import tensors_of
from bmc.inference.samples import calibration_samples
from bmc.inference.sharing import users_of
from bmc.model import Model, Work, output_of

Pair = tuple[Tensor, Tensor]

_MAX_ROWS, _MIN_ROWS, _BATCH = 16_384, 256, 32
_BLOCK = 16 * _BATCH  # rows that are sorted by length together
_SAMPLES_PER_INPUT = 8  # with fewer samples for each input of a layer, the fit would overfit them
_MAX_SAMPLES_PER_BATCH = 4096  # neighboring pixels of a feature map are similar
_RIDGE = 1e-5  # times the mean variance of a layer's inputs; inputs may be constant


@dataclass
class Moments:
    """Sums over samples of a layer's inputs x and target outputs y, of x x^T and of x y^T.

    `sums` holds them in this order, in float64.
    """

    samples: int = 0
    sums: list[Tensor] = field(default_factory=list)
    _pending: list[Pair] = field(default_factory=list)

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Add samples of inputs (samples, in) and outputs (samples, out)."""
        self.samples += len(inputs)
        self._pending.append((inputs, outputs))
        # Few large matrix products are faster than many small ones.
        if sum(len(x) for x, _ in self._pending) >= _MAX_SAMPLES_PER_BATCH:
            self._sum_up()

    def means(self) -> tuple[Tensor, Tensor]:
        """Return the means of x and of y."""
        self._sum_up()
        return self.sums[0] / self.samples, self.sums[1] / self.samples

    def covariances(self, centered: bool) -> tuple[Tensor, Tensor]:
        """Return the second moments of x with x and of x with y, around the means or around 0.

        Args:
            centered: whether to subtract the means.
        """
        (x, y), (xx, xy) = self.means(), (products / self.samples for products in self.sums[2:])
        return (xx - x.outer(x), xy - x.outer(y)) if centered else (xx, xy)

    def _sum_up(self) -> None:
        if not self._pending:
            return
        x, y = (torch.cat(batches) for batches in zip(*self._pending, strict=True))
        sums = [value.double() for value in (x.sum(dim=0), y.sum(dim=0), x.T @ x, x.T @ y)]
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)] if self.sums else sums
        self._pending = []


class Outputs:
    """Outputs of the layers of an original model, to which low-rank layers are fitted.

    Args:
        model: a copy of the original model; the caller must not change it.
        work: the data; its training rows are the samples.
    """

    def __init__(self, model: Model, work: Work) -> None:
        self._module = model.module.eval()
        rows = calibration_samples(model, work, _MAX_ROWS)
        self._encoder, self._encoded, self._rows = model.encoder, model.encoder.encode(rows), rows

    def spectra(self, groups: Mapping[int, Sequence[str]]) -> dict[int, Tensor]:
        """Return the standard deviations of outputs along their principal axes, largest first.

        The groups are in the order in which they first run.

        Args:
            groups: paths of the layers that share each weight, by the id of the weight.
        """
        all_paths = [path for paths in groups.values() for path in paths]
        moments = self._moments(self._module, all_paths, of_outputs=True)
        deviations = {}
        for key, paths in groups.items():
            of_layers = [
                moments[path].covariances(_biased(self._module, path))[0] for path in paths
            ]
            values = torch.linalg.eigvalsh(torch.stack(of_layers).sum(dim=0))
            deviations[key] = values.flip(0).clamp(min=0).sqrt()
        order = {path: number for number, path in enumerate(moments)}
        first = {key: min(order[path] for path in paths) for key, paths in groups.items()}
        return {key: deviations[key] for key in sorted(groups, key=lambda key: first[key])}

    def fit(self, module: nn.Module, paths: Sequence[str], rank: int) -> None:
        """Replace the weight that some layers share by the best one of a rank, and their biases.

        Args:
            module: a network in which all layers that run before these are fitted already.
            paths: paths of the layers; they are not factorized yet.
            rank: rank of the new weight.

        Raises:
            UsageError: a layer shares its bias with another layer.
        """
        for path in paths:
            bias = getattr(module.get_submodule(path), "bias", None)
            if bias is not None and len(users_of(module, bias)) > 1:
                raise UsageError(
                    f"{path} shares its bias with another layer, so the two cannot be fitted "
                    "one after the other: leave them out of layers, or take fit=weights"
                )
        moments = self._moments(module, paths)
        xx = xy = torch.zeros(())
        for path in paths:
            xx_of_layer, xy_of_layer = moments[path].covariances(_biased(module, path))
            xx, xy = xx + xx_of_layer, xy + xy_of_layer
        ridge = _RIDGE * xx.diagonal().mean().clamp(min=1e-12)
        weight = torch.linalg.solve(xx + ridge * torch.eye(len(xx)).double(), xy).T
        axes = torch.linalg.eigh(weight @ xx @ weight.T)[1][:, -rank:]
        weight = axes @ (axes.T @ weight)
        with torch.no_grad():
            for path in paths:
                layer = module.get_submodule(path)
                parameter = layer.get_parameter("weight")
                parameter.copy_(weight.view_as(parameter))
                if _biased(module, path):
                    x, y = moments[path].means()
                    layer.get_parameter("bias").copy_(y - weight @ x)

    @torch.inference_mode()
    def _moments(
        self, module: nn.Module, paths: Sequence[str], of_outputs: bool = False
    ) -> dict[str, Moments]:
        """Run a network and the original one on rows until there are enough samples.

        Layers are in the order in which the network first calls them.

        Args:
            module: network whose layers' inputs are x; y are the original layers' outputs.
            paths: paths of the layers.
            of_outputs: whether x are the original layers' outputs, and y is empty.

        Raises:
            UsageError: a layer is not called.
        """
        module.eval()
        moments = {path: Moments() for path in paths}
        order: dict[str, None] = {}
        sizes = {path: module.get_submodule(path).get_parameter("weight").shape for path in paths}
        needed = {
            path: _SAMPLES_PER_INPUT * (size[0] if of_outputs else size[1:].numel())
            for path, size in sizes.items()
        }
        for number, indices in enumerate(self._batches()):
            enough = all(moments[path].samples >= needed[path] for path in paths)
            if number * _BATCH >= _MIN_ROWS and enough:
                break
            batch = tensors_of(self._encoder.batch(self._encoded, indices))
            with (
                _observed(module, paths) as fitted,
                _observed(self._module, paths) as original,
            ):
                output_of(module, batch)
                if module is not self._module:
                    output_of(self._module, batch)
            order |= dict.fromkeys(original)
            for path in paths:
                layer = module.get_submodule(path)
                if path not in original:
                    raise UsageError(
                        f"{path} does not run on the training rows, so it has no outputs to fit: "
                        "leave it out of layers, or take fit=weights"
                    )
                for (inputs, _), (_, outputs) in zip(fitted[path], original[path], strict=True):
                    x, y = samples_of(layer, inputs, outputs)
                    moments[path].add(*((y, y[:, :0]) if of_outputs else (x, y)))
        return {path: moments[path] for path in order}

    def _batches(self) -> Iterator[list[int]]:
        """Yield the indices of batches of rows of like length, of which little is padding.

        Rows are sorted in blocks, and the batches of a block come in any order, so that the first
        ones hold rows of all lengths.
        """
        generator = np.random.default_rng(0)
        lengths = self._encoder.lengths(self._encoded)
        for start in range(0, len(self._rows), _BLOCK):
            block = range(start, min(start + _BLOCK, len(self._rows)))
            rows = sorted(block, key=lambda index: lengths[index])
            batches = [rows[first : first + _BATCH] for first in range(0, len(rows), _BATCH)]
            yield from (batches[index] for index in generator.permutation(len(batches)))


def _biased(module: nn.Module, path: str) -> bool:
    return getattr(module.get_submodule(path), "bias", None) is not None


@contextmanager
def _observed(module: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, list[Pair]]]:
    """Collect the inputs and the outputs of layers each time they are called, by path.

    The paths are in the order of their first calls.
    """
    observed: dict[str, list[Pair]] = {}

    def hook_of(path: str) -> Any:
        def hook(
            _: nn.Module, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor], output: Tensor
        ) -> None:
            read = inputs[0] if inputs else next(iter(keywords.values()))
            # What follows may overwrite both, such as an activation with inplace=True.
            observed.setdefault(path, []).append((read.clone(), output.clone()))

        return hook

    hooks = [
        module.get_submodule(path).register_forward_hook(hook_of(path), with_kwargs=True)
        for path in paths
    ]
    try:
        yield observed
    finally:
        for hook in hooks:
            hook.remove()


def samples_of(layer: nn.Module, inputs: Tensor, outputs: Tensor) -> Pair:
    """Return a layer's inputs (samples, in) and outputs (samples, out).

    Every position of a feature map or sequence is a sample, up to _MAX_SAMPLES_PER_BATCH.
    """
    if isinstance(layer, nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = pad(inputs, layer._reversed_padding_repeated_twice, mode)
        windows = unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride)
        inputs, outputs = windows.movedim(1, -1), outputs.movedim(1, -1)
    inputs, outputs = inputs.flatten(0, -2), outputs.flatten(0, -2)
    stride = -(-len(inputs) // _MAX_SAMPLES_PER_BATCH)
    return inputs[::stride], outputs[::stride]
