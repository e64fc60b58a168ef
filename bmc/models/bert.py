"""BERT encoders for classification: the teacher `bert` and students of any size.

Source: Devlin et al. 2019, "BERT"; Turc et al. 2019, "Well-Read Students Learn Better" (sizes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.families.bert import STUDENTS as STUDENTS
from bmc.families.bert import TEACHERS as TEACHERS
from bmc.families.bert import Settings as Settings
from bmc.families.bert import Size as Size
from bmc.inputs.text import TextSettings
from bmc.model import Form, Model, Parts
from bmc.models import _bert_training, hugging_face
from bmc.models._bert_inference import InferenceForm
from bmc.models._tokens import token_examples

# Adam's steps do not depend on a weight's size, so larger embeddings keep more of the teacher's;
# the norm behind them takes the factor out again.
EMBEDDING_SCALE = 20.0

_MPNETS_OWN = ("relative_attention_num_buckets",)
_SOURCES = {"bert": "asset:minilm", "minilm": "asset:minilm"}
_BERT = hugging_face.Architecture(
    "bert",
    BertForSequenceClassification,
    BertConfig,
    fresh=("classifier.", "bert.pooler."),
    output="classifier",
)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained classifier from Hugging Face's own configuration keys.

    Raises:
        ArtifactError: the configuration is no BERT's, or does not fit together.
    """
    return hugging_face.build(spec, _BERT)


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Load pretrained weights for the classes of a data set; see `pretrained`."""
    text = TextSettings(settings.max_length, columns=len(data.columns))
    return pretrained(reference, data.labels, text)


def pretrained(reference: str, labels: Sequence[str], text: TextSettings) -> Model:
    """Load pretrained weights under a classifier for these labels, or one value without labels.

    Args:
        reference: a baseline's name, a local Hugging Face folder, or hf:org/name@revision.
        labels: class names; none for a regression.
        text: how text is cut; the padding id is taken from the model's configuration.

    Raises:
        UnknownError: the folder is no Hugging Face model.
        ArtifactError: it is another kind of model, or its weights are pickled, damaged or do not
            fit its config.json.
        SettingError: it has fewer positions than `max_length`, or no token types for pairs.
    """
    source = _SOURCES.get(reference, reference)
    return hugging_face.pretrained(reference, source, labels, text, _BERT)


def student(teacher: Model, size: Size) -> Model:
    """Build a smaller model whose embeddings start as the best low-rank view of the teacher's.

    The teacher's word table W (vocabulary x teacher width) is U S V^T; the student's is U S cut to
    its width, which is W V cut likewise, so that positions and types are projected by the same V.
    It has no dropout: it sees more text than it could learn by heart.

    Args:
        teacher: a trained BERT or MPNet; the student reads its tokens.
        size: layers, hidden width and heads of the student.

    Raises:
        UsageError: the teacher is of another family.
        SettingError: the student is wider than its teacher.
    """
    if teacher.family not in TEACHERS:
        raise UsageError(
            f"the teacher is a {teacher.family}; bmc distill takes a {' or '.join(TEACHERS)}. "
            "bmc prune --distill and --teacher let a pruned model learn from any"
        )
    width = teacher.spec["hidden_size"]
    if size.hidden > width:
        raise SettingError(f"the student's hidden {size.hidden} exceeds its teacher's {width}")
    taught = teacher.module.get_submodule(f"{teacher.family}.embeddings")
    table: Any = taught.get_submodule("word_embeddings")
    with torch.no_grad():  # it may be factorised, and have fewer rows than the spec says
        words = table(torch.arange(table.num_embeddings))
    longest = teacher.spec["max_position_embeddings"] - TEACHERS[teacher.family]
    spec = {
        **{key: value for key, value in teacher.spec.items() if key not in _MPNETS_OWN},
        "model_type": "bert",
        "architectures": [BertForSequenceClassification.__name__],
        "max_position_embeddings": longest,
        "type_vocab_size": teacher.spec.get("type_vocab_size", 1),
        "vocab_size": len(words),
        "pad_token_id": table.padding_idx,
        "num_hidden_layers": size.layers,
        "hidden_size": size.hidden,
        "num_attention_heads": size.heads,
        "intermediate_size": 4 * size.hidden,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    module = build(spec)
    fresh = module.get_submodule("bert.embeddings")
    eigenvectors = torch.linalg.eigh((words.T @ words).double()).eigenvectors.flip(1)
    basis = eigenvectors[:, : size.hidden].to(words.dtype)
    with torch.no_grad():
        fresh.get_parameter("word_embeddings.weight").copy_(EMBEDDING_SCALE * words @ basis)
        for name in ("position_embeddings", "token_type_embeddings"):
            own, part = fresh.get_parameter(f"{name}.weight"), getattr(taught, name, None)
            if part is None:  # MPNet has no token types
                own.zero_()
            else:
                known = part.weight[-len(own) :]  # a codebook's is no parameter
                own.copy_(EMBEDDING_SCALE * known @ basis)
    # Without dropout, plain attention trains small layers faster than the fused kernel on CPUs.
    module.set_attn_implementation("eager")  # type: ignore[operator]
    return Model(module, "bert", spec, teacher.labels, teacher.encoder, teacher.task)


def student_of(teacher: Model, size: Size, data: Dataset) -> Model:
    """Build a smaller model with the classes of a data set; see `student`."""
    model = student(teacher, size)
    names = dict(enumerate(data.labels or ("value",)))
    model.spec["id2label"] = {str(number): label for number, label in names.items()}
    model.spec["label2id"] = {label: number for number, label in names.items()}
    model.labels = data.labels
    return model


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and for checking."""
    words: Any = module.get_submodule("bert.embeddings.word_embeddings")
    first, second = token_examples(words.num_embeddings, ((2, 12), (3, 7)))
    return first, second


def inference_form(model: Model) -> nn.Module:
    """Return the module that is exported: the same answers in fewer, larger operations."""
    names = [info.name for info in model.encoder.tensors()]
    longest = model.encoder.longest()["sequence"]
    return InferenceForm(model.module, "token_type_ids" in names, longest)


def training_form(module: nn.Module) -> Form:
    """Return a function that computes the module's outputs for training, with less work."""
    return _bert_training.training_form(module)


def parts(module: nn.Module) -> Parts:
    """Say where the layers, heads, embeddings and outputs are."""
    paths = [name for name, _ in module.named_modules(remove_duplicate=False)]
    layers = [name for name in paths if re.fullmatch(r".*\.layer\.\d+", name)]
    heads = {}
    for name in [f"{layer}.attention.self" for layer in layers]:
        attention: Any = module.get_submodule(name)
        heads[name] = int(attention.num_attention_heads)
    tables = [name for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    inside = ("attention",), ("intermediate", "output")
    return Parts(tuple(layers), heads, tuple(tables), ("classifier",), *inside)


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    inference_form=inference_form,
    training_form=training_form,
    student=student_of,
)
