"""Write the README.md of a bundle: what it is, how good, how fast, and how it was made.

The text follows from the manifest alone, so that the same bundle has the same README.md. Names in a
manifest may come from anybody: they stand in code spans and code blocks, in which Markdown has no
links, images or HTML, and control characters are escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bmc.console import printable
from bmc.contracts.targets import format_of
from bmc.contracts.tasks import TENSORS, task
from bmc.figures import megabytes, significant
from bmc.inputs import TensorInfo
from bmc.manifest import Manifest
from bmc.provenance import commands_of

_MAX_LENGTH = 200  # characters of a name
_MAX_LINE = 1_000  # characters of a command
_MAX_COMMANDS = 20
_MAX_LABELS = 30
_MAX_SCORES = 30
_EXTRAS = {"onnx": "onnx", "openvino": "openvino", "tensorrt": "tensorrt", "pytorch": "train"}
_TEXT = '"a text"'
_ROWS: Mapping[str, str] = {
    "text": _TEXT,
    "words": _TEXT,
    "ngram": _TEXT,
    "image": '"image.png"',
    "audio": '"clip.wav"',
    "series": "series",
    "features": "row",
    "array": "array",
    "latent": "seed",
    "tensors": "tensors",
}
_PAIR = '("first text", "second text")'
_MEANING: Mapping[str, str] = {
    "series": "an array of numbers (steps, channels)",
    "features": "a dictionary by column, or numbers in the order of the columns",
    "array": "an array, or a tuple of arrays, one for each input",
    "latent": "a whole number from 0",
    "tensors": "a dictionary of arrays by input name",
}


def readme(manifest: Manifest, size: int) -> str:
    """Return the README.md of a bundle.

    Args:
        manifest: the bundle's manifest.
        size: bytes of the model's files.
    """
    sections = (
        [f"# {code(manifest.name)}", *_introduction(manifest, size)],
        ["## Use", *_use(manifest), *_rejecting(manifest)],
        ["## Scores", *_scores(manifest)],
        ["## Speed", *_speed(manifest)],
        ["## Inputs and outputs", *_tensors(manifest)],
        ["## Data", *_data(manifest.lineage)],
        ["## How it was made", *_origin(manifest)],
    )
    return "\n\n".join(block for section in sections for block in section) + "\n"


def code(text: object) -> str:
    """Return a text of any origin as a Markdown code span of one line.

    Example:
        >>> code("a `b`")
        '`` a `b` ``'
    """
    content = printable(" ".join(str(text)[: 4 * _MAX_LENGTH].split()))
    if len(content) > _MAX_LENGTH:
        content = f"{content[:_MAX_LENGTH]}…"
    if not content:
        return "(empty)"
    fence = "`" * (_longest_run(content) + 1)
    space = " " if "`" in (content[0], content[-1]) else ""
    return f"{fence}{space}{content}{space}{fence}"


def code_block(lines: Sequence[str], language: str = "") -> str:
    """Return lines of any origin as a Markdown code block, a line each."""
    content = [printable(line[:_MAX_LINE].replace("\n", "\\n")) for line in lines]
    fence = "`" * max(3, _longest_run("\n".join(content)) + 1)
    return "\n".join([f"{fence}{language}", *content, fence])


def _longest_run(text: str) -> int:
    """Return the number of backticks in the longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _introduction(manifest: Manifest, size: int) -> Iterator[str]:
    parameters = _number(manifest.lineage.get("parameters"))
    count = f", {parameters:,.0f} parameters" if parameters else ""
    yield (
        f"A bundle of bmc for {format_of(manifest.target).about} (target "
        f"{code(manifest.target)}): {manifest.task} in {manifest.precision}, "
        f"{megabytes(size)}{count}."
    )
    if manifest.failure is not None:
        yield f"**The bundle failed a check when it was exported:** {code(manifest.failure)}"


