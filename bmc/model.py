"""The contracts between models and the steps that compress them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bmc.data import Dataset
from bmc.foreign import failure_of
from bmc.inputs import Encoder, Many, TensorInfo

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
        labels: class names, in the order of the outputs; empty where there are no classes.
        encoder: turns raw rows into the module's input tensors.
        task: "classification", "regression" or "generation".
        data: reference, columns and fingerprint of the data it was trained on.
        steps: the compressions applied, in order.
        scores: validation scores at the end of training.
        origin: how it was made: command, settings, seed, seconds, teacher.
    """

    module: nn.Module
    family: str
    spec: dict[str, Any]
    labels: tuple[str, ...]
    encoder: Encoder
    task: str = "classification"
    data: dict[str, Any] = field(default_factory=dict)
    steps: list[AppliedStep] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)

    def outputs(self) -> tuple[TensorInfo, ...]:
        """Say which tensor the model returns; a generator's shape stands in its spec."""
        if self.task == "classification":
            return (TensorInfo("logits", "float32", ("batch", len(self.labels))),)
        if self.task == "regression":
            return (TensorInfo("values", "float32", ("batch", 1)),)
        sizes = (int(self.spec[size]) for size in ("channels", "height", "width"))
        return (TensorInfo("pixels", "float32", ("batch", *sizes)),)


_MAIN = ("logits", "out")
"""What the main answer is called where a network names its answers: Hugging Face, torchvision."""


def output_of(module: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Call a module and return its output tensor, the main one of several.

    Raises:
        ModelCodeError: the module is a user's, and failed.
    """
    return answers_of(module, inputs)[0]


def answers_of(module: nn.Module, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Call a module and return its answers: the main one, then auxiliary ones of the same shape.

    Raises:
        ModelCodeError: the module is a user's, and failed.
    """
    try:
        made = module(**inputs)
    except Exception as error:  # what the code of others raises can be anything
        failure = failure_of(error, module)
        if failure is None:
            raise
        raise failure from error
    return answers_in(made)


def answers_in(made: Any) -> list[Tensor]:
    """Return the answers in what a network returned: the main one first.

    That is what is named logits or out (of a dictionary, named tuple or other object), else the
    first. Behind it come those that have its shape; hidden states and the like have another.
    """
    named = made if isinstance(made, Mapping) else getattr(made, "__dict__", {})
    if hasattr(made, "_fields"):
        named = made._asdict()
    main = next((named[name] for name in _MAIN if name in named), None)
    if main is None and not isinstance(made, Mapping | tuple | list):
        return [made]
    every = list(named.values()) if isinstance(made, Mapping) or named else list(made)
    if main is None and every:
        main = every[0]
    if isinstance(main, Mapping | tuple | list):
        main = answers_in(main)[0]
    others = [one for one in every if one is not main and hasattr(one, "shape")]
    return [main, *[one for one in others if one.shape == getattr(main, "shape", None)]]


@dataclass(frozen=True)
class Parts:
    """Where a family's modules are, by path: what structural steps need to know.

    Args:
        layers: the repeated layers, in order.
        heads: number of attention heads of each attention module.
        embeddings: lookup tables.
        outputs: modules whose output width must stay.
        attention: names, inside each layer, of what is attention and its norm; none where layers
            have no attention.
        feed_forward: names, inside each layer, of all else.
    """

    layers: tuple[str, ...]
    heads: Mapping[str, int]
    embeddings: tuple[str, ...]
    outputs: tuple[str, ...]
    attention: tuple[str, ...] = ()
    feed_forward: tuple[str, ...] = ()


Loss = Callable[["Tensor", "Batch"], "Tensor"]


@dataclass(frozen=True)
class CustomLoss:
    """A loss of the caller's own.

    Args:
        name: what it is recorded as.
        function: of outputs (rows, classes), or values (rows) in a regression, and labels (rows);
            it returns one number, the mean over the rows.
        identity: a digest of what it computes by, as far as that can be told.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    identity: str = ""


AfterStep = Callable[["nn.Module", float], None]
"""Given the module in training and the share of the steps that is done, 0 to 1: called once before
the first step (of a resumed run, too), then after each."""
Form = Callable[[Mapping[str, "Tensor"]], "Tensor"]


@dataclass(frozen=True)
class Work:
    """What a step may use: data without a test split, a cache, and ways to train and score.

    Args:
        data: train and validation examples (a step never looks at `data.test`).
        transfer: unlabeled texts for distillation.
        cache: folder for what can be computed again; survives the command.
        device: "cpu", "cuda" or "auto".
        fit: train a model in place with a loss; returns its validation scores.
        load: load another model (a teacher) by reference.
        score: a model's score on the validation rows: accuracy, R2 in a regression.
        augment: how training rows are changed at random; see TrainingSettings.
    """

    data: Dataset
    transfer: tuple[str, ...]
    cache: Path
    device: str
    fit: Fit
    load: Callable[[str], Model]
    score: Callable[[Model], float]
    augment: tuple[str, ...] = ()


class Fit(Protocol):
    """Train a model in place."""

    def __call__(
        self,
        model: Model,
        loss: Loss | None = None,
        unlabeled: Many = (),
        after_step: AfterStep | None = None,
        epochs: int | None = None,
        name: str = "",
        keep: str | None = None,
        form: Form | None = None,
    ) -> dict[str, float]:
        """Train on the labeled rows and the unlabeled ones; return validation scores.

        What the steps in `model.steps` keep (masks, codebooks) stays kept. A step that trains more
        than once gives each time a name of its own, so that a stopped run finds its checkpoints;
        `epochs` overrides what the user asked for in all. One that changes the model on the way
        says keep="last": the best epoch may be one before it was changed, and no run ends early.
        `form` computes a batch's outputs in place of the family's training form.
        """


class Step(Protocol):
    """One compression technique: a frozen dataclass of checked settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def apply(self, model: Model, work: Work) -> Record:
        """Change the model, a private copy, and say what its modules are now."""

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Give a freshly built model the recorded shape: no data, no training, no tracing."""

    # Optional: `keep(model, record) -> AfterStep`, a static method: what must be done after each
    # step of any later training so that what this step made still holds (masks stay zero).
