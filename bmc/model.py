"""The types that training, compression techniques and export share: a model and its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bmc.contracts.tasks import task as task_of
from bmc.data import Dataset, Reference
from bmc.inputs import Encoder, Many, TensorInfo
from bmc.user_code import failure_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bmc.training.adversarial import Guide
    from bmc.training.batches import Batch

Record = dict[str, Any]
"""The shapes of the modules after a step, as a JSON object from which `rebuild` makes the modules;
it holds no weights."""


@dataclass(frozen=True)
class AppliedStep:
    """One compression step that was applied to a model, as recorded in bmc.json.

    Args:
        method: folder and file of the technique, such as "share/lowrank".
        settings: settings of the technique.
        record: the `Record` from which `rebuild` makes the changed modules.
        seed: random seed of the step.
        seconds: wall time of the step.
    """

    method: str
    settings: Mapping[str, Any]
    record: Record
    seed: int
    seconds: float


@dataclass
class Model:
    """A network in memory, with the settings and steps from which it can be built again.

    Args:
        module: the network.
        family: name of the family, a file in bmc/models, that builds the network.
        spec: settings from which the family builds the network, before any step.
        labels: class names, in the order of the outputs; empty where there are no classes.
        encoder: encoder that turns raw rows into the network's input tensors.
        task: name of the task, such as "classification"; see `bmc/tasks`.
        data: reference, columns and fingerprint of the training data.
        steps: compression steps, in the order in which they were applied.
        scores: validation scores at the end of training.
        origin: command, settings, seed, seconds and teacher of the training.
        thresholds: probability of each label above which it is predicted, chosen on validation
            rows, where a row has several labels; empty for other tasks.
        reference: vectors that sentence embeddings are compared with; None for other tasks.
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
    thresholds: tuple[float, ...] = ()
    reference: Reference | None = None

    def outputs(self) -> tuple[TensorInfo, ...]:
        """Return the name, dtype and shape of the model's output tensor."""
        task = task_of(self.task)
        shape = task.row_shape(self.labels, self.spec)
        return (TensorInfo(task.output, "float32", ("batch", *shape)),)

    @property
    def has_labels(self) -> bool:
        """Tell whether the model's rows have labels; those of a generator have none."""
        return task_of(self.task).has_labels


_MAIN_OUTPUT_NAMES = ("logits", "out")
"""Names of the main output in networks that name their outputs: Hugging Face's, torchvision's."""


