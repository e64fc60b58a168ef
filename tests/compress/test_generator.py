"""Distillation of a generator: it draws what its teacher draws, of the same noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bmc import artifact
from bmc import data as datasets
from bmc.compress.distill.generator import Generator
from bmc.contracts import families
from bmc.data import Examples
from bmc.errors import SettingError, UsageError
from bmc.model import Model, Work
from bmc.training.adversarial import Guide, discriminator_features
from bmc.training.work import work_for
from bmc.workflows import distill, train
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation


def gan(width: int, seed: int, **settings: Any) -> Model:
    torch.manual_seed(seed)
    family = families.family("gan")
    every = {"latent": 8, "width": width, **settings}
    return families.network("gan").baseline(
        "gan", datasets.load("digits"), family.settings(**every)
    )


def work_with(teacher: Model, place: Path, epochs: int = 15) -> Work:
    data = datasets.load("digits")
    few = replace(data, train=Examples(data.train.rows[:256], data.train.labels[:256]))
    recipe = families.family("gan").recipe("gan")
    settings = replace(
        recipe, epochs=epochs, learning_rate=1e-2, batch_size=32, device="cpu", precision="fp32"
    )
    return work_for(few, (), settings, place, place, lambda name: teacher, run="")


def images(model: Model) -> Tensor:
    noise = torch.randn(256, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        drawn: Tensor = model.module.eval()(noise)
    return drawn


def test_a_smaller_generator_comes_nearer_to_its_teachers_images_than_one_trained_alone(
    tmp_path: Path,
) -> None:
    teacher, alone, taught = gan(8, seed=1), gan(4, seed=2), gan(4, seed=2)
    work = work_with(teacher, tmp_path / "teacher")
    work.fit(teacher)
    target = images(teacher)
    work_with(teacher, tmp_path / "alone").fit(alone)
    step = Generator("teacher", "0" * 64, pixels=10.0)
    assert step.apply(taught, work_with(teacher, tmp_path / "taught")) == {}
    errors = [float((images(model) - target).pow(2).mean()) for model in (alone, taught)]
    assert errors[1] < 0.7 * errors[0], errors


def test_the_guides_loss_equals_a_value_computed_by_hand() -> None:
    """Teacher images 1 and -1 have variance 1; zeros are 1 apart from both, so the error is 1.

    The discriminator's last layer reads the doubled images: variance 4, error 4, again 1.
    """
    double = nn.Linear(1, 1, bias=False)
    nn.init.constant_(double.weight, 2.0)
    discriminator = nn.Sequential(double, nn.Dropout(0.5), nn.Linear(1, 1)).train()
    guide = Guide(nn.Identity(), pixels=3.0, features=0.5)
    noise, drawn = torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 1, requires_grad=True)
    loss = guide.loss(noise, drawn, discriminator)
    assert float(loss.detach()) == pytest.approx(3.5)
    assert discriminator.training
    loss.backward()  # type: ignore[no-untyped-call]
    assert drawn.grad is not None
    features = discriminator_features(discriminator.eval(), noise)
    assert features.tolist() == [[2.0], [-2.0]]


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ({"latent": 4}, "--set latent=8"),
        ({"image_size": 16}, "--set image_size=8"),
    ],
)
def test_a_student_of_other_noise_or_images_is_told_how_to_build_it(
    student: dict[str, int], words: str, tmp_path: Path
) -> None:
    teacher = gan(8, seed=1)
    with pytest.raises(UsageError, match=words):
        Generator("a", "0" * 64).apply(gan(4, 2, **student), work_with(teacher, tmp_path))


@pytest.mark.parametrize("weights", [{"pixels": -1.0}, {"features": np.nan}, {"pixels": np.inf}])
def test_a_weight_out_of_range_is_refused_by_name(weights: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(weights))} is"):
        Generator("a", "0" * 64, **weights)


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(SettingError, match="both 0"):
        Generator("a", "0" * 64, pixels=0.0, features=0.0)


def test_the_command_distills_a_gan_into_a_smaller_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMC_HOME", str(tmp_path))
    source = DataSource(data="digits")
    sizes = {"latent": "8", "width": "8"}
    train.train("gan", source, sizes, {"epochs": 1, "device": "cpu"}, Output())
    settings = Distillation("gan", settings={"latent": 8, "width": 4}, epochs=1, device="cpu")
    made = distill.distill("gan", source, settings, Output(tmp_path / "small"))
    student = artifact.load(made.path)
    assert [step.method for step in student.steps] == ["distill/generator"]
    assert "frechet_distance" in next(iter(student.scores))
    assert student.origin["teacher"]["name"] == "gan-digits"
    assert student.origin["teacher"]["chosen"] == "found"
    with pytest.raises(UsageError, match="a generator has none of them"):
        distill.distill("gan", source, replace(settings, signals="features=1"))
    classifier = Distillation("mlp", epochs=1, device="cpu")
    with pytest.raises(UsageError, match="is for generation"):
        distill.distill(str(tmp_path / "gan-digits"), source, classifier)
