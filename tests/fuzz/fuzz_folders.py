"""Mutated Hugging Face folders: each is loaded as a model to train, or refused in one line."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bmc import console
from bmc.errors import BmcError, DataError
from bmc.inputs.text import TextSettings
from bmc.models import bert, mpnet
from tests.faults import _folders
from tests.fuzz import _edits

with contextlib.suppress(ImportError):  # transformers imports it where a tokenizer fails
    importlib.import_module("google.protobuf.message")

console.set_mode(quiet=True, json=False)

_SEEDS = ("uncased", "in_conflict", "vocab_alone", "legacy_files", "added", "sharded", "of_mpnet")
_NAMES = (
    *("config.json", "config.json", "tokenizer.json", "tokenizer.json", "tokenizer_config.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"),
    *("model.safetensors", "model.safetensors.index.json", "model-00001-of-00009.safetensors"),
)
_TEXTS = ("the film", "[PAD] [MASK] <ent> newword", "x" * 300, "the film, " * 100)
_LABELS = (("bad", "good"), ("good", "odd"), ("a", "b", "c"), ())


def prepare(folder: Path) -> None:
    """Make the folders that cases change."""
    for name in _SEEDS:
        _folders.FOLDERS[name](folder / name)


def _warm_up() -> None:
    """Load folders that are right and wrong: transformers imports most of itself when asked."""
    with tempfile.TemporaryDirectory() as work:
        for name in ("uncased", "of_mpnet"):
            _load(_folders.FOLDERS[name](Path(work) / name), ("bad", "good"), 1)
        for changes in ({"tokenizer_class": "NoneSuch"}, {"model_max_length": "x"}):
            folder = _folders.uncased(Path(work) / str(len(changes)))
            _folders.changed(folder / "tokenizer_config.json", **changes)
            with contextlib.suppress(BmcError):
                _load(folder, ("bad", "good"), 1)


def cases() -> SearchStrategy[dict[str, Any]]:
    """Draw a folder, what is done to it, and what it is to be trained for."""
    return st.fixed_dictionaries(
        {
            "seed": st.sampled_from(_SEEDS),
            "edits": st.integers(0, 2**63).map(_drawn),
            "labels": st.sampled_from(range(len(_LABELS))),
            "columns": st.sampled_from((1, 1, 1, 2)),
        }
    )


def _drawn(seed: int) -> list[Any]:
    """Draw edits without links: the hub's own cache is made of them, so a folder's are followed."""
    edits = _edits.drawn(seed, _NAMES)
    return [edit for edit in edits if edit[0] not in ("link", "array")]


def check(case: dict[str, Any], folder: Path) -> None:
    """Change a copy of a folder, load it, and let it answer texts."""
    target_folder = folder / case["seed"]
    shutil.copytree(folder.parent / "prepared" / case["seed"], target_folder)
    for edit in case["edits"]:
        _edits.apply(edit, target_folder, folder.parent / "outside")
    _load(target_folder, _LABELS[case["labels"]], case["columns"])


def _load(folder: Path, labels: tuple[str, ...], columns: int) -> None:
    family: Any = mpnet if folder.name == "of_mpnet" else bert
    model = family.pretrained(str(folder), labels, TextSettings(24, columns))
    rows = [text if columns == 1 else (text, text) for text in _TEXTS]
    try:
        encoded = model.encoder.encode(rows)
    except DataError:
        return
    arrays = model.encoder.batch(encoded, range(len(rows)))
    with torch.no_grad():
        model.module(**{name: torch.from_numpy(array) for name, array in arrays.items()})


_warm_up()
