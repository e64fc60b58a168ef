"""Students of BERT's shape: what their weights are before they are taught.

Source: Turc et al. 2019, "Well-Read Students Learn Better" (sizes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from bmc import console
from bmc.contracts.tasks import TOKENS
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.families.bert import TEACHERS, Size
from bmc.inference.form import is_quantized
from bmc.inference.samples import drawn
from bmc.model import Model
from bmc.models import sentences
from bmc.models._bert_cut import cut_from
from bmc.models._bert_ngrams import without_ngrams

# Adam's steps do not depend on a weight's size, so larger embeddings keep more of the teacher's;
# the layer norm after them removes the factor again.
EMBEDDING_SCALE = 20.0

_NO_WEIGHTS = "the teacher's weights are quantized; the model that it was made from has others"
_L3_LAYERS, _MINILM_LAYERS, _MINILM_WIDTH = 3, 6, 384
_AUTO, _EMBEDDINGS, _TEACHER = "auto", "embeddings", "teacher"
_BERTS_KEYS = frozenset((*BertConfig().to_dict(), "num_labels"))
_HEAD = 64
_MEASURED_ROWS, _MEASURED_TOKENS, _BATCH = 512, 16_384, 32
"""How much is measured: what all norms read and wrote of the tokens is in memory at once."""
_Build = Callable[[Mapping[str, Any]], nn.Module]


def student(
    teacher: Model, size: Size, data: Dataset, build: _Build, load: Callable[[str], Model]
) -> Model:
    """Build an untrained student with the classes of a data set, in the data's order.

    It has no dropout: it sees more text than it could learn by heart.

    Args:
        teacher: a trained model.
        size: size of the student, and its start.
        data: data whose training rows decide which heads, units and axes are copied.
        build: builds a BERT from its configuration.
        load: loads a pretrained BERT under a fresh head for the data's classes.

    Raises:
        UsageError: the start needs another teacher.
        SettingError: the student is larger than its start, or a layer is not there.
    """
    start = _chosen(teacher, size) if size.start == _AUTO else size.start
    if start == _EMBEDDINGS:
        model = from_embeddings(teacher, size, build)
    elif start == _TEACHER:
        _check_teacher(teacher)
        model = from_layers(teacher, size, data, build)
        origin = {"rows": list(range(len(teacher.labels) or 1))}  # of the head: the teacher's
        model.origin = {"pretrained": origin}
    else:
        model = from_layers(load(start), size, data, build)
    # Without dropout, plain attention trains small layers faster than the fused kernel on CPUs.
    model.module.set_attn_implementation("eager")  # type: ignore[operator]
    return _with_labels(model, data.labels)


def from_embeddings(teacher: Model, size: Size, build: _Build) -> Model:
    """Build a smaller model whose embeddings start as the best low-rank view of the teacher's.

    The teacher's word table W (vocabulary x teacher width) is U S V^T; the student's is U S cut to
    its width, which is W V cut likewise, so that positions and types are projected by the same V.

    Args:
        teacher: a trained encoder; the student reads its tokens.
        size: layers, hidden width and heads of the student.
        build: builds a BERT from its configuration.

    Raises:
        UsageError: the teacher is of another family, or quantized.
        SettingError: the student is wider than its teacher.
    """
    if teacher.family not in TEACHERS:
        raise UsageError(
            f"the teacher is a {teacher.family}, which has no embeddings of words: name a student "
            "that starts elsewhere with --set start=minilm-l3"
        )
    if is_quantized(teacher.module):
        raise UsageError(f"{_NO_WEIGHTS}: name that model, or --set start=minilm-l3")
    _check_width(teacher, size)
    tables = TEACHERS[teacher.family]
    taught: Any = teacher.module.get_submodule(tables.path)
    table: Any = taught.get_submodule(tables.words)
    with torch.no_grad():  # the table may be factorized, and have fewer rows than the spec
        words = table(torch.arange(table.num_embeddings))
    reserved = tables.reserved
    if reserved is None:
        reserved = int(taught.padding_idx) + 1
    longest = teacher.spec["max_position_embeddings"] - reserved
    if getattr(taught, "position_embeddings", None) is None:  # positions are drawn, not copied
        longest = teacher.encoder.longest()["sequence"]
    spec = {
        **{key: value for key, value in teacher.spec.items() if key in _BERTS_KEYS},
        "model_type": "bert",
        "architectures": [_class_for(teacher.task)],
        "max_position_embeddings": longest,
        "type_vocab_size": max(1, teacher.spec.get("type_vocab_size", 1)),
        "vocab_size": len(words),
        "pad_token_id": table.padding_idx,
        **_sizes(size, size.heads or max(1, size.hidden // _HEAD)),
        **sentences.resized(teacher.spec, _width(teacher), size.hidden),
    }
    module = build(spec)
    fresh = module.get_submodule("bert.embeddings")
    eigenvectors = torch.linalg.eigh((words.T @ words).double()).eigenvectors.flip(1)
    basis = eigenvectors[:, : size.hidden].to(words.dtype)
    # The tables of ELECTRA and ALBERT may be narrower than the student.
    basis = nn.functional.pad(basis, (0, size.hidden - basis.shape[1]))
    with torch.no_grad():
        fresh.get_parameter("word_embeddings.weight").copy_(EMBEDDING_SCALE * words @ basis)
        for name in ("position_embeddings", "token_type_embeddings"):
            student_table, part = fresh.get_parameter(f"{name}.weight"), getattr(taught, name, None)
            if part is None and name == "token_type_embeddings":
                student_table.zero_()
            elif part is None:  # DeBERTa and ModernBERT compute positions in their attentions
                student_table.mul_(EMBEDDING_SCALE)
            else:
                teacher_table = part.weight[-len(student_table) :]  # no parameter in a codebook
                student_table.copy_(EMBEDDING_SCALE * teacher_table @ basis)
    return Model(module, "bert", spec, teacher.labels, teacher.encoder, teacher.task)


def from_layers(source: Model, size: Size, data: Dataset, build: _Build) -> Model:
    """Build a smaller model from layers of a larger one, cut to size; see `_bert_cut.cut_from`.

    Args:
        source: a BERT of plain layers; the student reads its tokens.
        size: size of the student.
        data: data whose training rows decide which heads, units and axes are copied.
        build: builds a BERT from its configuration.

    Raises:
        SettingError: see `_check_source`.
    """
    copied, sizes = _check_source(source, size)
    table: Any = source.module.get_submodule("bert.embeddings.word_embeddings")
    vectors = sentences.resized(source.spec, _width(source), size.hidden)
    spec = {
        **without_ngrams(source.spec),
        "vocab_size": table.num_embeddings,
        **sizes,
        **vectors,
    }
    module = build(spec)
    cut_from(source.module, module, copied, _batches(source, data))
    origin = {key: value for key, value in source.origin.items() if key == "pretrained"}
    return Model(module, "bert", spec, source.labels, source.encoder, source.task, origin=origin)


def _class_for(task: str) -> str:
    """Return the name of transformers' class of a student for a task."""
    kind: type = BertForTokenClassification if task == TOKENS else BertForSequenceClassification
    return kind.__name__


