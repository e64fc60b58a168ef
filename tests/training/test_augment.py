"""Augmentation: shapes stay, a seed decides, and each one does what its name says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bmc.errors import DataError
from bmc.training.augment import augmented
from bmc.training.settings import AUGMENTATIONS

IMAGES = ("crop", "flip", "cutout")


def images(rows: int = 64, channels: int = 3, height: int = 16, width: int = 24) -> Tensor:
    """Return pixels of which no two are alike, none of them 0."""
    count = rows * channels * height * width
    return torch.arange(1, count + 1, dtype=torch.float32).reshape(rows, channels, height, width)


def changed(pixels: Tensor, *names: str, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return augmented({"pixels": pixels}, names)["pixels"]


@pytest.mark.parametrize("name", IMAGES)
def test_shape_and_type_stay_and_the_input_is_not_touched(name: str) -> None:
    pixels = images()
    result = changed(pixels, name)
    assert result.shape == pixels.shape
    assert result.dtype == pixels.dtype
    assert torch.equal(pixels, images())
    assert not torch.equal(result, pixels)


@pytest.mark.parametrize("name", IMAGES)
def test_a_seed_decides_and_rows_are_changed_each_in_its_way(name: str) -> None:
    pixels = images(1).expand(64, -1, -1, -1)
    result = changed(pixels, name)
    assert torch.equal(result, changed(pixels, name))
    assert not torch.equal(result, changed(pixels, name, seed=1))
    assert len({row.numpy().tobytes() for row in result}) > 1


def test_without_augmentations_nothing_changes() -> None:
    assert torch.equal(changed(images()), images())


def test_a_flipped_image_is_its_mirror_image_and_about_half_of_them_are() -> None:
    pixels = images(400, 1, 4, 4)
    result = changed(pixels, "flip")
    mirrored = (result == pixels.flip(3)).flatten(1).all(dim=1)
    same = (result == pixels).flatten(1).all(dim=1)
    assert bool((mirrored ^ same).all())
    assert 140 < int(mirrored.sum()) < 260


def test_a_cropped_image_is_shifted_by_up_to_an_eighth_and_its_border_repeated() -> None:
    pixels = images(200, 1, 16, 16)
    shifts = set()
    for row, output in zip(pixels, changed(pixels, "crop"), strict=True):
        # One pixel far from every border says where all of them went.
        ((_, top, left),) = (output == row[0, 8, 8]).nonzero().tolist()
        down, across = top - 8, left - 8
        shifts.add((down, across))
        rows = (torch.arange(16) - down).clamp(0, 15)
        columns = (torch.arange(16) - across).clamp(0, 15)
        assert torch.equal(output, row[:, rows][:, :, columns])
    assert {down for down, _ in shifts} == {across for _, across in shifts} == {-2, -1, 0, 1, 2}


def test_a_cut_out_is_one_square_of_zeros_in_all_channels() -> None:
    pixels = images(200, 3, 32, 32)
    result = changed(pixels, "cutout")
    hidden = result == 0
    assert torch.equal(result[~hidden], pixels[~hidden])
    assert torch.equal(hidden.all(dim=1), hidden.any(dim=1))
    sizes = []
    for row in hidden[:, 0]:
        places = row.nonzero()
        low, high = places.min(dim=0).values, places.max(dim=0).values
        sides = (high - low + 1).tolist()
        assert int(row.sum()) == sides[0] * sides[1], "the hidden part is a rectangle"
        sizes.append(max(sides))
    assert max(sizes) == 7  # a quarter of 32, its center on a pixel
    assert min(sizes) >= 1


def test_dropped_words_leave_the_attention_but_the_first_and_the_padding_stay() -> None:
    mask = torch.ones(400, 20, dtype=torch.int64)
    mask[:, 15:] = 0
    ids = torch.arange(20).expand(400, -1)
    torch.manual_seed(0)
    result = augmented({"input_ids": ids, "attention_mask": mask}, ("word-drop",))
    left = result["attention_mask"]
    assert torch.equal(result["input_ids"], ids)
    assert left.dtype == mask.dtype
    assert bool((left[:, 0] == 1).all())
    assert int(left[:, 15:].sum()) == 0
    dropped = 1 - left[:, 1:15].float().mean()
    assert float(dropped) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_of_another_kind_of_data_is_refused(name: str) -> None:
    text = {"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 3)}
    inputs = {"pixels": images()} if name == "word-drop" else text
    with pytest.raises(DataError, match=f"{name} is for (text|images)"):
        augmented(inputs, (name,))


@pytest.mark.parametrize("name", IMAGES)
def test_the_smallest_images_can_be_changed(name: str) -> None:
    assert changed(images(4, 1, 1, 1), name).shape == (4, 1, 1, 1)
