"""Is a model that bmc exported faster than the same weights exported by others?

    python benchmarks/exports.py --teacher MODEL --tiny MODEL     (directories; 25 minutes)
    python benchmarks/exports.py --table              (README.md's table, from the result)

The peers are the plain `torch.onnx.export` of the transformers model and `optimum-cli export onnx`
(the older TorchScript exporter is measured too, but has no requirement). Before the measurement,
the outputs of every file are checked on the same rows. A case is a runtime, a number of threads and
a length; in each case bmc's file and the peers' files are measured alternately by `bmc bench`.

Writes benchmarks/results/exports.json; raw samples and the exported files go to benchmarks/runs/.
Exit code 1: a requirement is not met.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import openvino
from _common import HERE, RUNS, Bar, finish, put_table, result
from peers import optimum, plain, torchscript
from peers._bundle import wrapped

from bmc import bundle as bundles
from bmc import cli
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.measure.shown import with_interval
from bmc.measure.statistics import speed_up

PEERS: dict[str, ModuleType] = {"plain": plain, "optimum": optimum, "torchscript": torchscript}
REQUIRED_PEERS = ("plain", "optimum")
AT_LEAST = {"teacher": 1.1, "tiny": 1.4}
TARGETS, THREADS, LENGTHS = ("onnx", "openvino"), (1, 2), (32, 128)
WORK = RUNS / "exports"
MAX_ERROR = 1e-3


@dataclass(frozen=True)
class Case:
    """The latencies of bmc's file and of a peer's file in one case, and their ratio."""

    model: str
    peer: str
    target: str
    threads: int
    length: int
    ratio: Interval
    bmc_ms: float
    peer_ms: float


def main() -> int:
    """Export, measure and check the requirements, or write the table."""
    options = _options()
    if options.table:
        put_table("exports", _table(), HERE / "README.md")
        return 0
    models = {"teacher": options.teacher, "tiny": options.tiny}
    cases: list[Case] = []
    for name, folder in models.items():
        if folder:
            bundle_of = {target: _export(name, folder, target) for target in TARGETS}
            for target, threads, length in itertools.product(TARGETS, THREADS, LENGTHS):
                settings = BenchSettings(
                    length=length, launches=options.launches, rounds=options.rounds
                )
                run = results.measure_bundles(list(bundle_of[target].values()), [threads], settings)
                results.save(run, WORK / f"{name}-{target}-{threads}-{length}.json")
                cases += _cases(run, name, target, threads)
                _show(cases[-len(PEERS) :])
    settings_used = {"launches": options.launches, "rounds": options.rounds}
    content = {
        "settings": settings_used,
        "openvino": openvino.__version__,
        "peers": _peer_pins(),
        "cases": [asdict(case) for case in cases],
    }
    return finish("exports", list(_bars(cases)), content)


def _export(name: str, model: Path, target: str) -> dict[str, Path]:
    """Export a model for a runtime; return the bundles by exporter, bmc's first."""
    bmc_bundle = WORK / f"{name}-bmc-{target}"
    command = ["export", str(model), "--target", target, "--output", str(bmc_bundle), "--force"]
    if cli.run(command):
        sys.exit(f"bmc could not export {model} to {target}")
    folder_of = {"bmc": bmc_bundle}
    for peer, exporter in PEERS.items():
        path = WORK / f"{name}-{peer}.onnx"
        if target == TARGETS[0]:
            exporter.export(model, path)
        folder_of[peer] = wrapped(
            path, bundles.read(bmc_bundle), WORK / f"{name}-{peer}-{target}", MAX_ERROR
        )
    return folder_of


def _cases(run: results.Run, model: str, target: str, threads: int) -> Iterator[Case]:
    bmc_sample, *others = run.samples
    medians = [row.p50.value if row.p50 else float("nan") for row in run.rows]
    for peer, samples, median in zip(PEERS, others, medians[1:], strict=True):
        ratio = speed_up(samples.nanoseconds, bmc_sample.nanoseconds)
        yield Case(model, peer, target, threads, run.settings.length, ratio, medians[0], median)


def _bars(cases: list[Case]) -> Iterator[Bar]:
    for model, peer in itertools.product(AT_LEAST, REQUIRED_PEERS):
        pair_cases = [case for case in cases if (case.model, case.peer) == (model, peer)]
        if pair_cases:
            median = statistics.median(case.ratio.value for case in pair_cases)
            least = AT_LEAST[model]
            requirement = f"{model} against {peer}: median of {len(pair_cases)} cases >= {least}"
            yield Bar(requirement, f"{median:.2f}", median >= least)
    slower = [case for case in cases if case.peer in REQUIRED_PEERS and case.ratio.high < 1]
    slow_cases = [
        f"{case.model}/{case.peer}/{case.target}/{case.threads}/{case.length}" for case in slower
    ]
    yield Bar("no case's interval lies below 1", ", ".join(slow_cases) or "none", not slower)


def _show(cases: list[Case]) -> None:
    for case in cases:
        print(
            f"{case.model:8}{case.target:9} {case.threads} threads {case.length:4} tokens"
            f"  bmc {case.bmc_ms:7.3f} ms  {case.peer:12}{case.peer_ms:7.3f} ms"
            f"  {with_interval(case.ratio)} times faster",
            flush=True,
        )


def _table() -> list[str]:
    """Return the result as a table: one line per case, then the requirements."""
    content = result("exports")
    ratios: dict[tuple[object, ...], dict[str, str]] = {}
    for case in content["cases"]:
        key = (*(case[name] for name in ("model", "target", "threads", "length")), case["bmc_ms"])
        ratios.setdefault(key, {})[case["peer"]] = with_interval(Interval(**case["ratio"]))
    heads = ("model", "target", "threads", "tokens", "bmc, ms", *(f"over {peer}" for peer in PEERS))
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (*case, bmc_ms), peers in ratios.items():
        cells = (*case, f"{bmc_ms:.3g}", *(peers[peer] for peer in PEERS))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| must | found |", "|---|---|"]
    return lines + [f"| {bar['must']} | {bar['found']} |" for bar in content["bars"]]


def _peer_pins() -> str:
    """Return the pinned packages of the peers' environment."""
    return Path(optimum.__file__ or "").with_suffix(".txt").read_text(encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--teacher", type=Path, help="a model directory")
    parser.add_argument("--tiny", type=Path, help="a model directory")
    parser.add_argument("--table", action="store_true", help="write the table of README.md")
    parser.add_argument("--launches", type=int, default=BenchSettings.launches)
    parser.add_argument("--rounds", type=int, default=BenchSettings.rounds)
    options = parser.parse_args()
    if not (options.table or options.teacher or options.tiny):
        parser.error("name --teacher, --tiny or both")
    return options


if __name__ == "__main__":
    sys.exit(main())