def _chosen(teacher: Model, size: Size) -> str:
    """Return the best start that a teacher allows, and say why it is not the best of all."""
    if size.copied:
        return _TEACHER
    if teacher.family not in TEACHERS:
        return _EMBEDDINGS  # which says that this teacher has none
    if is_quantized(teacher.module):
        return _elsewhere(size)
    try:
        _check_teacher(teacher)
        _check_source(teacher, size)
    except (UsageError, SettingError) as error:
        console.note(f"the student starts from its teacher's embeddings alone ({error})")
        return _EMBEDDINGS
    return _TEACHER


def _elsewhere(size: Size) -> str:
    """Return a pretrained model that has layers for a student, and say so.

    Raises:
        UsageError: the student is larger.
    """
    if size.layers > _MINILM_LAYERS or size.hidden > _MINILM_WIDTH:
        raise UsageError(f"{_NO_WEIGHTS}: name that model, or a start with layers for this student")
    start = "minilm-l3" if size.layers <= _L3_LAYERS else "minilm"
    console.note(f"the student starts from {start} ({_NO_WEIGHTS})")
    return start


def layers_of(size: Size, available: int) -> list[int]:
    """Return the indices of the layers that a student copies: named or evenly spaced layers.

    Evenly spaced layers end with the last layer, whose outputs the head was trained on.

    Args:
        size: size of the student.
        available: number of the source's layers.

    Raises:
        SettingError: the student has more layers, an index is out of range, or the number of
            indices is not the number of the student's layers.
    """
    if size.layers > available:
        raise SettingError(f"{size.layers} layers cannot be copied from {available}")
    if not size.copied:
        return [
            round((position + 1) * available / size.layers) - 1 for position in range(size.layers)
        ]
    indices = [int(each) if str(each).isdecimal() else -1 for each in size.copied]
    if not all(0 <= index < available for index in indices):
        raise SettingError(
            f"copied is {','.join(map(str, size.copied))}; indices lie in 0 to {available - 1}"
        )
    if len(indices) != size.layers:
        raise SettingError(f"{len(indices)} layers are copied, and the student has {size.layers}")
    return indices


