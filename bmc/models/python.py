"""The user's network: python:module:function, where the function returns an nn.Module for images.

bmc runs the function because the user typed its name. The model directory stores the name, and
loading the directory imports the module only if the user types the name again (`--code`): see
bmc/trust.py.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bmc import console
from bmc.contracts import Network
from bmc.contracts.tasks import task
from bmc.data import Dataset
from bmc.errors import ModelCodeError, SettingError, UnknownError, UsageError
from bmc.families.python import Settings as Settings
from bmc.model import Model, Parts
from bmc.models import _networks, image_networks
from bmc.models.feature_maps import view
from bmc.models.image_networks import examples as examples
from bmc.training.parametrizations import fold_parametrizations
from bmc.trust import check_trusted, trust
from bmc.user_code import line_of, summary_of


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Call the user's function for the images and classes of a data set.

    The function gets the keyword arguments classes (1 in a regression), channels, height and width.
    It returns a module that maps pixels, float32 (rows, channels, height, width), to logits (rows,
    classes). Of several outputs in a tuple the first is used, of named outputs the one named
    `logits`.

    Raises:
        SettingError: the reference is not of the form python:module:function, or the network of a
            regression does not end in a linear layer.
        UnknownError: there is no such module or function.
        ModelCodeError: the function or its network fails.
        UsageError: the outputs of the network are invalid.
    """
    trust(reference)
    encoder = image_networks.encoder_for(data, settings.image_size)
    code = reference.removeprefix("python:")
    model = image_networks.model_for(data, "python", encoder, {"code": code}, _built)
    try:
        auxiliary = _networks.check_network(
            model.module,
            {"pixels": _pixels(model.module)},
            model.spec["outputs"],
            lambda: build(model.spec),
            reference,
        )
    except RecursionError as error:
        raise UsageError(f"{reference}: the network's modules are nested too deeply") from error
    if auxiliary:
        model.spec["auxiliary"] = auxiliary
        console.note(
            f"{reference} returns {auxiliary + 1} outputs in training: the first (or the one named "
            "logits) is the prediction, the losses of the others are weighted by --auxiliary-weight"
        )
    if task(data.task).is_numeric:
        fold_parametrizations(model.module)  # training folds the labels' scale into the last layer
        if not image_networks.answering_linear(model.module):
            raise SettingError(f"{reference} does not end in a linear layer, as a regression must")
    return model


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Call the function that the spec names, if the user typed the same name.

    Raises:
        ArtifactError: the spec is malformed, or the user did not type that name.
        UnknownError: there is no such module or function.
        ModelCodeError: the function fails.
        UsageError: the function does not return a module.
    """
    module = _built(spec)
    fold_parametrizations(module)
    return module


def parts(module: nn.Module) -> Parts:
    """Return the path of the output layer."""
    output = image_networks.answering_linear(module)
    return Parts((), {}, (), (output,) if output else image_networks.last_linear(module))


def _built(spec: Mapping[str, Any]) -> nn.Module:
    """Build the network as it is trained, with its parametrizations."""
    image, outputs = image_networks.image_of(spec), image_networks.whole_of(spec, "outputs")
    code = check_trusted(spec.get("code"))
    channels, height, width = image
    sizes = {"classes": outputs, "channels": channels, "height": height, "width": width}
    network = _called(code, sizes)
    try:
        network = _networks.materialized(network, image)
    except Exception as error:  # whatever the user's code raises
        where = line_of(error) or code
        raise ModelCodeError(f"the network fails in {where}: {summary_of(error)}") from error
    return image_networks.Wrapped(image, network).eval()


def _called(code: str, arguments: Mapping[str, int]) -> nn.Module:
    """Import a function, also from the current directory, and call it."""
    name, _, function = code.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        factory = getattr(importlib.import_module(name), function, None)
        if not callable(factory):
            raise UnknownError(f"the module {name} has no function {function!r}")
        network = factory(**arguments)
    except ModuleNotFoundError as error:
        raise UnknownError(
            f"{code}: no module named {error.name!r} (looked in {folder})"
        ) from error
    except UnknownError:
        raise
    except Exception as error:  # whatever the user's code raises
        call = ", ".join(f"{key}={value}" for key, value in arguments.items())
        where = line_of(error)
        raise ModelCodeError(
            f"{code}({call}) failed{f' in {where}' if where else ''}: {summary_of(error)}"
        ) from error
    finally:
        sys.path.remove(folder)
    if not isinstance(network, nn.Module):
        raise UsageError(f"{code} returned {type(network).__name__}; it must return an nn.Module")
    return network


def _pixels(module: nn.Module) -> Tensor:
    """Return example rows to check a network with."""
    return torch.cat([example["pixels"] for example in examples(module)])


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
)