def _use(manifest: Manifest) -> Iterator[str]:
    kind = str(manifest.preprocessing.get("kind"))
    row = _PAIR if manifest.preprocessing.get("columns") == 2 else _ROWS.get(kind, "row")
    meaning = f"  # {row} is {_MEANING[kind]}" if kind in _MEANING else ""
    extra = _EXTRAS.get(manifest.target)
    install = [f"pip install 'bmc-toolkit[{extra}]'"] if extra else []
    yield code_block([*install, "bmc check BUNDLE"])
    yield code_block(
        [
            "import bmc",
            "",
            'with bmc.load("BUNDLE") as predict:',
            f"    print(predict({row})){meaning}",
        ],
        "python",
    )
    yield (
        "`BUNDLE` is the path of this folder. In another language: `manifest.json` says what the "
        "model takes and returns, `golden.json` and `golden.npz` hold rows with their outputs, and "
        "`docs/bundle.md` of bmc describes every field."
    )


def _rejecting(manifest: Manifest) -> Iterator[str]:
    if manifest.reject_below is not None:
        yield (
            f"A row whose most probable label has a probability below "
            f"{significant(manifest.reject_below)} is rejected: it gets no label. `rejected` below "
            "is the share of such rows, and `accepted_accuracy` the accuracy of the others."
        )


def _scores(manifest: Manifest) -> Iterator[str]:
    scores = manifest.stand_in.scores if manifest.stand_in else manifest.scores
    rows = _number(scores.get("rows"))
    figures = {name: _figure(value) for name, value in scores.items() if name != "rows"}
    lines = [f"- {code(name)}: {figure}" for name, figure in figures.items() if figure]
    if lines:
        origin = "this bundle"
        if manifest.stand_in:
            origin = f"its ONNX file in {code(manifest.stand_in.target)}; the engine was not run"
        unit = "samples" if manifest.task == TENSORS else f"held-out {task(manifest.task).unit}"
        count = f"{rows:,.0f} {unit}" if rows else unit
        yield f"Of {origin}, on {count}; [..] is the 95 % interval:"
        yield "\n".join(lines[:_MAX_SCORES])
        yield from _by_label(scores.get("by_class"), manifest.labels)
    else:
        yield "None were computed when the bundle was exported."
    yield from _parity(manifest)


def _by_label(by_class: object, labels: Sequence[str]) -> Iterator[str]:
    """Yield the scores of each label, as `by_class` of a manifest lists them."""
    if not isinstance(by_class, Mapping):
        return
    columns = {
        str(name).replace("_", " "): values
        for name, values in by_class.items()
        if isinstance(values, list) and len(values) == len(labels)
    }
    lines = []
    for index, label in enumerate(labels[:_MAX_LABELS]):
        figures = [
            f"{code(name)} {significant(value)}"
            for name, values in columns.items()
            if (value := _number(values[index])) is not None
        ]
        if figures:
            lines.append(f"- {code(label)}: {', '.join(figures)}")
    if lines:
        yield f"By label{_of_all(labels)}:"
        yield "\n".join(lines)


def _parity(manifest: Manifest) -> Iterator[str]:
    rows, error, agreement = (
        _number(manifest.parity.get(key)) for key in ("rows", "max_error", "agreement")
    )
    if error is None:
        return
    original, unit = "the model in PyTorch", "rows"
    if manifest.task == TENSORS:
        original, unit = "the ONNX file", "samples"
    compared = f" on {rows:,.0f} {unit}" if rows else ""
    agreed = "" if agreement is None else f", {agreement:.2%} of the predictions are the same"
    yield (
        f"Compared with {original}{compared}: the largest change of an output is "
        f"{significant(error)}{agreed}."
    )


def _speed(manifest: Manifest) -> Iterator[str]:
    build = manifest.build
    ratio, p50 = _figure(build.get("over_fp32")), _number(build.get("p50_ms"))
    machine = build.get("machine")
    described = machine if isinstance(machine, Mapping) else {}
    cores = _number(described.get("cores"))
    lines = []
    if p50 is not None:
        lines.append(f"- median latency of a call with one row: {significant(p50)} ms")
    if ratio:
        lines.append(f"- times as fast as in fp32: {ratio}")
    if lines and described.get("processor"):
        count = f", {cores:.0f} cores" if cores else ""
        lines.append(f"- measured at the export, on {code(described['processor'])}{count}")
    if lines:
        yield "\n".join(lines)
    yield "`bmc bench BUNDLE` measures latency, cold start and memory on the machine where it runs."


