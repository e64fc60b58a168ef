"""Small strange networks, each one that somebody could write: python:nets:NAME builds it.

They take images of 3 x 12 x 12. What is asked of each stands in test_networks.py and cross.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = Callable[..., nn.Module]


class Steps(nn.Module):
    """Rows of the map are the steps of a recurrent layer."""

    def __init__(self, classes: int, channels: int, width: int, cell: Any, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, 1, 1)
        self.cell = cell(16 * width, 16, batch_first=True, **options)
        size = options.get("proj_size", 16) * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(size, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        steps = functional.relu(self.conv(pixels)).permute(0, 2, 1, 3).flatten(2)
        predictions: Tensor = self.head(self.cell(steps)[0][:, -1])
        return predictions


class Pooled(nn.Module):
    """A convolution, the mean of its maps, and a linear layer; what is below varies it."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.conv = nn.Conv2d(channels, 16, 3, 2, 1)
        self.head = nn.Linear(16, classes)

    def features(self, pixels: Tensor) -> Tensor:
        return functional.relu(self.conv(pixels)).mean((2, 3))

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.features(pixels))


class FlatAndMean(nn.Module):
    """A flattened map beside its mean, read by one linear layer."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, 2, 1)
        self.read = nn.Linear(4 * (height // 2) * (width // 2) + 4, 64)
        self.head = nn.Linear(64, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.conv(pixels).relu()
        both = torch.cat([maps.flatten(1), maps.mean((2, 3))], 1)
        predictions: Tensor = self.head(self.read(both).relu())
        return predictions


class Patches(nn.Module):
    """A small vision transformer that asks for the batch size as len(pixels)."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.patch, self.head = nn.Conv2d(channels, 32, 4, 4), nn.Linear(32, classes)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.encoder = nn.TransformerEncoderLayer(
            32, 2, 64, batch_first=True, norm_first=True, dropout=0.0
        )

    def tokens(self, pixels: Tensor) -> Tensor:
        return self.token.expand(len(pixels), -1, -1)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch(pixels).flatten(2).transpose(1, 2)
        read = self.encoder(torch.cat([self.tokens(pixels), patches], 1))
        predictions: Tensor = self.head(read[:, 0])
        return predictions


class FreePatches(Patches):
    """The same without that."""

    def tokens(self, pixels: Tensor) -> Tensor:
        return self.token.expand(pixels.shape[0], -1, -1)


class BatchAsInt(Pooled):
    """The batch size as a number of Python."""

    def forward(self, pixels: Tensor) -> Any:
        rows = int(pixels.shape[0])
        return self.head(self.features(pixels).reshape(rows, 16))


class BatchAsSize(Pooled):
    """The batch size as PyTorch's own."""

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.features(pixels).view(pixels.size(0), -1))


class RowByRow(Pooled):
    """A loop over the rows."""

    def forward(self, pixels: Tensor) -> Any:
        return torch.stack([self.head(self.features(row[None]))[0] for row in pixels])


class Auxiliary(Pooled):
    """Two answers while it is trained, one afterwards; the one that counts was made first."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.auxiliary = nn.Linear(16, classes)

    def forward(self, pixels: Tensor) -> Any:
        features = self.features(pixels)
        predictions = self.head(features), self.auxiliary(features)
        return self.shaped(*predictions) if self.training else self.evaluated(*predictions)

    def shaped(self, main: Tensor, other: Tensor) -> Any:
        return main, other

    def evaluated(self, main: Tensor, other: Tensor) -> Any:
        return main


class AsList(Auxiliary):
    """A list, in evaluation too."""

    def shaped(self, main: Tensor, other: Tensor) -> Any:
        return [main, other]

    evaluated = shaped


class AsDictionary(Auxiliary):
    """A dictionary whose main answer is torchvision's `out`, and comes last."""

    def shaped(self, main: Tensor, other: Tensor) -> Any:
        return {"aux": other, "out": main}

    evaluated = shaped


class Answers(NamedTuple):
    """What a network may answer with."""

    auxiliary: Tensor
    logits: Tensor


class AsNamedTuple(Auxiliary):
    """A named tuple whose main answer comes last."""

    def shaped(self, main: Tensor, other: Tensor) -> Any:
        return Answers(other, main)

    evaluated = shaped


