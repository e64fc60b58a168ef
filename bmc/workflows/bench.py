"""Measure latency with intervals, cold start and memory of bundles, alternately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import bundle as bundles
from bmc import console, workspace, writing
from bmc.errors import MissingError, UsageError
from bmc.inputs import longest_row
from bmc.measure import results
from bmc.measure.results import Run
from bmc.workflows.options import Measurement


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
    measurement: Measurement = Measurement(),
    save: Path | None = None,
) -> Benched:
    """Measure bundles alternately, and save the raw samples.

    Args:
        references: bundles' folders or their names in the workspace; all bundles when empty.
            Speed-ups refer to the first bundle.
        measurement: settings of the measurement; each bundle must accept the length, if one is set.
        save: file for the raw samples; a file in the workspace when None.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: there is no bundle, or a bundle takes fewer tokens than the length, or fewer
            rows a call than a batch has.
        MissingError: no bundle can run here.
    """
    folders = find_bundles(references, measurement)
    if save:
        writing.hold(save)
    settings = measurement.settings()
    run = results.measure_bundles(
        folders, measurement.threads, settings, measurement.runtime_precision
    )
    if not run.rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in run.skipped.items())
        raise MissingError(f"no bundle can be measured here ({reasons})")
    if save:
        results.save(run, save)
    path = save or results.save_new(run, workspace.runs())
    console.note(f"raw samples: {path}")
    return Benched(run, path)


def find_bundles(references: Sequence[str], measurement: Measurement) -> list[Path]:
    """Return the folders of the bundles to measure.

    Args:
        references: bundles' folders or their names in the workspace; all bundles when empty.
        measurement: settings that each bundle must accept.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: there is no bundle, or a bundle does not accept the settings.
    """
    folders = [workspace.find(name, "bundle") for name in references]
    folders = folders or workspace.entries("bundle")
    if not folders:
        raise UsageError(f"no bundle in {workspace.root()} yet; make one with bmc export")
    for folder in folders:
        if folder.name.endswith(".failed"):
            console.note(f"{folder.name} failed a check when it was exported; bmc check says which")
    if measurement.length is not None:
        _refuse_longer(folders, measurement.length)
    _refuse_larger(folders, max((measurement.batch, *measurement.batches)))
    return folders


def _refuse_longer(folders: Sequence[Path], length: int) -> None:
    """Refuse a length that a bundle does not take; say where a bundle's rows have no length.

    Raises:
        UsageError: a bundle takes fewer tokens or steps.
    """
    for folder in folders:
        most = longest_row(bundles.read(folder).encoder)
        if most is None:
            console.note(f"{folder}: its rows have no length, so --length changes nothing")
        elif most < length:
            raise UsageError(f"{folder} takes at most {most} tokens or steps; length is {length}")


def _refuse_larger(folders: Sequence[Path], rows: int) -> None:
    """Refuse a batch that a bundle does not take.

    Raises:
        UsageError: a bundle takes fewer rows a call.
    """
    for folder in folders:
        most = bundles.read(folder).manifest.build.get("max_batch", rows)
        if isinstance(most, int) and most < rows:
            raise UsageError(
                f"{folder} takes at most {most} rows a call, and --batch or --batches has {rows}; "
                "leave the larger ones out, or bmc export with a larger --max-batch"
            )
