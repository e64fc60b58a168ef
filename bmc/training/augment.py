"""Augmentation: random changes of training rows, with torch's random number generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from bmc.errors import DataError

_WORD_DROP = 0.1


def augmented(inputs: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a batch's inputs with random changes, one augmentation after another.

    Args:
        inputs: the model's arguments by name; images are `pixels` (rows, channels, height, width).
        names: augmentations: crop (shift by up to an eighth of the height), flip (left to right),
            cutout (set a square of a quarter of the width to the mean), word-drop (mask a tenth of
            the tokens, but not the first).

    Raises:
        DataError: an augmentation is for another kind of data.

    Source: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks
    with Cutout".
    """
    changed = dict(inputs)
    for name in names:
        key = "attention_mask" if name == "word-drop" else "pixels"
        if key not in changed:
            kind = "text" if name == "word-drop" else "images"
            raise DataError(
                f"the augmentation {name} is for {kind}, which this data does not have; "
                f"leave {name} out of augment"
            )
        changed[key] = _AUGMENTATIONS[name](changed[key])
    return changed


def _crop(pixels: Tensor) -> Tensor:
    rows, _, height, width = pixels.shape
    border = max(1, height // 8)
    padded = pad(pixels, (border, border, border, border), mode="replicate")
    across, down = (torch.randint(0, 2 * border + 1, (rows,)).tolist() for _ in range(2))
    shifted = [
        image[:, top : top + height, left : left + width]
        for image, top, left in zip(padded, down, across, strict=True)
    ]
    return torch.stack(shifted)


def _flip(pixels: Tensor) -> Tensor:
    flipped = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
    return torch.where(flipped, pixels.flip(3), pixels)


def _cutout(pixels: Tensor) -> Tensor:
    rows, _, height, width = pixels.shape
    half = max(1, width // 8)
    top, left = torch.randint(0, height, (rows, 1)), torch.randint(0, width, (rows, 1))
    down = (torch.arange(height) - top).abs() < half
    across = (torch.arange(width) - left).abs() < half
    hidden = (down[:, None, :, None] & across[:, None, None, :]).to(pixels.device)
    return pixels.masked_fill(hidden, 0.0)  # 0 is the mean of normalized pixels


def _word_drop(mask: Tensor) -> Tensor:
    is_kept = torch.rand(mask.shape, device=mask.device) >= _WORD_DROP
    is_kept[:, 0] = True
    return mask * is_kept


_AUGMENTATIONS = {"crop": _crop, "flip": _flip, "cutout": _cutout, "word-drop": _word_drop}
