"""How many times faster is the tiny student than its teacher?

    python benchmarks/speed.py --teacher NAME --tiny NAME      (8 minutes)
    python benchmarks/speed.py --table                         (README.md's table, from the result)

NAME is a model's name in the workspace (BMC_HOME): the bundles NAME-pytorch, NAME-onnx and
NAME-openvino of the teacher and NAME-onnx and NAME-openvino of the student are measured in turn in
one run, at 32 tokens, batch 1, OpenVINO at precision hint f32, with one and with two threads. A
ratio compares the latency of each bundle at its better thread count. `bmc export NAME --target
pytorch,onnx,openvino` writes the bundles.

Writes benchmarks/results/speed.json; raw samples go to benchmarks/runs/. Exit code 1: a requirement
is not met.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from _common import HERE, RUNS, Bar, finish, put_table, result

from bmc import workspace
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.measure.shown import with_interval

LENGTH = 32
BARS = (
    ("onnx", "pytorch", 30),
    ("onnx", "onnx", 12),
    ("openvino", "pytorch", 25),
    ("openvino", "openvino", 10),
)


def main() -> int:
    """Measure the ratios and check the requirements, or write the table."""
    options = _options()
    if options.table:
        put_table("speed", _table(), HERE / "README.md")
        return 0
    names = [f"{options.teacher}-{target}" for target in ("pytorch", "onnx", "openvino")]
    names += [f"{options.tiny}-{target}" for target in ("onnx", "openvino")]
    folders = [workspace.find(name, "bundle") for name in names]
    settings = BenchSettings(length=LENGTH, launches=options.launches, rounds=options.rounds)
    run = results.measure_bundles(folders, options.threads, settings)
    results.save(run, RUNS / "speed.json")
    if run.skipped:
        sys.exit(f"not measured: {run.skipped}")
    for row in run.rows:
        print(
            f"{row.name:32}{row.threads} threads{' *' if row.best else '  '} "
            f"{row.execution['precision']:5} p50 {with_interval(row.p50)} ms"
        )
    print("* the better thread count")
    bars = []
    ratios = []
    for target, teacher, least in BARS:
        ratio = results.ratio(run, f"{options.teacher}-{teacher}", f"{options.tiny}-{target}")
        requirement = f"tiny in {target} is >= {least} times faster than the teacher in {teacher}"
        bars.append(Bar(requirement, with_interval(ratio), ratio.value >= least))
        ratios.append({"tiny": target, "teacher": teacher, "times_faster": asdict(ratio)})
    content = {
        "settings": asdict(settings),
        "rows": [row.to_json() for row in run.rows],
        "ratios": ratios,
    }
    return finish("speed", bars, content)


def _table() -> list[str]:
    """Return the result as a table: latencies by number of threads, then the requirements."""
    content = result("speed")
    threads = sorted({row["threads"] for row in content["rows"]})
    cells: dict[str, list[str]] = {}
    for row in sorted(content["rows"], key=lambda row: row["threads"]):
        cells.setdefault(row["name"], []).append(with_interval(Interval(**row["p50"])))
    lines = [f"| p50, ms [95 %] | {' | '.join(f'threads: {count}' for count in threads)} |"]
    lines.append("|---" * (1 + len(threads)) + "|")
    lines += [f"| `{name}` | {' | '.join(p50)} |" for name, p50 in cells.items()]
    lines += ["", "| each at its better number of threads | found |", "|---|---|"]
    return lines + [f"| {bar['must']} | {bar['found']} |" for bar in content["bars"]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--teacher", help="the teacher's name in the workspace")
    parser.add_argument("--tiny", help="the student's name in the workspace")
    parser.add_argument("--table", action="store_true", help="write the table of README.md")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--launches", type=int, default=BenchSettings.launches)
    parser.add_argument("--rounds", type=int, default=BenchSettings.rounds)
    options = parser.parse_args()
    if not (options.table or (options.teacher and options.tiny)):
        parser.error("name --teacher and --tiny")
    return options


if __name__ == "__main__":
    sys.exit(main())
