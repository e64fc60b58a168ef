"""Which held-out accuracy does each built-in model reach, and do all targets agree on it?

    python benchmarks/baselines.py                 (every row that has no result yet; hours)
    python benchmarks/baselines.py --row cnn       (one row; make bench-baselines ROW=cnn)
    python benchmarks/baselines.py --table         (docs/results.md's table, from the results)

A row trains a baseline with its own recipe, exports it to ONNX, OpenVINO and TensorRT, and takes
the scores from the bundles. Rows with several seeds report the mean over seeds; the interval is of
the first seed's held-out rows. The result of a row is written to results/baselines/ROW.json, so
that an interrupted run continues with the next row. Exit code 1: a requirement is not met.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import HERE, RUNS, Bar, bmc, finish, put_table, short
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from bmc import artifact, workspace
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.inspect.collect import costs_at

TARGETS = ("onnx", "openvino", "tensorrt")
MAX_MINUTES = 60
MAX_BELOW_LINEAR = 0.04


@dataclass(frozen=True)
class Row:
    """One built-in model on one data set.

    Args:
        model: the baseline.
        data: the data set.
        least: required held-out accuracy; None for no requirement.
        seeds: number of seeds; the requirement applies to their mean.
        options: further options of `bmc train`.
        tokens: length of a text or series at which MACs are counted.
    """

    model: str
    data: str
    least: float | None
    seeds: int = 1
    options: tuple[str, ...] = ()
    tokens: int = 32

    @property
    def name(self) -> str:
        """The name of the row and of its result file."""
        return f"{self.model}-{self.data}"


# The reviews are lower-cased, except for a few. Some that are not English have accents.
LOWER_CASE = ("--set", "lowercase=true", "--set", "strip_accents=true")
ROWS = (
    Row("mlp", "fashion-mnist", 0.88),
    Row("mlp", "digits", None),
    Row("cnn", "fashion-mnist", 0.91),
    Row("resnet18", "fashion-mnist", 0.92),
    Row("vgg16", "fashion-mnist", 0.92),
    Row("mobilenet-v2", "fashion-mnist", 0.92),
    Row("rnn", "japanese-vowels", None, tokens=16),
    Row("lstm", "japanese-vowels", 0.93, seeds=5, tokens=16),
    Row("gru", "japanese-vowels", 0.93, seeds=5, tokens=16),
    Row("lstm", "movie-reviews", None, options=LOWER_CASE),
    Row("transformer", "movie-reviews", None, options=LOWER_CASE),
    Row("bert", "movie-reviews", 0.80, seeds=3),
    Row("mpnet", "movie-reviews", 0.86),
)


def main() -> int:
    """Run the selected rows, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--row", help="such as cnn, or lstm-movie-reviews")
    parser.add_argument("--again", action="store_true", help="measure rows that have a result too")
    parser.add_argument("--table", action="store_true", help="write docs/results.md's table")
    options = parser.parse_args()
    if options.table:
        return _write_table()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    rows = [row for row in ROWS if options.row in (None, row.model, row.name)]
    if not rows:
        sys.exit(f"no row {options.row}; there are {', '.join(row.name for row in ROWS)}")
    codes = [_measure(row) for row in rows if options.again or not _result(row).is_file()]
    return max(codes, default=0)


def _measure(row: Row) -> int:
    seeds = [_seed(row, seed) for seed in range(row.seeds)]
    first = seeds[0]
    mean = float(np.mean([seed_result["accuracy"]["onnx"]["value"] for seed_result in seeds]))
    bars = []
    if row.least is not None:
        label = f"mean of {row.seeds} seeds" if row.seeds > 1 else "held-out accuracy"
        bars.append(Bar(f"{row.name}: {label} >= {row.least}", f"{mean:.4f}", mean >= row.least))
    if row.data == "fashion-mnist":
        minutes = first["train_seconds"] / 60
        requirement = f"{row.name}: trained within {MAX_MINUTES} minutes"
        bars.append(Bar(requirement, f"{minutes:.1f}", minutes <= MAX_MINUTES))
    content: dict[str, Any] = {"row": asdict(row), "mean_accuracy": mean, "seeds": seeds}
    if row.model == "transformer":
        linear = _linear(row.data)
        content["tfidf_logistic_regression"] = linear
        least = linear - MAX_BELOW_LINEAR
        requirement = f"{row.name}: within 4 points of TF-IDF + logistic regression ({linear:.4f})"
        bars.append(Bar(requirement, f"{mean:.4f}", mean >= least))
    return finish(f"baselines/{row.name}", bars, content)


