"""Does bmc stream data that does not fit in memory? Peak memory with a large and a small CSV.

    python benchmarks/streaming.py [MEGABYTES]

Two commands, each in a fresh process: `bmc datasets FILE`, and training: load the file, encode its
training rows and take STEPS optimizer steps of a small BERT on batches from an epoch's order. What
counts is the growth of the peak (VmHWM) from the small file to the large one.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from _common import RUNS, Bar, finish

from bmc.data import movie_reviews

SMALL, LARGE = 1, 500  # megabytes; a larger small file would keep its tokens in memory
MOST = 300
STEPS = 20
_PEAK = """
import re, pathlib
print("peak", re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""
_DATASETS = """
import sys
from bmc.cli import run
assert run(["datasets", sys.argv[1], "--quiet"]) == 0
"""
_TRAIN = f"""
import sys
import torch
from bmc import assets, data
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer
from bmc.model import output_of
from bmc.models import bert
from bmc.training.batches import Rows
from bmc.training.losses import loss_of
from bmc.training.optimizers import optimizer_of
from bmc.training.settings import TrainingSettings

torch.set_num_threads(1)
found = data.load(sys.argv[1])
tokenizer = load_tokenizer(assets.fetch("minilm") / "tokenizer.json")
encoder = TextEncoder(tokenizer, TextSettings(max_length=64))
sizes = dict(vocab_size=30522, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
             intermediate_size=128, num_labels=2)
module = bert.build({{"model_type": "bert", **sizes}}).train()
settings = TrainingSettings()
rows = Rows(found.train.rows, found.train.labels, encoder)
held = Rows(found.validation.rows, found.validation.labels, encoder)
loss = loss_of(settings, found.task, found.train.labels, 2)
optimizer = optimizer_of(list(module.parameters()), settings)
for places in rows.shuffled(settings.batch_size, 0, 0)[:{STEPS}]:
    batch = rows.batch(places)
    loss(output_of(module, batch.inputs), batch).backward()
    optimizer.step()
    optimizer.zero_grad()
module.eval()
for places in held.in_order(64)[:{STEPS}]:
    output_of(module, held.batch(places).inputs)
"""


def main() -> int:
    """Make both files, measure both commands, and compare."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    small, rows_small = table_of(SMALL)
    large, rows_large = table_of(size)
    results, bars = {}, []
    for name, code in (("bmc datasets", _DATASETS), ("training", _TRAIN)):
        before, after = peak(code, small), peak(code, large)
        growth = after["megabytes"] - before["megabytes"]
        results[name] = {"small": before, "large": after, "growth_megabytes": growth}
        bars.append(
            Bar(
                f"{name}: peak memory with {size} MB grows by <= {MOST} MB over {SMALL} MB",
                f"{before['megabytes']:.0f} -> {after['megabytes']:.0f} MB, {growth:+.0f} "
                f"({after['seconds']:.0f} s)",
                growth <= MOST,
            )
        )
    large.unlink()
    rows = {"small": rows_small, "large": rows_large}
    return finish("streaming", bars, {"megabytes": size, "rows": rows, "measured": results})


def table_of(megabytes: int) -> tuple[Path, int]:
    """Write a CSV of new sentences, made of real reviews' words in random order."""
    path = RUNS / f"streaming-{megabytes}.csv"
    path.parent.mkdir(exist_ok=True)
    texts = [text.replace('"', "'") for (text,) in movie_reviews.table().rows]
    generator, count = random.Random(0), 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("text,label\n")
        while file.tell() < megabytes * 2**20:
            for row_text in generator.sample(texts, 1000):
                words = row_text.split()
                generator.shuffle(words)
                file.write(f'"{" ".join(words)}",{generator.choice(("good", "bad"))}\n')
            count += 1000
    return path, count


def peak(code: str, path: Path) -> dict[str, float]:
    """Run code in a fresh process; return its largest resident memory and its time."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code + _PEAK, str(path)], check=True, capture_output=True, text=True
    )
    kilobytes = int(done.stdout.split("peak ")[1])
    return {"megabytes": kilobytes / 1024, "seconds": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    sys.exit(main())
