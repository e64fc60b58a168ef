"""Does a search find what its budgets ask for, in its time, and the same with every seed?

    python benchmarks/search.py                       (every row and seed without a result; hours)
    python benchmarks/search.py --row bert            (one row: bert, resnet18, cnn or lstm)
    python benchmarks/search.py --row cnn --seed 1    (one seed of it)
    python benchmarks/search.py --row cnn --quick     (a few trials, to see that it works)
    python benchmarks/search.py --row bert --judge    (the bars of a row, from its seeds' results)

A row takes a baseline (trained first if missing) and runs `bmc compress` on it with each seed. A
search that was stopped continues. What a seed found is written to results/search/ROW-SEED.json.
When all seeds of a row are there, its bars go to results/search/ROW.json: every search met its
budgets within its time, the test rows do not contradict it, the fronts of the seeds agree, and no
hand-made row of compression.py that is as fast loses less. Nothing else may run on the machine.

Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, RUNS, Bar, bmc, finish
from _search_rows import ROWS, SEEDS, TARGET, Row

from bmc import cli, workspace
from bmc.search.result import Found, read

_AGREE = 0.1  # of the mean: how far the seeds' best latencies may lie apart
_AS_FAST = 0.97  # of the winner's speed-up: a row that is hardly slower counts as equally fast


def main() -> int:
    """Run the selected rows and seeds, and judge each row whose seeds are all there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--row", help="such as cnn")
    parser.add_argument("--seed", type=int, help="0, 1 or 2; all when left out")
    parser.add_argument("--quick", action="store_true", help="a few trials, without a result")
    parser.add_argument("--judge", action="store_true", help="judge the results that there are")
    options = parser.parse_args()
    selected = [row for row in ROWS if options.row in (None, row.name)]
    if not selected:
        sys.exit(f"no row {options.row}; there are {', '.join(row.name for row in ROWS)}")
    seeds = SEEDS if options.seed is None else (options.seed,)
    os.environ["BMC_HOME"] = str(RUNS / ("search-quick" if options.quick else "baselines"))
    codes = []
    for row in selected:
        for seed in () if options.judge else seeds:
            if options.quick or not _path(row, seed).is_file():
                _run(row, seed, options.quick)
        if not options.quick and all(_path(row, seed).is_file() for seed in SEEDS):
            codes.append(_judge(row))
    return max(codes, default=0)


def _run(row: Row, seed: int, quick: bool) -> None:
    """Search with one seed, and write what was found."""
    base = workspace.root() / row.model
    if not base.is_dir():
        epochs = ("--epochs", 1) if quick else ()
        bmc("train", row.name, "--data", row.data, "--seed", 0, *epochs, "-o", base)
    output = workspace.root() / f"{row.name}-search-{seed}"
    words: list[object] = ["compress", base, "--target", TARGET, "--seed", seed, "-o", output]
    words += ["--max-drop", row.max_drop, "--max-size", row.max_size]
    words += ["--max-latency", row.max_latency, "--minutes", row.minutes]
    words += ["--trials", 4, "--finalists", 2] if quick else []
    code = cli.run([str(word) for word in words])
    found = read(output.with_name(f"{output.name}-search"))
    if code not in (0, 1) or found is None:
        sys.exit(f"bmc {' '.join(map(str, words))} failed")
    if quick:
        print(json.dumps(found.to_json(), indent=1))
        return
    text = json.dumps(found.to_json()).replace(f"{HERE.parent}{os.sep}", "")  # no machine's paths
    content = {"row": asdict(row), "seed": seed, "found": json.loads(text)}
    content |= _compared(found)
    finish(f"search/{row.name}-{seed}", _bars(row, seed, content), content)


def _bars(row: Row, seed: int, content: Mapping[str, Any]) -> list[Bar]:
    found = content["found"]
    met = all(winner["within"] for winner in found["winners"])
    met = met or (row.may_miss and "nearest: " in found["sentence"])
    minutes = found["seconds"] / 60
    lost = {name: 100 * value for name, value in content["lost"].items()}
    return [
        Bar(
            f"{row.name}, seed {seed}: budgets met{', or the nearest said' * row.may_miss}",
            found["sentence"],
            met,
        ),
        Bar(
            f"{row.name}, seed {seed}: within {row.minutes:g} minutes",
            f"{minutes:.1f} minutes",
            minutes <= row.minutes,
        ),
        _on_test_rows(row, seed, content, lost),
    ]


