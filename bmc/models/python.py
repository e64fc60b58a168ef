"""The user's own network: python:module:function, whose function makes an nn.Module for images.

The code runs because it was typed. A model directory made so names the function, but loading it
imports nothing unless the same name is typed again (`--code`): see bmc/trust.py.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bmc.data import Dataset
from bmc.errors import SettingError, UnknownError, UsageError
from bmc.model import Model, Parts
from bmc.models import _images
from bmc.models._images import examples as examples
from bmc.training.settings import TrainingSettings
from bmc.trust import check_trusted, trust

KINDS = ("image",)
BASELINES: Mapping[str, str] = {}
Settings = _images.ImageOptions


def recipe(name: str) -> TrainingSettings:
    """Return how it is trained where the command line does not say."""
    return TrainingSettings(epochs=5, learning_rate=1e-3, batch_size=64)


def baseline(reference: str, data: Dataset, settings: _images.ImageOptions) -> Model:
    """Call the user's function for the images and classes of a data set.

    It gets the keyword arguments classes (1 in a regression), channels, height and width, and
    returns a module that takes pixels, float32 (rows, channels, height, width), and gives logits
    (rows, classes).

    Raises:
        SettingError: the reference is no python:module:function, or a regression needs a linear
            last layer and the network has none.
        UnknownError: there is no such module or function.
        UsageError: the function fails, or what it returns does not answer as it should.
    """
    trust(reference)
    encoder = _images.encoder_for(data, settings.image_size)
    code = reference.removeprefix("python:")
    model = _images.model_for(data, "python", encoder, {"code": code}, build)
    _check_answers(model, reference)
    if data.task == "regression" and not parts(model.module).outputs:
        raise SettingError(f"{reference} has no linear layer to end a regression in")
    return model


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Call the function that the spec names, if the user typed the same name.

    Raises:
        ArtifactError: the spec is malformed, or the user did not type that name.
        UnknownError: there is no such module or function.
        UsageError: the function fails, or returns no module.
    """
    image, outputs = _images.image_of(spec), _images.whole_of(spec, "outputs")
    code = check_trusted(spec.get("code"))
    channels, height, width = image
    sizes = {"classes": outputs, "channels": channels, "height": height, "width": width}
    return _images.Wrapped(image, _called(code, sizes)).eval()


def parts(module: nn.Module) -> Parts:
    """Say where the output is: the last linear layer."""
    return Parts((), {}, (), _images.last_linear(module))


def _called(code: str, arguments: Mapping[str, int]) -> nn.Module:
    """Import a function, from the current directory too, and call it."""
    name, _, function = code.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(name), function, None)
        if not callable(found):
            raise UnknownError(f"the module {name} has no function {function!r}")
        network = found(**arguments)
    except ModuleNotFoundError as error:
        raise UnknownError(f"{code}: no module named {error.name!r} (looked in {here})") from error
    except UnknownError:
        raise
    except Exception as error:
        given = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise UsageError(
            f"{code}({given}) failed: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    finally:
        sys.path.remove(here)
    if not isinstance(network, nn.Module):
        raise UsageError(f"{code} returned {type(network).__name__}; it must return an nn.Module")
    return network


def _check_answers(model: Model, reference: str) -> None:
    pixels = examples(model.module)[0]["pixels"]
    expected = (len(pixels), model.spec["outputs"])
    try:
        with torch.no_grad():
            answered = model.module(pixels)
    except Exception as error:
        raise UsageError(
            f"{reference}: the network does not take pixels of shape {tuple(pixels.shape)} "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error
    shape = tuple(getattr(answered, "shape", ()))
    if shape != expected:
        raise UsageError(f"{reference}: the network answers {shape or answered}; not {expected}")
