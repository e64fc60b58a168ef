"""Vocabulary pruning: drop the tokens that a task's texts never use."""

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

_CHUNK = 10_000
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_PLACEHOLDER = re.compile(r"[\[<]unused_?\d+[\]>]")


@dataclass(frozen=True)
class Vocabulary:
    """Keep the rows of the word embedding that the task's texts use, and prune the tokenizer.

    Kept are the tokens of the training, validation and transfer texts, special tokens, single
    characters (so that unseen words still split into pieces) and a margin. Those texts are
    tokenized as before; in other texts, words that were dropped split into pieces that were kept.
    WordPiece, WordLevel, BPE (with the merges of the kept tokens) and Unigram tokenizers can be
    pruned.

    Args:
        margin: unused tokens that are kept as well: the first in the tokenizer's order, which are
            the most frequent where it was trained.

    Raises:
        SettingError: the margin is negative.
    """

    margin: int = 1000

    def __post_init__(self) -> None:
        if self.margin < 0:
            raise SettingError(f"margin is {self.margin}; it must be 0 or more")

    def apply(self, model: Model, work: Work) -> Record:
        """Prune embedding and tokenizer, and return the number of rows."""
        path, table = word_table(model, "vocabulary")
        encoder: Any = model.encoder
        settings, before = encoder.settings, encoder.tokenizer
        kept = _kept(encoder, work, {settings.pad_id, table.padding_idx}, self.margin)
        if len(kept) >= table.num_embeddings:
            return {}
        new = {old: number for number, old in enumerate(kept)}
        padding = None if table.padding_idx is None else new[table.padding_idx]
        _check_positions(model, path, table.padding_idx, padding)
        after = _cut(before, new)
        _check_same(encoder, after, new, work)
        record = {"embedding": path, "rows": len(kept), "padding": padding}
        Vocabulary.rebuild(model, record)
        with torch.no_grad():
            model.module.get_parameter(f"{path}.weight").copy_(table.weight[kept])
        model.encoder = TextEncoder(
            after, changed(settings, pad_id=new[settings.pad_id], vocabulary=len(kept))
        )
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace the word embedding by one of the recorded rows; the tokenizer is a file."""
        if not record:
            return
        path, rows, padding = (record.get(key) for key in ("embedding", "rows", "padding"))
        table = model.module.get_submodule(path) if isinstance(path, str) else None
        if type(table) is not nn.Embedding:
            raise SettingError(f"{path!r:.80} is no table of words whose rows could be cut")
        if type(rows) is not int or not 0 < rows <= table.num_embeddings:
            raise SettingError(f"{rows!r:.40} rows of {path}; it has {table.num_embeddings}")
        if padding is not None and (type(padding) is not int or not 0 <= padding < rows):
            raise SettingError(f"the padding row {padding!r:.40} of {path} is none of its {rows}")
        smaller = nn.Embedding(rows, table.embedding_dim, padding_idx=padding)
        replace_layers(model.module, {table: smaller})


def _kept(encoder: TextEncoder, work: Work, padding: set[int | None], margin: int) -> list[int]:
    """Return the old ids of the tokens that stay, in their new order."""
    tokenizer = encoder.tokenizer
    content = json.loads(tokenizer.to_str())
    vocabulary = tokenizer.get_vocab()
    kept = {token["id"] for token in content["added_tokens"]}
    kept |= {known for known in padding if known is not None}
    kept |= {one for ids in _ids_in(content["post_processor"]) for one in ids if type(one) is int}
    kept |= {vocabulary[token] for token in vocabulary if _is_piece(token, content["model"])}
    for texts in _texts(encoder, work):
        for encoding in tokenizer.encode_batch_fast(texts):
            kept.update(encoding.ids)
    ordered = sorted(vocabulary.items(), key=lambda item: item[1])
    unused = [old for token, old in ordered if old not in kept and not _PLACEHOLDER.match(token)]
    kept.update(unused[:margin])
    if content["model"]["type"] == "BPE":
        kept |= _merged_from(kept, content["model"])
    # Some models count positions from the padding's id, so it stays where it is if it can.
    first = min(known for known in padding if known is not None)
    order = sorted(kept - {first})
    order.insert(min(first, len(order)), first)
    return order


def _cut(tokenizer: Tokenizer, new: Mapping[int, int]) -> Tokenizer:
    """Return a tokenizer of the kept tokens, renumbered.

    It has no padding: an encoder's settings have the padding id.
    """
    content = json.loads(tokenizer.to_str())
    model = content["model"]
    if model["type"] == "Unigram":
        known = model["vocab"]
        model["vocab"] = [known[old] for old in new if old < len(known)]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        known = sorted(model["vocab"].items(), key=lambda item: item[1])
        model["vocab"] = {token: new[old] for token, old in known if old in new}
    if model["type"] == "BPE":
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if {left, right, _merged(left, right, model)} <= model["vocab"].keys()
        ]
    for token in content["added_tokens"]:
        token["id"] = new[token["id"]]
    for ids in _ids_in(content["post_processor"]):
        ids[:] = [new[one] if type(one) is int else one for one in ids]
    return Tokenizer.from_str(json.dumps(content))


def _check_same(encoder: TextEncoder, after: Tokenizer, new: Mapping[int, int], work: Work) -> None:
    """Check that the task's texts are tokenized as before.

    Raises:
        UsageError: they are not: this tokenizer does not work without the dropped tokens.
    """
    before = encoder.tokenizer
    kind = json.loads(before.to_str())["model"]["type"]
    refusal = UsageError(
        f"this {kind} tokenizer cuts texts differently once tokens are dropped; its vocabulary "
        "cannot be cut (share --method embedding makes its table smaller)"
    )
    known = before.get_vocab()
    if after.get_vocab() != {token: new[old] for token, old in known.items() if old in new}:
        raise refusal
    for texts in _texts(encoder, work):
        pairs = zip(before.encode_batch_fast(texts), after.encode_batch_fast(texts), strict=True)
        if any([new[old] for old in one.ids] != other.ids for one, other in pairs):
            raise refusal


def _check_positions(model: Model, path: str, old: int | None, new: int | None) -> None:
    around = model.module.get_submodule(path.rpartition(".")[0])
    if old != new and hasattr(around, "padding_idx"):
        raise UsageError(
            f"the padding id {old} lies behind the tokens that are kept, and positions are counted "
            f"from it; keep more of them: --set margin={old}"
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
    """Yield the lists of token ids in a post-processor; some hold names as well."""
    if processor is None:
        return
    for inner in processor.get("processors", ()):
        yield from _ids_in(inner)
    yield from (processor[name] for name in ("sep", "cls") if name in processor)
    special = processor.get("special_tokens")
    yield from (token["ids"] for token in (special.values() if special else ()))


def _is_piece(token: str, model: Mapping[str, Any]) -> bool:
    """Tell whether unseen words need a token: a character, a byte, or the unknown token."""
    bare = token.removeprefix(model.get("continuing_subword_prefix") or "")
    bare = bare.removesuffix(model.get("end_of_word_suffix") or "")
    return len(bare) == 1 or token == model.get("unk_token") or bool(_BYTE.fullmatch(token))


def _merged_from(kept: set[int], model: Mapping[str, Any]) -> set[int]:
    """Return the ids of all tokens that BPE merges into the kept ones, step by step."""
    vocabulary: Mapping[str, int] = model["vocab"]
    sources: dict[int, list[int]] = {}
    for left, right in model["merges"]:
        token = vocabulary[_merged(left, right, model)]
        sources.setdefault(token, []).extend((vocabulary[left], vocabulary[right]))
    merged: set[int] = set()
    waiting = list(kept)
    while waiting:
        fresh = [source for source in sources.get(waiting.pop(), ()) if source not in merged]
        merged.update(fresh)
        waiting += fresh
    return merged


def _merged(left: str, right: str, model: Mapping[str, Any]) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


STEP = Vocabulary
