"""The contracts between models and the steps that compress them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tokenizers import Tokenizer

from bmc.data import Dataset
from bmc.text import TextSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bmc.training.batches import Batch

Record = dict[str, Any]
"""What the modules are after a step, as JSON: enough to rebuild their shapes, never weights."""


@dataclass(frozen=True)
class AppliedStep:
    """One compression that made a model, as it stands in bmc.json.

    Args:
        method: folder and file of the technique, such as "share/lowrank".
        settings: the step's settings.
        record: what `rebuild` needs.
        seed: the random seed it ran with.
        seconds: wall time.
    """

    method: str
    settings: Mapping[str, Any]
    record: Record
    seed: int
    seconds: float


@dataclass
class Model:
    """A model in memory: what it computes, how to build it again, and what made it.

    Args:
        module: the live network.
        family: the file in bmc/models that builds it.
        spec: the settings from which that family builds it, before any step.
        labels: class names, in the order of the outputs.
        tokenizer: turns text into ids.
        text: how text is cut and padded.
        data: reference, columns and fingerprint of the data it was trained on.
        steps: the compressions applied, in order.
        scores: validation scores at the end of training.
        origin: how it was made: command, settings, seed, seconds, teacher.
    """

    module: nn.Module
    family: str
    spec: dict[str, Any]
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    text: TextSettings
    data: dict[str, Any] = field(default_factory=dict)
    steps: list[AppliedStep] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """Where a family's modules are, by path: what structural steps need to know.

    Args:
        layers: the repeated layers, in order.
        heads: number of attention heads of each attention module.
        embeddings: lookup tables.
        outputs: modules whose output width must stay.
    """

    layers: tuple[str, ...]
    heads: Mapping[str, int]
    embeddings: tuple[str, ...]
    outputs: tuple[str, ...]


Loss = Callable[["Tensor", "Batch"], "Tensor"]
AfterStep = Callable[["nn.Module"], None]


@dataclass(frozen=True)
class Work:
    """What a step may use: data without a test split, a cache, and ways to train and score.

    Args:
        data: train and validation examples (a step never looks at `data.test`).
        transfer: unlabelled texts for distillation.
        cache: folder for what can be computed again; survives the command.
        device: "cpu", "cuda" or "auto".
        fit: train a model in place with a loss; returns its validation scores.
        load: load another model (a teacher) by reference.
    """

    data: Dataset
    transfer: tuple[str, ...]
    cache: Path
    device: str
    fit: Fit
    load: Callable[[str], Model]


class Fit(Protocol):
    """Train a model in place."""

    def __call__(
        self,
        model: Model,
        loss: Loss | None = None,
        texts: tuple[tuple[str, ...], ...] = (),
        after_step: AfterStep | None = None,
    ) -> dict[str, float]:
        """Train on the labelled rows, then the unlabelled `texts`; return validation scores."""


class Step(Protocol):
    """One compression technique: a frozen dataclass of checked settings."""

    def apply(self, model: Model, work: Work) -> Record:
        """Change the model, a private copy, and say what its modules are now."""

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Give a freshly built model the recorded shape: no data, no training, no tracing."""
