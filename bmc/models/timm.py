"""Image models of timm (PyTorch Image Models), by their timm name: timm:NAME."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from torch import nn

from bmc import console
from bmc.contracts import Network
from bmc.contracts.tasks import task
from bmc.data import Dataset
from bmc.errors import ArtifactError, AssetError, SettingError, reason_of, unknown
from bmc.families.timm import Settings as Settings
from bmc.model import Model, Parts
from bmc.models import image_networks
from bmc.models.feature_maps import view
from bmc.models.image_networks import examples as examples


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build a timm model for the images and classes of a data set.

    Raises:
        UnknownError: timm has no such model.
        AssetError: the pretrained weights could not be downloaded.
        SettingError: the model of a regression does not end in a linear layer.
    """
    name = reference.removeprefix("timm:")
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models(), "timm.list_models() lists all")
    encoder = image_networks.encoder_for(data, settings.image_size or _fixed_size(name))
    model = image_networks.model_for(data, "timm", encoder, {"name": name}, build)
    if task(data.task).is_numeric and not image_networks.answering_linear(model.module):
        raise SettingError(f"{reference} does not end in a linear layer, as a regression must")
    if settings.pretrained:
        image = image_networks.image_of(model.spec)
        try:
            network = _create(name, image, int(model.spec["outputs"]), pretrained=True)
        except (OSError, RuntimeError) as error:
            raise AssetError(
                f"timm could not fetch weights for {name} ({reason_of(error):.200}): "
                "leave pretrained out"
            ) from error
        _renew_head(network, int(model.spec["outputs"]), reference)
        model.module = image_networks.Wrapped(image, network).eval()
    return model


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained timm model.

    Raises:
        ArtifactError: the spec is malformed, or this timm has no such model.
    """
    image, outputs = image_networks.image_of(spec), image_networks.whole_of(spec, "outputs")
    name = spec.get("name")
    if not isinstance(name, str) or not timm.is_model(name):
        raise ArtifactError(f"this timm ({timm.__version__}) has no model named {name!r:.60}")
    try:
        network = _create(name, image, outputs, pretrained=False)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ArtifactError(f"timm cannot build {name} for images of {image} ({error})") from error
    return image_networks.Wrapped(image, network).eval()


def parts(module: nn.Module) -> Parts:
    """Return the path of the output layer; timm has no common names for other layers."""
    output = image_networks.answering_linear(module)
    return Parts((), {}, (), (output,) if output else image_networks.last_linear(module))


def _renew_head(network: Any, outputs: int, reference: str) -> None:
    """Initialize the head anew: timm keeps its head where the number of classes is equal."""
    if getattr(network, "pretrained_cfg", {}).get("num_classes") == outputs:
        network.reset_classifier(outputs)
    console.note(f"{reference}: a fresh head; timm's own has no names that the data could match")


def _create(name: str, image: tuple[int, int, int], outputs: int, pretrained: bool) -> nn.Module:
    # Models with a fixed image size (vision transformers) take that size as an argument.
    size = {"img_size": image[1:]} if _fixed_size(name) else {}
    network: nn.Module = timm.create_model(
        name, pretrained=pretrained, num_classes=outputs, in_chans=image[0], **size
    )
    return network


def _fixed_size(name: str) -> int:
    """Return the image size of a model with a fixed image size; 0 for other models."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return int(config.input_size[-1]) if config and config.fixed_input_size else 0


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
)