class WithFeatures(Pooled):
    """Logits, and the features they were made of: no answer."""

    def forward(self, pixels: Tensor) -> Any:
        features = self.features(pixels)
        return self.head(features), features


class ReadElsewhere(Pooled):
    """A layer whose weight a function reads, too."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.widen = nn.Linear(16, 16)

    def forward(self, pixels: Tensor) -> Any:
        features = self.widen(self.features(pixels)).relu()
        return self.head(functional.linear(features, self.widen.weight.t()))


class TiedByHand(Pooled):
    """Two layers with one weight."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.second(self.first(self.features(pixels)).relu()).relu())


class Attending(Pooled):
    """nn.MultiheadAttention over the places of a map."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, pixels: Tensor) -> Any:
        places = self.conv(pixels).flatten(2).transpose(1, 2)
        return self.head(self.attention(places, places, places, need_weights=False)[0].mean(1))


class Buffers(Pooled):
    """Buffers that are no floats, and one that is not stored."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.register_buffer("order", torch.arange(15, -1, -1))
        self.register_buffer("scale", torch.full((16,), 2.0), persistent=False)

    def forward(self, pixels: Tensor) -> Any:
        order, scale = self.get_buffer("order"), self.get_buffer("scale")
        return self.head(self.features(pixels)[:, order] * scale)


class Negated(torch.autograd.Function):
    """A function with a gradient of its own."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return -values

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        return -gradients[0]


class OwnGradient(Pooled):
    """It calls such a function."""

    def forward(self, pixels: Tensor) -> Any:
        negated: Any = Negated.apply(self.features(pixels))  # type: ignore[no-untyped-call]
        return self.head(negated)


class Frequencies(Pooled):
    """Complex numbers inside."""

    def forward(self, pixels: Tensor) -> Any:
        return self.head(torch.fft.fft(self.features(pixels)).abs())


class Transposed(Pooled):
    """An answer that is a view with swapped axes."""

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.features(pixels)).t().clone().t()


class Talking(Pooled):
    """It prints."""

    def forward(self, pixels: Tensor) -> Any:
        print("computing", tuple(pixels.shape))
        return super().forward(pixels)


class Frozen(Pooled):
    """A convolution that is not trained."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.conv.requires_grad_(requires_grad=False)


class Unused(Pooled):
    """Layers that nothing calls."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.spare = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))


class Hooked(Pooled):
    """A hook that changes what a layer answers."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.conv.register_forward_hook(_doubled)


def _doubled(layer: nn.Module, inputs: object, created: Tensor) -> Tensor:
    return 2 * created


class WithDefaults(Pooled):
    """Arguments with defaults."""

    def forward(self, pixels: Tensor, scale: float = 2.0, *, mask: Tensor | None = None) -> Any:
        return self.head(scale * self.features(pixels))


class Branching(Pooled):
    """Which way it goes depends on what it reads."""

    def forward(self, pixels: Tensor) -> Any:
        features = self.features(pixels)
        if features.abs().sum() > 1e9:
            features = features / 2
        return self.head(features)


class Levels(nn.Module):
    """Pixels as indices of a table."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(8, 4), nn.Linear(4, classes)

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.table(((pixels + 4).clamp(0, 7)).long()).mean((1, 2, 3)))


class Volumes(nn.Module):
    """Convolutions of one and three dimensions, one turned round, and a group norm."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, 8, 2, 2)
        self.norm = nn.GroupNorm(2, 8)
        self.volume = nn.Conv3d(1, 4, 3, 2, 1)
        self.line = nn.Conv1d(4, 8, 3)
        self.head = nn.Linear(8, classes)

    def forward(self, pixels: Tensor) -> Any:
        maps = functional.relu(self.norm(self.up(pixels)))
        lines = self.line(self.volume(maps[:, None]).flatten(2))
        return self.head(lines.mean(2))


