"""bmc export"""

from __future__ import annotations

from typing import Any

from bmc.bundle import Bundle
from bmc.cli import _shown
from bmc.cli._common import Answer, Writing
from bmc.export import ExportOptions
from bmc.workflows import export as workflow
from bmc.workflows.export import line_of, scores_of


def export(
    model: str | None = None,
    *,
    target: tuple[str, ...],
    data: str | None = None,
    opset: int | None = None,
    max_batch: int = 16,
    allow_slower: bool = False,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Turn a model into a bundle for a target, and prove that it answers the same.

    The bundle answers the whole held-out test split; its logits are held against PyTorch's, and
    its scores are computed from them. Out of limits, the exit code is 1 and the bundle is kept as
    NAME.failed.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        target: onnx, openvino, tensorrt or pytorch; name several, or separate them with commas.
        data: the data that the model was trained on, if it is not where it was.
        opset: version of the ONNX operators, 18 to 23; left out, 18, or 23 for ONNX Runtime where
            the model has attention, which is one operator then.
        max_batch: rows that a TensorRT engine is built for at most.
        allow_slower: keep a quantized bundle that is slower than its fp32 export; else it is
            exit 1, and kept as NAME.failed. Methods for size (weights, fp16, bf16) need it not.
    """
    common.begin()
    options = ExportOptions(opset, max_batch, allow_slower)
    names = [name.strip() for entry in target for name in entry.split(",") if name.strip()]
    made = workflow.export(model, names, options, data, common.output, common.force).bundles
    return Answer(
        {"bundles": [_facts(bundle) for bundle in made]},
        (*(shown for bundle in made for shown in _lines(bundle, made[0])), _next(made[-1])),
    )


def _lines(bundle: Bundle, first: Bundle) -> tuple[object, ...]:
    """Return a bundle's line, and its scores by class where they are not the first bundle's."""
    scores = scores_of(bundle)
    if bundle is not first and scores.get("confusion") == scores_of(first).get("confusion"):
        return (line_of(bundle),)
    return (line_of(bundle), *_shown.by_class(scores, bundle.manifest.labels, "test"))


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
    rows = {"image": "IMAGE.png", "series": "SERIES.npy", "latent": "1 2 3 --images PICTURES"}
    pair = " --pair 'a fine one'" if bundle.manifest.preprocessing.get("columns") == 2 else ""
    row = rows.get(str(kind), f"'what a film'{pair}")
    return f"next: bmc predict {bundle.path} {row}    or: bmc report"
