"""Weight clustering: each weight becomes the index of one of a few values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import console
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, unknown
from bmc.inference.codebook import CLUSTERED, Codebook, clustered_layer
from bmc.inference.replacing import replace_layers
from bmc.measure.shown import megabytes
from bmc.model import AfterStep, Model, Record, Work

_STARTS = ("linear", "k-means++")
_LEAST, _MOST = 2, 256
_SPARSE = 0.1
_ROUNDS = 1000
_SAMPLE = 10_000
_LEVEL = 9

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """Store the weights of each layer as indices into a codebook, found by k-means.

    The weights of linear layers, convolutions and embeddings are clustered, those of outputs too;
    recurrent weights, biases and norms stay. A layer is left alone where its codebook would take
    more bytes than it saves. Up to 16 values, two indices go into a byte. Training afterwards moves
    the values, not the indices. Where many weights are zero (pruned), one value is zero and stays.

    ONNX files and OpenVINO's keep the indices, and are unfolded as they are loaded: no faster, no
    slower. TensorRT unfolds weights as it builds, and its engine may not get smaller at all.

    Args:
        values: of a codebook, 2 to 256.
        groups: codebooks of a layer, each for an equal part of its output channels; fewer where
            they do not divide, and one for an embedding.
        layers: names (fnmatch patterns) of the layers to cluster; all when empty.
        start: where k-means starts: "linear" (equal steps from the least to the largest weight,
            which keeps the large ones) or "k-means++".

    Raises:
        SettingError: a setting is out of range, or `layers` names the output of a regression.
        UnknownError: a pattern matches no layer.

    Source: Han et al. 2016, "Deep Compression", section 3; Arthur and Vassilvitskii 2007,
    "k-means++: The Advantages of Careful Seeding".
    """

    values: int = 16
    groups: int = 1
    layers: tuple[str, ...] = ()
    start: str = "linear"

    def __post_init__(self) -> None:
        if not _LEAST <= self.values <= _MOST:
            raise SettingError(f"values is {self.values}; it must lie in {_LEAST}..{_MOST}")
        if self.groups < 1:
            raise SettingError(f"groups is {self.groups}; it must be at least 1")
        if self.start not in _STARTS:
            raise SettingError(f"start is {self.start!r}; possible: {', '.join(_STARTS)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Cluster the layers, say what that saves, and return the size of each codebook."""
        chosen = _chosen(model, self.layers)
        before = _stored(model.module)
        record: Record = {}
        clusters: dict[str, tuple[Values, NDArray[np.uint8]]] = {}
        for name, layer in chosen.items():
            weight: Tensor = layer.weight  # type: ignore[assignment]
            looked_up = nn.Embedding in _holders(model.module, weight)
            groups = 1 if looked_up else math.gcd(self.groups, len(weight))
            if not _saves(weight, self.values, groups):
                continue
            zero = bool((weight == 0).float().mean() >= _SPARSE)
            record[name] = {"values": self.values, "groups": groups, "zero": zero}
            clusters[name] = _clusters(weight.detach().cpu().numpy(), record[name], self.start)
        Cluster.rebuild(model, record)
        for name, (values, indices) in clusters.items():
            codebook: Any = model.module.get_submodule(f"{name}.codebook")
            codebook.fill(torch.from_numpy(values).float(), torch.from_numpy(indices))
        if record:
            _say_size(before, model.module)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Put a codebook of the recorded size in the place of each named layer's weight."""
        codebooks: dict[int, Codebook] = {}
        for name, sizes in record.items():
            layer = model.module.get_submodule(name)
            values, groups = _checked(name, layer, sizes)
            weight: Tensor = layer.weight  # type: ignore[assignment]
            key = id(weight)
            codebooks.setdefault(key, Codebook(tuple(weight.shape), values, groups))
            if not _holders(model.module, weight) <= set(CLUSTERED):
                raise ArtifactError(f"the weight of {name} is used where no codebook can be")
            users = _users(model.module, weight)
            replace_layers(
                model.module, {user: clustered_layer(user, codebooks[key]) for user in users}
            )

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros of pruned layers through later training."""
        kept: list[nn.Parameter] | None = None

        @torch.no_grad()
        def after_step(module: nn.Module, done: float) -> None:
            nonlocal kept
            if kept is None:  # by what they are: a later step may have renumbered the layers
                books = [part for part in module.modules() if isinstance(part, Codebook)]
                kept = [book.values for book in books if not book.values[:, 0].any()]
            for values in kept:
                values[:, 0] = 0.0

        return after_step


def _chosen(model: Model, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return the layers to cluster by name; of those that share a weight, the first."""
    family = families.network(model.family)
    layers = {
        name: layer
        for name, layer in model.module.named_modules()
        if type(layer) in CLUSTERED and getattr(layer, "max_norm", None) is None
    }
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in layers):
            raise unknown("layer with weights to cluster", pattern, layers)
    # Training folds the scale of a regression's labels into its last layer.
    kept = family.parts(model.module).outputs if model.task == "regression" else ()
    for name in kept:
        if any(fnmatch(name, pattern) for pattern in patterns):
            raise SettingError(f"{name!r} is a regression's output; leave it out of layers")
    chosen: dict[int, tuple[str, nn.Module]] = {}
    for name, layer in layers.items():
        is_named = not patterns or any(fnmatch(name, pattern) for pattern in patterns)
        if is_named and name not in kept and _holders(model.module, layer.weight) <= set(CLUSTERED):
            chosen.setdefault(id(layer.weight), (name, layer))
    return dict(chosen.values())


