"""Weight clustering: weights become indices into a codebook of a few values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import console
from bmc.choices import Among, about
from bmc.contracts import families
from bmc.contracts.tasks import task
from bmc.errors import ArtifactError, SettingError, unknown
from bmc.inference.codebook import CLUSTERED, Codebook, clustered_layer
from bmc.inference.replacing import replace_layers
from bmc.measure.shown import megabytes
from bmc.model import AfterStep, Model, Record, Work

_STARTS = ("linear", "k-means++")
_MIN_VALUES, _MAX_VALUES = 2, 256
MIN_ZEROS = 0.1
"""Share of zeros from which a layer counts as pruned."""
_MAX_ITERATIONS = 1000
_SEEDING_SAMPLE = 10_000  # weights
_ZLIB_LEVEL = 9

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """Store the weights of each layer as indices into a codebook, found by k-means.

    The weights of linear layers (outputs too), convolutions and embeddings are clustered. Recurrent
    weights, biases and norms are not. A layer whose codebook and indices would take more bytes than
    its weights is not clustered. Up to 16 values, a byte holds two indices. Training afterwards
    changes the values, not the indices. If at least 10% of a layer's weights are zero (pruned), one
    value of its codebook is zero and stays zero.

    ONNX and OpenVINO files store indices and codebooks. The runtimes look the weights up when they
    load the file, so inference gets neither faster nor slower. TensorRT looks them up when it
    builds the engine, which may not get smaller at all.

    Args:
        values: number of values in a codebook, 2 to 256.
        groups: number of codebooks of a layer, each for an equal part of its output channels. Where
            the channels are not divisible by it, the largest common divisor; 1 for an embedding.
        layers: names (fnmatch patterns) of the layers to cluster; all when empty.
        start: initial values of k-means: "linear" (equal steps from the smallest to the largest
            weight, which keeps the large weights) or "k-means++".

    Raises:
        SettingError: a setting is out of range, or `layers` names the output of a regression.
        UnknownError: a pattern matches no layer.

    Source: Han et al. 2016, "Deep Compression", section 3; Arthur and Vassilvitskii 2007,
    "k-means++: The Advantages of Careful Seeding".
    """

    values: int = field(default=16, metadata=about(search=Among((4, 16, 64, 256))))
    groups: int = 1
    layers: tuple[str, ...] = ()
    start: str = "linear"

    def __post_init__(self) -> None:
        if not _MIN_VALUES <= self.values <= _MAX_VALUES:
            raise SettingError(
                f"values is {self.values}; it must lie in {_MIN_VALUES}..{_MAX_VALUES}"
            )
        if self.groups < 1:
            raise SettingError(f"groups is {self.groups}; it must be at least 1")
        if self.start not in _STARTS:
            raise SettingError(f"start is {self.start!r}; possible: {', '.join(_STARTS)}")

    def apply(self, model: Model, work: Work) -> Record:
        """Cluster the layers, print the size of the weights, and return the codebooks' sizes."""
        layers = _choose_layers(model, self.layers)
        before = _stored_tensors(model.module)
        record: Record = {}
        clusters: dict[str, tuple[Values, NDArray[np.uint8]]] = {}
        for name, layer in layers.items():
            weight: Tensor = layer.weight  # type: ignore[assignment]
            is_embedding = nn.Embedding in _user_classes(model.module, weight)
            groups = 1 if is_embedding else math.gcd(self.groups, len(weight))
            if not saves_bytes(weight, self.values, groups):
                continue
            zero = bool((weight == 0).float().mean() >= MIN_ZEROS)
            record[name] = {"values": self.values, "groups": groups, "zero": zero}
            clusters[name] = clusters_of(weight.detach().cpu().numpy(), record[name], self.start)
        Cluster.rebuild(model, record)
        for name, (values, indices) in clusters.items():
            codebook: Any = model.module.get_submodule(f"{name}.codebook")
            codebook.fill(torch.from_numpy(values).float(), torch.from_numpy(indices))
        if record:
            _print_sizes(before, model.module)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace the weight of each named layer by a codebook of the recorded size."""
        codebooks: dict[int, Codebook] = {}
        for name, sizes in record.items():
            layer = model.module.get_submodule(name)
            values, groups = _checked_sizes(name, layer, sizes)
            weight: Tensor = layer.weight  # type: ignore[assignment]
            key = id(weight)
            codebooks.setdefault(key, Codebook(tuple(weight.shape), values, groups))
            if not _user_classes(model.module, weight) <= set(CLUSTERED):
                raise ArtifactError(
                    f"the weight of {name} is shared with a layer that cannot use a codebook"
                )
            users = _users(model.module, weight)
            replace_layers(
                model.module, {user: clustered_layer(user, codebooks[key]) for user in users}
            )

    @staticmethod
    def keep(model: Model, record: Record) -> AfterStep:
        """Keep the zeros of pruned layers through later training."""
        codebooks: list[nn.Parameter] | None = None

        @torch.no_grad()
        def after_step(module: nn.Module, done: float) -> None:
            nonlocal codebooks
            if codebooks is None:  # found by their class: a later step may have renamed the layers
                parts = [part for part in module.modules() if isinstance(part, Codebook)]
                codebooks = [part.values for part in parts if not part.values[:, 0].any()]
            for values in codebooks:
                values[:, 0] = 0.0

        return after_step


def _choose_layers(model: Model, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """Return the layers to cluster by name; of layers that share a weight, only the first.

    Raises:
        UnknownError: a pattern matches no layer.
        SettingError: a pattern matches the output of a regression.
    """
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
    excluded = family.parts(model.module).outputs if task(model.task).is_numeric else ()
    for name in excluded:
        if any(fnmatch(name, pattern) for pattern in patterns):
            raise SettingError(f"{name!r} is a regression's output; leave it out of layers")
    chosen: dict[int, tuple[str, nn.Module]] = {}
    for name, layer in layers.items():
        matches = not patterns or any(fnmatch(name, pattern) for pattern in patterns)
        can_use_codebook = _user_classes(model.module, layer.weight) <= set(CLUSTERED)
        if matches and name not in excluded and can_use_codebook:
            chosen.setdefault(id(layer.weight), (name, layer))
    return dict(chosen.values())


def _users(module: nn.Module, weight: Any) -> list[nn.Module]:
    """Return the layers of which a tensor is a parameter."""
    return [
        layer
        for layer in module.modules()
        if any(value is weight for value in layer.parameters(recurse=False))
    ]


def _user_classes(module: nn.Module, weight: Any) -> set[type[nn.Module]]:
    return {type(layer) for layer in _users(module, weight)}


def saves_bytes(weight: Tensor, values: int, groups: int) -> bool:
    """Return whether exported codebooks and indices take fewer bytes than the weight."""
    codebook = Codebook(tuple(weight.shape), values, groups)
    codebook_bytes = groups * (2 * values**2 if codebook.paired else values) * 4
    return codebook_bytes + codebook.indices.nbytes < weight.nbytes


def _checked_sizes(name: str, layer: nn.Module, sizes: Any) -> tuple[int, int]:
    """Return a layer's numbers of values and groups from a record, which may be untrusted.

    Raises:
        ArtifactError: the record is malformed.
        SettingError: the layer has no weight to cluster.
    """
    types = {"values": int, "groups": int, "zero": bool}
    fits = isinstance(sizes, dict) and {name: type(value) for name, value in sizes.items()} == types
    if not fits:
        raise ArtifactError(
            f"the record of the codebook of {name!r:.60} is malformed: {sizes!r:.80}"
        )
    if type(layer) not in CLUSTERED:
        raise SettingError(
            f"layer {name!r} is a {type(layer).__name__}, whose weights cannot be clustered"
        )
    return sizes["values"], sizes["groups"]


def clusters_of(
    weight: NDArray[np.float32], sizes: Mapping[str, Any], start: str
) -> tuple[Values, NDArray[np.uint8]]:
    """Return a weight's codebooks (groups, values) and indices (rows, columns)."""
    rows = weight.reshape(len(weight), -1)
    parts = [
        k_means(part, sizes["values"], start, sizes["zero"])
        for part in np.split(rows, sizes["groups"])
    ]
    codebooks, indices = zip(*parts, strict=True)
    return np.stack(codebooks), np.concatenate(indices)


