"""Are ONNX files that others use converted to each target, and quantized without harm?

    python benchmarks/onnx_real_files.py                 (all files: an hour on two quiet cores)
    python benchmarks/onnx_real_files.py magika centerface --targets onnx
    python benchmarks/onnx_real_files.py centerface --ranked-by inputs      (for decision 44)

Each file is exported to each target and quantized for it, on inputs that resemble those it was made
for (`_onnx_inputs.py`). Recorded are the agreement with the original file, the size, the layers
that stay in float, and the speed against fp32 in the same runtime; or the reason of a refusal.
Layers return to float by what they change in the outputs, or, `--ranked-by inputs`, by how badly
the tensors that they read are rounded.

Writes benchmarks/results/onnx_files/real.json after every file; files that a run leaves out keep
the rows that they have there. Exit code 1: a file fails without a reason, or an 8-bit bundle that
was kept agrees by less than 99 % or is slower than in fp32.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from _common import HERE, RUNS, Bar, finish
from _onnx_inputs import REAL, Arrays, RealFile

import bmc as api
from bmc import processor, workspace
from bmc.bundle import read
from bmc.export import onnx_flow

SAMPLES = 64
TARGETS = ("onnx", "openvino", "tensorrt")
_AGREEMENT = 0.99
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/]+/)+")  # of this machine, in messages
Row = dict[str, Any]


def main() -> int:
    """Convert and quantize the files, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="*", help=f"of {', '.join(REAL)}; all when left out")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--ranked-by", choices=("outputs", "inputs"), default="outputs")
    options = parser.parse_args()
    if options.ranked_by == "inputs":
        patch.object(onnx_flow, "most_harmful_first", lambda source, groups, target: groups).start()
    os.environ.setdefault("BMC_HOME", str(RUNS / "onnx_real"))
    workspace.root().mkdir(parents=True, exist_ok=True)
    result = "onnx_files/real" if options.ranked_by == "outputs" else "onnx_files/real-by-inputs"
    names = options.files or list(REAL)
    rows = [row for row in _before(result) if row["file"] not in names]
    code = 0
    for name in names:
        file, arrays = _file(name, REAL[name], options.samples)
        for target in options.targets.split(","):
            rows += _rows(name, file, arrays, target)
        code = _finish(result, options.samples, rows)
    return code


def _before(result: str) -> list[Row]:
    """Return the rows of an earlier run."""
    path = HERE / "results" / f"{result}.json"
    if not path.is_file():
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def _finish(result: str, samples: int, rows: list[Row]) -> int:
    """Judge the rows, and write them."""
    kept = [row for row in rows if row["precision"] == "int8" and "refused" not in row]
    agree = [row for row in kept if row["agreement"] >= _AGREEMENT]
    fast = [row for row in kept if row["over_fp32"] is None or row["over_fp32"]["high"] >= 1]
    faults = [row for row in rows if row.get("is_fault")]
    bars = [
        Bar("every file converted, or refused with a reason", f"{len(faults)} faults", not faults),
        Bar("8-bit bundles agree by 99 %", f"{len(agree)} of {len(kept)}", agree == kept),
        Bar("8-bit bundles are not slower", f"{len(fast)} of {len(kept)}", fast == kept),
    ]
    return finish(result, bars, {"samples": samples, "rows": rows})


def _file(name: str, real: RealFile, count: int) -> tuple[Path, Arrays]:
    """Return a file, adapted as its users do, and its samples."""
    file = real.fetch(workspace.root())
    if real.prepare is not None:
        prepared = workspace.root() / f"{name}.onnx"
        real.prepare(file, prepared)
        file = prepared
    return file, real.inputs(file, count)


def _rows(name: str, file: Path, arrays: Arrays, target: str) -> list[Row]:
    """Export and quantize a file for a target."""
    model = api.open(file)
    if not isinstance(model, api.OnnxHandle):
        raise TypeError(f"{file} is not an ONNX file")
    output = workspace.root() / f"{name}-{target}"
    small = workspace.root() / f"{name}-int8-{target}"
    return [
        _row(name, target, "fp32", output, lambda: model.to(target, samples=arrays, output=output,
            force=True)),
        _row(name, target, "int8", small, lambda: model.quantize(target, samples=arrays,
            weight_bits=7 if processor.saturates_int8() else 8, output=small, force=True)),
    ]  # fmt: skip


def _row(name: str, target: str, precision: str, output: Path, make: Callable[[], object]) -> Row:
    row: Row = {"file": name, "target": target, "precision": precision}
    try:
        make()
    except api.BmcError as error:
        print(f"{name} {target} {precision}: {error}", flush=True)
        return {**row, "refused": _FOLDERS.sub("", str(error))}
    except Exception as error:  # noqa: BLE001  faults of bmc are what the benchmark looks for
        print(f"{name} {target} {precision}: {type(error).__name__}: {error}", flush=True)
        reason = _FOLDERS.sub("", f"{type(error).__name__}: {error}")
        return {**row, "refused": reason, "is_fault": True}
    bundle = read(output)
    parity, build = bundle.manifest.parity, bundle.manifest.build
    agreement = parity["cosine"] if parity["agreement"] is None else parity["agreement"]
    row |= {
        "agreement": agreement,
        "cosine": parity["cosine"],
        "bytes": bundle.model_size(),
        "in_float": len(_layers(build.get("in_float"))),
        "over_fp32": build.get("over_fp32"),
        "ran_here": bundle.manifest.stand_in is None,
    }
    print(f"{name} {target} {precision}: {agreement:.4f}, {row['bytes']:,} bytes", flush=True)
    return row


def _layers(names: object) -> Sequence[object]:
    return names if isinstance(names, list) else []


if __name__ == "__main__":
    sys.exit(main())
