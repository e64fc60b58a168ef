"""Recipes of the repository on slices of their data: few rows, one epoch, short measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmc.recipes.document import read_document
from bmc.recipes.toml import toml_of

_DATA = {"movie-reviews": "movie-reviews.csv", "fashion-mnist": "digits"}
_MODELS = {"bert": "little", "mobilenet-v2": "cnn"}
_NO_TRAINING = {"prune": {"epochs": 0}, "share": {"epochs": 0}}
_QUICK = {"launches": 2, "rounds": 2, "threads": 1}


def sliced(path: Path) -> dict[str, Any]:
    """Return a recipe with fewer epochs, small data, and a small BERT for MiniLM.

    Its steps have the names that the file gives them.
    """
    document = read_document(path)
    for at in (document, *document["steps"].values()):
        if isinstance(at.get("data"), str):
            at["data"] = _DATA.get(at["data"], at["data"])
    for step in document["steps"].values():
        if step["verb"] == "train":
            step["model"] = _MODELS.get(step["model"], step["model"])
            step.pop("settings", None)
        if step["verb"] in ("train", "distill"):  # what has learned nothing fails int8's check
            step["epochs"] = 1 if step.get("model") == "little" or "teacher" in step else 5
        step.update(_NO_TRAINING.get(step["verb"], {}))
        for name, value in step.items():
            if isinstance(value, list):
                step[name] = value[:2]
    document.pop("gates", None)
    if "seeds" in document:
        document["seeds"] = document["seeds"][:1]
    document["report"] = document.get("report", {"floor": False}) and {"floor": False}
    document["bench"] = document.get("bench", _QUICK) and _QUICK
    document["export"] = {**document.get("export", {}), "allow_slower": True}
    if "targets" not in document:
        del document["export"]
    return document


def write_sliced(path: Path, folder: Path) -> Path:
    """Write the slice of a recipe into a folder, under its name, as TOML."""
    folder.mkdir(exist_ok=True)
    small = folder / f"{path.stem}.toml"
    small.write_text(toml_of(sliced(path)), encoding="utf-8")
    return small
