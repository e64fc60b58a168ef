"""Do the C++ programs give the tokens and predictions of Python, as fast and in little memory?

    python benchmarks/cpp.py tiny-movie-reviews-onnx tiny-movie-reviews-openvino     (5 minutes)
    python benchmarks/cpp.py tiny-movie-reviews-onnx --trial                         (a try-out)

BUNDLE classifies movie reviews. The programs of examples/cpp are built (`tools/build_cpp.py`). For
each bundle the latency of a golden text, from text to prediction with one thread, is measured in a
fresh process of C++ and of Python in turn, and the most memory of the C++ process in its own check.
Then both predict 500 held-out rows, and cut 10,000 texts into tokens: half are reviews, half are of
characters of many scripts, drawn with a seed.

Writes benchmarks/results/cpp.json; Linux only. Exit code 1: a bar is not met.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _common import HERE, Bar, finish

import bmc
from bmc import bundle as bundles
from bmc import data as datasets
from bmc import workspace
from bmc.inputs.text import TextEncoder
from bmc.measure.scores import Interval, bootstrap

HELD_OUT, TOKENIZED, TURNS, CALLS, WARM_UP = 500, 10_000, 10, 300, 20
MOST_MB, CLOSE = 60, 1e-3
# Unicode blocks of letters, marks, punctuation and symbols; unassigned characters are among them.
_BLOCKS = (
    *((0x20, 0x7E), (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x531, 0x5F4), (0x600, 0x77F)),
    *((0x900, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x137F), (0x13A0, 0x18AF), (0x1900, 0x1CFF)),
    *((0x1D00, 0x1FFF), (0x2000, 0x2BFF), (0x2C00, 0x2E7F), (0x3000, 0x31FF), (0x3400, 0x9FFF)),
    *((0xA000, 0xABFF), (0xAC00, 0xD7FB), (0xF900, 0xFFFD), (0x10000, 0x10FFF), (0x11000, 0x11FFF)),
    *((0x16800, 0x16FFF), (0x1B000, 0x1B2FF), (0x1D000, 0x1D7FF), (0x1E000, 0x1EFFF)),
    *((0x1F000, 0x1FAFF), (0x20000, 0x2FA1F), (0xE0000, 0xE01EF)),
)


@dataclass(frozen=True)
class Measured:
    """What was measured of a bundle.

    Args:
        name: name of the bundle.
        precision: precision in its manifest.
        ratio: p50 of C++ over that of Python, with a 95 % interval over the turns.
        cpp_ms: p50 of C++ in each turn.
        python_ms: p50 of Python in each turn.
        peak_mb: most memory of the C++ process, in each turn.
        checked: whether every check was right.
        top1: held-out rows with the same label.
        rows: held-out rows.
        score_change: largest change of a score.
        tokens: texts with the same tokens.
        texts: texts that were cut into tokens.
    """

    name: str
    precision: str
    ratio: Interval
    cpp_ms: list[float]
    python_ms: list[float]
    peak_mb: list[float]
    checked: bool
    top1: int
    rows: int
    score_change: float
    tokens: int
    texts: int


def main() -> int:
    """Measure the bundles and check the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--trial", action="store_true", help="two turns, and a tenth of the texts")
    parser.add_argument("--python", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folders = [workspace.find(name, "bundle") for name in options.bundles]
    if options.python:
        print(_python_p50(folders[0]))
        return 0
    programs = _programs()
    results = [_measure(folder, programs, options.trial) for folder in folders]
    bars = [bar for result in results for bar in _bars(result)]
    content = {"trial": options.trial, "bundles": [asdict(result) for result in results]}
    return finish("cpp-trial" if options.trial else "cpp", bars, content)


def _bars(result: Measured) -> list[Bar]:
    name, ratio = result.name, result.ratio
    peak = max(result.peak_mb)
    changes = f"{result.score_change:.2g}"
    bars = [
        Bar(f"{name}: the golden rows are right", str(result.checked), result.checked),
        Bar(
            f"{name}: p50 of C++ is at most Python's",
            f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}]",
            ratio.value <= 1,
        ),
        Bar(f"{name}: at most {MOST_MB} MB of memory", f"{peak:.1f} MB", peak <= MOST_MB),
        Bar(
            f"{name}: the labels of all held-out rows are Python's",
            f"{result.top1} of {result.rows}",
            result.top1 == result.rows,
        ),
        Bar(
            f"{name}: the tokens of all texts are Python's",
            f"{result.tokens:,} of {result.texts:,}",
            result.tokens == result.texts,
        ),
    ]
    if result.precision == "fp32":
        must = f"{name}: scores change by at most {CLOSE}"
        bars.append(Bar(must, changes, result.score_change <= CLOSE))
    else:
        bars.append(Bar(f"{name}: change of the scores ({result.precision})", changes, True))
    return bars


