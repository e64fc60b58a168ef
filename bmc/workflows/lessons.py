"""The steps that teach a student: which signals are learned, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmc.compress.distill.generator import Generator
from bmc.compress.distill.logits import Logits
from bmc.compress.distill.vectors import Vectors
from bmc.compress.distill.weighted import LOGITS, Weighted, is_with_logits
from bmc.contracts.signals import SIGNALS, signal
from bmc.contracts.tasks import EMBEDDING
from bmc.errors import SettingError, UsageError
from bmc.model import Step
from bmc.training.augment import MIXING
from bmc.training.mixkd import bundle_refusal
from bmc.training.settings import MIXKD, TrainingSettings
from bmc.workflows import vectors
from bmc.workflows.teachers import Teacher
from bmc.workflows.tuning import Distillation


def steps_of(
    settings: Distillation,
    teachers: Sequence[Teacher],
    teaches_generator: bool = False,
    task: str = "classification",
) -> list[tuple[str, Step]]:
    """Return the steps that teach a student, in order, each with its method.

    Args:
        settings: what is learned.
        teachers: whose logits are learned; the signals are the first one's.
        teaches_generator: whether the student is a generator, which has no logits.
        task: name of the task.

    Raises:
        SettingError: a setting is out of range, or the weights of all signals are 0.
        UnknownError: there is no such signal.
        UsageError: a setting is for another task.
    """
    if teaches_generator:
        return [_for_generator(settings, teachers)]
    if task == EMBEDDING:
        vectors.refuse_settings(settings, teachers)
        taught_by, weight = teachers[0], settings.similarity_weight
        step = Vectors(str(taught_by.folder), taught_by.sha256, weight)
        return [("distill/vectors", step)]
    vectors.refuse_similarity(settings, task)
    (teacher, sha256), *more = [(str(each.folder), each.sha256) for each in teachers]
    logits = Logits(
        teacher,
        sha256,
        settings.temperature,
        settings.hard_label_weight,
        tuple(more),
        settings.teacher_average,
        settings.teacher_weights,
    )
    weights = settings.weights()
    if not weights:
        return [("distill/logits", logits)]
    together = settings.signal_order == "together"
    beside = {name: each for name, each in weights.items() if together or is_with_logits(name)}
    before = {name: each for name, each in weights.items() if name not in beside}

    def weighted(weights: Mapping[str, float], epochs: int) -> tuple[str, Step]:
        step = Weighted(
            teacher,
            sha256,
            weights,
            settings.layer_map,
            settings.temperature,
            settings.hard_label_weight,
            epochs,
            tuple(more),
            settings.teacher_average,
            settings.teacher_weights,
        )
        return "distill/weighted", step

    first = [weighted(before, settings.signal_epochs)] if before else []
    if not beside:
        return [*first, ("distill/logits", logits)]
    return [*first, weighted({LOGITS: 1.0, **beside}, 0)]


def refuse_mixing(
    settings: Distillation, training: TrainingSettings, task: str = "classification"
) -> None:
    """Refuse rows that are mixed where what is learned cannot be learned from mixtures.

    Args:
        settings: what is learned.
        training: training settings of the student, with the augmentations.
        task: name of the task.

    Raises:
        SettingError: a signal compares a row with itself in earlier epochs, and images are mixed;
            or a signal is learned together with the logits, and texts are mixed.
        UsageError: texts are mixed, and vectors are learned or the student reads other tokens.
    """
    if MIXKD in training.augment:
        _refuse_mixed_texts(settings, task)
    by_row = [
        name
        for name, weight in settings.weights().items()
        if weight and name != LOGITS and "rows" in signal(name).needs
    ]
    mixed = [name for name in training.augment if name in MIXING]
    if by_row and mixed:
        raise SettingError(
            f"the signal {by_row[0]} compares a row with itself in earlier epochs, and {mixed[0]} "
            f"mixes it with another row each time: leave {mixed[0]} out of augment, or the signal "
            "out of signals"
        )


def _refuse_mixed_texts(settings: Distillation, task: str) -> None:
    """Refuse mixed texts where more is learned than logits, or by a student of other tokens.

    Raises:
        SettingError: a signal is learned together with the logits.
        UsageError: vectors are learned, or the vocabulary is pruned.
    """
    if task == EMBEDDING:
        raise UsageError(
            f"the augmentation {MIXKD} mixes texts for a teacher's logits, and a student of "
            f"sentence embeddings learns vectors: leave {MIXKD} out of augment"
        )
    if settings.vocabulary != "keep":
        raise UsageError(
            f"--vocabulary {settings.vocabulary}: the student would read other tokens than its "
            f"teacher, and the augmentation {MIXKD} mixes the same ones for both: leave {MIXKD} "
            "out of augment, or prune the vocabulary afterwards (bmc prune --method vocabulary)"
        )
    together = settings.signal_order == "together"
    for name, weight in settings.weights().items():
        if weight and name != LOGITS and (together or is_with_logits(name)):
            way = "" if is_with_logits(name) else ", or learn it first (--signal-order first)"
            raise SettingError(
                f"the signal {name} is learned together with the logits, and the augmentation "
                f"{MIXKD} mixes texts for the logits alone: leave one of the two out{way}"
            )


def refuse_mixed_bundle(settings: Distillation, bundle: Path) -> None:
    """Refuse a bundle as the teacher of mixed texts.

    Raises:
        UsageError: texts are mixed.
    """
    if MIXKD in (settings.augment or ()):
        raise bundle_refusal(str(bundle))


def refuse_signals(settings: Distillation, bundle: Path) -> None:
    """Refuse signals that a bundle does not give.

    Raises:
        UsageError: a signal needs more than logits of the teacher; the message lists the signals
            that are possible.
    """
    possible = [LOGITS, *(name for name in SIGNALS.names() if set(signal(name).needs) <= {"rows"})]
    for name, weight in settings.weights().items():
        if weight and name not in possible:
            raise UsageError(
                f"the signal {name} needs more than logits, which are all that the bundle {bundle} "
                f"gives; possible: {', '.join(possible)}; or name the model directory that the "
                "bundle was exported from"
            )


def _for_generator(settings: Distillation, teachers: Sequence[Teacher]) -> tuple[str, Step]:
    """Return the step that teaches a generator.

    Raises:
        UsageError: there are several teachers, or signals that only classifiers have.
    """
    if len(teachers) > 1:
        raise UsageError("a generator learns from one teacher: the mean of images is no image")
    if settings.signals:
        raise UsageError(
            f"--signals {settings.signals}: a generator has none of them; it learns pixels and the "
            "discriminator's features"
        )
    return "distill/generator", Generator(str(teachers[0].folder), teachers[0].sha256)
