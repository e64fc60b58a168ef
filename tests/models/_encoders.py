"""Small seeded folders of the encoders that transformers builds, with tokenizers of their kinds."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from bmc.contracts import families
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Model, output_of
from bmc.models import hugging_face
from bmc.models.encoders import Encoder
from tests.faults import _folders

LABELS = ("negative", "positive")
MAX_LENGTH = 24
TEXTS = (
    *("a great film with a bad ending", "the new york film was great", "café ÉA don't 漢字"),
    *("The plot is thin, and the actors are not good at all.", "wonderful! 10/10", "[MASK] <pad>"),
)
ROBERTA_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ALBERT_SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
DEBERTA_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
MODERN_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 24, "max_position_embeddings": 66}
PAIRS = [(first, second) for first, second in zip(TEXTS, reversed(TEXTS), strict=True)]


@dataclass(frozen=True)
class Small:
    """How a small model of a family is built.

    Args:
        config: class of the configuration.
        tokenizer: function that returns the tokenizer.
        settings: entries of the configuration besides the sizes.
    """

    config: Any
    tokenizer: Callable[[], Any]
    settings: Mapping[str, Any]


def byte_pairs(special: tuple[str, ...]) -> dict[str, Any]:
    """Train byte pairs on the texts, and return vocabulary and merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    trained: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in trained["merges"]]
    return {"vocab": trained["vocab"], "merges": merges}


