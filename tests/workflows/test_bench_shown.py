"""What `bmc bench` says besides its table: throughput, slow calls, energy, the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bmc.measure.results import GoldenCheck, Run
from bmc.measure.scores import Interval
from bmc.measure.statistics import throughput
from bmc.rendering.bench import benched
from bmc.workflows.bench import Benched
from tests.report._runs import timed


def lines_of(run: Run) -> str:
    """Return the lines that stand below the tables."""
    shown = benched(Benched(run, Path("samples.json"))).shown
    return "\n".join(line for line in shown if isinstance(line, str))


def test_a_p99_of_too_few_calls_is_not_shown_and_what_it_needs_is(tmp_path: Path) -> None:
    run = timed(tmp_path, {"small": 100})
    assert "p99 of small needs 1,000 calls, and 120 were measured: --rounds 50" in lines_of(run)
    longer = replace(run, settings=replace(run.settings, launches=2))  # of which four were made
    assert "--rounds 100 measures enough" in lines_of(longer)
    slow = replace(run.rows[0], p99=Interval(0.2, 0.19, 0.21), samples=1000)
    text = lines_of(replace(run, rows=(slow,)))
    assert "p99 of small: 0.200 [0.190, 0.210] ms (1,000 calls)" in text
    assert "energy" not in text


def test_energy_throughput_and_the_device_are_shown_where_they_are_known(tmp_path: Path) -> None:
    run = timed(tmp_path, {"small": 100})
    (row,), (sample,) = run.rows, run.samples
    row = replace(
        row,
        millijoules=Interval(1.5, 1.4, 1.6),
        throughput={str(rows): throughput(sample.nanoseconds, rows) for rows in (1, 8)},
    )
    checks = {"small": GoldenCheck(1e-5, 2e-3, 4)}
    settings = replace(run.settings, batches=(8,))
    run = replace(run, rows=(row,), settings=settings, device="pi@board", checks=checks)
    rendered = benched(Benched(run, Path("samples.json")))
    text = lines_of(run)
    assert "energy of small: 1.50 [1.40, 1.60] mJ a row" in text
    assert "golden outputs of small: changed by 1e-05 at most, allowed is 0.002" in text
    assert "pi@board: a processor, 2 cores" in text
    headers = [str(column.header) for column in rendered.shown[1].columns]  # type: ignore[attr-defined]
    assert headers == ["bundle", "threads", "batch 1", "batch 8"]
    assert rendered.data["device"] == "pi@board"
    assert rendered.data["checks"] == {"small": {"max_error": 1e-5, "allowed": 2e-3, "rows": 4}}
