"""MPNet encoders for classification of texts or words: the size of BERT-base, with higher accuracy.

MPNet takes texts of one column only: it has no token types to distinguish the texts of a pair.

Source: Song et al. 2020, "MPNet: Masked and Permuted Pre-training for Language Understanding".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import MPNetConfig, MPNetForSequenceClassification, MPNetForTokenClassification

from bmc.contracts import Network
from bmc.contracts.tasks import TOKENS
from bmc.data import Dataset
from bmc.families.mpnet import Settings as Settings
from bmc.inputs.text import TextSettings
from bmc.model import Model, Parts
from bmc.models import hugging_face
from bmc.models._encoder_form import tags_words
from bmc.models._encoder_parts import encoder_parts
from bmc.models._mpnet_inference import InferenceForm
from bmc.models.tokens import token_examples

_SOURCES = {"mpnet": "asset:mpnet"}
_RESERVED = 2  # tokens have positions from padding id + 1 on, and the padding id is 1
_MPNET = hugging_face.Architecture(
    "mpnet",
    MPNetForSequenceClassification,
    MPNetConfig,
    fresh=("classifier.",),
    output="classifier.out_proj",
    reserved=_RESERVED,
    attention="eager",  # MPNet has no other implementation, and its masks depend on this setting
)
_TAGGER = hugging_face.tagger_of(_MPNET, MPNetForTokenClassification)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained classifier of texts or of words from Hugging Face's configuration keys.

    Raises:
        ArtifactError: the configuration is not for an MPNet, or is inconsistent.
    """
    return hugging_face.build(spec, _TAGGER if _TAGGER.is_named_in(spec) else _MPNET)


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Load pretrained weights for the classes of a data set; see `pretrained`."""
    text = TextSettings(settings.max_length, columns=max(len(data.columns), 1))
    return pretrained(reference, data.labels, text, data.task, settings.prompt)


def pretrained(
    reference: str,
    labels: Sequence[str],
    text: TextSettings,
    task: str | None = None,
    prompt: str = "",
) -> Model:
    """Load pretrained weights under a classifier for these labels, or one value without labels.

    Args:
        reference: the name of a built-in model, a local Hugging Face folder, or
            hf:org/name@revision.
        labels: class names; empty for a regression.
        text: settings of tokenization; the padding id comes from the model's configuration.
        task: name of the task; classification, or regression without labels, when None.
        prompt: name of a prompt; see `hugging_face.pretrained`.

    Raises:
        UnknownError: the folder is not a Hugging Face model folder.
        ArtifactError: the model is of another kind, or its weights are pickled, damaged or do not
            fit its config.json.
        SettingError: the model has fewer positions than `max_length`, or rows are pairs.
    """
    source = _SOURCES.get(reference, reference)
    kind = _TAGGER if task == TOKENS else _MPNET
    return hugging_face.pretrained(reference, source, labels, text, kind, task, prompt)


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and checks."""
    words: Any = module.get_submodule("mpnet.embeddings.word_embeddings")
    first, second = token_examples(words.num_embeddings, ((2, 12), (3, 7)), first=_RESERVED)
    return first, second


def inference_form(model: Model) -> nn.Module:
    """Return the module to export: the same outputs in fewer, larger operations."""
    return InferenceForm(model.module, model.encoder.longest()["sequence"])


def parts(module: nn.Module) -> Parts:
    """Return the paths of the layers, heads, embeddings and output layer."""
    output = _TAGGER.output if tags_words(module) else _MPNET.output
    return encoder_parts(module, "attention.attn", output)


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    inference_form=inference_form,
)