def _measure(folder: Path, programs: Path, trial: bool) -> Measured:
    bundle = bundles.read(folder)
    program = programs / f"classify_{bundle.manifest.target}"
    checks: list[dict[str, Any]] = []
    python_ms: list[float] = []
    for turn in range(2 if trial else TURNS):
        for is_cpp in (True, False) if turn % 2 else (False, True):  # who starts takes turns
            if is_cpp:
                checks.append(_checked(program, folder))
            else:
                python_ms.append(_python_in_process(folder))
    cpp_ms = [check["p50_ms"] for check in checks]
    top1, change, rows = _predictions(program, folder, HELD_OUT // 10 if trial else HELD_OUT)
    same, count = _tokens(program, folder, TOKENIZED // 10 if trial else TOKENIZED)
    ratio = bootstrap(
        lambda turns: median(cpp_ms[i] for i in turns) / median(python_ms[i] for i in turns),
        len(cpp_ms),
    )
    return Measured(
        name=folder.name,
        precision=bundle.manifest.precision,
        ratio=ratio,
        cpp_ms=cpp_ms,
        python_ms=python_ms,
        peak_mb=[check["peak_memory_mb"] for check in checks],
        checked=all(check["ok"] for check in checks),
        top1=top1,
        rows=rows,
        score_change=change,
        tokens=same,
        texts=count,
    )


def _programs() -> Path:
    """Return the folder with the programs, built if needed."""
    command = [sys.executable, str(HERE.parent / "tools" / "build_cpp.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the programs were not built")
    return Path(done.stdout.strip())


def _checked(program: Path, folder: Path) -> dict[str, Any]:
    """Run the check of the C++ program, which times the golden texts."""
    command = [str(program), "check", str(folder), "--json", "--calls", str(CALLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(done.stderr)
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def _python_in_process(folder: Path) -> float:
    command = [sys.executable, __file__, "--python", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _python_p50(folder: Path) -> float:
    """Return the median latency of the golden texts in Python, in milliseconds."""
    golden = bundles.read(folder).golden_rows()
    if golden is None:
        sys.exit(f"{folder} has no golden rows; export it again")
    rows = golden.rows
    milliseconds = []
    with bmc.load(folder, threads=1) as classify:
        for number in range(WARM_UP + CALLS):
            start = time.perf_counter()
            classify(rows[number % len(rows)])
            milliseconds.append(1000 * (time.perf_counter() - start))
    return median(milliseconds[WARM_UP:])


def _lines(program: Path, folder: Path, texts: list[str], *options: str) -> list[Any]:
    """Return what a program writes for each text, as JSON."""
    text = "".join(json.dumps(line) + "\n" for line in texts)
    command = [str(program), str(folder), "--json", *options]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _predictions(program: Path, folder: Path, count: int) -> tuple[int, float, int]:
    """Return the held-out rows with the same label, the largest change of a score, and the rows."""
    texts = [text for (text,) in datasets.load("movie-reviews").test.rows[:count]]
    answers = _lines(program, folder, texts)
    with bmc.load(folder, threads=1) as classify:
        expected = [classify(text) for text in texts]  # alone, as in C++: no padding
    pairs = list(zip(answers, expected, strict=True))
    same = sum(answer["label"] == prediction.label for answer, prediction in pairs)
    change = max(abs(answer["score"] - prediction.score) for answer, prediction in pairs)
    return same, change, len(texts)


def _tokens(program: Path, folder: Path, count: int) -> tuple[int, int]:
    """Return the texts with the same tokens, and the texts."""
    texts = [text for (text,) in datasets.load("movie-reviews").train.rows[: count // 2]]
    texts += _of_many_scripts(count - len(texts))
    encoder = bundles.read(folder).encoder
    if not isinstance(encoder, TextEncoder):
        sys.exit(f"{folder} takes no texts")
    expected = encoder.encode([(text,) for text in texts])
    answers = _lines(program, folder, texts, "--tokens")
    same = [
        answer["tokens"] == list(tokens.ids)
        for answer, tokens in zip(answers, expected, strict=True)
    ]
    return sum(same), len(texts)


def _of_many_scripts(count: int) -> list[str]:
    draw = random.Random(0)

    def word() -> str:
        block = draw.choice(_BLOCKS)
        return "".join(chr(draw.randint(*block)) for _ in range(draw.randint(1, 8)))

    return [
        "a" + draw.choice((" ", "")).join(word() for _ in range(draw.choice((1, 5, 20))))
        for _ in range(count)
    ]


if __name__ == "__main__":
    sys.exit(main())
