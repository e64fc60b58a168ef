"""What happens to a student before it learns its teacher's logits."""

from __future__ import annotations

from collections.abc import Sequence

from bmc.compress.distill.weighted import LOGITS, Weighted
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.model import Step
from bmc.workflows.tuning import Distillation


def with_preparation(
    steps: Sequence[tuple[str, Step]], settings: Distillation
) -> list[tuple[str, Step]]:
    """Add the steps that prepare a student to those that teach it.

    The vocabulary is pruned first: what is trained afterwards is trained on the tokens that stay.
    Signals other than the logits need the teacher's tokens, so it is pruned after these.

    Args:
        steps: the steps that teach the student, each with its method.
        settings: settings of the student and of its training.
    """
    before: list[tuple[str, Step]] = []
    taught = list(steps)
    if taught and _needs_the_teachers_tokens(taught[0][1]):
        before.append(taught.pop(0))
    if settings.vocabulary != "keep":
        tokens = 0 if settings.vocabulary == "auto" else int(settings.vocabulary)
        before.append(("prune/vocabulary", Vocabulary(tokens=tokens)))
    return [*before, *taught]


def _needs_the_teachers_tokens(step: Step) -> bool:
    return isinstance(step, Weighted) and any(
        weight for name, weight in step.weights.items() if name != LOGITS
    )
