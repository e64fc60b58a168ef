"""What a report must say of a compressed bundle: zeros that bring no speed, and slow-downs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmc.bundle import Bundle
from bmc.contracts.tasks import TENSORS, task
from bmc.measure.scores import Interval
from bmc.measure.shown import megabytes, significant, with_interval

ZEROING = {
    "prune/unstructured": "unstructured",
    "prune/movement": "unstructured",
    "prune/nm": "N:M",
}
_KERNELS = ("Attention", "LSTM", "GRU", "RNN", "LayerNormalization", "Gelu")
_SMALL = 0.1
_FOR_SIZE = {"quantize/weights": "weights", "quantize/fp16": "fp16", "share/cluster": "cluster"}


def remarks_of(
    bundle: Bundle, origin: Bundle | None, ratio: Interval | None, p50: Interval | None
) -> tuple[str, ...]:
    """Explain the times of a bundle by the steps that made its model.

    Args:
        bundle: the bundle.
        origin: bundle of the model before the step, in the same runtime; None if there is none.
        ratio: speed-up relative to `origin`; None if the two were not measured together.
        p50: its median latency in milliseconds.
    """
    remarks = [_failed(bundle), _compared(bundle), *_warnings(bundle)]
    remarks += [_sparse(bundle, origin, ratio), _small(bundle), _taught(bundle)]
    if origin and ratio and ratio.high < 1:
        cause = _cause(bundle, origin, p50)
        remarks.append(
            f"{significant(1 / ratio.value)} times slower than {origin.path.name}, which it was "
            f"made from{f': {cause}' if cause else ''}"
        )
    return tuple(one for one in remarks if one)


def steps_of(bundle: Bundle) -> list[str]:
    """Return the methods that made a bundle's model, in order."""
    return [str(step) for step in bundle.manifest.lineage.get("steps") or ()]


def _failed(bundle: Bundle) -> str:
    """Say that a bundle failed a check, where it was named or moved to another folder."""
    failure = bundle.manifest.failure
    return "" if failure is None else f"failed a check when it was exported: {failure:.200}"


def _warnings(bundle: Bundle) -> list[str]:
    """Return what the export warned of."""
    warnings = bundle.manifest.build.get("warnings")
    return [str(text)[:200] for text in warnings[:3]] if isinstance(warnings, list) else []


def _compared(bundle: Bundle) -> str:
    """Say how the bundle of another tool's ONNX file stands to that file, which has no score."""
    parity, file = bundle.manifest.parity, bundle.manifest.lineage.get("file")
    rows, cosine, agreement = (parity.get(key) for key in ("rows", "cosine", "agreement"))
    if bundle.manifest.task != TENSORS or not isinstance(cosine, float):
        return ""
    alike = f"answers {agreement:.2%} alike, " if isinstance(agreement, float) else ""
    return (
        f"against {file!s:.80} on {rows} samples: {alike}cosine similarity {cosine:.6f}"
        f"{_scored(parity.get('score'))}"
    )


def _scored(score: Any) -> str:
    """Return the points of the score that labeled samples lost; "" without labels."""
    lost = score.get("lost") if isinstance(score, dict) else None
    if not isinstance(lost, float):
        return ""
    return f", {lost:.2f} points of {score.get('name')!s:.80} lost"


def _taught(bundle: Bundle) -> str:
    """Say how a distilled student stood to its teacher on validation rows."""
    teacher = bundle.manifest.lineage.get("teacher") or {}
    measured = teacher.get("validation")
    names = ("calibration_error", "teacher_calibration_error")
    if not isinstance(measured, dict):
        return ""
    errors = [measured.get(name) for name in names]
    agreement = measured.get("agreement")
    value = agreement.get("value") if isinstance(agreement, dict) else None
    if not all(isinstance(number, float) for number in (*errors, value)):
        return ""
    name = teacher.get("name")
    several = task(bundle.manifest.task).thresholds is not None
    alike = (
        f"had {value:.1%} of a validation row's labels in common with its teacher {name}"
        if several
        else f"predicted as its teacher {name} on {value:.1%} of the validation rows"
    )
    return f"{alike}; calibration error {errors[0]:.3f}, teacher {errors[1]:.3f}"


def _sparse(bundle: Bundle, origin: Bundle | None, ratio: Interval | None) -> str:
    """Label a model with zeros, unless they were measured to be faster."""
    share = bundle.manifest.lineage.get("sparsity")
    if not isinstance(share, float):
        return ""
    kinds = {ZEROING[step] for step in steps_of(bundle) if step in ZEROING}
    label = (
        f"{' and '.join(sorted(kinds, reverse=True))} sparsity ({share:.0%} of the weights are 0)"
    )
    if origin and ratio and ratio.low > 1 and _only_zeros(bundle, origin):
        interval = f"{with_interval(ratio)}"
        return f"{label}: {interval} times faster than {origin.path.name} here"
    packed, sizes = bundle.manifest.lineage.get("compressed"), ""
    if isinstance(packed, dict):
        sizes = (
            f" (the weights' file: {megabytes(packed['of_bytes'])} -> "
            f"{megabytes(packed['bytes'])} under {packed['by']})"
        )
    measured = "; no faster here" if origin and ratio and _only_zeros(bundle, origin) else ""
    return f"{label}: smaller only when compressed{sizes}{measured}"


def _small(bundle: Bundle) -> str:
    """Say which of the steps make a file smaller and were not made for speed."""
    methods = [_FOR_SIZE[step] for step in steps_of(bundle) if step in _FOR_SIZE]
    if not methods:
        return ""
    return f"{' and '.join(methods)}: made for size, not for speed"


def _only_zeros(bundle: Bundle, origin: Bundle) -> bool:
    """Tell whether all that was done since then is to set weights to zero."""
    return all(step in ZEROING for step in steps_of(bundle)[len(steps_of(origin)) :])


def _cause(bundle: Bundle, origin: Bundle, p50: Interval | None) -> str:
    """Say why a bundle is slower, where that can be told; an empty string where it cannot."""
    if _only_zeros(bundle, origin):
        return "kernel not used: this runtime computes zeros like other numbers"
    odd_widths = set(_list(bundle, "odd_widths")) - set(_list(origin, "odd_widths"))
    if odd_widths:
        return (
            f"no multiple of 8, which kernels like: width {', '.join(map(str, sorted(odd_widths)))}"
        )
    before, after = _nodes(origin), _nodes(bundle)
    lost = [kernel for kernel in _KERNELS if before.get(kernel) and not after.get(kernel)]
    if lost:
        return f"kernel not used: its graph has no {' and no '.join(lost)} any more"
    if sum(after.values()) > sum(before.values()):
        counts = f"{sum(after.values())} operators instead of {sum(before.values())}"
        return f"overhead-bound: {counts}"
    if p50 and p50.value < _SMALL:
        return "overhead-bound: so small that a call costs more than what it computes"
    return ""


def _list(bundle: Bundle, key: str) -> list[Any]:
    return list(bundle.manifest.lineage.get(key) or ())


def _nodes(bundle: Bundle) -> Mapping[str, int]:
    return bundle.manifest.build.get("nodes") or {}
