"""Layers of low rank fitted to what a model makes of its rows, rather than to its weights.

Weights may have a full rank while what they make of real rows has a low one. Layers are fitted in
the order in which they run: each reads what the ones before it, already of low rank, make of the
rows, and is to give what the layer of the unchanged model gives, so that errors do not add up.

Source: Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for Classification and
Detection", section 3.2 (asymmetric reconstruction); Chen et al. 2021, "DRONE: Data-aware Low-rank
Compression for Large NLP Models" (the rank of what real rows make).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from bmc.compress._modules import users_of
from bmc.compress._rows import drawn
from bmc.errors import UsageError
from bmc.model import Model, Work, output_of

Pair = tuple[Tensor, Tensor]

_MOST_ROWS, _LEAST_ROWS, _BATCH = 16_384, 256, 32
_SAMPLES = 8  # of each value that a layer reads: fewer would fit the rows rather than the model
_MOST_SAMPLES = 4096  # of a batch: neighbouring places of a map are much alike
_RIDGE = 1e-5  # of the mean variance of what a layer reads: some of it may be constant


@dataclass
class Moments:
    """Sums over samples of what a layer reads (x) and of what it is to give (y), in float64."""

    samples: int = 0
    sums: list[Tensor] = field(default_factory=list)
    _waiting: list[Pair] = field(default_factory=list)

    def add(self, read: Tensor, given: Tensor) -> None:
        """Count samples: read (samples, in), given (samples, out)."""
        self.samples += len(read)
        self._waiting.append((read, given))
        if sum(len(x) for x, _ in self._waiting) >= _MOST_SAMPLES:  # few large products are faster
            self._sum_up()

    def means(self) -> tuple[Tensor, Tensor]:
        """Return the means of x and of y."""
        self._sum_up()
        return self.sums[0] / self.samples, self.sums[1] / self.samples

    def covariances(self, centred: bool) -> tuple[Tensor, Tensor]:
        """Return the moments of x with itself and with y, about the means or about 0."""
        (x, y), (xx, xy) = self.means(), (each / self.samples for each in self.sums[2:])
        return (xx - x.outer(x), xy - x.outer(y)) if centred else (xx, xy)

    def _sum_up(self) -> None:
        if not self._waiting:
            return
        x, y = (torch.cat(each) for each in zip(*self._waiting, strict=True))
        found = [each.double() for each in (x.sum(dim=0), y.sum(dim=0), x.T @ x, x.T @ y)]
        self.sums = [a + b for a, b in zip(self.sums, found, strict=True)] if self.sums else found
        self._waiting = []


class Outputs:
    """What the layers of an unchanged model make of rows.

    Args:
        model: a private copy, unchanged from here on.
        work: its training rows are looked at.
    """

    def __init__(self, model: Model, work: Work) -> None:
        self._module = model.module.eval()
        rows = drawn(model, work, _MOST_ROWS)
        self._encoder, self._encoded, self._rows = model.encoder, model.encoder.encode(rows), rows

    def spectra(self, groups: Mapping[int, Sequence[str]]) -> dict[int, Tensor]:
        """Return the deviations of outputs along their principal axes, largest first.

        Args:
            groups: the paths of the layers that share each weight.
        """
        every = [path for paths in groups.values() for path in paths]
        moments = self._moments(self._module, every, of_outputs=True)
        found = {}
        for key, paths in groups.items():
            made = [moments[path].covariances(_biased(self._module, path))[0] for path in paths]
            values = torch.linalg.eigvalsh(torch.stack(made).sum(dim=0))
            found[key] = values.flip(0).clamp(min=0).sqrt()
        return found

    def fit(self, module: nn.Module, paths: Sequence[str], rank: int) -> None:
        """Give the layers that share a weight the best one of a rank, and biases to match.

        Args:
            module: whose layers before these are as they will be.
            paths: of the layers; they are still whole.
            rank: of the weight.

        Raises:
            UsageError: a layer shares its bias, which must suit other layers too.
        """
        for path in paths:
            bias = getattr(module.get_submodule(path), "bias", None)
            if bias is not None and len(users_of(module, bias)) > 1:
                raise UsageError(
                    f"{path} shares its bias with another layer, so neither can be fitted alone: "
                    "leave them out of layers, or take fit=weights"
                )
        moments = self._moments(module, paths)
        read = given = torch.zeros(())
        for path in paths:
            one, other = moments[path].covariances(_biased(module, path))
            read, given = read + one, given + other
        ridge = _RIDGE * read.diagonal().mean().clamp(min=1e-12)
        weight = torch.linalg.solve(read + ridge * torch.eye(len(read)).double(), given).T
        axes = torch.linalg.eigh(weight @ read @ weight.T)[1][:, -rank:]
        weight = axes @ (axes.T @ weight)
        with torch.no_grad():
            for path in paths:
                layer = module.get_submodule(path)
                own = layer.get_parameter("weight")
                own.copy_(weight.view_as(own))
                if _biased(module, path):
                    x, y = moments[path].means()
                    layer.get_parameter("bias").copy_(y - weight @ x)

    @torch.inference_mode()
    def _moments(
        self, module: nn.Module, paths: Sequence[str], of_outputs: bool = False
    ) -> dict[str, Moments]:
        """Run a module beside the unchanged one, until its layers have seen enough.

        Args:
            module: whose layers read.
            paths: of the layers.
            of_outputs: x is what the unchanged layers give, and y is nothing.

        Raises:
            UsageError: a layer does not run.
        """
        module.eval()
        found = {path: Moments() for path in paths}
        sizes = {path: module.get_submodule(path).get_parameter("weight").shape for path in paths}
        wanted = {
            path: _SAMPLES * (size[0] if of_outputs else size[1:].numel())
            for path, size in sizes.items()
        }
        for start in range(0, len(self._rows), _BATCH):
            if start >= _LEAST_ROWS and all(found[path].samples >= wanted[path] for path in paths):
                break
            places = list(range(start, min(start + _BATCH, len(self._rows))))
            arrays = self._encoder.batch(self._encoded, places)
            batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
            with _seen(module, paths) as own, _seen(self._module, paths) as unchanged:
                output_of(module, batch)
                if module is not self._module:
                    output_of(self._module, batch)
            for path in paths:
                layer = module.get_submodule(path)
                if not unchanged[path]:
                    raise UsageError(
                        f"{path} does not run on the training rows, so it has no outputs to fit: "
                        "leave it out of layers, or take fit=weights"
                    )
                for (read, _), (_, given) in zip(own[path], unchanged[path], strict=True):
                    x, y = _samples(layer, read, given)
                    found[path].add(*((y, y[:, :0]) if of_outputs else (x, y)))
        return found


def _biased(module: nn.Module, path: str) -> bool:
    return getattr(module.get_submodule(path), "bias", None) is not None


@contextmanager
def _seen(module: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, list[Pair]]]:
    """Collect what layers read and give each time they run."""
    seen: dict[str, list[Pair]] = {path: [] for path in paths}

    def watch(pairs: list[Pair]) -> Any:
        def hook(_: nn.Module, read: tuple[Tensor, ...], given: Tensor) -> None:
            pairs.append((read[0], given))

        return hook

    hooks = [module.get_submodule(path).register_forward_hook(watch(seen[path])) for path in paths]
    try:
        yield seen
    finally:
        for each in hooks:
            each.remove()


def _samples(layer: nn.Module, read: Tensor, given: Tensor) -> Pair:
    """Return samples (samples, in) and (samples, out): every place of a map is one, up to a few."""
    if isinstance(layer, nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = pad(read, layer._reversed_padding_repeated_twice, mode)
        windows = unfold(padded, layer.kernel_size, layer.dilation, stride=layer.stride)
        read, given = windows.movedim(1, -1), given.movedim(1, -1)
    read, given = read.flatten(0, -2), given.flatten(0, -2)
    stride = -(-len(read) // _MOST_SAMPLES)
    return read[::stride], given[::stride]
