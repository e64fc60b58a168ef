"""One line on a written bundle: its size, its scores, and how its outputs differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmc.bundle import Bundle
from bmc.contracts.tasks import TENSORS, task
from bmc.measure import rejection
from bmc.measure.scores import Interval
from bmc.measure.shown import MEASURES, megabytes, significant, with_interval


def scores_of(bundle: Bundle) -> Mapping[str, Any]:
    """Return the scores of a bundle, or of the ONNX file from which its engine was built."""
    stand_in = bundle.manifest.stand_in
    return stand_in.scores if stand_in else bundle.manifest.scores


def line_of(bundle: Bundle) -> str:
    """Return one line on a written bundle and its differences from PyTorch's outputs."""
    manifest = bundle.manifest
    scores = scores_of(bundle)
    if manifest.task == TENSORS:
        return _line_of_tensors(bundle)
    built = " of its ONNX file; the engine was built, not run here"
    whose = built if manifest.stand_in else ""
    agreement = manifest.parity["agreement"]
    of_labels = " of a row's labels" if task(manifest.task).thresholds else ""
    alike = "" if agreement is None else f"{agreement:.2%}{of_labels} answered as in PyTorch, "
    return (
        f"wrote {bundle.path}: {megabytes(bundle.model_size())}{_score(scores)}{whose} "
        f"({scores['rows']} {task(bundle.manifest.task).unit}; {alike}"
        f"largest change of an output {manifest.parity['max_error']:.1g}{_rejected(bundle)}"
        f"{_over_fp32(manifest.build)}{_warnings(manifest.build)})"
    )


def _rejected(bundle: Bundle) -> str:
    """Say which share of the rows gets no label, and the accuracy of the others."""
    scores = scores_of(bundle)
    if bundle.manifest.reject_below is None or rejection.SHARE not in scores:
        return ""
    share = with_interval(Interval(**scores[rejection.SHARE]))
    accuracy = scores.get(rejection.ACCURACY)
    of_others = (
        f", accuracy of the others {with_interval(Interval(**accuracy))}" if accuracy else ""
    )
    return (
        f"; no label below a probability of {significant(bundle.manifest.reject_below)}: share of "
        f"rows {share}{of_others}"
    )


def _line_of_tensors(bundle: Bundle) -> str:
    """Return one line on a bundle of an ONNX file, and its differences from the file's outputs."""
    manifest = bundle.manifest
    stand_in = manifest.stand_in
    ran = " (its ONNX file; the engine was built, not run here)" if stand_in else ""
    parity = manifest.parity
    agreement = parity.get("agreement")
    alike = "" if agreement is None else f"{agreement:.2%} answered alike, "
    return (
        f"wrote {bundle.path}: {megabytes(bundle.model_size())}; against {manifest.lineage['file']}"
        f"{ran} on {parity['rows']} samples: {alike}largest change of an output "
        f"{parity['max_error']:.1g} of up to {significant(parity['scale'])}, cosine "
        f"{parity['cosine']:.6f}{_scored(bundle)}{_over_fp32(manifest.build)}"
        f"{_in_float(manifest.build)}{_warnings(manifest.build)}"
    )


def _scored(bundle: Bundle) -> str:
    """Return the score of labeled samples, and the original file's; "" without labels."""
    score = bundle.manifest.parity.get("score")
    if score is None:
        return ""
    value, original = scores_of(bundle)[score["name"]], score["original"]
    is_named = score["output"] and len(bundle.manifest.outputs) > 1
    of_output = f" of output {score['output']!r}" if is_named else ""
    return (
        f"; {score['name']}{of_output} {with_interval(Interval(**value))}, of the file "
        f"{with_interval(Interval(**original))}, points lost "
        f"{with_interval(Interval(**score['interval']))}"
    )


def _over_fp32(build: Mapping[str, Any]) -> str:
    ratio = build.get("over_fp32")
    return f"; {with_interval(Interval(**ratio))} times as fast as in fp32" if ratio else ""


def _in_float(build: Mapping[str, Any]) -> str:
    """Say how many layers of an ONNX file are not in 8 bits."""
    names = build.get("in_float")
    return f"; {len(names)} of {build['layers']} layers in float" if names else ""


def _warnings(build: Mapping[str, Any]) -> str:
    return "".join(f"; warning: {text}" for text in build.get("warnings", ()))


def _score(scores: Mapping[str, Any]) -> str:
    """Show the measure of the task with its interval; nothing for a generator."""
    for key, name in MEASURES.items():
        if key in scores:
            return f", test {name} {with_interval(Interval(**scores[key]))}"
    return ""
