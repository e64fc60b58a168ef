"""What the store keeps about a result: which step made it, and the sha256 of every file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bmc.errors import ArtifactError

_RECORDS = ("bmc.json", "manifest.json", "README.md")


class ChangedResultError(ArtifactError):
    """A result in the store is not what the step wrote."""


@dataclass(frozen=True)
class Seal:
    """What the store keeps about a result.

    Args:
        key: key of the result.
        name: name of its folder.
        verb: verb of the step.
        files: sha256 of every file, by name.
        seconds: how long the step took; 0 where that is not known, as it was stopped and resumed.
        place: folder of the files in a shared location; "" for a local result.
    """

    key: str
    name: str
    verb: str
    files: Mapping[str, str]
    seconds: float = 0.0
    place: str = ""

    def content(self) -> dict[str, str]:
        """Return the sha256 of the files without those that say when and how it was made."""
        return {name: of for name, of in self.files.items() if name not in _RECORDS}


def read_seal(content: Mapping[str, Any], path: Path) -> Seal:
    """Return a seal from its file, which another command may have damaged.

    Raises:
        ArtifactError: it is malformed.
    """
    try:
        seal = Seal(**content)
    except TypeError as error:
        raise ArtifactError(f"{path} is damaged: remove {path.parent}") from error
    texts = (seal.key, seal.name, seal.verb, seal.place)
    is_sound = all(type(text) is str for text in texts) and isinstance(seal.files, dict)
    if not is_sound or seal.name != PurePosixPath(seal.name).name or seal.key != path.parent.name:
        raise ArtifactError(f"{path} is damaged: remove {path.parent}")
    return seal


def as_json(seal: Seal) -> bytes:
    return (json.dumps(asdict(seal), indent=2) + "\n").encode()
