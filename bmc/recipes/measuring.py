"""Measure the bundles of a plan, alone and at the end; report and judge them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmc import __version__, console, disk, workspace, writing
from bmc.errors import GateError, MissingError
from bmc.measure import machine
from bmc.recipes.names import slug
from bmc.recipes.plan import Plan
from bmc.recipes.progress import FOLDER
from bmc.recipes.store import StepStore
from bmc.report.gates import read_gates
from bmc.untrusted import read_json
from bmc.workflows.options import Measurement, Output, Reporting
from bmc.workflows.settings import settings_from

_OF_REPORT = {"length", "launches", "threads", "rounds"}  # a report measures by them as well


@dataclass(frozen=True)
class Measured:
    """The bench and the report of a plan.

    Args:
        bench: file with the raw samples; None where the report measured, or nothing did.
        report: folder of the report; None where there is none.
        failures: gates that bundles failed, in words.
        is_new: whether anything was measured or written now.
    """

    bench: Path | None = None
    report: Path | None = None
    failures: tuple[str, ...] = ()
    is_new: bool = False


def measure(plan: Plan, store: StepStore, folders: Mapping[str, Path]) -> Measured:
    """Time the bundles of a plan's bench in turn, write its report, and judge the bundles.

    Nothing is done where the same bundles were measured in the same way before, on a processor and
    with runtimes that were the same.

    Args:
        plan: the plan.
        store: the store, which knows the hashes of files.
        folders: folder of each step's result in the workspace, by the step's name; failed bundles
            stand in the report, too.
    """
    exports = [step.name for step in plan.steps if _is_bundle(folders.get(step.name))]
    timed = [name for name in plan.bench if name in exports]
    wants_report = plan.report is not None or bool(plan.gates)
    if not (timed or (wants_report and exports)):
        return Measured()
    shown = [*timed, *(name for name in exports if name not in timed)]
    paths = [folders[name] for name in shown]
    key = measurement_key(plan, store, paths, bool(timed))
    record = workspace.root() / FOLDER / f"{slug(plan.name)}.measured"
    known = _known(record, key)
    if known is not None:
        return known
    measurement = Measurement(**settings_from(Measurement, plan.measurement, "bench"))
    bench = None
    is_of_report = wants_report and set(plan.measurement) <= _OF_REPORT
    if timed and not is_of_report:
        from bmc.workflows.bench import bench as run_bench  # noqa: PLC0415  imports numpy

        try:
            bench = run_bench([str(folders[name]) for name in timed], measurement).samples
        except MissingError as error:  # the report and its gates say so of each bundle
            console.note(str(error))
    report: Path | None = None
    failures: tuple[str, ...] = ()
    if wants_report:
        report, failures = _report(plan, paths, measurement, bool(timed))
    measured = Measured(bench, report, failures, is_new=True)
    content = {
        "key": key,
        "bench": str(bench.absolute()) if bench else "",
        "report": str(report.absolute()) if report else "",
        "failures": list(failures),
    }
    disk.make_folders(record.parent)
    writing.write_atomically(record, json.dumps(content).encode())
    return measured


def _report(
    plan: Plan, paths: list[Path], measurement: Measurement, is_timed: bool
) -> tuple[Path, tuple[str, ...]]:
    """Write the report of a plan; return its folder, and the gates that bundles failed."""
    from bmc.workflows.report import report  # noqa: PLC0415  imports numpy

    of_bench = {"length": measurement.length} if measurement.length is not None else {}
    typed = {
        "bench": is_timed,
        "launches": measurement.launches,
        **of_bench,
        **settings_from(Reporting, plan.report or {}, "report"),
    }
    gates = (*plan.gates, *typed.pop("gate", ()))
    output = workspace.root() / f"{slug(plan.name)}-report"
    names, reporting = [str(path) for path in paths], Reporting(**typed, gate=gates)
    try:
        report(names, reporting, Output(output, True), measurement)
    except GateError as error:
        return output, tuple(str(failure) for failure in error.failures)
    return output, ()


def measurement_key(plan: Plan, store: StepStore, paths: list[Path], is_timed: bool) -> str:
    """Return a hash of the bundles, how they are measured, and the machine that times them."""
    bundles = _manifests(paths, store)
    relatives: list[list[str]] = []
    of_report = settings_from(Reporting, plan.report or {}, "report").get("gate", ())
    gates = read_gates((*plan.gates, *of_report))
    if any(gate.is_relative for gate in gates):  # judged beside other bundles
        relatives = sorted(_manifests(workspace.entries("bundle"), store))
    settings = [plan.bench, plan.gates, dict(plan.measurement), plan.report, relatives]
    here: dict[str, Any] = machine.runtime_versions() if is_timed else {}
    if is_timed:
        described = machine.describe()
        here |= {name: described[name] for name in machine.HARDWARE}
    text = json.dumps([__version__, bundles, settings, here], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _manifests(bundles: list[Path], store: StepStore) -> list[list[str]]:
    """Return the name and the hash of each bundle."""
    return [[path.name, store.hashes.of(path / workspace.BUNDLE_MANIFEST)] for path in bundles]


def _known(record: Path, key: str) -> Measured | None:
    """Return what was measured before with the same key, if it is still there."""
    if not record.is_file():
        return None
    with suppress(Exception):  # a damaged record costs time, nothing else
        content: Mapping[str, Any] = read_json(record, "record of a recipe")
        paths = [Path(content[name]) if content[name] else None for name in ("bench", "report")]
        is_there = all(path is None or path.exists() for path in paths)
        if content["key"] == key and is_there:
            return Measured(paths[0], paths[1], tuple(content["failures"]))
    return None


def _is_bundle(folder: Path | None) -> bool:
    return folder is not None and workspace.kind_of(folder) == "bundle"
