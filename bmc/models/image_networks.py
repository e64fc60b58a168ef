"""Shared code of image families: image sizes and normalization, and checks of specs."""

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
"""Longest side, in pixels, of images for which networks have a stem with a smaller stride."""
_SAMPLE = 512
_MIN_STD = 1 / 255


class ImageModule(nn.Module):
    """A network for images of one shape; `forward` maps pixels to outputs (rows, outputs).

    Args:
        image: channels, height and width of the images.
    """

    def __init__(self, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.image = image


class Wrapped(ImageModule):
    """The network of a user or library for images, whose argument may have any name.

    Args:
        image: channels, height and width of the images.
        network: network that is called with pixels, float32 (rows, channels, height, width).
    """

    is_user_network = True  # see bmc/user_code.py

    def __init__(self, image: tuple[int, int, int], network: nn.Module) -> None:
        super().__init__(image)
        self.network = network

    def forward(self, pixels: Tensor) -> Any:
        """Return the outputs (rows, outputs); in training, also the auxiliary outputs."""
        returned = self.network(pixels)
        if self.training:
            return returned
        outputs = find_outputs(returned)[0]
        is_half = isinstance(outputs, Tensor) and outputs.dtype in (torch.float16, torch.bfloat16)
        return outputs.float() if is_half else outputs

    def output_linear(self) -> str | None:
        """Return the path of the linear layer that computes the network's output; None if none."""
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
        data: data set, whose labels and task determine the number of outputs: 1 in a regression.
        family: name of the family.
        encoder: encoder from `encoder_for`.
        spec: entries of the spec other than the image shape and the number of outputs.
        build: function of the family that builds a network from a spec.

    Raises:
        SettingError: a setting does not fit the data's images.
    """
    image = encoder.settings
    outputs = max(len(data.labels), 1)
    shape = {"channels": image.channels, "height": image.height, "width": image.width}
    complete = {**spec, **shape, "outputs": outputs}
    try:
        module = build(complete)
    except ArtifactError as error:
        raise SettingError(f"{data.name!r} does not fit {family}: {error}") from error
    return Model(module, family, complete, data.labels, encoder, data.task)


def encoder_for(data: Dataset, image_size: int = 0, any_size: bool = False) -> ImageEncoder:
    """Return an encoder with the size, channels, and channel means and deviations of the images.

    Means and deviations are of all training images if these are an array of the right size, and of
    512 evenly spaced images otherwise.

    Args:
        data: data set of images.
        image_size: height and width that images are resized to; 0 keeps the data's size.
        any_size: whether the exported network takes images of other sizes.
    """
    rows = data.train.rows
    height, width, channels = image_shape(data)
    if image_size:
        height = width = image_size
    if isinstance(rows, np.ndarray) and rows.shape[1:3] == (height, width):
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] = rows
    else:
        indices = np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int).tolist()
        images = [read_image(rows[index], height, width, channels) for index in indices]
    mean, std = _moments(images, channels)
    return ImageEncoder(ImageSettings(height, width, channels, mean, std, any_size))


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs with different numbers of rows, for tracing and checks."""
    image: Any = module.image
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(rows, *image, generator=generator) for rows in (2, 3))
    return {"pixels": first}, {"pixels": second}


def image_of(spec: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the channels, height and width in a spec.

    Raises:
        ArtifactError: a number is missing or out of range.
    """
    channels = whole_of(spec, "channels", most=3)
    return channels, whole_of(spec, "height", most=4096), whole_of(spec, "width", most=4096)


def stride_for(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Return the stride of a 3x3 convolution along height and width: 1 along a side of one pixel.

    Along such a side every stride gives the same output. With a larger stride, however, PyTorch's
    bf16 CPU kernels leave the gradient of the weights uninitialized.
    """
    vertical, horizontal = (1 if side == 1 else stride for side in size)
    return vertical, horizontal


def strided(size: Sequence[int], stride: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of a feature map after a padded convolution or pooling."""
    height, width = ((side - 1) // step + 1 for side, step in zip(size, stride, strict=True))
    return height, width


def whole_of(spec: Mapping[str, Any], key: str, least: int = 1, most: int = 2**16) -> int:
    """Return an integer in a spec.

    Raises:
        ArtifactError: the entry is missing, not an integer, or out of range.
    """
    value = spec.get(key)
    if type(value) is not int or not least <= value <= most:
        raise ArtifactError(f"the model's {key} is {value!r:.60}; it must lie in {least}..{most}")
    return value


def share_of(spec: Mapping[str, Any], key: str) -> float:
    """Return a fraction in [0, 1) in a spec, such as a dropout probability.

    Raises:
        ArtifactError: the entry is missing, not a number, or out of range.
    """
    value = spec.get(key)
    if type(value) not in (int, float) or not 0 <= float(value) < 1:  # type: ignore[arg-type]
        raise ArtifactError(f"the model's {key} is {value!r:.60}; it must lie in [0, 1)")
    return float(value)  # type: ignore[arg-type]


def last_linear(module: nn.Module) -> tuple[str, ...]:
    """Return the path of the linear layer that was registered last; () if there is none."""
    names = [name for name, part in module.named_modules() if type(part) is nn.Linear]
    return tuple(names[-1:])


def answering_linear(module: nn.Module) -> str | None:
    """Return the path of the linear layer that computes the network's output; None if none does.

    This is not always the last registered layer: networks may have auxiliary heads. The network is
    run once, and the outputs of all linear layers are compared with its output.
    """
    outputs: list[tuple[str, Tensor]] = []
    linears = {id(part): path for path, part in module.named_modules() if _is_linear(part)}
    hooks = [
        part.register_forward_hook(
            lambda part, _, output: outputs.append((linears[id(part)], output.detach().clone()))
        )
        for part in module.modules()
        if _is_linear(part)
    ]
    training = module.training
    device = next((value.device for value in module.parameters()), None)
    try:
        with torch.no_grad():
            probes: Any = getattr(module, "examples", None) or examples(module)
            inputs = {name: value.to(device) for name, value in probes[0].items()}
            network_output = output_of(module.eval(), inputs)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    flat = network_output.flatten()
    matches = [path for path, output in outputs if torch.equal(output.flatten(), flat)]
    return matches[-1] if matches else None


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear)


def _moments(images: Many, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, from histograms of the 256 values."""
    counts = np.zeros((channels, 256))
    for start in range(0, len(images), _SAMPLE):
        batch = np.asarray(images[start : start + _SAMPLE])
        for channel in range(channels):
            counts[channel] += np.bincount(batch[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt(np.maximum(weights @ values**2 - mean**2, _MIN_STD**2))
    return tuple(mean.round(6).tolist()), tuple(std.round(6).tolist())
