"""How much accuracy does quantization lose over all rows of a five-fold cross-validation?

    python benchmarks/quantization_folds.py --row bert --row bert-int4     (an hour)

For each of five folds the baseline of a row of quantization.py is trained without it (and so is a
student's teacher), quantized and exported, and the bundles of both answer the fold; the folds' rows
are pooled. Points lost are paired, and so is their interval (McNemar 1947: a difference of two
shares of the same rows). Rows that are named together share their baseline. A fold that is in the
result is not done again, so that the rest can follow another day. Writes
results/quantization/folds-ROW.json. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, RUNS, Bar, bmc, finish
from _quantization_rows import BERT, ROWS, TEACHER, Row
from quantization import MOST_CHANGED, prepare

from bmc import bundle as bundles
from bmc import workspace

FOLDS = 5
WIDE = 1.96  # standard errors of a 95 % interval


def main() -> int:
    """Do the folds that are missing, and pool them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--row", action="append", required=True, help="such as bert")
    names: list[str] = parser.parse_args().row
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    rows = [row for row in ROWS if row.name in names]
    if len(rows) < len(set(names)):
        sys.exit(f"no such row; there are {', '.join(row.name for row in ROWS)}")
    codes = [_fold(row, fold) for fold in range(1, FOLDS + 1) for row in rows]
    return max(codes[-len(rows) :])


def _fold(row: Row, fold: int) -> int:
    """Measure one fold if it has no result, and write the result of all measured folds."""
    result = HERE / "results" / "quantization" / f"folds-{row.name}.json"
    done: dict[str, Any] = json.loads(result.read_text())["folds"] if result.is_file() else {}
    if str(fold) not in done:
        done[str(fold)] = _measured(row, fold)
    pooled = {target: _pooled([fold[target] for fold in done.values()]) for target in row.targets}
    return finish(
        f"quantization/folds-{row.name}",
        [bar for target in row.targets for bar in _bars(row, target, pooled[target], len(done))],
        {"method": row.options, "pooled": pooled, "folds": done},
    )


def _measured(row: Row, fold: int) -> dict[str, dict[str, int]]:
    """Train without a fold, quantize, export, and count the predictions for the fold."""
    root = workspace.root()
    base, quantized = f"{row.base}-fold{fold}", f"quantized-{row.name}-fold{fold}"
    held_out = ("--fold", f"{fold}/{FOLDS}")
    if TEACHER in row.made_by:
        teacher = f"{BERT[0]}-fold{fold}"
        if not (root / teacher).is_dir():
            bmc(*BERT[1], *held_out, "-o", root / teacher)
        row = replace(
            row, made_by=tuple(teacher if step == TEACHER else step for step in row.made_by)
        )
    prepare(row, base, quantized, held_out)
    return {
        target: _counts(root / f"{base}-{target}", root / f"{quantized}-{target}")
        for target in row.targets
    }


def _counts(base: Path, quantized: Path) -> dict[str, int]:
    base_outputs, quantized_outputs = (
        np.load(folder / bundles.EVALUATION) for folder in (base, quantized)
    )
    before, after = (
        outputs["logits"].argmax(axis=1) for outputs in (base_outputs, quantized_outputs)
    )
    right, still = before == base_outputs["labels"], after == quantized_outputs["labels"]
    return {
        "rows": len(before),
        "right_before": int(right.sum()),
        "lost": int((right & ~still).sum()),
        "won": int((~right & still).sum()),
        "changed": int((before != after).sum()),
    }


def _pooled(folds: list[dict[str, int]]) -> dict[str, float]:
    """Return shares of all rows, and the paired interval of what was lost."""
    total = {key: sum(fold[key] for fold in folds) for key in folds[0]}
    rows, lost, won = total["rows"], total["lost"], total["won"]
    error = float(np.sqrt(lost + won - (lost - won) ** 2 / rows)) / rows
    value = (lost - won) / rows
    return {
        "rows": rows,
        "accuracy_before": total["right_before"] / rows,
        "lost": value,
        "low": value - WIDE * error,
        "high": value + WIDE * error,
        "changed": total["changed"] / rows,
    }


def _bars(row: Row, target: str, pooled: dict[str, float], done: int) -> list[Bar]:
    where = f"{row.name}, {target}, {done} of {FOLDS} folds, {pooled['rows']} rows"
    lost, low, high = (100 * pooled[key] for key in ("lost", "low", "high"))
    return [
        Bar(
            f"{where}: at most {row.most_lost} points lost",
            f"{lost:.2f} [{low:.2f}, {high:.2f}]",
            lost <= row.most_lost,
        ),
        Bar(
            f"{where}: at most {MOST_CHANGED:.0%} of the answers changed",
            f"{pooled['changed']:.2%}",
            pooled["changed"] <= MOST_CHANGED,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
