"""`bmc.compress_within`: the search of `bmc compress` for Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc.api._calls import Progress, call, path_of
from bmc.api.handles import BundleHandle, ModelHandle, reference_of
from bmc.api.wording import worded
from bmc.search.budgets import Budgets
from bmc.search.options import SearchOptions
from bmc.workflows.options import Files
from bmc.workflows.settings import settings_from


@worded()
def compress_within(
    model: ModelHandle | str | Path,
    target: str,
    *,
    max_drop: float | None = None,
    max_size: str | None = None,
    max_latency: str | None = None,
    minimize: str = "latency",
    minutes: float = 60.0,
    trials: int | None = None,
    search: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
) -> tuple[BundleHandle, ...]:
    """Search for a compressed model within budgets; `bmc compress` on the command line.

    Args:
        model: a handle, a model directory, or a workspace name.
        target: the runtime on which latency is measured, such as "openvino".
        max_drop: largest loss of validation score, in percentage points.
        max_size: largest size of the model's file, such as "5MB", or a fraction of the uncompressed
            model's: "1/6".
        max_latency: largest median latency of a row, such as "1ms", or a fraction: "1/6".
        minimize: what is minimized within the budgets: "latency", "size" or "drop".
        minutes: time for everything, also over several calls.
        trials: number of trials; as many as the time allows when None.
        search: further fields of `bmc.search.options.SearchOptions`, such as seed or sampler.
        data: present location of the model's data, if the data was moved.
        output: name of the model directories, to which -1, -2 and so on are appended;
            MODEL-compressed in the workspace when None.
        force: discard earlier trials and results of this search; without it, the search resumes.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.

    Returns:
        handles of the bundles on the Pareto front, the best for `minimize` first.

    Raises:
        UnknownError: there is no such model or target.
        UsageError: the budgets contradict each other, or are met by the model as it is.
        GateError: no model within the budgets was found; the nearest is kept as NAME.failed.

    Example:
        >>> bundles = bmc.compress_within(model, "openvino", max_drop=1, max_size="1/6")
    """
    budgets = Budgets(max_drop, max_size, max_latency, minimize)
    chosen = {"minutes": float(minutes), "trials": trials, **dict(search or {})}
    options = SearchOptions(**settings_from(SearchOptions, chosen, "compress"))
    files = Files(path_of(output), force, None if data is None else str(data))
    with call(verbose, progress, model, alone="bmc.compress_within"):
        from bmc.search import compressing  # noqa: PLC0415  needs torch and optuna

        found = compressing.compress(reference_of(model), target, budgets, options, files)
    return tuple(BundleHandle(winner.bundle) for winner in found.winners)
