"""Vocabulary pruning: remove tokens that do not occur in a task's texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from bmc.errors import SettingError, UsageError
from bmc.inference.replacing import replace_layers
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Record, Work
from bmc.structure.word_table import word_table

_CHUNK = 10_000  # rows
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_PLACEHOLDER = re.compile(r"[\[<]unused_?\d+[\]>]")


@dataclass(frozen=True)
class Vocabulary:
    """Keep the rows of the word embedding that the task's texts use, and prune the tokenizer.

    The tokens of the training, validation and transfer texts are kept, with special tokens, single
    characters (so unseen words still split into pieces) and some unused tokens. Training,
    validation and transfer texts are tokenized as before. In other texts, words whose token was
    removed split into pieces that were kept. WordPiece, WordLevel, BPE (with the merges of the kept
    tokens) and Unigram tokenizers can be pruned.

    Args:
        margin: number of unused tokens to keep: the first in the tokenizer's order, which are the
            most frequent ones in the texts that the tokenizer was trained on.

    Raises:
        SettingError: the margin is negative.
    """

    margin: int = 1000

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise SettingError(f"margin is {self.margin}; it must be 0 or more")

    def apply(self, model: Model, work: Work) -> Record:
        """Prune the embedding and the tokenizer, and return the number of rows."""
        path, table = word_table(model, "vocabulary")
        encoder: Any = model.encoder
        settings = encoder.settings
        kept = _ids_to_keep(encoder, work, {settings.pad_id, table.padding_idx}, self.margin)
        if len(kept) >= table.num_embeddings:
            return {}
        new_ids = {old_id: new_id for new_id, old_id in enumerate(kept)}
        padding = None if table.padding_idx is None else new_ids[table.padding_idx]
        _check_positions(model, path, table.padding_idx, padding)
        tokenizer = _prune_tokenizer(encoder.tokenizer, new_ids)
        _check_tokenizer(encoder, tokenizer, new_ids, work)
        record = {"embedding": path, "rows": len(kept), "padding": padding}
        Vocabulary.rebuild(model, record)
        with torch.no_grad():
            model.module.get_parameter(f"{path}.weight").copy_(table.weight[kept])
        model.encoder = TextEncoder(
            tokenizer, changed(settings, pad_id=new_ids[settings.pad_id], vocabulary=len(kept))
        )
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace the word embedding by a smaller one; the tokenizer is read from its file."""
        if not record:
            return
        path, rows, padding = (record.get(key) for key in ("embedding", "rows", "padding"))
        table = model.module.get_submodule(path) if isinstance(path, str) else None
        if type(table) is not nn.Embedding:
            raise SettingError(f"{path!r:.80} is not a word embedding whose rows can be removed")
        if type(rows) is not int or not 0 < rows <= table.num_embeddings:
            raise SettingError(
                f"the recorded number of rows of {path} is {rows!r:.40}; it must lie in "
                f"1..{table.num_embeddings}"
            )
        if padding is not None and (type(padding) is not int or not 0 <= padding < rows):
            raise SettingError(
                f"the recorded padding row of {path} is {padding!r:.40}; it must lie in "
                f"0..{rows - 1}"
            )
        smaller = nn.Embedding(rows, table.embedding_dim, padding_idx=padding)
        replace_layers(model.module, {table: smaller})


def _ids_to_keep(
    encoder: TextEncoder, work: Work, padding: set[int | None], margin: int
) -> list[int]:
    """Return the old ids of the tokens that stay, in their new order.

    Args:
        encoder: the encoder with the tokenizer to prune.
        work: the data, whose texts decide which tokens stay.
        padding: padding ids of the encoder and of the embedding; the embedding's may be None.
        margin: number of unused tokens to keep.
    """
    tokenizer = encoder.tokenizer
    content = json.loads(tokenizer.to_str())
    vocabulary = tokenizer.get_vocab()
    kept_ids = {token["id"] for token in content["added_tokens"]}
    padding_ids = {row for row in padding if row is not None}
    kept_ids |= padding_ids
    processor_ids = _ids_in(content["post_processor"])
    kept_ids |= {value for ids in processor_ids for value in ids if type(value) is int}
    kept_ids |= {vocabulary[token] for token in vocabulary if _is_piece(token, content["model"])}
    for texts in _texts(encoder, work):
        for encoding in tokenizer.encode_batch_fast(texts):
            kept_ids.update(encoding.ids)
    ordered = sorted(vocabulary.items(), key=lambda item: item[1])
    unused = [
        token_id
        for token, token_id in ordered
        if token_id not in kept_ids and not _PLACEHOLDER.match(token)
    ]
    kept_ids.update(unused[:margin])
    if content["model"]["type"] == "BPE":
        kept_ids |= _merge_sources(kept_ids, content["model"])
    # Some models count positions from the padding id, so the padding keeps its id where possible.
    padding_id = min(padding_ids)
    order = sorted(kept_ids - {padding_id})
    order.insert(min(padding_id, len(order)), padding_id)
    return order


