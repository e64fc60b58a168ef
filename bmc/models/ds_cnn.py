"""DS-CNN: depthwise-separable convolutions over log-mel energies, for keyword spotting.

The layers are those of DS-CNN-S, which MLPerf Tiny uses, too. Both read 10 cepstral coefficients a
frame; here it is the log-mel energies, and a convolution before batch norm has no bias.

Source: Zhang et al. 2017, "Hello Edge: Keyword Spotting on Microcontrollers" (DS-CNN-S); Banbury et
al. 2021, "MLPerf Tiny Benchmark" (keyword spotting).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.families.ds_cnn import MAX_BLOCKS, MAX_WIDTH
from bmc.families.ds_cnn import Settings as Settings
from bmc.inference.folding import fold_batch_norms
from bmc.model import Model, Parts
from bmc.models import log_mel
from bmc.models.feature_maps import view
from bmc.models.image_networks import share_of, whole_of
from bmc.models.log_mel import examples as examples

_KERNEL, _STRIDE, _PADDING = (10, 4), (2, 2), (5, 1)  # frames, mel bands


class SeparableNetwork(log_mel.AudioModule):
    """A convolution, depthwise-separable blocks, an average over the map, and a linear output.

    Args:
        sizes: samples of a clip, mel bands, and upper end of the highest band in Hz.
        outputs: classes, or 1 in a regression.
        width: channels of every convolution.
        blocks: number of depthwise-separable blocks.
        dropout: dropout probability before the output layer.
    """

    def __init__(
        self, sizes: tuple[int, int, float], outputs: int, width: int, blocks: int, dropout: float
    ) -> None:
        super().__init__(*sizes)
        self.features = nn.Sequential(
            _normalized(nn.Conv2d(1, width, _KERNEL, _STRIDE, _PADDING, bias=False)),
            *(_separable(width) for _ in range(blocks)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, samples: Tensor) -> Tensor:
        """Return logits (rows, outputs) of samples (rows, samples) in -1..1."""
        energies = self.log_mel(samples).unsqueeze(1)
        logits: Tensor = self.output(self.dropout(self.avgpool(self.features(energies)).flatten(1)))
        return logits


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained network for the clips and classes of a data set."""
    encoder = log_mel.encoder_for(settings)
    spec = {
        **log_mel.spec_of(encoder, settings),
        "outputs": max(len(data.labels), 1),
        "filters": settings.width,
        "blocks": settings.blocks,
        "dropout": settings.dropout,
    }
    module = build(spec)
    log_mel.standardize(module.log_mel, data, encoder)
    return Model(module, "ds-cnn", spec, data.labels, encoder, data.task)


def build(spec: Mapping[str, Any]) -> SeparableNetwork:
    """Build an untrained network.

    Raises:
        ArtifactError: the spec is malformed.
    """
    return SeparableNetwork(
        log_mel.sizes_of(spec),
        whole_of(spec, "outputs"),
        whole_of(spec, "filters", most=MAX_WIDTH),
        whole_of(spec, "blocks", most=MAX_BLOCKS),
        share_of(spec, "dropout"),
    ).eval()


def inference_form(model: Model) -> nn.Module:
    """Return the network with its batch norms folded into its convolutions."""
    return fold_batch_norms(model.module)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the convolution, the blocks and the output layer."""
    features: Any = module.features
    return Parts(tuple(f"features.{index}" for index in range(len(features))), {}, (), ("output",))


def _normalized(convolution: nn.Conv2d) -> nn.Sequential:
    """Return a convolution with batch norm and ReLU."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


def _separable(width: int) -> nn.Sequential:
    """Return a depthwise 3x3 and a pointwise convolution, each with batch norm and ReLU."""
    return nn.Sequential(
        _normalized(nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)),
        _normalized(nn.Conv2d(width, width, 1, bias=False)),
    )


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
    inference_form=inference_form,
)
