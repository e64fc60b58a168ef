"""Which entries of an output are values, and which are marks of what is masked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARK = 1e4  # times all other values: a mark is no value


def is_value(array: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which entries are values: finite, and no mark such as -1e9 for what is masked.

    The largest entries are marks if they are thousands of times as large as all others, and the
    same in both arrays.

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
    sizes = np.where(finite, np.abs(expected), 0)
    largest = sizes.max(initial=0)
    rest = sizes[sizes < largest].max(initial=0)
    is_largest = finite & (sizes == largest)
    is_mark = rest > 0 and largest > _MARK * rest
    if is_mark and np.array_equal(array[is_largest], expected[is_largest]):
        finite &= ~is_largest
    return finite
