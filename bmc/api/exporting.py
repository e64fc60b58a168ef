"""What `ModelHandle.to` calls: an export to several targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmc.api._calls import path_of
from bmc.api.handles import BundleHandle, ModelHandle, reference_of
from bmc.export import ExportOptions
from bmc.workflows.export import export as workflows_export
from bmc.workflows.options import SampledFiles


def export_handles(
    model: ModelHandle,
    targets: Sequence[str],
    *,
    opset: int | None,
    max_batch: int,
    allow_slower: bool,
    reject_below: float | None,
    reject_rate: float | None,
    accept_accuracy: float | None,
    mobile: bool,
    data: str | Path | None,
    output: str | Path | None,
    force: bool,
) -> tuple[BundleHandle, ...]:
    """Export a model to targets; see `ModelHandle.to`."""
    options = ExportOptions(
        opset,
        max_batch,
        allow_slower,
        mobile=mobile,
        reject_below=reject_below,
        reject_rate=reject_rate,
        accept_accuracy=accept_accuracy,
    )
    files = SampledFiles(path_of(output), force, None if data is None else str(data))
    result = workflows_export(reference_of(model), targets, options, files)
    return tuple(BundleHandle(bundle.path) for bundle in result.bundles)
