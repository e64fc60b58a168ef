"""Adversarial training: it learns, stops, goes on bit for bit, and leaves its best epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from bmc.errors import DivergedError, SettingError
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.measure.frechet import frechet_distance
from bmc.training import adversarial
from bmc.training.adversarial import fit_adversarially
from bmc.training.batches import Batch, Rows
from bmc.training.epochs import Fitted
from bmc.training.settings import TrainingSettings

LATENT, SIDE, STEPS = 8, 6, 5
SETTINGS = TrainingSettings(
    epochs=2,
    learning_rate=2e-3,
    batch_size=16,
    optimizer="adam",
    schedule="fixed",
    warmup=0.0,
    weight_decay=0.0,
    precision="fp32",
    device="cpu",
    checkpoint_every=2,
)
IMAGES = ImageEncoder(ImageSettings(SIDE, SIDE, 1, mean=(0.5,), std=(0.5,)))


class _KilledError(Exception):
    """Stands for a kill: the process goes on, the run does not."""


class _Rows(Rows):
    """Training rows that count the batches taken, and may end the run at one."""

    taken, last = 0, 0

    def batch(self, places: Sequence[int]) -> Batch:
        self.taken += 1
        if self.taken == self.last:
            raise _KilledError
        return super().batch(places)


def pictures(rows: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw dark pictures with a bright left or right half."""
    generator = np.random.default_rng(seed)
    result = generator.integers(0, 40, (rows, SIDE, SIDE, 1))
    for image, right in zip(result, generator.integers(0, 2, rows), strict=True):
        image[:, right * SIDE // 2 :][:, : SIDE // 2] += 200
    return result.astype(np.uint8)


def networks() -> tuple[nn.Module, nn.Module]:
    """Build a small generator and discriminator; always the same ones."""
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Linear(LATENT, 32),
        nn.BatchNorm1d(32),
        nn.LeakyReLU(0.2),
        nn.Linear(32, SIDE * SIDE),
        nn.Tanh(),
        nn.Unflatten(1, (1, SIDE, SIDE)),
    )
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, 32),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.2),
        nn.Linear(32, 1),
        nn.Flatten(0),
    )
    return generator, discriminator


def trained(
    folder: Path,
    settings: TrainingSettings = SETTINGS,
    last: int = 0,
    rows: int = STEPS * 16 - 3,
    run: str = "",
) -> tuple[dict[str, Tensor], Fitted, int]:
    """Train fresh networks; return the generator's tensors, the scores and the batches taken."""
    generator, discriminator = networks()
    train, validation = _Rows(pictures(rows), [], IMAGES), Rows(pictures(100, 1), [], IMAGES)
    train.last = last
    fitted = fit_adversarially(
        generator, discriminator, LATENT, train, validation, settings, folder, run
    )
    return dict(generator.state_dict()), fitted, train.taken


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], Fitted, int]:
    """Return what a run that nothing stopped ends with."""
    return trained(tmp_path_factory.mktemp("whole"))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.mark.parametrize(("last", "left"), [(4, 8), (6, 5), (8, 3), (10, 1)])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(
    whole: tuple[dict[str, Tensor], Fitted, int], tmp_path: Path, last: int, left: int
) -> None:
    """Checkpoints lie after steps 2 and 4 of both epochs, and after each epoch."""
    with pytest.raises(_KilledError):
        trained(tmp_path, last=last)
    torch.manual_seed(99)  # random numbers come from the checkpoint, not from here
    tensors, fitted, steps_taken = trained(tmp_path)
    assert same(tensors, whole[0])
    assert fitted == whole[1]
    assert steps_taken == left