def _seed(row: Row, seed: int) -> dict[str, Any]:
    """Train and export a seed's model and read its scores; existing models are reused."""
    name = f"{row.name}-{seed}"
    folder = workspace.root() / name
    if not folder.is_dir():
        bmc("train", row.model, "--data", row.data, "--seed", seed, *row.options, "-o", folder)
    targets = TARGETS if seed == 0 else TARGETS[:1]
    missing = [target for target in targets if not (workspace.root() / f"{name}-{target}").is_dir()]
    if missing:
        bmc("export", name, "--target", ",".join(missing))
    bundle_of = {target: bundles.read(workspace.root() / f"{name}-{target}") for target in targets}
    manifest = artifact.describe(folder)
    return {
        "seed": seed,
        "parameters": bundle_of["onnx"].manifest.lineage["parameters"],
        "macs": costs_at(artifact.load(folder), row.tokens, runs=1).macs,
        "train_seconds": manifest["origin"]["seconds"],
        "rows": bundle_of["onnx"].manifest.scores["rows"],
        "accuracy": {
            target: bundle.manifest.scores["accuracy"]
            for target, bundle in bundle_of.items()
            if bundle.manifest.scores
        },
        "macro_f1": bundle_of["onnx"].manifest.scores["macro_f1"],
        "bytes": {target: bundle.model_size() for target, bundle in bundle_of.items()},
        "parity": {
            target: bundle.manifest.parity["max_error"] for target, bundle in bundle_of.items()
        },
        "recipe": manifest["origin"]["settings"],
    }


def _linear(reference: str) -> float:
    """Return the held-out accuracy of TF-IDF and logistic regression on the same split."""
    data = datasets.load(reference)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train = vectors.fit_transform(text for row in data.train.rows for text in row)
    test = vectors.transform(text for row in data.test.rows for text in row)
    fitted = LogisticRegression(C=4.0, max_iter=1000).fit(train, data.train.labels)
    return float(fitted.score(test, data.test.labels))


def _write_table() -> int:
    """Put the table of all results between its markers in docs/results.md."""
    lines = [
        "| baseline | data | parameters | MACs | held-out accuracy % | trained in | "
        "ONNX | OpenVINO | TensorRT |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if _result(row).is_file():
            lines.append(_line(json.loads(_result(row).read_text(encoding="utf-8"))))
    put_table("baselines", lines)
    return 0


def _line(result: dict[str, Any]) -> str:
    row, first = result["row"], result["seeds"][0]
    onnx, openvino = first["accuracy"]["onnx"], first["accuracy"]["openvino"]
    low, high = 100 * onnx["low"], 100 * onnx["high"]
    score = f"{100 * onnx['value']:.1f} [{low:.1f}, {high:.1f}]"
    if len(result["seeds"]) > 1:
        score += f"; mean of {len(result['seeds'])} seeds {100 * result['mean_accuracy']:.1f}"
    seconds = first["train_seconds"]
    cells = [
        f"`{row['model']}`",
        row["data"],
        short(first["parameters"]),
        short(first["macs"]),
        score,
        f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s",
        f"{100 * onnx['value']:.1f}",
        f"{100 * openvino['value']:.1f}",
        "built",
    ]
    return f"| {' | '.join(cells)} |"


def _result(row: Row) -> Path:
    return HERE / "results" / "baselines" / f"{row.name}.json"


if __name__ == "__main__":
    sys.exit(main())
