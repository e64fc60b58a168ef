"""Augmentation: shapes stay, a seed decides, and each one does what its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bmc.errors import DataError
from bmc.training.augment import augmented, augmented_batch, check_kind
from bmc.training.batches import Batch
from bmc.training.losses import loss_of
from bmc.training.settings import AUGMENTATIONS, TrainingSettings

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


def test_swapped_words_are_neighbors_and_first_token_separators_and_padding_stay() -> None:
    ids = torch.arange(100, 120).expand(400, -1).clone()
    ids[:, 9] = ids[:, 14] = 102  # two texts in a row, each with a separator
    mask = torch.ones_like(ids)
    mask[:, 15:] = 0
    torch.manual_seed(0)
    result = augmented({"input_ids": ids, "attention_mask": mask}, ("word-swap",))
    swapped = result["input_ids"]
    assert torch.equal(result["attention_mask"], mask)
    fixed = [0, 9, 14, 15, 16, 17, 18, 19]
    assert torch.equal(swapped[:, fixed], ids[:, fixed])
    assert torch.equal(swapped.sort(dim=1).values, ids.sort(dim=1).values)
    order = (swapped[:, 3:9] - 100) - torch.arange(3, 9)
    assert set(order.flatten().tolist()) == {-1, 0, 1}
    moved = (swapped != ids).float().mean(dim=0)[3:9].mean()
    assert 0.1 < float(moved) < 0.25  # a tenth of the pairs, and two tokens each


# images that are mixed


def batch_of(pixels: Tensor) -> Batch:
    rows = torch.arange(len(pixels))
    return Batch({"pixels": pixels}, rows * 10, rows)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_mixed_image_has_as_much_of_its_own_as_the_share_of_its_label(name: str) -> None:
    """An image of ones, mixed with zeros, keeps the share of ones that its label has."""
    shares = set()
    for seed in range(20):
        torch.manual_seed(seed)
        rows = torch.arange(8, dtype=torch.float32)
        batch = augmented_batch(batch_of(rows[:, None, None, None].expand(8, 3, 16, 24)), (name,))
        assert batch.mixing is not None
        share, partners = batch.mixing.share, batch.mixing.partners
        shares.add(round(share, 6))
        expected = share * rows + (1 - share) * rows[partners]
        torch.testing.assert_close(batch.inputs["pixels"].mean(dim=(1, 2, 3)), expected)
        assert sorted(partners.tolist()) == list(range(8))
    assert 10 < len(shares) <= 20
    assert all(0 <= share <= 1 for share in shares)


def test_a_cutmix_pastes_a_rectangle_of_its_partner() -> None:
    torch.manual_seed(1)
    pixels = images(4, 1, 16, 16)
    batch = augmented_batch(batch_of(pixels), ("cutmix",))
    assert batch.mixing is not None
    partner = pixels[batch.mixing.partners]
    result = batch.inputs["pixels"]
    pasted = (result == partner) & (result != pixels)
    assert torch.equal(result[~pasted], pixels[~pasted])
    index = next(row for row in range(4) if batch.mixing.partners[row] != row)
    places = pasted[index, 0].nonzero()
    sides = places.max(dim=0).values - places.min(dim=0).values + 1
    assert int(pasted[index].sum()) == int(sides.prod())


def test_with_both_each_batch_is_mixed_by_one_of_the_two_after_all_other_changes() -> None:
    pixels = torch.zeros(6, 1, 8, 8) + torch.arange(1, 7)[:, None, None, None]
    kinds = set()
    for seed in range(30):
        torch.manual_seed(seed)
        batch = augmented_batch(batch_of(pixels), ("mixup", "flip", "cutmix"))
        is_whole = bool((batch.inputs["pixels"].frac() == 0).all())
        kinds.add("cutmix" if is_whole else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_the_loss_of_a_mixed_row_is_the_cross_entropy_with_its_mixed_label() -> None:
    torch.manual_seed(0)
    batch = augmented_batch(replace(batch_of(images(8)), labels=torch.arange(8) % 3), ("mixup",))
    assert batch.mixing is not None
    logits, share = torch.randn(8, 3), batch.mixing.share
    one_hot = torch.nn.functional.one_hot(batch.labels, 3).float()
    mixed = share * one_hot + (1 - share) * one_hot[batch.mixing.partners]
    expected = torch.nn.functional.cross_entropy(logits, mixed)
    loss = loss_of(TrainingSettings(), "classification", batch.labels.tolist(), 3)
    torch.testing.assert_close(loss(logits, batch), expected)
    smooth = loss_of(
        TrainingSettings(label_smoothing=0.1), "classification", batch.labels.tolist(), 3
    )
    expected = torch.nn.functional.cross_entropy(logits, mixed, label_smoothing=0.1)
    torch.testing.assert_close(smooth(logits, batch), expected)


def test_a_mixed_regression_has_the_gradient_of_the_mixed_value() -> None:
    torch.manual_seed(0)
    labels = torch.randn(8)
    batch = augmented_batch(replace(batch_of(images(8)), labels=labels), ("mixup",))
    assert batch.mixing is not None
    share = batch.mixing.share
    values = torch.randn(8, 1, requires_grad=True)
    loss = loss_of(TrainingSettings(), "regression", labels.tolist(), 0)(values, batch)
    (gradient,) = torch.autograd.grad(loss, values)
    mixed = share * labels + (1 - share) * labels[batch.mixing.partners]
    (expected,) = torch.autograd.grad(((values[:, 0] - mixed) ** 2).mean(), values)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_of_another_kind_of_data_is_refused(name: str) -> None:
    text = {"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 3)}
    own = "image"
    if name.startswith("word") or name == "mixkd":
        own = "text"
    elif name in ("shift", "speed", "noise"):
        own = "audio"
    inputs = {"pixels": images()} if own == "text" else text
    rows = torch.arange(2)
    with pytest.raises(DataError, match=f"{name} is for (text|images|sound)"):
        augmented_batch(Batch(inputs, rows, rows), (name,))
    for kind in {"image", "text", "audio", "series", "array"} - {own}:
        with pytest.raises(DataError, match=f"leave {name} out of augment"):
            check_kind((name,), kind)
    check_kind((name,), own)


@pytest.mark.parametrize("name", IMAGES)
def test_the_smallest_images_can_be_changed(name: str) -> None:
    assert changed(images(4, 1, 1, 1), name).shape == (4, 1, 1, 1)


def sounds(rows: int = 8) -> Tensor:
    """Return clips of tones of one second, each row louder than the one before."""
    times = torch.arange(16_000) / 16_000
    loudness = torch.arange(1, rows + 1)[:, None] / (2 * rows)
    return loudness * torch.sin(2 * torch.pi * 440 * times) * torch.hann_window(16_000)


def changed_sound(samples: Tensor, *names: str, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return augmented({"samples": samples}, names)["samples"]


@pytest.mark.parametrize("name", ["shift", "speed", "noise"])
def test_sound_keeps_its_shape_and_a_seed_decides(name: str) -> None:
    samples = sounds()
    result = changed_sound(samples, name)
    assert result.shape == samples.shape
    assert result.dtype == samples.dtype
    assert torch.equal(samples, sounds())
    assert torch.equal(result, changed_sound(samples, name))
    assert not torch.equal(result, changed_sound(samples, name, seed=1))
    assert not changed_sound(torch.zeros(2, 16_000), name).any()


def test_a_shifted_clip_is_silent_where_it_was_moved_from() -> None:
    samples = torch.arange(1, 16_001, dtype=torch.float32).expand(64, -1)
    for row in changed_sound(samples, "shift"):
        heard = row[row != 0]
        assert len(heard) >= 16_000 - 1_600
        assert torch.equal(heard.diff(), torch.ones(len(heard) - 1))


def test_a_faster_clip_has_a_higher_pitch_within_15_percent() -> None:
    spectra = torch.fft.rfft(changed_sound(sounds(64), "speed")).abs()
    pitches = spectra.argmax(dim=1)
    assert 440 / 1.2 < int(pitches.min()) < 420
    assert 460 < int(pitches.max()) < 440 * 1.16


def test_noise_has_a_signal_to_noise_ratio_of_5_to_40_decibels() -> None:
    samples = sounds(64)
    added = changed_sound(samples, "noise") - samples
    ratios = 10 * torch.log10(samples.square().mean(dim=1) / added.square().mean(dim=1))
    assert 5 - 0.01 < float(ratios.min()) < 12
    assert 33 < float(ratios.max()) < 40 + 0.01


def test_separators_stay_where_words_were_dropped_before() -> None:
    ids = torch.arange(100, 120).expand(400, -1).clone()
    ids[:, 9] = ids[:, 14] = 102
    mask = torch.ones_like(ids)
    mask[:, 15:] = 0
    torch.manual_seed(0)
    names = ("word-drop", "word-swap")
    swapped = augmented({"input_ids": ids, "attention_mask": mask}, names)["input_ids"]
    assert torch.equal(swapped[:, [0, 9, 14]], ids[:, [0, 9, 14]])