@pytest.mark.parametrize(
    "other",
    [{"run": "another"}, {"settings": replace(SETTINGS, seed=1)}, {"rows": STEPS * 16 - 2}],
)
def test_a_checkpoint_of_another_run_is_not_taken(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(_KilledError):
        trained(tmp_path, last=8)
    assert trained(tmp_path, **other)[2] == STEPS * SETTINGS.epochs


def test_a_checkpoint_holds_both_networks_and_the_average(tmp_path: Path) -> None:
    trained(tmp_path)
    names = load_file(tmp_path / "checkpoint.safetensors")
    for network in ("generator.0", "discriminator.1", "average.0"):
        assert f"now.{network}.weight" in names
    assert "optimizer.exp_avg.discriminator.1.weight" in names
    assert not any(name.startswith("optimizer.") and ".average." in name for name in names)


def test_the_images_come_to_look_like_the_real_ones(tmp_path: Path) -> None:
    """An untrained generator makes gray noise; the real pictures are bright on one side."""
    settings = replace(SETTINGS, epochs=25, batch_size=32, checkpoint_every=1000)
    generator, discriminator = networks()
    train, held_out = (Rows(pictures(640, seed), [], IMAGES) for seed in (0, 1))
    fit_adversarially(generator, discriminator, LATENT, train, held_out, settings, tmp_path)
    with torch.no_grad():
        created = generator(torch.randn(500, LATENT)).flatten(1).numpy()
        noise = networks()[0].eval()(torch.randn(500, LATENT)).flatten(1).numpy()
    real = held_out.batch(range(500)).inputs["pixels"].flatten(1).numpy()
    assert frechet_distance(created, real) < 0.3 * frechet_distance(noise, real)
    bright = created.reshape(-1, SIDE, 2, SIDE // 2).mean(axis=(1, 3))
    assert 0.1 < (bright[:, 0] > bright[:, 1]).mean() < 0.9, "it makes one kind of picture alone"


def test_the_generator_that_is_left_is_the_one_of_the_best_epoch(tmp_path: Path) -> None:
    """A rate that is far too high makes epochs that differ."""
    generator, discriminator = networks()
    held_out = Rows(pictures(100, 1), [], IMAGES)
    settings = replace(SETTINGS, epochs=6, learning_rate=0.5)
    train = Rows(pictures(77), [], IMAGES)
    fitted = fit_adversarially(
        generator, discriminator, LATENT, train, held_out, settings, tmp_path
    )
    assert fitted.score == min(fitted.history) == fitted.history[fitted.best_epoch - 1]
    assert len(set(fitted.history)) == 6
    assert not generator.training
    images = adversarial.generated_images(generator, len(held_out), LATENT)
    real = adversarial.images_of(held_out, torch.device("cpu"))
    features = (adversarial.features_of(part) for part in (images, real))
    assert frechet_distance(*features) == pytest.approx(fitted.score, rel=1e-9)


def test_the_same_seed_gives_the_same_bits_whatever_went_on_before(
    whole: tuple[dict[str, Tensor], Fitted, int], tmp_path: Path
) -> None:
    torch.rand(3)
    assert same(trained(tmp_path / "again")[0], whole[0])
    other = trained(tmp_path / "other", replace(SETTINGS, seed=1))[0]
    assert not same(other, whole[0])


def test_a_single_real_image_is_enough_for_a_batch(tmp_path: Path) -> None:
    assert trained(tmp_path, rows=1)[2] == SETTINGS.epochs


def test_augmentation_and_label_smoothing_change_what_is_learned(
    whole: tuple[dict[str, Tensor], Fitted, int], tmp_path: Path
) -> None:
    for number, change in enumerate(({"augment": ("crop", "flip")}, {"label_smoothing": 0.1})):
        settings = replace(SETTINGS, **change)  # type: ignore[arg-type]
        assert not same(trained(tmp_path / str(number), settings)[0], whole[0])


def test_the_last_epoch_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=6, learning_rate=0.5, keep="last")
    _, fitted, _ = trained(tmp_path, settings)
    assert fitted.best_epoch == 6
    assert fitted.score == fitted.history[-1] != min(fitted.history)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgd"}, "trained with adam"),
        ({"batch_size": 1}, "at least 2 rows"),
        ({"l1": 0.1}, "l1"),
        ({"batch_tokens": 100}, "batch tokens"),
        ({"accumulate": 2}, "accumulate"),
        ({"class_weights": "balanced"}, "class weights"),
        ({"augment": ("flip", "mixup")}, "leave mixup out of augment"),
    ],
)
def test_a_setting_without_a_use_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        trained(tmp_path, replace(SETTINGS, **change))


@pytest.mark.parametrize("path", [0, 1])
def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path: Path, path: int) -> None:
    generator, discriminator = networks()
    with torch.no_grad():
        next((generator, discriminator)[path].parameters())[0, 0] = torch.nan
    rows = Rows(pictures(40), [], IMAGES)
    with pytest.raises(DivergedError, match="epoch 1, step 1"):
        fit_adversarially(generator, discriminator, LATENT, rows, rows, SETTINGS, tmp_path)


def test_training_ends_where_the_distance_grows_and_not_where_it_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = iter([90.0, 60.0, 50.0, 55.0, 70.0, 40.0])
    monkeypatch.setattr(adversarial, "frechet_distance", lambda *_: next(distances))
    _, fitted, _ = trained(tmp_path, replace(SETTINGS, epochs=6, patience=2))
    assert fitted.history == (90.0, 60.0, 50.0, 55.0, 70.0)
    assert fitted.best_epoch == 3
