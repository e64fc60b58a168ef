"""Run encoded rows through a session in batches, and check what comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bmc.bundle import Bundle
from bmc.errors import ArtifactError, SettingError
from bmc.inputs import Arrays, Many, OutputRows, TensorInfo, ordered_batches
from bmc.targets import Session


def compute(
    bundle: Bundle,
    session: Session,
    encoded: Many,
    batch_size: int,
    advance: Callable[[int], None] | None,
) -> NDArray[np.float32]:
    """Compute the model's first output for each row, in batches of rows of similar length.

    Args:
        bundle: the bundle.
        session: session of its model.
        encoded: what the `encode` method of the bundle's encoder returned.
        batch_size: rows in a batch; fewer where an engine was built for smaller batches.
        advance: called after each batch, with the number of its rows; None for no calls.

    Returns:
        float32 (rows, ...), in the order of the rows; where words have tags (words, tags).

    Raises:
        SettingError: the batch size is below 1.
        ArtifactError: the model's outputs do not have the shape in the manifest.
    """
    size, info = batch_size_of(bundle, batch_size), bundle.manifest.outputs[0]
    shape = tuple(size for size in info.shape[1:] if isinstance(size, int))
    encoder = bundle.encoder
    places = OutputRows(encoder, encoded)
    outputs = np.empty((len(places), *shape), np.float32)
    is_done = np.zeros(len(places), bool)
    for indices, arrays in ordered_batches(encoder, encoded, size):
        batch_outputs = session.run(arrays)[info.name]
        expected = _shape_of(bundle, info, arrays) if encoder.kind == "words" else shape
        if batch_outputs.shape != (len(indices), *expected):
            raise ArtifactError(
                f"bundle {bundle.path}: the output for a row should have shape {expected}, and has "
                f"shape {batch_outputs.shape[1:]}; export it again"
            )
        indices_of_outputs = places.at(indices)
        outputs[indices_of_outputs] = places.selected(batch_outputs, indices)
        is_done[indices_of_outputs] = True
        if advance:
            advance(len(indices))
    if not is_done.all():  # np.empty leaves arbitrary values in the other rows
        raise ArtifactError(
            f"bundle {bundle.path}: {np.count_nonzero(is_done)} of {len(is_done)} rows were "
            "computed; export it again"
        )
    return outputs


def batch_size_of(bundle: Bundle, batch_size: int) -> int:
    """Return the requested batch size, or the largest that the engine was built for.

    Args:
        bundle: the bundle.
        batch_size: requested rows in a batch.

    Raises:
        SettingError: the batch size is below 1.
        ArtifactError: the manifest says no valid largest batch.
    """
    if batch_size < 1:
        raise SettingError(f"batch_size is {batch_size}; it must be 1 or more")
    max_batch = bundle.manifest.build.get("max_batch", batch_size)
    if type(max_batch) is not int or max_batch < 1:
        raise ArtifactError(
            f"bundle {bundle.path}: max_batch is {max_batch!r:.40}, not a number from 1; "
            "export it again"
        )
    return min(batch_size, max_batch)


def _shape_of(bundle: Bundle, info: TensorInfo, arrays: Arrays) -> tuple[int, ...]:
    """Return the shape that an output has for one row of a batch."""
    sizes = {
        name: size
        for tensor in bundle.encoder.tensors()
        for name, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True)
    }
    return tuple(
        size if isinstance(size, int) else sizes[size]
        for size in info.shape[1:]
        if isinstance(size, int) or size in sizes
    )
