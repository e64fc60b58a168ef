"""Does a bundle run in a browser as it does here, and how much slower?

    python benchmarks/browser.py tiny-movie-reviews-onnx --int8 tiny-int8-onnx   (ten quiet minutes)
    python benchmarks/browser.py BUNDLE --trial                                  (a try-out)

The page of examples/browser is built with each bundle and opened in headless Chromium, with one
thread. Held-out movie reviews are computed one by one, in turn by ONNX Runtime here and by its
WebAssembly in the page, ROUNDS times. Compared are the medians of the model alone; the times from
a text to its prediction are recorded. The page must take 3 times as long at most; load 25 MB in
fp32 and 10 MB in int8 at most, all files together; get the outputs of the golden rows; predict the
same label for 500 reviews, in fp32 with scores within 1e-3; and make the same tokens of 10,000
texts, reviews and characters of all scripts.

Needs node, npm and Chromium. Writes benchmarks/results/browser.json. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from _common import Bar, finish
from numpy.typing import NDArray
from playwright.sync_api import Page, sync_playwright

import bmc
from bmc import data as datasets
from bmc import workspace
from bmc.pipeline import Pipeline

EXAMPLE = Path(__file__).parents[1] / "examples" / "browser"
RATIO, CLOSE = 3.0, 1e-3
MEGABYTES = {"fp32": 25.0, "int8": 10.0}
ROWS, TEXTS, TIMED, ROUNDS = 500, 10_000, 50, 20
_WARM_UP = 3  # rounds, after which the browser has compiled what is called often
_CHUNK = 500  # texts in a message to the page
_ENCODE = """async (rows) => {
  const { input_ids, attention_mask } = await window.bmc.engine.encode(rows);
  const width = input_ids.dims[1];
  return rows.map((_, row) => Array.from(input_ids.data, Number)
    .slice(row * width, (row + 1) * width)
    .filter((_, at) => attention_mask.data[row * width + at]));
}"""


def main() -> int:
    """Measure each bundle, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", help="an ONNX bundle of movie reviews in fp32")
    parser.add_argument("--int8", help="likewise in int8")
    parser.add_argument("--trial", action="store_true", help="few rows and rounds")
    options = parser.parse_args()
    if not (EXAMPLE / "node_modules").exists():
        subprocess.run(["npm", "ci"], cwd=EXAMPLE, check=True)
    bars: list[Bar] = []
    measured: dict[str, Any] = {}
    for name in filter(None, (options.bundle, options.int8)):
        bundle = workspace.find(name, "bundle")
        measured[bundle.name] = _measure(bundle, bars, options.trial)
    return finish("browser-trial" if options.trial else "browser", bars, measured)


