"""Compare bundles: accuracy, size and latency of the files that are deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from bmc import console, plugins
from bmc.api._calls import Progress, call
from bmc.api.handles import BundleHandle, as_bundles
from bmc.api.wording import worded
from bmc.rendering.reports import compared
from bmc.report import table
from bmc.report.answer import answer
from bmc.report.gates import read_gates
from bmc.report.judging import judge, raise_failures
from bmc.report.line import Line, Report
from bmc.writing import new_folder


@dataclass(frozen=True, repr=False)
class Comparison:
    """Bundles side by side.

    Args:
        report: a line for each bundle, and what their speed-ups refer to.

    Example:
        >>> comparison = bmc.compare(model.to("onnx", "openvino"))
        >>> comparison.gate("accuracy>=0.80 size<=5MB p50<=1ms").write("report")
    """

    report: Report

    @property
    def rows(self) -> tuple[Line, ...]:
        """A bundle's figures each: accuracy, size, latency, with 95 % intervals."""
        return self.report.lines

    @property
    def answer(self) -> str:
        """The comparison in one sentence: what is faster or smaller, and at what score."""
        return answer(self.report)

    def gate(self, *gates: str) -> Comparison:
        """Check that every bundle keeps limits, such as "accuracy>=0.80 size<=5MB max-drop<=1".

        Args:
            gates: limits; a text holds one limit or several.

        Returns:
            the comparison with the result of each check, which `write` shows.

        Raises:
            GateError: a bundle misses a limit, or what is limited was not measured; `failures` of
                the error has a message for each.
            SettingError: a text is not a limit.
        """
        with worded():
            judged = Comparison(replace(self.report, gates=judge(self.report, read_gates(gates))))
            raise_failures(judged.report.gates, judged)
        return judged

    def write(self, output: str | Path, *, force: bool = False) -> Path:
        """Write the files of `bmc report`: index.html, and report.md, .json, .csv and .svg.

        Args:
            output: folder to write.
            force: replace the folder if bmc wrote it.

        Returns:
            the path of index.html.

        Raises:
            UsageError: the folder exists and `force` is off.
            MissingError: a package that draws the pictures is not installed.
        """
        try:
            # Imported here, because the pictures need packages that a comparison does not need.
            from bmc.report import output as forms  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise plugins.missing(error, "writing a comparison") from error
        folder = Path(output)
        with worded(), new_folder(folder, force=force) as temporary:
            forms.write(self.report, temporary)
        return folder / "index.html"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain values."""
        return compared(self.report).data

    def show(self) -> None:
        """Print the comparison as a table."""
        console.say(*compared(self.report).shown)

    def __repr__(self) -> str:
        console = Console(width=120, color_system=None, force_terminal=False, force_jupyter=False)
        with console.capture() as captured:
            console.print(table.terminal(self.report), markup=False, emoji=False)
        return captured.get().rstrip()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(column)}</th>" for column in table.COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in table.cells(line)) + "</tr>"
            for line in self.report.lines
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes(self.report))
        return f"<table><tr>{head}</tr>{rows}</table><ul>{notes}</ul>"


def compare(
    bundles: BundleHandle | str | Path | Sequence[BundleHandle | str | Path],
    *,
    bench: bool = True,
    threads: Sequence[int] = (1, 2),
    length: int = 32,
    launches: int = 5,
    rounds: int = 6,
    on: str | None = None,
    python: str = "python3",
    verbose: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compare bundles: scores of the test rows, size, and latency measured in turn in one run.

    Args:
        bundles: handles, folders or workspace names; speed-ups of a data set's bundles refer to
            the teacher's, or to the model that the others were made from.
        bench: measure latencies.
        threads: thread counts; the better one of each bundle is shown.
        length: tokens of the texts, or steps of the series, that latencies are measured with.
        launches: fresh processes of each bundle; where times are unsteady, up to three times as
            many.
        rounds: turns of each bundle in a launch.
        on: machine to measure on over ssh, as user@host or user@host:port, with keys only; the
            bundles are copied there and removed again. This machine by default.
        python: the Python to use on that machine, such as "venv/bin/python".
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead.

    Returns:
        the comparison; `.show()` prints it, `.rows` holds its figures.

    Raises:
        UnknownError: there is no such bundle.
        UsageError: `python` is set without `on`.
        MissingError: the machine cannot be reached, or lacks Python or a package.
        GateError: a bundle has other outputs on that machine.

    Example:
        >>> bmc.compare(model.to("onnx", "openvino")).show()
        >>> bmc.compare(["tiny-onnx", "bert-onnx"], on="pi@raspberrypi").show()
    """
    from bmc.workflows.compare import compare as workflow  # noqa: PLC0415  only then
    from bmc.workflows.options import Device  # noqa: PLC0415

    folders = as_bundles(bundles)
    with call(verbose, progress, alone="bmc.compare"):
        device = Device(on=on, python=python)
        return Comparison(workflow(folders, bench, threads, length, launches, rounds, device))
