"""Measure bundles in turn: latency with intervals, cold start, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import bundle as bundles
from bmc import console, workspace, writing
from bmc.errors import UsageError
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.results import Run


@dataclass(frozen=True)
class Benched:
    """What a bench measured.

    Args:
        run: the rows, the raw samples and the machine.
        samples: the file with the raw samples.
    """

    run: Run
    samples: Path


def bench(
    references: Sequence[str],
    threads: Sequence[int] = (1, 2),
    settings: BenchSettings = BenchSettings(most_launches=15),  # noqa: B008  frozen
    precision: str = "f32",
    save: Path | None = None,
    length: int | None = None,
) -> Benched:
    """Measure bundles in turn, and save the raw samples.

    Args:
        references: bundles' folders or their names in the workspace; all of them when empty. The
            first is the reference of the speed-ups.
        threads: thread counts; each is measured.
        settings: how to measure.
        precision: what OpenVINO and PyTorch may compute in: "f32" (or "fp32"), or "bf16".
        save: where the raw samples go; into the workspace when None.
        length: tokens a row that every bundle must take; None gives a bundle that takes fewer
            than `settings.length` its most.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: there is no bundle at all, or one takes fewer tokens than `length`.
    """
    folders = [workspace.find(name, "bundle") for name in references]
    folders = folders or workspace.entries("bundle")
    if not folders:
        raise UsageError(f"no bundle in {workspace.root()} yet; make one with bmc export")
    if length is not None:
        _refuse_longer(folders, length)
    if save:
        writing.hold(save)
    computed = "f32" if precision == "fp32" else precision
    run = results.measure_bundles(folders, threads, settings, computed)
    path = save or workspace.root() / ".bench" / f"{run.started}.json"
    results.save(run, path)
    console.note(f"raw samples: {path}")
    return Benched(run, path)


def _refuse_longer(folders: Sequence[Path], length: int) -> None:
    """Refuse a length that a bundle does not take.

    Raises:
        UsageError: a bundle takes fewer tokens or steps.
    """
    for folder in folders:
        most = bundles.read(folder).encoder.longest().get("sequence", length)
        if most < length:
            raise UsageError(f"{folder} takes at most {most} tokens or steps; length is {length}")
