"""What `bmc export` shows."""

from __future__ import annotations

from typing import Any

from bmc.bundle import Bundle
from bmc.contracts.tasks import TENSORS
from bmc.rendering import models
from bmc.rendering.rendered import Rendered
from bmc.workflows.bundle_lines import line_of, scores_of
from bmc.workflows.bundles import Exported
from bmc.workflows.results import Compressed


def exported(result: Exported) -> Rendered:
    """Render what `bmc export` made."""
    passed = [bundle for bundle in result.bundles if bundle.manifest.failure is None]
    return Rendered(
        {"bundles": [_facts(bundle) for bundle in result.bundles]},
        (
            *(shown for bundle in passed for shown in _lines(bundle, passed[0])),
            *(_next(bundle) for bundle in passed[-1:]),
        ),
    )


def compressed(result: Compressed | Exported) -> Rendered:
    """Render what a technique made: a model directory, or bundles of an ONNX file."""
    return exported(result) if isinstance(result, Exported) else models.compressed(result)


def _lines(bundle: Bundle, first: Bundle) -> tuple[object, ...]:
    """Return a bundle's line, and its scores by class where they are not the first bundle's."""
    scores = scores_of(bundle)
    of_first = scores_of(first)
    parts = ("by_class", "by_type", "confusion", "confusions")
    is_same = all(scores.get(name) == of_first.get(name) for name in parts)
    is_same = is_same and bundle is not first
    if bundle.manifest.task == TENSORS or is_same:
        return (line_of(bundle),)
    return (line_of(bundle), *models.by_class(scores, bundle.manifest.labels, "test"))


def _facts(bundle: Bundle) -> dict[str, Any]:
    manifest, stand_in = bundle.manifest, bundle.manifest.stand_in
    not_run = {"scores_of_the_onnx_file": scores_of(bundle), "ran_here": False}
    return {
        "output": str(bundle.path),
        "target": manifest.target,
        "bytes": bundle.model_size(),
        "parity": {**manifest.parity, **({"of": "the ONNX file"} if stand_in else {})},
        "scores": manifest.scores,
        "build": {**manifest.build, **(not_run if stand_in else {})},
    }


def _next(bundle: Bundle) -> str:
    kind = bundle.manifest.preprocessing.get("kind")
    if kind == "tensors":
        return f"next: bmc check {bundle.path}    or: bmc bench {bundle.path}"
    rows = {
        "image": "IMAGE.png",
        "audio": "CLIP.wav",
        "series": "SERIES.npy",
        "features": "TABLE.csv",
        "latent": "1 2 3 --images PICTURES",
    }
    pair = " --pair 'a fine one'" if bundle.manifest.preprocessing.get("columns") == 2 else ""
    row = rows.get(str(kind), f"'what a film'{pair}")
    return f"next: bmc predict {bundle.path} {row}    or: bmc report"
