"""Small Hugging Face folders of every kind that people bring, with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    MPNetConfig,
    MPNetForSequenceClassification,
    MPNetTokenizer,
)

LABELS = ("good", "bad")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFÉé0123456789.,!?'\"#[]<>/-_|漢字映画กขคงา\u0301\u0e49"
WORDS = ("film", "the", "great", "bad", "new", "york", "café", "cafe", "##s", "##ing", "don", "br")
BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MPNET_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>")


def vocabulary(special: Sequence[str] = BERT_SPECIAL) -> dict[str, int]:
    """Return some 200 tokens: letters, their continuations, words."""
    letters = list(dict.fromkeys(LETTERS))
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def lively(module: Any) -> Any:
    """Give a module weights whose answers differ from text to text."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if "embeddings.weight" in name:
                value.copy_(noise)
            else:
                value.add_(0.4 * noise if value.dim() == 1 else 1.5 * noise / value.shape[1] ** 0.5)
    return module.eval()


def bert(rows: int, labels: Sequence[str] = LABELS, **config: Any) -> Any:
    """Return a BERT of 2 layers x 16 whose head answers these labels."""
    names: dict[str, Any] = {"id2label": dict(enumerate(labels))} if labels else {"num_labels": 1}
    names |= {"label2id": {label: number for number, label in enumerate(labels)}} if labels else {}
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "max_position_embeddings": 64}
    return lively(
        BertForSequenceClassification(BertConfig(vocab_size=rows, **{**sizes, **names, **config}))
    )


def mpnet(rows: int) -> Any:
    """Return an MPNet of 2 layers x 16."""
    config = MPNetConfig(
        vocab_size=rows,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=66,
        pad_token_id=1,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    module = MPNetForSequenceClassification(config)
    # MPNet's embeddings leave the padding's vectors at zero, as its training does.
    module = lively(module)
    with torch.no_grad():
        module.get_parameter("mpnet.embeddings.word_embeddings.weight")[1] = 0
    return module


def changed(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file, or write it; None takes a key out."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    path.write_text(json.dumps(content))


def _saved(folder: Path, tokenizer: Any, module: Any = None, **options: Any) -> Path:
    (module or bert(len(tokenizer))).save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


def uncased(folder: Path) -> Path:
    """Save a lower-casing BERT."""
    return _saved(folder, BertTokenizer(vocab=vocabulary()))


def cased(folder: Path) -> Path:
    """Save a BERT that keeps case and accents."""
    return _saved(folder, BertTokenizer(vocab=vocabulary(), do_lower_case=False))


def in_conflict(folder: Path) -> Path:
    """Save a tokenizer.json that lower-cases under a tokenizer_config.json that does not."""
    uncased(folder)
    settings = {"do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False}
    changed(
        folder / "tokenizer_config.json",
        **settings,
        model_max_length=20,
        truncation_side="left",
        padding_side="left",
    )
    return folder


def stripping(folder: Path) -> Path:
    """Save a cased tokenizer.json under settings that strip accents and split nothing."""
    cased(folder)
    changed(folder / "tokenizer_config.json", strip_accents=True, add_prefix_space=True)
    return folder


def json_alone(folder: Path) -> Path:
    """Save a cased tokenizer.json alone: transformers then takes BERT's own settings."""
    cased(folder)
    (folder / "tokenizer_config.json").unlink()
    return folder


def vocab_alone(folder: Path) -> Path:
    """Save vocab.txt alone, as BERT's authors did."""
    uncased(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return folder


def legacy_files(folder: Path) -> Path:
    """Save vocab.txt with added_tokens.json and special_tokens_map.json."""
    vocab_alone(folder)
    rows = len(vocabulary())
    (folder / "added_tokens.json").write_text(json.dumps({"<ent>": rows, "newword": rows + 1}))
    changed(folder / "special_tokens_map.json", mask_token="[MASK]", pad_token="[PAD]")
    bert(rows + 2).save_pretrained(folder)
    return folder


def added(folder: Path) -> Path:
    """Save a tokenizer with added tokens, special ones and plain ones, and resized weights."""
    tokenizer = BertTokenizer(vocab=vocabulary())
    tokenizer.add_tokens(["newword", "two words", "ÉA"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<ent>"]})
    return _saved(folder, tokenizer)


def pad_is_7(folder: Path) -> Path:
    """Save a vocabulary whose [PAD] is neither the first token nor called so."""
    words = vocabulary(("[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "<pad>"))
    tokenizer = BertTokenizer(vocab=words, pad_token="<pad>")
    return _saved(folder, tokenizer, bert(len(tokenizer), pad_token_id=7))


def padding_inside(folder: Path) -> Path:
    """Save a tokenizer.json with padding and truncation of its own."""
    uncased(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    strategy = {"direction": "Right", "max_length": 12, "strategy": "LongestFirst", "stride": 0}
    padding: dict[str, Any] = {
        "strategy": {"Fixed": 12},
        "direction": "Left",
        "pad_to_multiple_of": None,
    }
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    (folder / "tokenizer.json").write_text(
        json.dumps({**content, "truncation": strategy, "padding": padding})
    )
    return folder


def without_types(folder: Path) -> Path:
    """Save a tokenizer that tells the model no token types."""
    uncased(folder)
    changed(
        folder / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        model_input_names=["input_ids", "attention_mask"],
    )
    return folder


def sharded(folder: Path) -> Path:
    """Save the weights in many files, beside pickled ones that nobody reads."""
    _saved(folder, BertTokenizer(vocab=vocabulary()), max_shard_size="5KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    return folder


def half(folder: Path) -> Path:
    """Save the weights in 16 bits."""
    tokenizer = BertTokenizer(vocab=vocabulary())
    return _saved(folder, tokenizer, bert(len(tokenizer)).to(torch.float16))


def of_mpnet(folder: Path) -> Path:
    """Save an MPNet."""
    tokenizer = MPNetTokenizer(vocab=vocabulary(MPNET_SPECIAL))
    return _saved(folder, tokenizer, mpnet(len(tokenizer)))


def headless(folder: Path) -> Path:
    """Save a model without a head, its names without a prefix."""
    tokenizer = BertTokenizer(vocab=vocabulary())
    config = bert(len(tokenizer)).config
    return _saved(folder, tokenizer, lively(BertModel(config)))


FOLDERS: Mapping[str, Callable[[Path], Path]] = {
    created.__name__: created
    for created in (
        *(uncased, cased, in_conflict, stripping, json_alone, vocab_alone, legacy_files, added),
        *(pad_is_7, padding_inside, without_types, sharded, half, of_mpnet),
    )
}