class Normed(Pooled):
    """Batch norm behind the linear layer's input, and before its maps are averaged."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.maps, self.means = nn.BatchNorm2d(16), nn.BatchNorm1d(16)

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.means(functional.relu(self.maps(self.conv(pixels))).mean((2, 3))))


class Raising(Pooled):
    """It fails."""

    def forward(self, pixels: Tensor) -> Any:
        raise ValueError("no such luck")


class RaisingInTraining(Pooled):
    """It fails when it is trained."""

    def forward(self, pixels: Tensor) -> Any:
        if self.training:
            raise ValueError("no such luck")
        return super().forward(pixels)


class RaisingWhenAlone(Pooled):
    """It fails with a single row."""

    def forward(self, pixels: Tensor) -> Any:
        if len(pixels) == 1:
            raise ValueError("no such luck")
        return super().forward(pixels)


class OnCuda(Pooled):
    """It wants a GPU."""

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels.to("cuda"))


class Doubling(Pooled):
    """It changes its input in place."""

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels.mul_(2))


class Noisy(Pooled):
    """Random in evaluation, too."""

    def forward(self, pixels: Tensor) -> Any:
        return self.head(functional.dropout(self.features(pixels), 0.5, training=True))


class OfTheBatch(Pooled):
    """Each answer depends on the other rows."""

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.features(pixels)).softmax(0)


class Detached(Pooled):
    """Its answer has no gradient."""

    def forward(self, pixels: Tensor) -> Any:
        return self.head(self.features(pixels)).detach()


class Imaginary(Pooled):
    """It answers complex numbers."""

    def forward(self, pixels: Tensor) -> Any:
        return torch.fft.fft(self.head(self.features(pixels)))


class Deep(Pooled):
    """An answer with an axis too many."""

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels)[..., None]


class Scalar(Pooled):
    """One number for all."""

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels).mean()


class Nothing(Pooled):
    """No answer."""

    def forward(self, pixels: Tensor) -> Any:
        super().forward(pixels)


class NotANumber(Pooled):
    """NaN."""

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels) * float("nan")


class Locked(Pooled):
    """It holds what cannot be copied."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.numbers = (number for number in range(3))


class Drawn(Pooled):
    """Another network at each call of its function."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        size = random.SystemRandom().randint(2, 10**6)
        self.spare = nn.Parameter(torch.zeros(size))


class Remembering(Pooled):
    """It answers with numbers that it was made with, and keeps them to itself."""

    def __init__(self, classes: int, channels: int, height: int, width: int) -> None:
        super().__init__(classes, channels, height, width)
        self.offset = [random.SystemRandom().random() for _ in range(classes)]

    def forward(self, pixels: Tensor) -> Any:
        return super().forward(pixels) + torch.tensor(self.offset)


def _of(kind: Callable[..., nn.Module], **options: Any) -> Network:
    def network(classes: int, channels: int, height: int, width: int) -> nn.Module:
        sizes = {"classes": classes, "channels": channels, "height": height, "width": width}
        return kind(**sizes, **options)

    return network


def _steps(cell: Any, **options: Any) -> Network:
    def network(classes: int, channels: int, height: int, width: int) -> nn.Module:
        return Steps(classes, channels, width, cell, **options)

    return network


def lazy(classes: int, channels: int, height: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes)
    )


def weight_norm(classes: int, channels: int, height: int, width: int) -> nn.Module:
    network = Pooled(classes, channels, height, width)
    nn.utils.weight_norm(network.conv)
    return network


def spectral_norm(classes: int, channels: int, height: int, width: int) -> nn.Module:
    network = Pooled(classes, channels, height, width)
    nn.utils.spectral_norm(network.conv)
    return network


def parametrized(classes: int, channels: int, height: int, width: int) -> nn.Module:
    network = Pooled(classes, channels, height, width)
    nn.utils.parametrizations.weight_norm(network.conv)
    nn.utils.parametrizations.spectral_norm(network.head)
    return network


def compiled(classes: int, channels: int, height: int, width: int) -> nn.Module:
    network: Any = torch.compile(Pooled(classes, channels, height, width))
    return network  # type: ignore[no-any-return]


def scripted(classes: int, channels: int, height: int, width: int) -> nn.Module:
    layers = [nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network: Any = torch.jit.script(nn.Sequential(*layers, nn.Linear(8, classes)))
    return network  # type: ignore[no-any-return]


def scripted_activation(classes: int, channels: int, height: int, width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(channels, 8, 3, 2), nn.BatchNorm2d(8)]
    layers += [torch.jit.script(nn.Hardswish()), nn.Conv2d(8, 16, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes))


def halved(classes: int, channels: int, height: int, width: int) -> nn.Module:
    return Pooled(classes, channels, height, width).half()


def long(classes: int, channels: int, height: int, width: int) -> nn.Module:
    layers = [nn.Identity() for _ in range(2000)]
    return nn.Sequential(*layers, Pooled(classes, channels, height, width))


def nested(classes: int, channels: int, height: int, width: int) -> nn.Module:
    network: nn.Module = Pooled(classes, channels, height, width)
    for _ in range(3000):
        network = nn.Sequential(network)
    return network


def parameterless(classes: int, channels: int, height: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d((1, classes)), nn.Flatten(), nn.Softmax(1), First(classes)
    )


class First(nn.Module):
    """The first values of each row."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, values: Tensor) -> Tensor:
        return values[:, : self.count]


