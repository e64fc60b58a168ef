"""Does a TensorRT engine keep a shared weight once, and a codebook packed?

    python benchmarks/engines.py        (three minutes; pip install "bmc-toolkit[tensorrt]")

Untuned copies of the baselines of baselines.py (trained where they are missing) are shared in one
way each and exported to all targets; the engine is built by TensorRT for RTX on the CPU. What is
compared is the size of each file with that of the unchanged model's in the same target: an engine
has megabytes of its own kernels, so its weights are what it loses against the unchanged engine.

Writes benchmarks/results/engines.json.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from _common import RUNS, Bar, bmc, finish

from bmc import bundle as bundles
from bmc import workspace

TARGETS = ("onnx", "openvino", "tensorrt")
SAVED = 0.95
SHARED = (
    ("bert", "movie-reviews", ("--method", "layers")),
    ("mlp", "fashion-mnist", ("--method", "cluster", "--set", "values=16")),
    ("vgg16", "fashion-mnist", ("--method", "cluster", "--set", "values=16")),
    ("vgg16", "fashion-mnist", ("--method", "cluster", "--set", "values=256")),
)


def main() -> int:
    """Share, export, and hold each file against the unchanged model's."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    cases = [_case(*case) for case in SHARED]
    for case in cases:
        for target in TARGETS:
            before, after = case["before"][target], case["after"][target]
            print(f"{case['case']}, {target}: {before:,} -> {after:,} bytes")
    bars = [
        Bar(
            f"{case['case']}: the {target} file loses {SAVED:.0%} of what model.safetensors loses",
            f"{_lost(case, target) / _lost(case, 'weights'):.3f}",
            _lost(case, target) >= SAVED * _lost(case, "weights"),
        )
        for case in cases
        for target in ("onnx", "openvino")
    ]
    return finish("engines", bars, {"cases": cases})


def _case(model: str, data: str, options: tuple[str, ...]) -> dict[str, Any]:
    base = workspace.root() / f"{model}-{data}-0"
    if not base.is_dir():
        bmc("train", model, "--data", data, "-o", base)
    name = f"engines-{model}-{'-'.join(options[1::2]).replace('=', '-')}"
    shared = workspace.root() / name
    if not shared.is_dir():
        bmc("share", base, *options, "--epochs", 0, "-o", shared)
    return {
        "case": f"{model}, share {' '.join(options)}",
        "before": _sizes(base),
        "after": _sizes(shared),
    }


def _lost(case: dict[str, Any], measure: str) -> int:
    return int(case["before"][measure] - case["after"][measure])


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of the weights and of each target's file; missing files are exported."""
    folder_of = {target: folder.with_name(f"{folder.name}-{target}") for target in TARGETS}
    missing = [target for target, bundle in folder_of.items() if not bundle.is_dir()]
    if missing:
        bmc("export", folder, "--target", ",".join(missing))
    weights = (folder / "model.safetensors").stat().st_size
    return {
        "weights": weights,
        **{name: _model_bytes(bundle) for name, bundle in folder_of.items()},
    }


def _model_bytes(bundle: Path) -> int:
    """Return the file that the runtime reads: for TensorRT the engine, not the ONNX file."""
    engines = list(bundle.glob("*.engine"))
    return engines[0].stat().st_size if engines else bundles.read(bundle).model_size()


if __name__ == "__main__":
    sys.exit(main())
