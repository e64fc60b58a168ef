"""What image families share: the size and normalization of the data's images, and checked specs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc.data import Dataset, image_shape
from bmc.errors import ArtifactError, SettingError
from bmc.inputs import Many
from bmc.inputs.image import ImageEncoder, ImageSettings, read_image
from bmc.model import Model, find_outputs, output_of

SMALL = 64
"""Pixels of the longer side up to which a network starts without halving the image twice."""
_SAMPLE = 512
_LEAST_STD = 1 / 255


class ImageModule(nn.Module):
    """A network for images, which knows their shape: forward(pixels) -> (rows, outputs).

    Args:
        image: channels, height and width that it was built for.
    """

    def __init__(self, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.image = image


class Wrapped(ImageModule):
    """Somebody else's network for images, whose argument may have any name.

    Args:
        image: channels, height and width that it was built for.
        network: called with pixels, float32 (rows, channels, height, width), alone.
    """

    is_foreign = True  # see bmc/foreign.py

    def __init__(self, image: tuple[int, int, int], network: nn.Module) -> None:
        super().__init__(image)
        self.network = network

    def forward(self, pixels: Tensor) -> Any:
        """Return the network's outputs (rows, outputs); in training, all of its answers."""
        made = self.network(pixels)
        if self.training:
            return made
        outputs = find_outputs(made)[0]
        narrow = isinstance(outputs, Tensor) and outputs.dtype in (torch.float16, torch.bfloat16)
        return outputs.float() if narrow else outputs

    def output_linear(self) -> str | None:
        """Return the path of the linear layer whose output is the network's; None if none is."""
        return answering_linear(self)


def model_for(
    data: Dataset,
    family: str,
    encoder: ImageEncoder,
    spec: Mapping[str, Any],
    build: Callable[[Mapping[str, Any]], nn.Module],
) -> Model:
    """Build a family's model for the images and classes of a data set.

    Args:
        data: its labels and task say how many outputs there are: one in a regression.
        family: the file in bmc/models.
        encoder: from `encoder_for`.
        spec: what the family adds to image shape and outputs.
        build: the family's own.

    Raises:
        SettingError: a setting does not fit the data's images.
    """
    own = encoder.settings
    outputs = 1 if data.task == "regression" else len(data.labels)
    shape = {"channels": own.channels, "height": own.height, "width": own.width}
    whole = {**spec, **shape, "outputs": outputs}
    try:
        module = build(whole)
    except ArtifactError as error:
        raise SettingError(f"{data.name!r} does not fit {family}: {error}") from error
    return Model(module, family, whole, data.labels, encoder, data.task)


def encoder_for(data: Dataset, image_size: int = 0, any_size: bool = False) -> ImageEncoder:
    """Measure the training images: their size, channels, and mean and deviation of each channel.

    Arrays of the right size are measured whole, anything else by an even sample of 512 images.

    Args:
        data: of images.
        image_size: height and width; 0 for the data's own.
        any_size: whether the network takes other sizes once it is exported.
    """
    rows = data.train.rows
    height, width, channels = image_shape(data)
    if image_size:
        height = width = image_size
    if isinstance(rows, np.ndarray) and rows.shape[1:3] == (height, width):
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] = rows
    else:
        places = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int).tolist()
        images = [read_image(rows[place], height, width, channels) for place in places]
    mean, std = _moments(images, channels)
    return ImageEncoder(ImageSettings(height, width, channels, mean, std, any_size))


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different numbers of rows, for tracing and for checking."""
    image: Any = module.image
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(rows, *image, generator=generator) for rows in (2, 3))
    return {"pixels": first}, {"pixels": second}


def image_of(spec: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return channels, height and width out of a spec.

    Raises:
        ArtifactError: they are missing or out of range.
    """
    channels = whole_of(spec, "channels", most=3)
    return channels, whole_of(spec, "height", most=4096), whole_of(spec, "width", most=4096)


def stride_for(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Return a 3x3 convolution's stride down and across: 1 along a side of one pixel.

    Every stride answers the same there, but in bf16 PyTorch's kernels for processors leave the
    gradient of the weights unset: it holds whatever stood in memory.
    """
    down, across = (1 if side == 1 else stride for side in size)
    return down, across


def strided(size: Sequence[int], stride: tuple[int, int]) -> tuple[int, int]:
    """Return a map's height and width behind a padded convolution or pooling."""
    height, width = ((side - 1) // step + 1 for side, step in zip(size, stride, strict=True))
    return height, width


def whole_of(spec: Mapping[str, Any], key: str, least: int = 1, most: int = 2**16) -> int:
    """Return a whole number out of a spec.

    Raises:
        ArtifactError: it is missing, something else, or out of range.
    """
    value = spec.get(key)
    if type(value) is not int or not least <= value <= most:
        raise ArtifactError(f"the model's {key} is {value!r:.60}; it must lie in {least}..{most}")
    return value


def share_of(spec: Mapping[str, Any], key: str) -> float:
    """Return a number from 0 to below 1 out of a spec, such as a dropout.

    Raises:
        ArtifactError: it is missing, something else, or out of range.
    """
    value = spec.get(key)
    if type(value) not in (int, float) or not 0 <= float(value) < 1:  # type: ignore[arg-type]
        raise ArtifactError(f"the model's {key} is {value!r:.60}; it must lie in [0, 1)")
    return float(value)  # type: ignore[arg-type]


def last_linear(module: nn.Module) -> tuple[str, ...]:
    """Return the path of the last plain linear layer, whose outputs are the model's; () if none."""
    names = [name for name, part in module.named_modules() if type(part) is nn.Linear]
    return tuple(names[-1:])


def answering_linear(module: nn.Module) -> str | None:
    """Return the path of the linear layer whose output is the network's answer; None if none is.

    The one that was registered last need not be it: networks may have auxiliary heads.
    """
    found: list[tuple[str, Tensor]] = []
    linears = {id(part): path for path, part in module.named_modules() if _is_linear(part)}
    hooks = [
        part.register_forward_hook(
            lambda part, _, made: found.append((linears[id(part)], made.detach().clone()))
        )
        for part in module.modules()
        if _is_linear(part)
    ]
    training = module.training
    device = next((value.device for value in module.parameters()), None)
    try:
        with torch.no_grad():
            made_up: Any = getattr(module, "examples", None) or examples(module)
            inputs = {name: value.to(device) for name, value in made_up[0].items()}
            answer = output_of(module.eval(), inputs)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    same = [path for path, made in found if torch.equal(made.flatten(), answer.flatten())]
    return same[-1] if same else None


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear)


def _moments(images: Many, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel, from exact counts of the 256 values."""
    counts = np.zeros((channels, 256))
    for start in range(0, len(images), _SAMPLE):
        part = np.asarray(images[start : start + _SAMPLE])
        for channel in range(channels):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt(np.maximum(weights @ values**2 - mean**2, _LEAST_STD**2))
    return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist())