def _on_test_rows(
    row: Row, seed: int, content: Mapping[str, Any], lost: Mapping[str, float]
) -> Bar:
    """Return whether the test rows contradict what the search says of its first model."""
    first = content["found"]["winners"][0]
    said = first["validation"]
    if first["within"]:
        must = f"the interval of the points lost on test rows reaches down to {row.max_drop:g}"
        met = lost["low"] <= row.max_drop
    else:
        must = f"the test rows do not contradict the {said['drop']:.2f} points that were said"
        met = lost["low"] <= said["drop_high"] and said["drop_low"] <= lost["high"]
    shown = f"{lost['value']:.2f} [{lost['low']:.2f}, {lost['high']:.2f}]"
    return Bar(f"{row.name}, seed {seed}: {must}", shown, met)


def _compared(found: Found) -> dict[str, Any]:
    """Return what the winner loses on the test rows, as a fraction, and how much faster it is."""
    winner = found.winners[0]
    if winner.test_lost is None:
        sys.exit(f"{winner.bundle}: the loss on the test rows has no interval")
    lost = {name: points / 100 for name, points in asdict(winner.test_lost).items()}
    speed_up = found.base.milliseconds / winner.validation.milliseconds
    return {"lost": lost, "speed_up": speed_up}


def _judge(row: Row) -> int:
    """Judge a row by the results of its seeds."""
    results = [json.loads(_path(row, seed).read_text(encoding="utf-8")) for seed in SEEDS]
    by_seed = dict(zip(SEEDS, results, strict=True))
    bars = [bar for seed, content in by_seed.items() for bar in _bars(row, seed, content)]
    best = [_fastest(content["found"]) for content in results]
    apart = (max(best) - min(best)) / float(np.mean(best))
    bars.append(
        Bar(
            f"{row.name}: the seeds' best latencies agree within {_AGREE:.0%}",
            f"{', '.join(f'{each:.2f}x' for each in best)}: {apart:.0%} apart",
            apart <= _AGREE,
        )
    )
    bars += [
        _against_hand_made(row, seed, content) for seed, content in zip(SEEDS, results, strict=True)
    ]
    seeds = [content["found"] for content in results]
    return finish(f"search/{row.name}", bars, {"row": asdict(row), "seeds": seeds})


def _fastest(found: Mapping[str, Any]) -> float:
    """Return how much faster than the model the fastest winner within the budgets is.

    Where none is within them, the first counts, which is the nearest.
    """
    winners = [winner for winner in found["winners"] if winner["within"]] or found["winners"][:1]
    fastest = min(winner["validation"]["milliseconds"] for winner in winners)
    return float(found["base"]["milliseconds"] / fastest)


def _against_hand_made(row: Row, seed: int, content: Mapping[str, Any]) -> Bar:
    """Compare a winner with the rows of compression.py that are as fast as it is."""
    lost, speed_up = content["lost"], content["speed_up"]
    faster = [
        (path.stem, hand["mean_lost_points"])
        for path in sorted((HERE / "results" / "compression").glob(f"{row.name}*.json"))
        if (hand := json.loads(path.read_text(encoding="utf-8"))).get("speed")
        and hand["speed"][TARGET]["value"] >= _AS_FAST * speed_up
        and "mean_lost_points" in hand
    ]
    shown = f"{100 * lost['value']:.2f} points lost at {speed_up:.2f}x"
    others = "; ".join(f"{name} {points:.2f}" for name, points in faster) or "none is as fast"
    is_beaten = any(points < 100 * lost["low"] for _, points in faster)
    must = f"{row.name}, seed {seed}: no hand-made row that is as fast loses less"
    return Bar(must, f"{shown} ({others})", not is_beaten)


def _path(row: Row, seed: int) -> Path:
    return HERE / "results" / "search" / f"{row.name}-{seed}.json"


if __name__ == "__main__":
    sys.exit(main())