def output_of(module: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Call a module and return its main output tensor.

    Raises:
        ModelCodeError: the code of a user's network failed.
    """
    return all_outputs_of(module, inputs)[0]


def all_outputs_of(module: nn.Module, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Call a module and return its main output and the auxiliary outputs of the same shape.

    Raises:
        ModelCodeError: the code of a user's network failed.
    """
    try:
        returned = module(**inputs)
    except Exception as error:  # the code of a user's network can raise any exception
        failure = failure_of(error, module)
        if failure is None:
            raise
        raise failure from error
    return find_outputs(returned)


def find_outputs(returned: Any) -> list[Tensor]:
    """Return the main output and the auxiliary outputs in the value that a network returned.

    The main output is the entry named "logits" or "out" of a dictionary, named tuple or other
    object, else the first entry. Auxiliary outputs are the other entries of the same shape; hidden
    states, for example, have another shape and are left out.

    Args:
        returned: the return value of the network's `forward`.
    """
    by_name = returned if isinstance(returned, Mapping) else getattr(returned, "__dict__", {})
    if hasattr(returned, "_fields"):
        by_name = returned._asdict()
    main_output = next((by_name[name] for name in _MAIN_OUTPUT_NAMES if name in by_name), None)
    if main_output is None and not isinstance(returned, Mapping | tuple | list):
        return [returned]
    values = list(by_name.values()) if isinstance(returned, Mapping) or by_name else list(returned)
    if main_output is None and values:
        main_output = values[0]
    if isinstance(main_output, Mapping | tuple | list):
        main_output = find_outputs(main_output)[0]
    shape = getattr(main_output, "shape", None)
    others = [value for value in values if value is not main_output and hasattr(value, "shape")]
    return [main_output, *[value for value in others if value.shape == shape]]


@dataclass(frozen=True)
class Parts:
    """The paths of a family's modules, for techniques that change the structure of a network.

    Args:
        layers: paths of the repeated layers, in order.
        heads: number of attention heads, by path of the attention module.
        embeddings: paths of the lookup tables.
        outputs: paths of the modules whose output width must stay.
        attention: names, inside each layer, of the attention module and its norm; empty where
            layers have no attention.
        feed_forward: names, inside each layer, of all other modules.
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
        name: name under which the loss is recorded.
        function: function of outputs (rows, classes), in a regression values (rows), and of labels
            (rows), or (rows, labels). It returns the mean over the rows, one number.
        identity: sha256 of the function's code, and of the values that it reads.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    identity: str = ""


AfterStep = Callable[["nn.Module", float], None]
"""A function that training calls before the first optimizer step of a run (also of a resumed run)
and after each step, with the module and the completed share of the steps, 0 to 1."""
Form = Callable[[Mapping[str, "Tensor"]], "Tensor"]
Metrics = Callable[[], Mapping[str, float]]
"""A function that returns numbers of the last training batch by name, such as the parts of its
loss. Training says and records their means over each epoch."""


@dataclass(frozen=True)
class Work:
    """The data and functions that a compression step may use.

    Args:
        data: training and validation rows; a step never uses `data.test`.
        unlabeled: unlabeled rows for distillation, of the kind of the data.
        cache: folder for files that can be computed again; the folder outlives the command.
        device: "cpu", "cuda" or "auto".
        fit: function that trains a model in place and returns its validation scores.
        load: function that loads another model, such as a teacher, by reference.
        score: function that returns a model's score on the validation rows: the accuracy, or R2 in
            a regression.
        label_loss: function of a model that returns its loss on true labels, with the class weights
            and the label smoothing of the training; a row without a label adds 0.
        augment: names of the random changes of training rows; see TrainingSettings.
    """

    data: Dataset
    unlabeled: Many
    cache: Path
    device: str
    fit: Fit
    load: Callable[[str], Model]
    score: Callable[[Model], float]
    label_loss: Callable[[Model], Loss]
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
        metrics: Metrics | None = None,
        guide: Guide | None = None,
    ) -> dict[str, float]:
        """Train on the labeled and the unlabeled rows, and return the validation scores.

        Training preserves the masks and codebooks of the steps in `model.steps`.

        Args:
            model: the model to train.
            loss: loss function; the task's own when None.
            unlabeled: rows without labels, for losses that need none.
            after_step: function to call after each optimizer step.
            epochs: number of epochs, in place of the user's setting.
            name: name of this training; a step that trains more than once names each training, so
                that a resumed run finds the checkpoints of each.
            keep: "last" keeps the weights of the last epoch and trains all epochs, for a step that
                changes the model during training; None leaves the choice to the user's setting.
            form: function that computes a batch's outputs, in place of the family's training form.
            metrics: function that is called after each step; see `Metrics`.
            guide: teacher of a generator; only for a family that trains its models itself.
        """


class Step(Protocol):
    """One compression technique: a frozen dataclass of checked settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def apply(self, model: Model, work: Work) -> Record:
        """Change the model in place, and return the shapes of its modules.

        Args:
            model: a copy that belongs to the step.
            work: the data and functions that the step may use.
        """

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Give a freshly built model the recorded shapes, without data, training or tracing."""

    # Optional: a static method `keep(model, record) -> AfterStep`. Every later training calls the
    # returned function after each optimizer step; it restores the effect of this step, such as
    # the zeros of a pruning mask.