def _prune_tokenizer(tokenizer: Tokenizer, new_ids: Mapping[int, int]) -> Tokenizer:
    """Return a tokenizer of the kept tokens, renumbered and without padding.

    Args:
        tokenizer: the tokenizer to prune, which is not changed.
        new_ids: new id of each kept token by its old id.
    """
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    if model["type"] == "Unigram":
        pieces = model["vocab"]
        model["vocab"] = [pieces[old_id] for old_id in new_ids if old_id < len(pieces)]
        model["unk_id"] = new_ids.get(model["unk_id"])
    else:
        ordered = sorted(model["vocab"].items(), key=lambda item: item[1])
        model["vocab"] = {token: new_ids[old_id] for token, old_id in ordered if old_id in new_ids}
    if model["type"] == "BPE":
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if {left, right, _merged(left, right, model)} <= model["vocab"].keys()
        ]
    for token in content["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    for ids in _ids_in(content["post_processor"]):
        ids[:] = [new_ids[value] if type(value) is int else value for value in ids]
    return Tokenizer.from_str(json.dumps(content))


def _check_tokenizer(
    encoder: TextEncoder, pruned: Tokenizer, new_ids: Mapping[int, int], work: Work
) -> None:
    """Check that a pruned tokenizer gives the tokens of the original one for the task's texts.

    Args:
        encoder: the encoder with the original tokenizer.
        pruned: the pruned tokenizer.
        new_ids: new id of each kept token by its old id.
        work: the data with the texts.

    Raises:
        UsageError: some tokens differ, so this tokenizer needs the removed tokens.
    """
    original = encoder.tokenizer
    kind = json.loads(original.to_str())["model"]["type"]
    error = UsageError(
        f"this {kind} tokenizer splits the task's texts differently without the unused tokens, so "
        "its vocabulary cannot be pruned (share --method embedding makes the embedding smaller)"
    )
    vocabulary = original.get_vocab()
    if pruned.get_vocab() != {
        token: new_ids[old_id] for token, old_id in vocabulary.items() if old_id in new_ids
    }:
        raise error
    for texts in _texts(encoder, work):
        encodings = zip(
            original.encode_batch_fast(texts), pruned.encode_batch_fast(texts), strict=True
        )
        if any([new_ids[old_id] for old_id in old.ids] != new.ids for old, new in encodings):
            raise error


def _check_positions(model: Model, path: str, old: int | None, new: int | None) -> None:
    """Check that the padding id stays if the model computes position ids from it.

    Raises:
        UsageError: the padding id would change.
    """
    parent = model.module.get_submodule(path.rpartition(".")[0])
    if old != new and hasattr(parent, "padding_idx"):
        raise UsageError(
            f"the padding id {old} is above the number of kept tokens, and positions are counted "
            f"from it; keep more tokens: --set margin={old}"
        )


def _texts(encoder: TextEncoder, work: Work) -> Iterator[list[str]]:
    """Yield chunks of all texts that must be tokenized as before."""
    for rows in (work.data.train.rows, work.data.validation.rows, work.transfer):
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            yield [
                encoder.cleaned(text)
                for row in chunk
                for text in ((row,) if isinstance(row, str) else row)
            ]


def _ids_in(processor: Any) -> Iterator[list[Any]]:
    """Yield the lists in a post-processor that contain token ids; some contain tokens as well."""
    if processor is None:
        return
    for part in processor.get("processors", ()):
        yield from _ids_in(part)
    yield from (processor[name] for name in ("sep", "cls") if name in processor)
    special = processor.get("special_tokens")
    yield from (token["ids"] for token in (special.values() if special else ()))


def _is_piece(token: str, model: Mapping[str, Any]) -> bool:
    """Return whether unseen words need a token: a character, a byte, or the unknown token."""
    text = token.removeprefix(model.get("continuing_subword_prefix") or "")
    text = text.removesuffix(model.get("end_of_word_suffix") or "")
    return len(text) == 1 or token == model.get("unk_token") or bool(_BYTE.fullmatch(token))


def _merge_sources(kept: set[int], model: Mapping[str, Any]) -> set[int]:
    """Return the ids of all tokens that BPE merges into kept tokens, over any number of merges."""
    vocabulary: Mapping[str, int] = model["vocab"]
    sources: dict[int, list[int]] = {}
    for left, right in model["merges"]:
        token = vocabulary[_merged(left, right, model)]
        sources.setdefault(token, []).extend((vocabulary[left], vocabulary[right]))
    reached: set[int] = set()
    pending = list(kept)
    while pending:
        new = [source for source in sources.get(pending.pop(), ()) if source not in reached]
        reached.update(new)
        pending += new
    return reached


def _merged(left: str, right: str, model: Mapping[str, Any]) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


STEP = Vocabulary
