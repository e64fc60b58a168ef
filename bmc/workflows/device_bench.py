"""Measure bundles on another machine: over ssh, or with a folder that is carried there by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import bundle as bundles
from bmc import console, workspace, writing
from bmc.errors import ArtifactError, GateError, MissingError, UsageError
from bmc.files import sha256
from bmc.measure import results
from bmc.measure.results import Run
from bmc.remote import parcel
from bmc.remote.destination import Destination
from bmc.remote.request import RESULT
from bmc.remote.session import check_bundles, measure_on
from bmc.workflows.bench import Benched, find_bundles
from bmc.workflows.options import Device, Measurement


@dataclass(frozen=True)
class RunnerFolder:
    """A folder that measures bundles on another machine.

    Args:
        path: the folder.
        bundles: names of the bundles in it.
        packages: packages that the other machine needs.
        size: number of bytes.
    """

    path: Path
    bundles: tuple[str, ...]
    packages: tuple[str, ...]
    size: int


def bench(
    references: Sequence[str],
    measurement: Measurement = Measurement(),
    save: Path | None = None,
    device: Device = Device(),
) -> Benched:
    """Measure bundles on a device, or read what a runner measured there, and save the samples.

    Args:
        references: bundles' folders or their names in the workspace; when empty, all bundles, and
            for a result that is read the workspace's bundles of these names.
        measurement: settings of the measurement; not used for a result that is read.
        save: file for the raw samples; a file in the workspace when None.
        device: the device, or the result to read.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: there is no bundle, or one cannot be measured on a device.
        MissingError: the device cannot be reached, or lacks Python, a package or what every bundle
            needs.
        StorageError: the device's disk is full.
        ArtifactError: the result is not of these bundles.
        GateError: a bundle has other outputs on the device; the others were measured and saved.
    """
    if save:
        writing.hold(save)
    if device.read is not None:
        run = _read(device.read, references)
    elif device.on is not None:
        destination = Destination.read(device.on)
        run = measure_on(destination, _parcel(references, measurement), device.python)
    else:
        raise UsageError("no device is named: --on USER@HOST, or --read RESULT")
    # Both are texts of the device: neither may lead out of the folder.
    name = f"{_slug(run.started)}-{_slug(run.device)}"
    if save:
        results.save(run, save)
    path = save or results.save_new(run, workspace.runs(), name)
    console.note(f"raw samples: {path}")
    _refuse_failures(run, path)
    return Benched(run, path)


def make_runner(
    references: Sequence[str], measurement: Measurement, folder: Path, save: Path | None = None
) -> RunnerFolder:
    """Write a folder that measures bundles on another machine.

    Args:
        references: bundles' folders or their names in the workspace; all bundles when empty.
        measurement: settings of the measurement.
        folder: the folder to write, which does not exist.
        save: refused: a runner has its own file of raw samples.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: the folder exists, there is no bundle, or one cannot be measured on a device.
        StorageError: the disk is full or not writable.
    """
    if save is not None:
        raise UsageError("--save is for bmc bench --read; the runner itself writes result.json")
    if folder.exists():
        raise UsageError(f"{folder} exists; name a folder that does not, after --make-runner")
    writing.refuse_existing(folder, force=False)
    writing.hold(folder)
    content = _parcel(references, measurement)
    with writing.new_folder(folder) as temporary:
        parcel.write(content, temporary)
    asked = content.asked
    return RunnerFolder(folder, tuple(asked.bundles), asked.packages, content.size)


def _parcel(references: Sequence[str], measurement: Measurement) -> parcel.Parcel:
    folders = find_bundles(references, measurement)
    if not references:
        folders = _measurable(folders)
    precision = measurement.runtime_precision
    return parcel.parcel_of(folders, measurement.threads, measurement.settings(), precision)


def _measurable(folders: Sequence[Path]) -> list[Path]:
    """Return the bundles that can be measured on a device; notes say why others are left out.

    Raises:
        UsageError: there is none.
    """
    reasons = {folder: parcel.reason_against(bundles.read(folder)) for folder in folders}
    for folder, reason in reasons.items():
        if reason:
            console.note(f"{folder} is left out: it {reason}")
    chosen = [folder for folder, reason in reasons.items() if not reason]
    if not chosen:
        raise UsageError(
            f"no bundle in {workspace.root()} can be measured on a device; make one with "
            "bmc export --target onnx, openvino or tensorrt"
        )
    return chosen


def _read(path: Path, references: Sequence[str]) -> Run:
    """Read a runner's result, and check that it measured the bundles that are here.

    Raises:
        UsageError: there is no such file.
        ArtifactError: the file is not a runner's result, or is one of other bundles.
        UnknownError: a measured bundle is not here.
    """
    file = path / RESULT if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"{file} does not exist; python run.py writes it in the runner's folder")
    run = results.read(file)
    if not run.device:
        raise ArtifactError(
            f"{file} was measured by bmc bench here, not by a runner; bmc report reads it already"
        )
    names = dict.fromkeys((*(row.name for row in run.rows), *run.skipped_sha256))
    folders = [workspace.find(name, "bundle") for name in references or names]
    here = {folder.name: sha256(folder / bundles.MANIFEST) for folder in folders}
    check_bundles(run, here, str(file))
    return run


def _refuse_failures(run: Run, path: Path) -> None:
    """Raise an error where a bundle failed on the device, or where none could be run.

    Raises:
        GateError: a bundle's outputs are wrong on the device, or it fails there.
        MissingError: no bundle could be run, because something is missing there.
    """
    reasons = [f"{name} on {run.device}: {run.skipped[name]}" for name in run.failed]
    if reasons:
        count = len({row.name for row in run.rows})
        others = f"; bmc bench --read {path} shows the {count} that were measured" if count else ""
        raise GateError("; ".join(reasons) + others, "parity", Benched(run, path))
    if not run.rows:
        lacking = "; ".join(f"{name}: {reason}" for name, reason in run.skipped.items())
        raise MissingError(f"{run.device} can run none of the bundles: {lacking}")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60] or "device"
