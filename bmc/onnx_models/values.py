"""Which entries of an output are values, and which are marks of what is masked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARKS = np.array(
    [*(10.0**exponent for exponent in range(4, 39)), *(65504.0, 3.3895314e38, 3.4028235e38)],
    np.float32,
)
"""What code writes for what is masked: powers of ten, and the largest values of 16 and 32 bits."""
_FAR = 1e3  # times all values: a number of these is a mark there, and a value elsewhere


def is_value(array: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which entries are values: finite, and no mark such as -1e9 for what is masked.

    Args:
        array: floats.
        expected: the floats with which they are compared, of the same shape.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.5, -1e9, 0.25])
        >>> is_value(scores, scores).tolist()
        [True, False, True]
    """
    finite: NDArray[np.bool_] = np.isfinite(expected)
    sizes = np.where(finite, np.abs(expected), 0).astype(np.float32)
    is_mark = finite & np.isin(sizes, _MARKS) & (array == expected)
    largest = sizes[~is_mark].max(initial=0)
    is_far = largest > 0 and is_mark.any() and sizes[is_mark].min() > _FAR * largest
    return finite & ~is_mark if is_far else finite
