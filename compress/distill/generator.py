"""Distillation of a generator: the student learns its teacher's images for the same noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bmc.contracts.tasks import GENERATION
from bmc.errors import SettingError, UsageError
from bmc.model import Model, Record, Work
from bmc.training.adversarial import Guide


@dataclass(frozen=True)
class Generator:
    """Train a generator adversarially, and to match its teacher's images for the same noise.

    Two squared errors between the images of student and teacher are added to the generator's loss:
    that of the pixels and that of the discriminator's features. Each is in units of the teacher's
    variance.

    Args:
        teacher: reference of a trained generator with as many noise values and the same image size.
        teacher_sha256: sha256 of the teacher's weights.
        pixels: weight of the error of the pixels, 0 or more.
        features: weight of the error of the features, the inputs of the discriminator's last
            layer; 0 or more.

    Raises:
        SettingError: a weight is out of range, or both are 0.

    Source: Aguinaldo et al. 2019, "Compressing GANs using Knowledge Distillation", section 3
    (pixels and an adversarial loss); Larsen et al. 2016, "Autoencoding beyond pixels using
    a learned similarity metric" (the discriminator's features).
    """

    teacher: str
    teacher_sha256: str
    pixels: float = 1.0
    features: float = 1.0

    def __post_init__(self) -> None:
        for name in ("pixels", "features"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not self.pixels + self.features:
            raise SettingError("pixels and features are both 0; one must be above 0")

    def apply(self, model: Model, work: Work) -> Record:
        """Train the student; return an empty record, because its structure stays the same.

        Raises:
            UsageError: student or teacher is not a generator, or they differ in noise or image
                size.
        """
        teacher = work.load(self.teacher)
        check_generators(self.teacher, teacher, model)
        guide = Guide(teacher.module, self.pixels, self.features)
        model.scores = work.fit(model, guide=guide)
        return {}

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Do nothing: the student's own spec builds it."""


def check_generators(reference: str, teacher: Model, student: Model) -> None:
    """Check that teacher and student map the same number of noise values to images of one size.

    Raises:
        UsageError: one of them is not a generator, or they differ in noise or image size.
    """
    if {teacher.task, student.task} != {GENERATION}:
        raise UsageError(
            f"the teacher {reference} is a {teacher.family} for {teacher.task}, the student a "
            f"{student.family} for {student.task}: a generator learns from a generator only"
        )
    if teacher.spec.get("latent") != student.spec.get("latent"):
        raise UsageError(
            f"the teacher {reference} draws from {teacher.spec.get('latent')} noise values, the "
            f"student from {student.spec.get('latent')}: build it with "
            f"--set latent={teacher.spec.get('latent')}"
        )
    sizes = [tuple(model.outputs()[0].shape[1:]) for model in (teacher, student)]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"the teacher {reference} draws images of {sizes[0]} (channels, height, width), the "
            f"student of {sizes[1]}: build it with --set image_size={sizes[0][1]}"
        )


STEP = Generator
