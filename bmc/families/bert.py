"""BERT encoders for texts and words: the teacher `bert` and students of any size.

Source: Devlin et al. 2019, "BERT"; Turc et al. 2019, "Well-Read Students Learn Better" (sizes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bmc.contracts import Family
from bmc.errors import SettingError
from bmc.families import _options
from bmc.training.settings import TrainingSettings


@dataclass(frozen=True)
class Settings:
    """Settings of a BERT that is fine-tuned.

    Args:
        max_length: largest number of tokens of a text; longer texts are truncated, or read in
            overlapping windows where words are classified.
        prompt: name of a sentence-transformers folder's prompt, which is put before each text to
            embed, or none; the folder's default when empty.
        ngrams: number of buckets of hashed n-grams of the tokens, whose summed vectors are added to
            the vector that the classifier reads; 0 for none.

    Raises:
        SettingError: `ngrams` is out of range.
    """

    max_length: int = 128
    prompt: str = ""
    ngrams: int = 0

    def __post_init__(self) -> None:
        _options.check_ngrams(self.ngrams)


@dataclass(frozen=True)
class Size:
    """How big a student is, and what its weights are before it is taught.

    Args:
        layers: number of layers.
        hidden: width of the residual stream.
        heads: attention heads of each layer; 0 for as many of 64 units as fit, or of the source's
            size where layers are copied.
        intermediate: hidden units of each layer; 0 for four times the width.
        start: "embeddings" projects the teacher's embeddings and draws the rest; "teacher" copies
            layers of the teacher, too, and cuts them to size; "auto" is "teacher" where that can
            be, else "embeddings" (of a quantized teacher minilm-l3, or minilm); the name of a
            built-in model (minilm-l3), a local Hugging Face folder or hf:NAME copies layers of
            another pretrained BERT.
        copied: indices of the layers that are copied, such as 2,5; evenly spaced when empty.
        ngrams: number of buckets of hashed n-grams of the tokens, whose summed vectors are added to
            the vector that the classifier reads; 0 for none.

    Raises:
        SettingError: a setting is out of range.
    """

    layers: int = 2
    hidden: int = 128
    heads: int = 0
    intermediate: int = 0
    start: str = "auto"
    copied: tuple[str, ...] = ()
    ngrams: int = 0

    def __post_init__(self) -> None:
        _options.check_ngrams(self.ngrams)
        for name, least in (("layers", 1), ("hidden", 1), ("heads", 0), ("intermediate", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.heads and self.hidden % self.heads:
            raise SettingError(
                f"hidden {self.hidden} does not divide by {self.heads} heads; "
                f"try {self.hidden // self.heads * self.heads or self.heads}"
            )


STUDENTS: Mapping[str, Size] = {
    "tiny": Size(layers=2, hidden=128),
    "mini": Size(layers=4, hidden=256),
    "small": Size(layers=4, hidden=384),
}


@dataclass(frozen=True)
class Tables:
    """Where a family's network keeps the embeddings that a student starts from.

    Args:
        path: path of the module of embeddings.
        words: name of the word embedding in that module.
        reserved: position ids below that of a text's first token (RoBERTa: 2); None where that is
            the position after the padding's id.
    """

    path: str
    words: str = "word_embeddings"
    reserved: int | None = 0


TEACHERS: Mapping[str, Tables] = {
    "albert": Tables("albert.embeddings"),
    "bert": Tables("bert.embeddings"),
    "deberta-v2": Tables("deberta.embeddings"),
    "distilbert": Tables("distilbert.embeddings"),
    "electra": Tables("electra.embeddings"),
    "modernbert": Tables("model.embeddings", "tok_embeddings"),
    "mpnet": Tables("mpnet.embeddings", reserved=2),
    "roberta": Tables("roberta.embeddings", reserved=None),
    "xlm-roberta": Tables("roberta.embeddings", reserved=None),
}
"""Families that a student can learn from."""


def recipe(name: str) -> TrainingSettings:
    """Return the default recipe of a BERT's fine-tuning, or of a student's training."""
    if name in STUDENTS:
        return TrainingSettings(epochs=3, learning_rate=1e-3, batch_size=128)
    return TrainingSettings(epochs=3, learning_rate=1e-4, batch_size=32)


FAMILY = Family(
    takes=("text", "words"),
    settings=Settings,
    recipe=recipe,
    network="bmc.models.bert",
    baselines={
        "bert": "MiniLM: BERT, 6 layers x 384, 22.7 M parameters, pretrained",
        "minilm": "the same",
        "minilm-l3": "paraphrase-MiniLM-L3: BERT, 3 layers x 384, 17.4 M parameters, pretrained",
    },
    students=STUDENTS,
    references={
        "hf:ORG/NAME@REV": "an encoder on the Hugging Face hub (needs a network): a BERT, MPNet, "
        "DistilBERT, RoBERTa, XLM-RoBERTa, ELECTRA, ALBERT, DeBERTa-v3 or ModernBERT",
        "FOLDER": "a local Hugging Face folder of such an encoder, with model.safetensors",
    },
    model_types=("bert",),
)
