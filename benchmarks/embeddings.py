"""How much of MiniLM's vectors is left at a quarter of its file and half of its latency?

    python benchmarks/embeddings.py                          (half an hour on two cores)
    python benchmarks/embeddings.py --sentences 1500 --launches 2 --rounds 2      (a try-out)

all-MiniLM-L6-v2 (`minilm`) is read for sentence embeddings, its vocabulary is cut to the tokens
that are most frequent in the texts, and it is quantized to 8 bits by its recipe; nothing is
trained. The texts are sentences of IMDB, a fifth of them held out: among them the neighbors of
1,000 sentences must stay (recall@10 >= 0.85), and the similarities of 10,000 pairs (Spearman >=
0.95). The bundle must be at least twice as fast as the fp32 bundle in the same runtime, at the
better number of threads, and its model at most a quarter of the size.

What is missing in the workspace (BMC_HOME, else benchmarks/runs/embeddings) is made, what is there
is kept. The vocabulary is cut by the training texts, so of few sentences the cut costs more, and
the neighbors among few are easier to keep. Writes benchmarks/results/embeddings.json. Exit code 1:
a bar is not met.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _common import RUNS, Bar, bmc, finish

from bmc import bundle as bundles
from bmc import workspace
from bmc.data import imdb
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.measure.shown import with_interval

LENGTH = 32
TARGETS = ("onnx", "openvino")
TOKENS = 27_000  # of 30,522; the table of tokens is half of the model
BARS = (("recall_at_10", "recall@10", 0.85), ("spearman", "Spearman", 0.95))


def main() -> int:
    """Make the bundles, measure them, and write the results."""
    options = _options()
    os.environ.setdefault("BMC_HOME", str(RUNS / f"embeddings-{options.sentences}"))
    home = workspace.root()
    folders = _bundles(home, options.sentences)
    settings = BenchSettings(length=LENGTH, launches=options.launches, rounds=options.rounds)
    run = results.measure_bundles(list(folders.values()), options.threads, settings)
    results.save(run, RUNS / "embeddings.json")
    if run.skipped:
        sys.exit(f"not measured: {run.skipped}")
    bars: list[Bar] = []
    rows: list[dict[str, Any]] = []
    for target in TARGETS:
        plain, small = (bundles.read(folders[name, target]) for name in ("fp32", "int8"))
        ratio = results.ratio(run, plain.path.name, small.path.name)
        size = small.model_size() / plain.model_size()
        scores = small.manifest.scores
        bars += [
            Bar(f"{target}: {title} >= {least}", with_interval(found), found.value >= least)
            for key, title, least in BARS
            for found in (Interval(**scores[key]),)
        ]
        bars += [
            Bar(f"{target}: times as fast >= 2", with_interval(ratio), ratio.value >= 2),
            Bar(f"{target}: share of the file <= 0.25", f"{size:.4f}", size <= 0.25),
        ]
        rows.append(
            {
                "target": target,
                "scores": scores,
                "times_faster": asdict(ratio),
                "bytes": {"fp32": plain.model_size(), "int8": small.model_size()},
            }
        )
    content = {
        "sentences": options.sentences,
        "tokens": TOKENS,
        "settings": asdict(settings),
        "rows": rows,
        "latencies": [row.to_json() for row in run.rows],
    }
    return finish("embeddings", bars, content)


def _bundles(home: Path, sentences: int) -> dict[tuple[str, str], Path]:
    """Return the bundles of the model as it is, and cut and in 8 bits, by name and target."""
    home.mkdir(parents=True, exist_ok=True)
    texts = home.parent / f"sentences-{sentences}.txt"
    if not texts.exists():
        texts.write_text("\n".join(imdb.sentences()[:sentences]) + "\n", encoding="utf-8")
    data = ("--task", "embedding", "--data", texts)
    cut = ("--method", "vocabulary", "--set", f"tokens={TOKENS}", "--epochs", 0)
    steps = {
        "fp32": ("train", "minilm", *data),
        "cut": ("prune", home / "fp32", *cut),
        "int8": ("quantize", home / "cut", "--method", "static"),
    }
    for name, words in steps.items():
        if not (home / name).is_dir():
            bmc(*words, "--output", home / name)
    folders = {}
    for name in ("fp32", "int8"):
        for target in TARGETS:
            folders[name, target] = home / f"{name}-{target}"
            if not folders[name, target].is_dir():
                bmc("export", home / name, "--target", target, "-o", folders[name, target])
    return folders


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--sentences", type=int, default=100_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--launches", type=int, default=BenchSettings.launches)
    parser.add_argument("--rounds", type=int, default=BenchSettings.rounds)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
