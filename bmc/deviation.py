"""How far the outputs of a bundle on this device lie from those at its export."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmc import processor
from bmc.bundle import Bundle
from bmc.contracts.tasks import TENSORS
from bmc.errors import ArtifactError
from bmc.inputs import Arrays
from bmc.precision import PRECISIONS

_SATURATING = ("int8", "int8-dynamic")


def found(bundle: Bundle, run: Callable[[Arrays], Arrays]) -> str:
    """Run the golden rows, and say how far the outputs differ; "" if no more than is allowed.

    Args:
        bundle: the bundle.
        run: function that computes the model's outputs, by name, from its inputs, by name.

    Raises:
        ArtifactError: the bundle is damaged, or an output has another shape than at the export.
    """
    inputs, expected = bundle.golden()
    change, allowed = (
        largest_change(bundle, run(inputs), expected),
        allowed_change(bundle, expected),
    )
    if change <= allowed:
        return ""
    return (
        f"{bundle.path} has other outputs on this device: they change by up to {change:.2g}; "
        f"allowed is {allowed:.2g}{cause_of(bundle)}"
    )


def cause_of(bundle: Bundle) -> str:
    """Return the likely cause of other outputs here, as the end of a message; "" if unknown."""
    manifest = bundle.manifest
    saturates = manifest.precision in _SATURATING and manifest.build.get("weight_bits", 8) == 8
    if saturates and processor.saturates_int8():
        return f" ({processor.WITHOUT_VNNI})"
    return ""


def largest_change(bundle: Bundle, outputs: Arrays, expected: Arrays) -> float:
    """Return the largest absolute change of an output value; NaN if a value became NaN.

    Where outputs have scales of their own, each change is converted to the scale of the bundle.

    Args:
        bundle: the bundle.
        outputs: outputs on this device, by name.
        expected: the same outputs at the export, by name.

    Raises:
        ArtifactError: an output has another shape.
    """
    changes, scale = [], scale_of(bundle, expected)
    scales = bundle.manifest.parity.get("scales", {})
    for name, array in expected.items():
        if outputs[name].shape != array.shape:
            raise ArtifactError(
                f"bundle {bundle.path}: golden {name} has shape {array.shape}, the output of its "
                f"model has shape {outputs[name].shape}; export it again"
            )
        change = change_of(*_unmasked(bundle, outputs[name], array))
        changes.append(change * scale / scales.get(name, scale))
    return float(np.max(changes))  # np.max returns NaN if there is one; Python's max may not


def _unmasked(
    bundle: Bundle, array: NDArray[Any], expected: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Leave out masked values, which are NaN or infinite in both arrays.

    Only outputs of other tools' files hold such values; a classifier's never do.
    """
    if bundle.manifest.task != TENSORS or expected.dtype.kind != "f":
        return array, expected
    masked = ~np.isfinite(expected) & ((array == expected) | (np.isnan(array) & np.isnan(expected)))
    return array[~masked], expected[~masked]


def change_of(array: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest absolute difference of two arrays; NaN if there is one."""
    with np.errstate(all="ignore"):  # infinity minus infinity is NaN, and no NaN is <= a limit
        difference = np.abs(array.astype(np.float64) - expected.astype(np.float64))
        return float(difference.max(initial=0))


def allowed_change(bundle: Bundle, expected: Mapping[str, NDArray[Any]]) -> float:
    """Return the largest absolute change that an output value may have: a share of the scale."""
    share = PRECISIONS[bundle.manifest.precision].device_tolerance
    return share * scale_of(bundle, expected)


def scale_of(bundle: Bundle, expected: Mapping[str, NDArray[Any]]) -> float:
    """Return the outputs' scale: the one recorded at the export.

    In bundles without one, it is the largest finite golden output, at least 1.
    """
    scale = bundle.manifest.parity.get("scale")
    if isinstance(scale, float) and 0 < scale < math.inf:
        return scale
    values = (np.abs(array[np.isfinite(array)]).max(initial=0) for array in expected.values())
    return max(1.0, *map(float, values))