def _measure(bundle: Path, bars: list[Bar], trial: bool) -> dict[str, Any]:
    """Measure a bundle in the page and here, and append its bars."""
    share = 20 if trial else 1
    reviews = [text for (text,) in datasets.load("movie-reviews").test.rows]
    with _page(bundle) as (page, loaded), bmc.load(bundle, threads=1) as pipeline:
        precision = pipeline.bundle.manifest.precision
        kind = "fp32" if precision == "fp32" else "int8"
        check = page.evaluate("window.bmc.engine.check()")
        found = _outputs(page, reviews[: ROWS // share])
        expected = pipeline.outputs([(text,) for text in reviews[: ROWS // share]])
        wrong = int((found.argmax(1) != expected.argmax(1)).sum())
        change = float(np.abs(_softmax(found) - _softmax(expected)).max())
        texts = _texts(reviews, TEXTS // share)
        unequal = _unequal_tokens(page, pipeline, texts)
        times = _times(page, pipeline, reviews[:TIMED], ROUNDS // share or 2)
    medians = {key: statistics.median(values) for key, values in times.items()}
    ratio = medians["browser_run"] / medians["native_run"]
    megabytes = sum(loaded.values()) / 1e6
    named = f"{bundle.name}: "
    bars += [
        Bar(f"{named}p50 <= {RATIO:g} x native", f"{ratio:.2f}", ratio <= RATIO),
        Bar(
            f"{named}page and model <= {MEGABYTES[kind]:g} MB",
            f"{megabytes:.1f} MB",
            megabytes <= MEGABYTES[kind],
        ),
        Bar(f"{named}golden rows are right", str(check["first_difference"]), check["ok"]),
        Bar(f"{named}the same label for {len(found)} reviews", f"{wrong} others", not wrong),
        Bar(f"{named}equal tokens of {len(texts)} texts", f"{unequal} unequal", not unequal),
    ]
    if precision == "fp32":
        bars.append(Bar(f"{named}scores within {CLOSE:g}", f"{change:.2g}", change <= CLOSE))
    return {
        "precision": precision,
        "p50_ms": medians,
        "ratio": ratio,
        "ratio_from_text": medians["browser_predict"] / medians["native_predict"],
        "megabytes": {name: size / 1e6 for name, size in sorted(loaded.items())},
        "largest_change_of_a_score": change,
        "other_labels": wrong,
        "unequal_tokens": unequal,
        "check": check,
        "milliseconds": times,
    }


@contextmanager
def _page(bundle: Path) -> Iterator[tuple[Page, dict[str, int]]]:
    """Build, serve and open the page; give it, and the bytes of each file that it loaded."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        command = ["npm", "run", "build", "--", str(bundle.absolute()), "--out", folder]
        subprocess.run(command, cwd=EXAMPLE, check=True, stdout=subprocess.DEVNULL)
        server = subprocess.Popen(
            [sys.executable, str(EXAMPLE / "serve.py"), folder, "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        try:
            page = browser.new_page()
            paths: set[str] = set()
            page.on("request", lambda request: paths.add(urlsplit(request.url).path))
            address = server.stdout.readline().strip() if server.stdout else ""
            page.goto(f"{address}?threads=1")
            problem = page.evaluate("window.bmc.ready")["problem"]
            if problem:
                sys.exit(f"the page says: {problem}")
            files = {path: Path(folder, path.strip("/") or "index.html") for path in paths}
            yield page, {path: file.stat().st_size for path, file in files.items()}
        finally:
            browser.close()
            server.terminate()
            server.wait(10)


def _outputs(page: Page, rows: list[str]) -> NDArray[np.float32]:
    return np.array(page.evaluate("rows => window.bmc.engine.outputs(rows)", rows), np.float32)


def _softmax(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _texts(reviews: list[str], count: int) -> list[str]:
    """Return reviews, and words of neighbors in Unicode, which are mostly of one script."""
    generator = random.Random(0)
    known = [char for char in map(chr, range(0x32000)) if unicodedata.category(char)[0] != "C"]
    texts = reviews[: count // 4]
    while len(texts) < count:
        start = int(len(known) * generator.random() ** 3)  # most scripts have low numbers
        letters = known[start : start + 60] + list("aZ9.' ")
        lengths = (generator.randint(1, 9) for _ in range(generator.randint(1, 9)))
        texts.append(" ".join("".join(generator.choices(letters, k=length)) for length in lengths))
    return [text if text.strip() else "x" for text in texts]


def _unequal_tokens(page: Page, pipeline: Pipeline, texts: list[str]) -> int:
    encoder = pipeline.bundle.encoder
    unequal = 0
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        arrays = encoder.batch(encoder.encode([(text,) for text in chunk]), range(len(chunk)))
        pairs = zip(arrays["input_ids"], arrays["attention_mask"], strict=True)
        expected = [ids[mask == 1].tolist() for ids, mask in pairs]
        found = page.evaluate(_ENCODE, chunk)
        unequal += sum(one != other for one, other in zip(found, expected, strict=True))
    return unequal


def _times(page: Page, pipeline: Pipeline, rows: list[str], rounds: int) -> dict[str, list[float]]:
    """Return milliseconds of each row in each round, after the rounds that warm up."""
    times: dict[str, list[float]] = {
        name: [] for name in ("native_run", "native_predict", "browser_run", "browser_predict")
    }
    for number in range(_WARM_UP + rounds):
        native = _native_times(pipeline, rows)
        browser = page.evaluate("rows => window.bmc.engine.times(rows)", rows)
        if number >= _WARM_UP:
            times["native_run"] += native["run"]
            times["native_predict"] += native["predict"]
            times["browser_run"] += browser["run"]
            times["browser_predict"] += browser["predict"]
    return times


def _native_times(pipeline: Pipeline, rows: list[str]) -> dict[str, list[float]]:
    encoder = pipeline.bundle.encoder
    times: dict[str, list[float]] = {"run": [], "predict": []}
    for row in rows:
        arrays = encoder.batch(encoder.encode([(row,)]), [0])
        start = time.perf_counter()
        pipeline.session.run(arrays)
        computed = time.perf_counter()
        pipeline(row)
        times["run"].append(1000 * (computed - start))
        times["predict"].append(1000 * (time.perf_counter() - computed))
    return times


if __name__ == "__main__":
    sys.exit(main())
