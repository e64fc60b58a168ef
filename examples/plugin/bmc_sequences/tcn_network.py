"""The network of the family `tcn`, and the functions that bmc calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import ArtifactError
from bmc.inputs.series import encoder_for
from bmc.model import Model, Parts
from bmc_sequences.tcn import RANGES, Settings

_MOST = {"channels": 65_536, "outputs": 100_000}


class Block(nn.Module):
    """Two dilated causal convolutions with a shortcut.

    Args:
        channels: number of input channels.
        hidden: channels of the output.
        kernel: time steps that a convolution reads.
        dilation: distance between these steps.
        dropout: fraction of the values that is dropped after each convolution.
    """

    def __init__(
        self, channels: int, hidden: int, kernel: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.first = nn.Conv1d(channels, hidden, kernel, dilation=dilation)
        self.second = nn.Conv1d(hidden, hidden, kernel, dilation=dilation)
        same = channels == hidden
        self.shortcut = nn.Identity() if same else nn.Conv1d(channels, hidden, 1)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (rows, hidden, length); a step depends on itself and earlier ones."""
        inner = features
        for convolution in (self.first, self.second):
            padded = functional.pad(inner, (self.past, 0))
            inner = self.dropout(self.activation(convolution(padded)))
        outer: Tensor = self.activation(inner + self.shortcut(features))
        return outer


class TemporalConvolutionalNetwork(nn.Module):
    """Blocks of growing dilation, then a linear layer on the state at each series' last step.

    Padding is after the end of a series, where no earlier step depends on it.

    Args:
        channels: number of channels of a time step.
        outputs: classes, or 1 in a regression.
        hidden: channels of every block.
        blocks: number of residual blocks.
        kernel: time steps that a convolution reads.
        dropout: fraction of the values that is dropped after each convolution.
    """

    def __init__(
        self, channels: int, outputs: int, hidden: int, blocks: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.channels = channels
        widths = [channels, *[hidden] * (blocks - 1)]
        self.blocks = nn.Sequential(
            *(Block(width, hidden, kernel, 2**place, dropout) for place, width in enumerate(widths))
        )
        self.classifier = nn.Linear(hidden, outputs)

    def forward(self, series: Tensor, lengths: Tensor) -> Tensor:
        """Return outputs (rows, classes) for series (rows, length, channels), int64 lengths."""
        states = self.blocks(series.transpose(1, 2))
        steps = torch.arange(1, series.shape[1] + 1, device=series.device)
        is_last = (steps == lengths[:, None]).to(states.dtype)
        outputs: Tensor = self.classifier((states * is_last[:, None, :]).sum(2))
        return outputs


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained network for the series and classes of a data set."""
    encoder = encoder_for(data.train.rows, settings.max_length)
    spec = {
        "channels": encoder.settings.channels,
        "outputs": max(len(data.labels), 1),
        "hidden": settings.hidden,
        "blocks": settings.blocks,
        "kernel": settings.kernel,
        "dropout": settings.dropout,
    }
    return Model(build(spec), "tcn", spec, data.labels, encoder, data.task)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Raises:
        ArtifactError: the spec lacks a size, or one is out of range.
    """
    sizes = {}
    for name, (least, most) in {**{key: (1, top) for key, top in _MOST.items()}, **RANGES}.items():
        size = spec.get(name)
        if type(size) is not int or not least <= size <= most:
            raise ArtifactError(f"config.json: {name} is {size!r:.60}, not in {least}..{most}")
        sizes[name] = size
    dropout = spec.get("dropout")
    if type(dropout) is not float or not 0 <= dropout < 1:
        raise ArtifactError(f"config.json: dropout is {dropout!r:.60}, not in [0, 1)")
    return TemporalConvolutionalNetwork(**sizes, dropout=dropout).eval()


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two batches of different shapes, with padding."""
    generator = torch.Generator().manual_seed(0)
    channels: Any = module.get_submodule("blocks.0.first").in_channels

    def batch(rows: int, length: int) -> dict[str, Tensor]:
        series = torch.randn(rows, length, int(channels), generator=generator)
        return {"series": series, "lengths": torch.tensor([length // 2, *[length] * (rows - 1)])}

    return batch(2, 12), batch(3, 7)


def parts(module: nn.Module) -> Parts:
    """Say where the blocks and the output are; there are neither heads nor embeddings."""
    blocks = tuple(name for name, part in module.named_modules() if isinstance(part, Block))
    return Parts(blocks, {}, (), ("classifier",))


NETWORK = Network(baseline=baseline, build=build, examples=examples, parts=parts)