def pieces(special: tuple[str, ...], unknown: str) -> list[tuple[str, float]]:
    """Train SentencePiece's unigrams on the texts, and return pieces and scores."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=list(special), unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    trained = [tuple(piece) for piece in json.loads(tokenizer.to_str())["model"]["vocab"]]
    words = dict.fromkeys(word for text in TEXTS for word in text.split() if word.isalpha())
    whole = [(f"\u2581{word}", -4.0) for word in (*words, "zebra")]
    return [*trained, *(piece for piece in whole if piece[0] not in dict(trained))]


def with_template(trained: Mapping[str, Any]) -> Any:
    """Return byte pairs between [CLS] and [SEP], as ModernBERT's tokenizer.json has them."""
    tokenizer = Tokenizer(models.BPE(**trained))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(list(MODERN_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **{"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"},
        **{"sep_token": "[SEP]", "mask_token": "[MASK]"},
    )


ENCODERS: Mapping[str, Small] = {
    "albert": Small(
        transformers.AlbertConfig,
        lambda: transformers.AlbertTokenizer(vocab=pieces(ALBERT_SPECIAL, "<unk>")),
        {"embedding_size": 12},
    ),
    "deberta-v2": Small(  # as DeBERTa-v3 is, with few buckets of distances
        transformers.DebertaV2Config,
        lambda: transformers.DebertaV2Tokenizer(vocab=pieces(DEBERTA_SPECIAL, "[UNK]")),
        {
            **{"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm"},
            **{"share_att_key": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0},
            "position_biased_input": False,
        },
    ),
    "distilbert": Small(
        transformers.DistilBertConfig,
        lambda: transformers.DistilBertTokenizer(vocab=_folders.vocabulary()),
        {},
    ),
    "electra": Small(
        transformers.ElectraConfig,
        lambda: transformers.BertTokenizer(vocab=_folders.vocabulary()),
        {"embedding_size": 12},
    ),
    "modernbert": Small(  # one layer sees a window of 3, the next all tokens
        transformers.ModernBertConfig,
        lambda: with_template(byte_pairs(MODERN_SPECIAL)),
        {
            **{"pad_token_id": 0, "local_attention": 2, "global_rope_theta": 500.0},
            "layer_types": ["sliding_attention", "full_attention"],
            **{"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
        },
    ),
    "roberta": Small(
        transformers.RobertaConfig,
        lambda: transformers.RobertaTokenizer(**byte_pairs(ROBERTA_SPECIAL)),
        {"type_vocab_size": 1},
    ),
    "xlm-roberta": Small(
        transformers.XLMRobertaConfig,
        lambda: transformers.XLMRobertaTokenizer(vocab=pieces(ROBERTA_SPECIAL[:4], "<unk>")),
        {"type_vocab_size": 1},
    ),
}


@functools.cache
def tokenizer_of(family: str) -> Any:
    """Return the tokenizer of a family, which is trained once; nobody may change it."""
    return ENCODERS[family].tokenizer()


def spec_of(family: str, rows: int, labels: tuple[str, ...] = LABELS, **changes: Any) -> Any:
    """Return the configuration of a small model."""
    small = ENCODERS[family]
    names: dict[str, Any] = {"id2label": dict(enumerate(labels))} if labels else {"num_labels": 1}
    names |= {"label2id": {label: number for number, label in enumerate(labels)}}
    names = {} if changes.pop("headless", False) else names
    settings = {**SIZES, **small.settings, **names, **changes}
    if "layer_types" in settings:
        settings["layer_types"] = settings["layer_types"][: settings["num_hidden_layers"]]
    name_of = described(family).kind.keys.name
    own = {name_of(key): value for key, value in settings.items()}
    return small.config(vocab_size=rows, **own)


def lively(module: Any) -> Any:
    """Give a module weights whose outputs differ from text to text."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if "embeddings.weight" in name:
                value.copy_(noise)
            else:
                value.add_(0.3 * noise if value.dim() == 1 else 1.2 * noise / value.shape[1] ** 0.5)
    for part in module.modules():  # as training leaves the padding's vector
        if isinstance(part, torch.nn.Embedding) and part.padding_idx is not None:
            with torch.no_grad():
                part.weight[part.padding_idx] = 0
    return module.eval()


def classifier(family: str, rows: int, **changes: Any) -> Any:
    """Return a classifier of transformers' own, with lively weights."""
    config = spec_of(family, rows, **changes)
    auto: Any = transformers.AutoModelForSequenceClassification
    if changes.get("headless"):
        auto = transformers.AutoModel
    torch.manual_seed(0)
    return lively(auto.from_config(config))


def saved(family: str, folder: Path, **changes: Any) -> Path:
    """Save a small folder of a family."""
    tokenizer = tokenizer_of(family)
    classifier(family, len(tokenizer), **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def loaded(folder: Path, columns: int = 1, labels: tuple[str, ...] = LABELS) -> Model:
    """Load a folder as `bmc train` does."""
    config = json.loads((folder / "config.json").read_text())
    kind = described(config["model_type"]).kind
    text = TextSettings(MAX_LENGTH, columns)
    return hugging_face.pretrained(str(folder), str(folder), labels, text, kind)


def described(family: str) -> Encoder:
    """Return the description of a family's network."""
    encoder: Encoder = importlib.import_module(families.family(family).network).ENCODER
    return encoder


def tied(family: str) -> str:
    """Return two parameters of one shape: the keys' weights of both layers."""
    model, encoder = small(family), described(family)
    key = encoder.projections[len(encoder.projections) // 2]
    return ":".join(f"{layer}.{key}.weight" for layer in encoder.parts(model.module).layers)


def small(family: str, columns: int = 1, layers: int = 2) -> Model:
    """Build a small model of a family, always the same one."""
    tokenizer = tokenizer_of(family)
    spec = spec_of(family, len(tokenizer), num_hidden_layers=layers).to_dict()
    module = families.network(family).build(spec)
    has_types = "token_type_ids" in tokenizer.model_input_names
    settings = TextSettings(
        MAX_LENGTH,
        columns,
        pad_id=tokenizer.pad_token_id,
        pair_types=has_types,
        type_input=has_types and spec.get("type_vocab_size", 0) > 1,
        vocabulary=len(tokenizer),
    )
    encoder = TextEncoder(tokenizer.backend_tokenizer, settings)
    lively(module)
    with torch.no_grad():  # answers whose standard deviation is 0.5
        answers = output_of(module, described(family).examples(module)[0])
        module.get_parameter(f"{described(family).kind.output}.weight").mul_(0.5 / answers.std())
    return Model(module, family, spec, LABELS, encoder)
