"""Prune a tokenizer: keep some of its tokens, and renumber them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer

from bmc.errors import UsageError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def prune_tokenizer(tokenizer: Tokenizer, new_ids: Mapping[int, int]) -> Tokenizer:
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
    for ids in ids_in(content["post_processor"]):
        ids[:] = [new_ids[value] if type(value) is int else value for value in ids]
    return Tokenizer.from_str(json.dumps(content))


def check_tokenizer(
    original: Tokenizer,
    pruned: Tokenizer,
    new_ids: Mapping[int, int],
    chunks: Iterable[list[str]],
) -> None:
    """Check that a pruned tokenizer gives the tokens of the original one for some texts.

    Args:
        original: the original tokenizer.
        pruned: the pruned tokenizer.
        new_ids: new id of each kept token by its old id.
        chunks: the texts, in chunks.

    Raises:
        UsageError: some tokens differ, so this tokenizer needs the removed tokens.
    """
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
    for texts in chunks:
        encodings = zip(
            original.encode_batch_fast(texts), pruned.encode_batch_fast(texts), strict=True
        )
        if any([new_ids[old_id] for old_id in old.ids] != new.ids for old, new in encodings):
            raise error


def ids_in(processor: Any) -> Iterator[list[Any]]:
    """Yield the lists in a post-processor that contain token ids; some contain tokens as well."""
    if processor is None:
        return
    for part in processor.get("processors", ()):
        yield from ids_in(part)
    yield from (processor[name] for name in ("sep", "cls") if name in processor)
    special = processor.get("special_tokens")
    yield from (token["ids"] for token in (special.values() if special else ()))


def is_piece(token: str, model: Mapping[str, Any]) -> bool:
    """Return whether unseen words need a token: a character, a byte, or the unknown token."""
    text = token.removeprefix(model.get("continuing_subword_prefix") or "")
    text = text.removesuffix(model.get("end_of_word_suffix") or "")
    return len(text) == 1 or token == model.get("unk_token") or bool(_BYTE.fullmatch(token))


def merge_sources(kept: set[int], model: Mapping[str, Any]) -> set[int]:
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