def no_module(**sizes: int) -> object:
    return sizes


def no_classes(channels: int, height: int, width: int) -> nn.Module:
    return nn.Identity()


def failing(**sizes: int) -> nn.Module:
    raise OSError("no weights here")


gru_bidirectional = _steps(nn.GRU, bidirectional=True)
gru_two_layers = _steps(nn.GRU, num_layers=2)
gru = _steps(nn.GRU)
lstm_projected = _steps(nn.LSTM, proj_size=8)
lstm_two_layers = _steps(nn.LSTM, num_layers=2, bidirectional=True)
rnn = _steps(nn.RNN)
flat_and_mean = _of(FlatAndMean)
patches, free_patches = _of(Patches), _of(FreePatches)
batch_as_int, batch_as_size, row_by_row = _of(BatchAsInt), _of(BatchAsSize), _of(RowByRow)
auxiliary, as_list, as_dictionary = _of(Auxiliary), _of(AsList), _of(AsDictionary)
as_named_tuple, with_features = _of(AsNamedTuple), _of(WithFeatures)
read_elsewhere, tied_by_hand, attending = _of(ReadElsewhere), _of(TiedByHand), _of(Attending)
buffers, own_gradient, frequencies = _of(Buffers), _of(OwnGradient), _of(Frequencies)
transposed, talking, frozen, unused = _of(Transposed), _of(Talking), _of(Frozen), _of(Unused)
hooked, with_defaults, branching = _of(Hooked), _of(WithDefaults), _of(Branching)
levels, volumes, normed = _of(Levels), _of(Volumes), _of(Normed)
raising, raising_in_training = _of(Raising), _of(RaisingInTraining)
raising_when_alone, on_cuda, doubling = _of(RaisingWhenAlone), _of(OnCuda), _of(Doubling)
noisy, of_the_batch, detached = _of(Noisy), _of(OfTheBatch), _of(Detached)
imaginary, deep, scalar, nothing = _of(Imaginary), _of(Deep), _of(Scalar), _of(Nothing)
not_a_number, locked, drawn = _of(NotANumber), _of(Locked), _of(Drawn)
remembering = _of(Remembering)

TRAINED = (
    *("gru_bidirectional", "gru_two_layers", "gru", "lstm_projected", "lstm_two_layers", "rnn"),
    *("flat_and_mean", "patches", "free_patches", "batch_as_int", "batch_as_size", "row_by_row"),
    *("auxiliary", "as_list", "as_dictionary", "as_named_tuple", "with_features", "lazy"),
    *("read_elsewhere", "tied_by_hand", "attending", "buffers", "own_gradient", "frequencies"),
    *("transposed", "talking", "frozen", "unused", "hooked", "with_defaults", "branching"),
    *("levels", "volumes", "normed", "weight_norm", "spectral_norm", "parametrized", "compiled"),
    *("scripted", "scripted_activation", "long"),
)
"""Networks that are trained."""

REFUSED = {
    "raising": "ValueError: no such luck",
    "raising_in_training": "ValueError: no such luck",
    "raising_when_alone": "ValueError: no such luck",
    "on_cuda": "nets.py:",
    "doubling": "changes its input in place",
    "noisy": "outputs differ in evaluation",
    "of_the_batch": "depends on the other rows",
    "detached": "depends on none of its parameters",
    "imaginary": "logits are real numbers",
    "deep": "need shape (5, 3)",
    "scalar": "need shape (5, 3)",
    "nothing": "returns None",
    "halved": "nets.py:",
    "locked": "cannot be copied",
    "drawn": "cannot be saved and loaded",
    "remembering": "neither parameters nor buffers",
    "parameterless": "no parameters",
    "nested": "nested",
    "no_module": "must return an nn.Module",
    "no_classes": "TypeError",
    "failing": "OSError: no weights here",
    "not_a_number": "",
}
"""Networks that are not, with what is said."""
