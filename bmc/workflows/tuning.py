"""Settings of fine-tuning after a compression step, and of distillation; each is checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from bmc import workspace
from bmc.choices import Among, Choice, about, check_choices
from bmc.contracts import families
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.training.settings import (
    AUGMENTATION,
    DEVICE,
    MIXKD,
    NEIGHBORS,
    PRECISION,
    TEXT_EDITS,
    TrainingSettings,
)

if TYPE_CHECKING:
    from bmc.model import Model

_RATE_FACTOR = 0.5
_AVERAGE = Choice("average of teachers", ("probabilities", "logits"))
_WEIGHTS = Choice("weights of teachers", ("equal", "validation"))
_ORDER = Choice("order of signals", ("first", "together"))


def _is_other_student(name: str) -> bool:
    """Tell whether a name is a model directory of the workspace, or a model reference."""
    return families.is_reference(name) or workspace.kind_of(workspace.root() / name) is not None


_STUDENT = Choice("student", families.students, "bmc models lists all", others=_is_other_student)
_VOCABULARY = Choice(
    "vocabulary", ("keep", "auto"), "or the number of tokens to keep", others=str.isdecimal
)
_EDITS = Choice("edit of texts", TEXT_EDITS, commas=True)
_MOST_NEW_TEXTS = 1000
_RECIPE_FIELDS = ("epochs", "learning_rate", "batch_size", "accumulate")


@dataclass(frozen=True)
class Tuning:
    """Settings of the fine-tuning after a technique, and the accepted loss of accuracy.

    Args:
        epochs: epochs of fine-tuning; 0 for none.
        learning_rate: peak learning rate; the default is half of the learning rate of the model's
            training.
        batch_size: rows per step; the default is the batch size of the model's training.
        accumulate: parts in which the rows of a step are computed one after another: less memory.
        distill: fine-tune with the unchanged model as teacher, in addition to the true labels.
        teacher: fine-tune with this model as teacher: a model directory or a bundle, or its name in
            the workspace.
        transfer: unlabeled rows for the teacher: imdb, a .txt file with a text per line, a table
            (.csv, .tsv, .jsonl, .json, .parquet), for words with tags also a .conll file, an .npz
            file, imagefolder:DIR or audiofolder:DIR with files in any folders, or none.
        transfer_column: text column of that table; two for sentence pairs. The default is the
            column of the data.
        transfer_size: number of unlabeled rows, at most.
        augment_texts: new texts per training text, for the teacher to label; 0 for none.
        text_edits: edits to draw from, one per new text: neighbors (replaces words by the nearest
            neighbors in the teacher's word embedding), swap (exchanges words), drop (deletes them).
        max_drop: points of the validation score that may be lost; if more is lost, the exit code is
            1 and the model is kept as NAME.failed.
        train_rows: labeled training rows to learn from, at equal distances; the default is all of
            them.
        validation_rows: validation rows that are scored, at equal distances; the default is all of
            them.
        precision: bf16, fp32, or auto: bf16 where the processor supports it.
        checkpoint_every: steps between two checkpoints.
        seed: random seed of batches, dropout and the technique.
        device: cpu, cuda, or auto: cuda where there is a GPU.
    """

    GROUP: ClassVar[str] = "Training"

    epochs: int = 3
    learning_rate: float | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    distill: bool = False
    teacher: str | None = None
    transfer: str = "none"
    transfer_column: tuple[str, ...] = ()
    transfer_size: int = 30_000
    augment_texts: int = 0
    text_edits: tuple[str, ...] = field(default=(NEIGHBORS,), metadata=about(_EDITS))
    max_drop: float | None = None
    train_rows: int | None = None
    validation_rows: int | None = None
    precision: str | None = field(default=None, metadata=about(PRECISION))
    checkpoint_every: int | None = None
    seed: int = 0
    device: str = field(default="auto", metadata=about(DEVICE))

    def __post_init__(self) -> None:
        check_choices(self)
        if self.epochs < 0:
            raise SettingError(f"epochs is {self.epochs}; it must be 0 or more")
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise SettingError(f"max drop is {self.max_drop}; it is in points, 0 to 100")
        _check_rows(self.train_rows, self.validation_rows)
        _check_new_texts(self.augment_texts, self.text_edits)
        if self.augment_texts and not self.has_teacher:
            raise UsageError(
                f"--augment-texts {self.augment_texts}: new texts have no labels and need a "
                "teacher; add --distill"
            )

    @property
    def has_teacher(self) -> bool:
        """Tell whether the model is fine-tuned with a teacher."""
        return self.distill or self.teacher is not None

    def refuse_untaught_rows(self, has_teacher: bool) -> None:
        """Refuse unlabeled rows where no teacher predicts them.

        Args:
            has_teacher: whether the model learns from a teacher.

        Raises:
            UsageError: there are such rows, and no teacher.
        """
        if has_teacher:
            return
        if self.transfer != "none":
            raise UsageError(
                f"--transfer {self.transfer}: unlabeled rows need a teacher; "
                f"{'' if self.distill else 'add --distill, or '}name one with --teacher"
            )
        if self.augment_texts:
            raise UsageError(
                f"--augment-texts {self.augment_texts}: new texts need a teacher; name one with "
                "--teacher"
            )

    def settings(self, model: Model) -> TrainingSettings:
        """Return training settings: those of the model's training, changed by these settings.

        The default learning rate is half of that of the model's training.

        Raises:
            ArtifactError: the training settings in the model's bmc.json are not valid.
        """
        try:
            return self._settings(model)
        except (AttributeError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"the model's bmc.json says in origin how it was trained, and that makes no sense: "
                f"{error}"
            ) from error

    def _settings(self, model: Model) -> TrainingSettings:
        family = families.family(model.family)
        setting_names = {field.name for field in fields(TrainingSettings)}
        trained = {
            name: value
            for name, value in model.origin.get("settings", {}).items()
            if name in setting_names
        }
        if "augment" in trained:
            trained["augment"] = tuple(name for name in trained["augment"] if name != MIXKD)
        recipe = family.recipe(model.origin.get("baseline", ""))
        before = replace(recipe, **trained)
        typed = {
            name: value
            for name, value in asdict(self).items()
            if name in setting_names and value is not None
        }
        # Trained weights need a lower peak learning rate than new ones.
        rate = before.learning_rate * _RATE_FACTOR
        return replace(before, **{"learning_rate": rate, **typed, "epochs": max(self.epochs, 1)})


@dataclass(frozen=True)
class Distillation:
    """Settings of a student and of its training with a teacher's logits.

    Args:
        student: tiny (2 layers x 128), mini (4 x 256), small (4 x 384), a model directory or its
            name in the workspace, or any model that bmc train takes: the name of a built-in model,
            a local Hugging Face folder, or hf:org/name@revision.
        layers: number of layers, instead of the student's default.
        hidden: hidden size, instead of the student's default.
        heads: attention heads, instead of the student's default.
        settings: a setting of the student, such as layers=3, or ngrams=20000, which adds hashed
            n-grams of the tokens to a transformer; several are possible.
        vocabulary: tokens of the student: keep (all that the tokenizer has), auto (those that the
            texts have), or how many of the most frequent ones. Fewer make a smaller file.
        pretrain: epochs of masked language modeling on all texts, before the student is taught.
        transfer: unlabeled rows for the teacher: imdb, a .txt file with a text per line, a table
            (.csv, .tsv, .jsonl, .json, .parquet), for words with tags also a .conll file, an .npz
            file, imagefolder:DIR or audiofolder:DIR with files in any folders, or none.
            The default is imdb for movie reviews, and none for other data.
        transfer_column: text column of that table; two for sentence pairs. The default is the
            column of the data.
        transfer_size: number of unlabeled rows, at most.
        augment_texts: new texts per training text, for the teacher to label; 0 for none.
        text_edits: edits to draw from, one per new text: neighbors (replaces words by the nearest
            neighbors in the teacher's word embedding), swap (exchanges words), drop (deletes them).
        augment: augmentation: crop, flip, cutout, mixup and cutmix for images, word-drop and
            word-swap for text, mixkd for text (the word embeddings of two texts are mixed, and the
            teacher predicts the mixture), shift, speed and noise for sound, separated by commas; ''
            for none. The default is the student's recipe.
        temperature: temperature of the softmax: the logits of teacher and student are divided by
            it.
        hard_label_weight: weight of the cross-entropy with the true labels, in addition to the
            soft targets.
        teacher_average: what is averaged over several teachers: probabilities or logits.
        teacher_weights: weights of several teachers: equal, or validation: those under which their
            mean predicts the validation rows best.
        signals: signals to learn in addition to the logits, with their weights, such as
            hidden=1,relation=0.5. For transformers: attention, embedding, hidden, relation. For
            convolutional networks: features, spatial-attention. For both: self (the student's own
            logits of earlier epochs).
        signal_order: "first" trains on the signals and then on the logits; "together" adds all
            losses. The signal self is always learned together with the logits.
        signal_epochs: epochs of training on the signals, if the signal order is "first".
        layer_map: layers of the teacher that the layers of the student learn from: uniform (evenly
            spaced), last, auto (feature maps of the nearest size; uniform for other layers), or
            layer indices, separated by commas.
        similarity_weight: weight of the similarities between the texts of a batch, for sentence
            embeddings; 0 learns the teacher's vectors alone.
        epochs: passes over all rows. The default is the student's recipe, 3 for tiny.
        learning_rate: peak learning rate; it rises over the first tenth of the steps, then decays
            to zero. The default is the student's recipe, 1e-3 for tiny.
        batch_size: rows per step. The default is the student's recipe, 128 for tiny.
        accumulate: parts in which the rows of a step are computed one after another: less memory.
        dropout: dropout probability of the student while it learns; the default leaves its layers
            as they are. 0 suits a student that sees many unlabeled rows, and is faster.
        train_rows: labeled training rows to learn from, at equal distances; the default is all of
            them.
        validation_rows: validation rows that are scored, at equal distances; the default is all of
            them.
        precision: bf16, fp32, or auto: bf16 where the processor supports it. The default is the
            student's recipe.
        checkpoint_every: steps between two checkpoints.
        seed: random seed of new weights, batches and dropout.
        device: auto is cuda where there is a GPU.

    Raises:
        SettingError: a setting of the training is out of range.
    """

    GROUP: ClassVar[str] = "Training"

    student: str = field(default="tiny", metadata=about(_STUDENT, group="Model"))
    layers: int | None = field(default=None, metadata=about(group="Model"))
    hidden: int | None = field(default=None, metadata=about(group="Model"))
    heads: int | None = field(default=None, metadata=about(group="Model"))
    settings: Mapping[str, Any] = field(default_factory=dict, metadata=about(group="Model"))
    vocabulary: str = field(
        default="keep", metadata=about(_VOCABULARY, group="Model", search=Among(("keep", "auto")))
    )
    pretrain: int = 0
    transfer: str | None = field(default=None, metadata=about(group="Data"))
    transfer_column: tuple[str, ...] = field(default=(), metadata=about(group="Data"))
    transfer_size: int = field(default=150_000, metadata=about(group="Data"))
    augment_texts: int = field(default=0, metadata=about(group="Data"))
    text_edits: tuple[str, ...] = field(default=(NEIGHBORS,), metadata=about(_EDITS, group="Data"))
    augment: tuple[str, ...] | None = field(
        default=None, metadata=about(AUGMENTATION, group="Data")
    )
    temperature: float = 2.0
    hard_label_weight: float = field(default=0.5, metadata=about(alias="hard"))
    teacher_average: str = field(default="probabilities", metadata=about(_AVERAGE))
    teacher_weights: str = field(default="equal", metadata=about(_WEIGHTS))
    signals: str = ""
    signal_order: str = field(default="first", metadata=about(_ORDER))
    signal_epochs: int = 1
    layer_map: str = "auto"
    similarity_weight: float = 1.0
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    dropout: float | None = None
    train_rows: int | None = None
    validation_rows: int | None = None
    precision: str | None = field(default=None, metadata=about(PRECISION))
    checkpoint_every: int = 200
    seed: int = 0
    device: str = field(default="auto", metadata=about(DEVICE))

    def __post_init__(self) -> None:
        check_choices(self)
        if self.pretrain < 0:
            raise SettingError(f"pretrain is {self.pretrain}; it is a number of epochs, 0 or more")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        if self.signal_epochs < 1:
            raise SettingError(f"signal epochs is {self.signal_epochs}; it must be 1 or more")
        if self.epochs is not None and self.epochs < 1:
            raise SettingError(f"epochs is {self.epochs}; a student learns for at least 1")
        _check_rows(self.train_rows, self.validation_rows)
        _check_new_texts(self.augment_texts, self.text_edits)
        self.weights()
        self.training(TrainingSettings())

    def weights(self) -> dict[str, float]:
        """Return the weight of each signal, by its name.

        Raises:
            SettingError: `signals` is not a list of NAME=WEIGHT, separated by commas.
        """
        weights = {}
        for part in filter(None, self.signals.split(",")):
            name, _, weight = part.partition("=")
            try:
                weights[name.strip()] = float(weight or 1)
            except ValueError as error:
                raise SettingError(
                    f"signals is {self.signals!r}; it must look like hidden=1,relation=0.5"
                ) from error
        return weights

    def of_student(self) -> dict[str, Any]:
        """Return the settings of the student that differ from its defaults, by name."""
        sizes = {"layers": self.layers, "hidden": self.hidden, "heads": self.heads}
        chosen_sizes = {name: value for name, value in sizes.items() if value is not None}
        return {**chosen_sizes, **self.settings}

    def training(self, recipe: TrainingSettings) -> TrainingSettings:
        """Return the training settings of the student.

        Args:
            recipe: the student's recipe, which these settings override.
        """
        names = (*_RECIPE_FIELDS, "augment", "precision", "device", "seed", "checkpoint_every")
        chosen = {name: getattr(self, name) for name in names}
        # The learning rate decays to zero, so the last epochs differ by less than the error of a
        # score on few validation rows. The weights of the last epoch are kept.
        keeping_last = replace(recipe, keep="last", patience=0)
        typed = {name: value for name, value in chosen.items() if value is not None}
        return replace(keeping_last, **typed)


def _check_new_texts(count: int, edits: tuple[str, ...]) -> None:
    """Refuse a number of new texts that is out of range, and new texts without an edit.

    Raises:
        SettingError: the number is out of range, or no edit is named.
    """
    if not 0 <= count <= _MOST_NEW_TEXTS:
        raise SettingError(f"augment texts is {count}; it must lie in 0..{_MOST_NEW_TEXTS}")
    if count and not edits:
        raise SettingError(f"text edits is empty; name one of {', '.join(TEXT_EDITS)}")


def _check_rows(train: int | None, validation: int | None) -> None:
    if train is not None and train < 1:
        raise SettingError(f"train rows is {train}; at least 1 is needed")
    if validation is not None and validation < 1:
        raise SettingError(f"validation rows is {validation}; at least 1 is scored")
