"""Vocabulary pruning: remove tokens that do not occur in a task's texts."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from bmc import console
from bmc.compress.prune._tokenizer import (
    check_tokenizer,
    ids_in,
    is_piece,
    merge_sources,
    prune_tokenizer,
)
from bmc.errors import SettingError, UsageError
from bmc.inference.folding import fold_max_norm
from bmc.inference.replacing import replace_layers
from bmc.inference.token_ngrams import TokenNgrams
from bmc.inputs import Many
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Record, Work
from bmc.structure.word_table import word_table

_CHUNK = 10_000  # rows
_PLACEHOLDER = re.compile(r"[\[<]unused_?\d+[\]>]")


@dataclass(frozen=True)
class Vocabulary:
    """Keep the rows of the word embedding that the task's texts use, and prune the tokenizer.

    The tokens of the training, validation and transfer texts are kept, with special tokens, single
    characters (so unseen words still split into pieces) and some unused tokens. Training,
    validation and transfer texts are tokenized as before. In other texts, words whose token was
    removed split into pieces that were kept. Scores of validation texts do not show what that
    costs, since their tokens are kept. But without their own tokens, they tell in how many new
    texts a word splits, and so many unused tokens are kept that it is `max_split` at most.
    WordPiece, WordLevel, BPE (with the merges of the kept tokens) and Unigram tokenizers can be
    pruned.

    With a number of `tokens`, those are kept that are the most frequent in the training and
    transfer texts. Rare words of these texts split into smaller pieces then.

    Args:
        margin: number of unused tokens to keep, at least: the first in the tokenizer's order, which
            are the most frequent ones in the texts that the tokenizer was trained on.
        tokens: number of tokens to keep, special tokens and single characters included; 0 for all
            that occur, and the margin. BPE keeps those from which kept tokens are merged as well.
        max_split: largest share of new texts in which a word may split, for which the margin grows;
            1 for no limit.

    Raises:
        SettingError: the margin or the number of tokens is negative, the number is below that of
            special tokens and single characters, or the share is not in 0..1.
    """

    margin: int = 1000
    tokens: int = 0
    max_split: float = 0.2

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("tokens", self.tokens)):
            if value < 0:
                raise SettingError(f"{name} is {value}; it must be 0 or more")
        if not 0 <= self.max_split <= 1:
            raise SettingError(f"max_split is {self.max_split}; it must lie in 0..1")

    def apply(self, model: Model, work: Work) -> Record:
        """Prune the embedding and the tokenizer, and return the number of rows."""
        _check_ngrams(model)
        path, table = word_table(model, "vocabulary")
        fold_max_norm(table)
        encoder: Any = model.encoder
        settings = encoder.settings
        padding_ids = {row for row in (settings.pad_id, table.padding_idx) if row is not None}
        kept = self._ids_to_keep(encoder, work, padding_ids)
        if len(kept) >= table.num_embeddings:
            return {}
        new_ids = {old_id: new_id for new_id, old_id in enumerate(kept)}
        padding = None if table.padding_idx is None else new_ids[table.padding_idx]
        _check_positions(model, path, table.padding_idx, padding)
        tokenizer = prune_tokenizer(encoder.tokenizer, new_ids)
        # The most frequent tokens alone split the other words in another way.
        rows = (work.data.train.rows, work.data.validation.rows, work.unlabeled)
        unchanged = () if self.tokens else _chunks(encoder, *rows)
        check_tokenizer(encoder.tokenizer, tokenizer, new_ids, unchanged)
        record = {"embedding": path, "rows": len(kept), "padding": padding}
        Vocabulary.rebuild(model, record)
        with torch.no_grad():
            model.module.get_parameter(f"{path}.weight").copy_(table.weight[kept])
        model.encoder = type(encoder)(
            tokenizer, changed(settings, pad_id=new_ids[settings.pad_id], vocabulary=len(kept))
        )
        return record

    def _ids_to_keep(self, encoder: TextEncoder, work: Work, padding: set[int]) -> list[int]:
        """Return the old ids of the tokens that stay, in their new order.

        Args:
            encoder: the encoder with the tokenizer to prune.
            work: the data, whose texts decide which tokens stay.
            padding: padding ids of the encoder and of the embedding.
        """
        content = json.loads(encoder.tokenizer.to_str())
        kept_ids = _required(encoder.tokenizer, content) | padding
        counts = _counts(encoder, work)
        vocabulary = encoder.tokenizer.get_vocab()
        usual = sorted(i for token, i in vocabulary.items() if not _PLACEHOLDER.match(token))
        if self.tokens:
            if self.tokens < len(kept_ids):
                raise SettingError(
                    f"tokens is {self.tokens}; special tokens and single characters alone are "
                    f"{len(kept_ids)}"
                )
            frequent = sorted(set(usual) - kept_ids, key=lambda i: (-counts[i], i))
            kept_ids.update(frequent[: self.tokens - len(kept_ids)])
        else:
            kept_ids.update(counts)
            held = _new_ids(encoder, work.data.validation.rows, kept_ids)
            unused = [i for i in usual if i not in kept_ids]
            needed = _needed(held, unused)
            margin = max(self.margin, _margin(needed, self.max_split))
            _say_split(needed, margin)
            kept_ids.update(unused[:margin], *held)
        if content["model"]["type"] == "BPE":
            kept_ids |= merge_sources(kept_ids, content["model"])
        _say_removed(counts, kept_ids)
        # Some models count positions from the padding id, so it keeps its id where possible.
        padding_id = min(padding)
        order = sorted(kept_ids - {padding_id})
        order.insert(min(padding_id, len(order)), padding_id)
        return order

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


def _check_ngrams(model: Model) -> None:
    """Check that no trained n-grams are looked up by token ids, which pruning changes.

    Raises:
        UsageError: the model has such n-grams.
    """
    branches = [part for part in model.module.modules() if isinstance(part, TokenNgrams)]
    if any(not branch.is_untrained() for branch in branches):
        raise UsageError(
            "the n-grams of this model are looked up by the ids of its tokens, which a smaller "
            "vocabulary would change: distill a new student with --vocabulary and --set ngrams, "
            "whose vocabulary is pruned before it is taught"
        )


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


def _required(tokenizer: Tokenizer, content: Mapping[str, Any]) -> set[int]:
    """Return the ids of special tokens and of the pieces that unseen words split into.

    Args:
        tokenizer: the tokenizer to prune.
        content: its tokenizer.json.
    """
    special = {token["id"] for token in content["added_tokens"]}
    special |= {i for ids in ids_in(content["post_processor"]) for i in ids if type(i) is int}
    unknown = content["model"].get("unk_id")  # of a Unigram; others name their unknown token
    if type(unknown) is int:
        special.add(unknown)
    vocabulary = tokenizer.get_vocab()
    return special | {i for token, i in vocabulary.items() if is_piece(token, content["model"])}


def _counts(encoder: TextEncoder, work: Work) -> Counter[int]:
    """Count how often the texts that training reads have each token, by its id."""
    counts: Counter[int] = Counter()
    for texts in _chunks(encoder, work.data.train.rows, work.unlabeled):
        for encoding in encoder.tokenizer.encode_batch_fast(texts):
            counts.update(encoding.ids)
    return counts


def _new_ids(encoder: TextEncoder, rows: Many, kept_ids: set[int]) -> list[set[int]]:
    """Return the ids of each row's tokens, without those that are kept."""
    new_ids = []
    for start in range(0, len(rows), _CHUNK):
        texts_of_rows = [encoder.texts_of(row) for row in rows[start : start + _CHUNK]]
        texts = [text for texts in texts_of_rows for text in texts]
        encodings = iter(encoder.tokenizer.encode_batch_fast(texts))
        for texts_of_row in texts_of_rows:
            ids = {i for _ in texts_of_row for i in next(encodings).ids}
            new_ids.append(ids - kept_ids)
    return new_ids


