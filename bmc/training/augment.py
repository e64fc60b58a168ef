"""Augmentation: random changes of training rows, with torch's random number generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn.functional import pad

from bmc.errors import DataError, UsageError
from bmc.training.batches import Batch, Mixing
from bmc.training.settings import MIXKD
from bmc.training.sounds import noise, shift, speed

MIXING = ("mixup", "cutmix")
"""Augmentations that mix each image, and its label, with another image of the batch."""

_OF_TOKENS = ("word-drop", "word-swap", MIXKD)
_OF_SOUND = {"shift": shift, "speed": speed, "noise": noise}
_CHANGED_WORDS = 0.1
_MIXUP_ALPHA, _CUTMIX_ALPHA = 0.2, 1.0  # of the Beta distribution, as in the papers


def augmented_batch(batch: Batch, names: tuple[str, ...]) -> Batch:
    """Return a batch with random changes, one augmentation after another; mixing comes last.

    With both mixup and cutmix, each batch is mixed by one of the two, drawn at random.

    Args:
        batch: a batch of training rows.
        names: augmentations; those of `augmented`, mixup (the weighted mean with another image of
            the batch) and cutmix (a rectangle of another image of the batch). mixkd changes nothing
            here: see `bmc.training.mixkd`.

    Raises:
        DataError: an augmentation is for another kind of data, or changes words that have tags.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"; Yun et al. 2019,
    "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".
    """
    if batch.positions is not None and names:
        raise DataError(
            f"the augmentation {names[0]} changes the words of a row, which have a tag each: leave "
            f"{names[0]} out of augment"
        )
    if MIXKD in names:
        _check_input(MIXKD, _INPUT_OF_KIND["text"], batch.inputs)
    changing = tuple(name for name in names if name not in (*MIXING, MIXKD))
    inputs = augmented(batch.inputs, changing)
    mixing = [name for name in names if name in MIXING]
    if mixing:
        name = mixing[int(torch.randint(len(mixing), ())) if len(mixing) > 1 else 0]
        _check_input(name, "pixels", inputs)
        mix = _mixup if name == "mixup" else _cutmix
        pixels, how = mix(inputs["pixels"])
        return replace(batch, inputs={**inputs, "pixels": pixels}, mixing=how)
    return replace(batch, inputs=inputs)


def augmented(inputs: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a batch's inputs with random changes, one augmentation after another.

    Args:
        inputs: the model's arguments by name; images are `pixels` (rows, channels, height, width).
        names: augmentations: crop (shift by up to an eighth of the height), flip (left to right),
            cutout (set a square of a quarter of the width to the mean), word-drop (mask a tenth of
            the tokens, but not the first), word-swap (exchange a tenth of the tokens with the next
            one, but not the first and the separators); of sound shift, speed and noise, see
            `bmc.training.sounds`.

    Raises:
        DataError: an augmentation is for another kind of data.

    Source: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks
    with Cutout"; Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques for Boosting Performance
    on Text Classification Tasks" (words that are dropped and exchanged).
    """
    changed = dict(inputs)
    for name in names:
        key = _INPUT_OF_KIND[_kind_of(name)]
        _check_input(name, key, changed)
        if name == "word-swap":
            changed["input_ids"] = _word_swap(changed["input_ids"], changed[key], inputs[key])
        else:
            changed[key] = _AUGMENTATIONS[name](changed[key])
    return changed


def check_kind(names: tuple[str, ...], kind: str) -> None:
    """Refuse augmentations of another kind of data, before anything is trained.

    Args:
        names: augmentations.
        kind: kind of the data's rows: "text", "image", "audio", "series" or "array".

    Raises:
        DataError: an augmentation is for another kind of data.
    """
    for name in names:
        if kind != _kind_of(name):
            raise _refusal(name)


def refuse_untaught(names: tuple[str, ...]) -> None:
    """Refuse an augmentation that needs a teacher, where there is none.

    Raises:
        UsageError: there is such an augmentation.
    """
    if MIXKD in names:
        raise UsageError(
            f"the augmentation {MIXKD} mixes texts that a teacher must predict, and bmc train has "
            f"no teacher: take bmc distill, or leave {MIXKD} out of augment"
        )


def _kind_of(name: str) -> str:
    """Return the kind of rows that an augmentation changes."""
    if name in _OF_SOUND:
        return "audio"
    return "text" if name in _OF_TOKENS else "image"


def _check_input(name: str, key: str, inputs: Mapping[str, Tensor]) -> None:
    if key not in inputs:
        raise _refusal(name)


def _refusal(name: str) -> DataError:
    kinds = {"text": "text that is read as tokens", "image": "images", "audio": "sound"}
    return DataError(
        f"the augmentation {name} is for {kinds[_kind_of(name)]}, which this data does not have; "
        f"leave {name} out of augment"
    )


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


def _mixup(pixels: Tensor) -> tuple[Tensor, Mixing]:
    partners, share = _partners(pixels), _share(_MIXUP_ALPHA)
    mixed = share * pixels + (1 - share) * pixels[partners]
    return mixed, Mixing(partners, share)


def _cutmix(pixels: Tensor) -> tuple[Tensor, Mixing]:
    partners, share = _partners(pixels), _share(_CUTMIX_ALPHA)
    height, width = pixels.shape[2:]
    side = (1 - share) ** 0.5  # of the rectangle, as a share of the image's
    top, bottom = _interval(height, side)
    left, right = _interval(width, side)
    mixed = pixels.clone()
    mixed[:, :, top:bottom, left:right] = pixels[partners, :, top:bottom, left:right]
    replaced = (bottom - top) * (right - left) / (height * width)
    return mixed, Mixing(partners, 1 - replaced)


def _partners(pixels: Tensor) -> Tensor:
    return torch.randperm(len(pixels)).to(pixels.device)


def _share(alpha: float) -> float:
    return float(Beta(alpha, alpha).sample())


def _interval(length: int, share: float) -> tuple[int, int]:
    """Return an interval of a share of a length around a random center, cut at the border."""
    center, half = int(torch.randint(length, ())), round(length * share) // 2
    return max(center - half, 0), min(center + half, length)


def _word_drop(mask: Tensor) -> Tensor:
    is_kept = torch.rand(mask.shape, device=mask.device) >= _CHANGED_WORDS
    is_kept[:, 0] = True
    return mask * is_kept


def _word_swap(ids: Tensor, mask: Tensor, whole: Tensor) -> Tensor:
    """Exchange random tokens with the next one; the first, separators and padding stay.

    A text ends with its separator, and a token is exchanged at most once.

    Args:
        ids: token ids (rows, length).
        mask: 1 for each token that is read, (rows, length).
        whole: the mask before words were dropped.
    """
    last = (whole.sum(dim=1, keepdim=True).long() - 1).clamp(min=0)
    moves = mask.bool() & (ids != ids.gather(1, last))
    moves[:, 0] = False
    pairs = moves[:, :-1] & moves[:, 1:]
    drawn = pairs & (torch.rand(pairs.shape, device=ids.device) < _CHANGED_WORDS)
    drawn[:, 1:] &= ~drawn[:, :-1]
    order = torch.arange(ids.shape[1], device=ids.device).expand_as(ids).clone()
    order[:, :-1] += drawn.long()
    order[:, 1:] -= drawn.long()
    return ids.gather(1, order)


_AUGMENTATIONS = {
    "crop": _crop,
    "flip": _flip,
    "cutout": _cutout,
    "word-drop": _word_drop,
    **_OF_SOUND,
}
_INPUT_OF_KIND = {"text": "attention_mask", "image": "pixels", "audio": "samples"}
