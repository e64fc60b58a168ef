"""Texts, and the sentence-transformers folder of a small encoder, that tests share."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from transformers import BertConfig, BertModel, BertTokenizer

from tests.faults import _folders


def sentences(folder: Path) -> Path:
    """Write 90 different texts, one a line."""
    generator = random.Random(0)
    words = [word for word in _folders.WORDS if not word.startswith("##")]
    lines = {" ".join(generator.choices(words, k=6)) for _ in range(100)}
    path = folder / "texts.txt"
    path.write_text("\n".join(sorted(lines)[:90]))
    return path


def teacher_folder(folder: Path) -> Path:
    """Save an encoder of one layer with a lively, normalized mean of its tokens' vectors."""
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "max_position_embeddings": 64}
    config = BertConfig(vocab_size=len(_folders.vocabulary()), **sizes)
    _folders.lively(BertModel(config)).save_pretrained(folder)
    BertTokenizer(vocab=_folders.vocabulary()).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"path": path, "type": f"sentence_transformers.{kind}"} for path, kind in kinds.items()
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    return folder
