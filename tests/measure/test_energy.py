"""Energy counters, read from files as Linux has them."""

from __future__ import annotations

from pathlib import Path

from bmc.measure.energy import Meter
from bmc.measure.statistics import energy


def add_zone(folder: Path, path: str, name: str, microjoules: int, largest: int = 999) -> Path:
    """Write the files of a counter as the power capping framework shows them."""
    zone = folder / path
    zone.mkdir()
    (zone / "name").write_text(f"{name}\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text(f"{largest}\n")
    return zone / "energy_uj"


def test_the_energy_of_all_processors_is_added_also_when_a_counter_starts_again(
    tmp_path: Path,
) -> None:
    first = add_zone(tmp_path, "intel-rapl:0", "package-0", 100)
    second = add_zone(tmp_path, "intel-rapl:1", "package-1", 990)
    add_zone(tmp_path, "intel-rapl:0:0", "core", 50)  # a part of package-0
    meter = Meter(tmp_path)
    before = meter.read()
    first.write_text("130\n")
    second.write_text("15\n")
    assert meter.between(before, meter.read()) == 30 + 25


def test_a_processor_with_two_counters_is_counted_once(tmp_path: Path) -> None:
    counters = [
        add_zone(tmp_path, f"{kind}:0", "package-0", 100)
        for kind in ("intel-rapl", "intel-rapl-mmio")
    ]
    meter = Meter(tmp_path)
    before = meter.read()
    for counter in counters:
        counter.write_text("130\n")
    assert meter.between(before, meter.read()) == 30


def test_a_machine_without_counters_tells_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        meter = Meter(folder)
        assert meter.between(meter.read(), meter.read()) is None


def test_energy_is_per_row_and_unknown_where_a_turn_has_none() -> None:
    launches = [[[10, 10], [10, 10]], [[10, 10], [10, 10]]]
    per_row = energy([[8000, 8000], [8000, 8000]], launches, 4)
    assert per_row is not None
    assert (per_row.value, per_row.low, per_row.high) == (1.0, 1.0, 1.0)
    assert energy([[8000], [8000, 8000]], launches, 4) is None
    assert energy([[], []], launches, 4) is None