def _needed(held: Sequence[set[int]], unused: Sequence[int]) -> list[int]:
    """Return how many unused tokens each held-out row needs, so that none of its words splits.

    Args:
        held: ids of each row's tokens that would not be kept.
        unused: such ids, in the order in which they are kept.
    """
    counts = {unused_id: count for count, unused_id in enumerate(unused, 1)}
    most = len(unused) + 1  # no number of them suffices for a token that is not among them
    return [max((counts.get(i, most) for i in ids), default=0) for ids in held]


def _margin(needed: Sequence[int], max_split: float) -> int:
    """Return the fewest unused tokens with which a word splits in at most a share of the texts."""
    may_split = math.floor(max_split * len(needed))
    return sorted(needed, reverse=True)[may_split] if may_split < len(needed) else 0


def _say_split(needed: Sequence[int], margin: int) -> None:
    share = sum(count > margin for count in needed) / max(1, len(needed))
    if share:
        console.note(
            f"{margin:,} unused tokens are kept; expect {share:.0%} of new texts to have a word "
            "that splits into smaller pieces, as of the validation texts without their own tokens "
            f"(bmc prune --method vocabulary --set max_split={share / 2:.1g} keeps more)"
        )


def _say_removed(counts: Mapping[int, int], kept_ids: set[int]) -> None:
    """Say how many tokens of the texts split into smaller ones."""
    removed = sum(count for i, count in counts.items() if i not in kept_ids)
    if removed:
        share = removed / sum(counts.values())
        console.note(
            f"{len(kept_ids):,} tokens are kept; {share:.1%} of the tokens in the texts are "
            "others, which split into smaller pieces"
        )


def _chunks(encoder: TextEncoder, *parts: Many) -> Iterator[list[str]]:
    """Yield the texts of several parts of the data in chunks."""
    for rows in parts:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            yield [text for row in chunk for text in encoder.texts_of(row)]


STEP = Vocabulary