def _tensors(manifest: Manifest) -> Iterator[str]:
    lines = [f"- input {_tensor(info)}" for info in manifest.inputs]
    lines += [f"- output {_tensor(info)}" for info in manifest.outputs]
    lines.append(f"- preprocessing: {code(manifest.preprocessing.get('kind'))}")
    yield "\n".join(lines)
    if manifest.labels:
        names = ", ".join(code(label) for label in manifest.labels[:_MAX_LABELS])
        yield f"Labels in the order of the outputs{_of_all(manifest.labels)}: {names}"


def _tensor(info: TensorInfo) -> str:
    shape = ", ".join(map(str, info.shape))
    return f"{code(info.name)}: {code(f'{info.dtype} ({shape})')}"


def _of_all(labels: Sequence[str]) -> str:
    """Say that only the first labels are listed."""
    return f" (the first {_MAX_LABELS} of {len(labels):,})" if len(labels) > _MAX_LABELS else ""


def _data(lineage: Mapping[str, Any]) -> Iterator[str]:
    data = lineage.get("data")
    if not isinstance(data, Mapping) or not data.get("reference"):
        yield "Not recorded."
        return
    lines = [f"- {code(data['reference'])}"]
    rows = data.get("rows")
    counts = {
        part: _number(rows.get(part))
        for part in ("train", "validation", "test")
        if isinstance(rows, Mapping)
    }
    if any(counts.values()):
        lines.append(
            "- rows: " + ", ".join(f"{count or 0:,.0f} {part}" for part, count in counts.items())
        )
    for key, title in (("fingerprint", "fingerprint"), ("label_column", "label column")):
        if data.get(key):
            lines.append(f"- {title}: {code(data[key])}")
    license_of_data = lineage.get("data_license")
    lines.append(f"- license: {code(license_of_data) if license_of_data else 'not recorded'}")
    yield "\n".join(lines)
    yield "`golden.json` and `golden.npz` hold up to four rows of the data as they are."


def _origin(manifest: Manifest) -> Iterator[str]:
    lineage = manifest.lineage
    commands = commands_of(lineage)
    if commands:
        yield code_block(commands[-_MAX_COMMANDS:])
    lines = []
    model = lineage.get("file") or lineage.get("model")
    if model:
        lines.append(f"- from: {code(model)}")
    steps = lineage.get("steps")
    if isinstance(steps, list) and steps:
        lines.append(f"- steps: {', '.join(code(step) for step in steps[:_MAX_COMMANDS])}")
    teacher = lineage.get("teacher")
    if isinstance(teacher, Mapping) and teacher.get("name"):
        lines.append(f"- teacher: {code(teacher['name'])}")
    versions = manifest.build.get("versions")
    if isinstance(versions, Mapping) and versions:
        pairs = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        lines.append(f"- versions: {code(pairs)}")
    if lineage.get("weights_sha256"):
        lines.append(f"- sha256 of the weights: {code(lineage['weights_sha256'])}")
    yield "\n".join(lines) if lines else "Not recorded."


def _figure(value: object) -> str:
    """Return an estimate with its interval, or a number; "" for anything else."""
    if isinstance(value, Mapping):
        numbers = [_number(value.get(key)) for key in ("value", "low", "high")]
        estimate, low, high = numbers
        if estimate is None or low is None or high is None:
            return ""
        return f"{significant(estimate)} [{significant(low)}, {significant(high)}]"
    number = _number(value)
    return "" if number is None else significant(number)


def _number(value: object) -> float | None:
    """Return a finite number; None for anything else that a manifest may hold."""
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        return None
    return value  # type: ignore[return-value]