def _check_teacher(teacher: Model) -> None:
    """Refuse a teacher whose layers cannot be copied."""
    other = "--set start=minilm-l3"
    if is_quantized(teacher.module):
        raise UsageError(f"{_NO_WEIGHTS}: name that model, or {other}")
    if teacher.family in TEACHERS:  # others have no embeddings to start from
        other = f"--set start={_EMBEDDINGS} or start=minilm-l3"
    if teacher.family != "bert":
        raise UsageError(f"the teacher is a {teacher.family}, whose layers are no BERT's: {other}")
    changed = [step.method for step in teacher.steps if step.record]
    if changed:
        raise UsageError(
            f"the teacher's layers were changed by {', '.join(changed)}, so they cannot be copied: "
            f"{other}"
        )


def _check_source(source: Model, size: Size) -> tuple[list[int], dict[str, Any]]:
    """Return the layers that a student copies, and the sizes in the student's configuration.

    Raises:
        SettingError: the student is larger than its source, its heads are of another size, or a
            layer is not there.
    """
    _check_width(source, size)
    copied = layers_of(size, int(source.spec["num_hidden_layers"]))
    head = source.spec["hidden_size"] // source.spec["num_attention_heads"]
    heads = size.heads or max(1, size.hidden // head)
    if heads * head != size.hidden:
        nearest = max(1, round(size.hidden / head))
        raise SettingError(
            f"{heads} heads of hidden {size.hidden} are not of {head} units, as those that would "
            f"be copied are; take {nearest} heads of hidden {nearest * head}, or --set "
            f"start={_EMBEDDINGS}"
        )
    sizes = _sizes(size, heads)
    most = source.spec["intermediate_size"]
    if sizes["intermediate_size"] > most:
        raise SettingError(
            f"intermediate {sizes['intermediate_size']} exceeds the {most} of the layers that "
            "would be copied"
        )
    return copied, sizes


def _check_width(source: Model, size: Size) -> None:
    width = _width(source)
    if size.hidden > width:
        raise SettingError(f"the student's hidden {size.hidden} exceeds its teacher's {width}")


def _width(source: Model) -> int:
    """Return the width of a source's layers."""
    return int(source.spec["dim" if source.family == "distilbert" else "hidden_size"])


def _sizes(size: Size, heads: int) -> dict[str, Any]:
    """Return the configuration of a student's layers."""
    return {
        "num_hidden_layers": size.layers,
        "hidden_size": size.hidden,
        "num_attention_heads": heads,
        "intermediate_size": size.intermediate or 4 * size.hidden,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def _batches(source: Model, data: Dataset) -> Iterator[dict[str, Tensor]]:
    """Yield inputs of training rows, of like length."""
    encoded = source.encoder.encode(drawn(data.train.rows, _MEASURED_ROWS))
    lengths = source.encoder.lengths(encoded)
    count = max(1, sum(total <= _MEASURED_TOKENS for total in accumulate(lengths)))
    order = sorted(range(count), key=lambda position: lengths[position])
    for start in range(0, len(order), _BATCH):
        arrays = source.encoder.batch(encoded, order[start : start + _BATCH])
        yield {name: torch.from_numpy(array) for name, array in arrays.items()}


def _with_labels(model: Model, labels: Sequence[str]) -> Model:
    """Return a model with its classes in another order."""
    names = dict(enumerate(labels or ("value",)))
    spec = {
        **model.spec,
        "id2label": {str(number): label for number, label in names.items()},
        "label2id": {label: number for number, label in names.items()},
    }
    if set(labels) == set(model.labels) and tuple(labels) != model.labels:
        order = [model.labels.index(label) for label in labels]
        head: Any = model.module.get_submodule("classifier")
        with torch.no_grad():
            head.weight.copy_(head.weight[order])
            head.bias.copy_(head.bias[order])
    return replace(model, spec=spec, labels=tuple(labels))
