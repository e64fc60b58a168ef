"""Fuzz cases on disk: plain Python values as JSON, and the corpus of inputs that were kept."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
_PLAIN = (str, int, bool, type(None))


@dataclass(frozen=True)
class Kept:
    """A case that once did what it should not, and what that was."""

    outcome: str
    seen: str
    case: Any

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"outcome": self.outcome, "seen": self.seen, "case": encode(self.case)}


def encode(value: Any) -> Any:
    """Return a case as JSON: bytes, tuples, and floats that JSON lacks become marked objects.

    Raises:
        TypeError: the case holds something else than None, bool, int, float, str, bytes, list,
            tuple or dict with str keys.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"__float__": repr(value)}
    if isinstance(value, bytes):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"__tuple__": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: encode(item) for key, item in value.items()}
    raise TypeError(f"a case holds {type(value).__name__}; it must be made of plain values")


def decode(value: Any) -> Any:
    """Return the case that `encode` was given."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__float__"}:
        return float(value["__float__"])
    if value.keys() == {"__bytes__"}:
        return base64.b64decode(value["__bytes__"])
    if value.keys() == {"__tuple__"}:
        return tuple(decode(item) for item in value["__tuple__"])
    return {key: decode(item) for key, item in value.items()}


def keep(subject: str, kept: Kept, corpus: Path = CORPUS) -> None:
    """Write a case into the corpus: crashes of run times a line each, all else a file each."""
    folder = corpus / subject
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps(kept.to_json(), sort_keys=True)
    if kept.outcome == "crash in a run time":
        with (folder / "crashes.jsonl").open("a") as file:
            file.write(line + "\n")
        return
    name = hashlib.sha256(line.encode()).hexdigest()[:12]
    (folder / f"{name}.json").write_text(line + "\n")


def corpus_of(subject: str, corpus: Path = CORPUS) -> list[Kept]:
    """Return the kept cases of a subject."""
    return list(_lines(corpus / subject))


def _lines(folder: Path) -> Iterator[Kept]:
    for path in sorted(folder.glob("*.json*")):
        for line in path.read_text().splitlines():
            content = json.loads(line)
            yield Kept(content["outcome"], content["seen"], decode(content["case"]))
