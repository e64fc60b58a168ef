"""BERT encoders for classification: the teacher `bert` and students of any size.

Source: Devlin et al. 2019, "BERT"; Turc et al. 2019, "Well-Read Students Learn Better" (sizes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from bmc import assets
from bmc.contracts import Network
from bmc.contracts.tasks import TOKENS
from bmc.data import Dataset
from bmc.families.bert import STUDENTS as STUDENTS
from bmc.families.bert import TEACHERS as TEACHERS
from bmc.families.bert import Settings as Settings
from bmc.families.bert import Size as Size
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Form, Model, Parts
from bmc.models import _bert_ngrams, _bert_training, bert_students, hugging_face, sentences
from bmc.models._bert_inference import InferenceForm, bert_embeddings, bert_layer
from bmc.models._encoder_form import bert_like_of_every_token, reads_every_token
from bmc.models._encoder_parts import encoder_parts
from bmc.models.onnx_weights import bert_weights
from bmc.models.tokens import token_examples

_SOURCES = {"bert": "asset:minilm", "minilm": "asset:minilm"}
_L3, _L3_FILE, _L3_PREFIX = "minilm-l3", "paraphrase-MiniLM-L3-v2.onnx", "model.0.auto_model."
_L3_LAYERS = 3
_BERT = hugging_face.Architecture(
    "bert",
    BertForSequenceClassification,
    BertConfig,
    fresh=("classifier.", "bert.pooler."),
    output="classifier",
)
_TAGGER = hugging_face.tagger_of(_BERT, BertForTokenClassification)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained classifier of texts or of words from Hugging Face's configuration keys.

    Raises:
        ArtifactError: the configuration is not for a BERT, or is inconsistent.
    """
    kinds = (kind for kind in (_TAGGER, _bert_ngrams.KIND) if kind.is_named_in(spec))
    return hugging_face.build(spec, next(kinds, _BERT))


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Load pretrained weights for the classes of a data set; see `pretrained`."""
    text = TextSettings(settings.max_length, columns=max(len(data.columns), 1))
    model = pretrained(reference, data.labels, text, data.task, settings.prompt)
    return _bert_ngrams.with_ngrams(model, settings.ngrams) if settings.ngrams else model


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
        SettingError: the model has fewer positions than `max_length`, or lacks token types for
            pairs.
    """
    if reference == _L3:
        return _minilm_l3(labels, text, task, prompt)
    source = _SOURCES.get(reference, reference)
    return hugging_face.pretrained(reference, source, labels, text, _kind_of(task), task, prompt)


def _kind_of(task: str | None) -> hugging_face.Architecture:
    return _TAGGER if task == TOKENS else _BERT


def _minilm_l3(labels: Sequence[str], text: TextSettings, task: str | None, prompt: str) -> Model:
    """Load paraphrase-MiniLM-L3 under a fresh classifier; it reads MiniLM's tokens.

    Source: Reimers and Gurevych 2019, "Sentence-BERT" (paraphrase-MiniLM-L3-v2).
    """
    minilm, kind = _SOURCES["minilm"], _kind_of(task)
    model = hugging_face.pretrained(_L3, minilm, labels, text, kind, task, prompt)
    spec = {**model.spec, "num_hidden_layers": _L3_LAYERS}
    if sentences.KEY in spec:  # unlike those of MiniLM, its vectors are of any length
        spec[sentences.KEY] = {**spec[sentences.KEY], "normalize": False}
    module = build(spec)
    weights = bert_weights(assets.fetch(_L3) / _L3_FILE, _L3_PREFIX)
    module.get_submodule("bert").load_state_dict(weights, strict=False)
    return replace(model, module=module, spec=spec)


def student(teacher: Model, settings: Size, data: Dataset) -> Model:
    """Build an untrained student with the classes of a data set; see `bert_students.student`."""

    def load(reference: str) -> Model:
        text = TextSettings(columns=max(len(data.columns), 1))
        if isinstance(teacher.encoder, TextEncoder):  # n-grams have other settings
            text = replace(teacher.encoder.settings, vocabulary=0)
        return pretrained(reference, data.labels, text, data.task)

    model = bert_students.student(teacher, settings, data, build, load)
    return _bert_ngrams.with_ngrams(model, settings.ngrams) if settings.ngrams else model


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and checks."""
    words: Any = module.get_submodule("bert.embeddings.word_embeddings")
    first, second = token_examples(words.num_embeddings, ((2, 12), (3, 7)))
    return first, second


def inference_form(model: Model) -> nn.Module:
    """Return the module to export: the same outputs in fewer, larger operations."""
    names = [info.name for info in model.encoder.tensors()]
    longest = model.encoder.longest()["sequence"]
    has_types = "token_type_ids" in names
    module: Any = model.module
    if not reads_every_token(module):
        return InferenceForm(module, has_types, longest)
    layers = [bert_layer(layer) for layer in module.bert.encoder.layer]
    embeddings = bert_embeddings(module.bert.embeddings, has_types, longest)
    return bert_like_of_every_token(module, embeddings, layers)


def training_form(module: nn.Module) -> Form:
    """Return a function that computes the module's outputs for training, with less work."""
    return _bert_training.training_form(module)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the layers, heads, embeddings and output layer."""
    return encoder_parts(module, "attention.self", "classifier")


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    inference_form=inference_form,
    training_form=training_form,
    view=_bert_training.view,
    student=student,
)
