"""Add the steps that prepare a student, such as pretraining, to the steps that teach it."""

from __future__ import annotations

from collections.abc import Sequence

from bmc.compress.distill.masked import Masked
from bmc.compress.distill.weighted import LOGITS, Weighted
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.contracts.signals import signal
from bmc.errors import UsageError
from bmc.model import Step
from bmc.training.settings import TrainingSettings
from bmc.workflows.tuning import Distillation

VOCABULARY = "prune/vocabulary"
_NOT_BY_TOKEN = {"logits", "rows"}  # parts of a view that do not depend on the tokens of a row


def with_preparation(
    steps: Sequence[tuple[str, Step]],
    settings: Distillation,
    training: TrainingSettings,
    start: str = "",
) -> list[tuple[str, Step]]:
    """Add the steps that prepare a student to those that teach it.

    The vocabulary is pruned first, so later steps train on the tokens that remain. But signals
    that compare tokens need the teacher's tokens, so the vocabulary is pruned after such signals.

    Args:
        steps: the steps that teach the student, each with its method.
        settings: settings of the student and of its training.
        training: training settings of the student.
        start: text that identifies the student's initial weights, for the cache of pretraining.

    Raises:
        UsageError: n-grams of tokens would be trained before the vocabulary is pruned, or nothing
            would be trained after words were split.
    """
    prepared: list[tuple[str, Step]] = []
    taught = list(steps)
    if settings.pretrain:
        rate, size = training.learning_rate, training.batch_size
        numbers = settings.pretrain, rate, size, start, settings.seed
        masked = Masked(*numbers, training.precision, training.accumulate)
        prepared.append(("distill/masked", masked))
    if settings.vocabulary != "keep":
        tokens = 0 if settings.vocabulary == "auto" else int(settings.vocabulary)
        pruned: tuple[str, Step] = (VOCABULARY, Vocabulary(tokens=tokens))
        if taught and _compares_tokens(taught[0][1]):
            _refuse_trained_ngrams(settings, taught[0][1])
            if tokens and len(taught) == 1:
                raise UsageError(
                    f"--vocabulary {tokens}: the vocabulary is pruned after signals that need the "
                    "teacher's tokens, and nothing is learned after that, so that the student "
                    "never sees the pieces of the words that are left out: learn the signals "
                    "before the logits (--signal-order first), or use --vocabulary auto"
                )
            prepared += [taught.pop(0), pruned]
        else:
            prepared.insert(0, pruned)
    return [*prepared, *taught]


def _refuse_trained_ngrams(settings: Distillation, step: Step) -> None:
    """Refuse a step that trains n-grams, which are looked up by token ids, before ids change.

    Raises:
        UsageError: the student has n-grams, and the step learns the logits.
    """
    has_ngrams = str(settings.of_student().get("ngrams", 0)) != "0"
    if has_ngrams and isinstance(step, Weighted) and step.weights.get(LOGITS):
        raise UsageError(
            f"--vocabulary {settings.vocabulary}: the vocabulary is pruned after signals that need "
            "the teacher's tokens, and n-grams that were trained by then could not be looked up "
            "afterwards: learn the signals before the logits (--signal-order first), or leave one "
            "of --vocabulary and --set ngrams out"
        )


def _compares_tokens(step: Step) -> bool:
    """Tell whether a step compares values of student and teacher for each token."""
    if not isinstance(step, Weighted):
        return False
    signals = [name for name, weight in step.weights.items() if weight and name != LOGITS]
    return any(set(signal(name).needs) - _NOT_BY_TOKEN for name in signals)