def k_means(
    weights: NDArray[np.float32], count: int, start: str, zero: bool
) -> tuple[Values, NDArray[np.uint8]]:
    """Return sorted cluster means, and for each weight the index of the nearest mean.

    In one dimension, a cluster is a slice of the sorted weights, and its sum is the difference of
    two cumulative sums. So an iteration takes about as long for ten million weights as for ten
    thousand.

    Args:
        weights: the weights, of any shape.
        count: number of values.
        start: initial values, as in `Cluster`.
        zero: whether the first value is 0, with a cluster of the weights that are 0.
    """
    ordered = np.sort(weights[weights != 0] if zero else weights, axis=None).astype(np.float64)
    if not len(ordered):
        return np.zeros(count), np.zeros(weights.shape, np.uint8)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    values = _first_values(ordered, count - zero, start)
    for _ in range(_MAX_ITERATIONS):
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
    """Return the initial values of k-means, sorted."""
    if start == "linear":
        return np.linspace(ordered[0], ordered[-1], count)
    generator = np.random.default_rng(int(torch.randint(2**31, ())))
    sample = generator.choice(ordered, min(len(ordered), _SEEDING_SAMPLE), replace=False)
    values = [generator.choice(sample)]
    distances = (sample - values[0]) ** 2
    while len(values) < count:
        total = distances.sum()
        values.append(generator.choice(sample, p=distances / total if total else None))
        distances = np.minimum(distances, (sample - values[-1]) ** 2)
    return np.sort(np.array(values))


def _stored_tensors(module: nn.Module) -> dict[int, Tensor]:
    """Return the tensors that model.safetensors stores, each once, by data pointer."""
    return {value.data_ptr(): value for value in module.state_dict().values()}


def _print_sizes(before: Mapping[int, Tensor], module: nn.Module) -> None:
    """Print the size of the weights before and after clustering, and compressed."""
    old_size = sum(value.nbytes for value in before.values())
    after = _stored_tensors(module).values()
    new_size = sum(value.nbytes for value in after)
    compressor = zlib.compressobj(_ZLIB_LEVEL)
    zlib_size = sum(len(compressor.compress(value.cpu().numpy().tobytes())) for value in after)
    zlib_size += len(compressor.flush())
    console.note(
        f"cluster: weights take {megabytes(old_size)} -> {megabytes(new_size)} "
        f"({old_size / new_size:.1f}x smaller), and {megabytes(zlib_size)} "
        f"({old_size / zlib_size:.1f}x smaller) in a file that is compressed with zlib"
    )


STEP = Cluster