def _users(module: nn.Module, weight: Any) -> list[nn.Module]:
    return [layer for layer in module.modules() if _holds(layer, weight)]


def _holders(module: nn.Module, weight: Any) -> set[type[nn.Module]]:
    return {type(layer) for layer in _users(module, weight)}


def _holds(layer: nn.Module, weight: Any) -> bool:
    return any(value is weight for value in layer.parameters(recurse=False))


def _saves(weight: Tensor, values: int, groups: int) -> bool:
    """Tell whether indices and tables, as they are exported, take fewer bytes than the weight."""
    book = Codebook(tuple(weight.shape), values, groups)
    table = groups * (2 * values**2 if book.paired else values) * 4
    return table + book.indices.nbytes < weight.nbytes


def _checked(name: str, layer: nn.Module, sizes: Any) -> tuple[int, int]:
    """Return how many values and groups a layer has by a record, which may come from a file."""
    kinds = {"values": int, "groups": int, "zero": bool}
    fits = isinstance(sizes, dict) and {name: type(value) for name, value in sizes.items()} == kinds
    if not fits:
        raise ArtifactError(f"the codebook of layer {name!r:.60} is recorded as {sizes!r:.80}")
    if type(layer) not in CLUSTERED:
        raise SettingError(f"layer {name!r} has no weight of its own; it cannot be clustered")
    return sizes["values"], sizes["groups"]


def _clusters(
    weight: NDArray[np.float32], sizes: Mapping[str, Any], start: str
) -> tuple[Values, NDArray[np.uint8]]:
    """Return a weight's codebooks (groups, values), and indices (rows, columns)."""
    rows = weight.reshape(len(weight), -1)
    parts = [
        k_means(part, sizes["values"], start, sizes["zero"])
        for part in np.split(rows, sizes["groups"])
    ]
    return np.stack([values for values, _ in parts]), np.concatenate([own for _, own in parts])


def k_means(
    weights: NDArray[np.float32], count: int, start: str, zero: bool
) -> tuple[Values, NDArray[np.uint8]]:
    """Return `count` values that rise, and each weight's nearest; with `zero`, the first is 0.

    In one dimension a cluster is a run of the sorted weights, and its sum a difference of two
    running sums: a round takes no longer for ten million weights than for ten thousand.
    """
    ordered = np.sort(weights[weights != 0] if zero else weights, axis=None).astype(np.float64)
    if not len(ordered):
        return np.zeros(count), np.zeros(weights.shape, np.uint8)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    values = _first_values(ordered, count - zero, start)
    for _ in range(_ROUNDS):
        ends = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
        bounds = np.concatenate([[0], ends, [len(ordered)]])
        sizes = np.diff(bounds)
        means = np.where(sizes > 0, np.diff(sums[bounds]) / np.maximum(sizes, 1), values)
        if np.array_equal(means, values):
            break
        values = means
    indices = np.searchsorted((values[1:] + values[:-1]) / 2, weights).astype(np.uint8)
    if not zero:
        return values, indices
    return np.concatenate([[0.0], values]), np.where(weights == 0, 0, indices + 1).astype(np.uint8)


def _first_values(ordered: Values, count: int, start: str) -> Values:
    """Return where k-means starts, rising."""
    if start == "linear":
        return np.linspace(ordered[0], ordered[-1], count)
    generator = np.random.default_rng(int(torch.randint(2**31, ())))
    sample = generator.choice(ordered, min(len(ordered), _SAMPLE), replace=False)
    values = [generator.choice(sample)]
    distances = (sample - values[0]) ** 2
    while len(values) < count:
        far = distances.sum()
        values.append(generator.choice(sample, p=distances / far if far else None))
        distances = np.minimum(distances, (sample - values[-1]) ** 2)
    return np.sort(np.array(values))


def _stored(module: nn.Module) -> dict[int, Tensor]:
    """Return what model.safetensors holds: each tensor once."""
    return {value.data_ptr(): value for value in module.state_dict().values()}


def _say_size(before: Mapping[int, Tensor], module: nn.Module) -> None:
    """Say how much smaller the weights are in a file, and how much smaller still if packed."""
    old = sum(value.nbytes for value in before.values())
    after = _stored(module).values()
    new = sum(value.nbytes for value in after)
    packed = zlib.compressobj(_LEVEL)
    small = sum(len(packed.compress(value.cpu().numpy().tobytes())) for value in after)
    small += len(packed.flush())
    console.note(
        f"cluster: weights take {megabytes(old)} -> {megabytes(new)}, {old / new:.1f}x fewer; "
        f"{megabytes(small)} ({old / small:.1f}x) where a file is compressed (zlib)"
    )


STEP = Cluster
