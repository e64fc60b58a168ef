"""Does `bmc prune` keep more, and gain more, than the tools that prune already?

    python benchmarks/pruning_peers.py                     (cnn, three seeds; ten minutes)
    python benchmarks/pruning_peers.py --model resnet18 --seeds 1        (an hour and a half)

Every way starts from the same trained baseline on fashion-mnist, goes to the same share of the
MACs, and is fine-tuned for as many epochs on the same rows with the same recipe:

- `bmc prune --target-macs`, once with labels alone and once with `--distill`;
- Torch-Pruning as its README shows it: BasePruner with GroupMagnitudeImportance, the last layer
  ignored, widths rounded to 8, the ratio found by bisection;
- torch.nn.utils.prune: the smallest weights of all layers masked (global_unstructured, L1), as many
  as leave that share of multiplications by something other than zero. The masks hold through
  fine-tuning.

All of them leave by bmc's exporter, so what differs is the pruning. Points lost are paired on the
held-out rows; the bundles are timed in turn in one run.

Writes benchmarks/results/pruning_peers-MODEL.json. Exit code 1: bmc's best keeps less than a peer,
or is slower or larger, by more than the interval.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning
from _common import RUNS, Bar, bmc, finish
from torch import Tensor, nn
from torch.nn.utils import prune

from bmc import artifact, workspace
from bmc import bundle as bundles
from bmc import data as datasets
from bmc.data import Dataset
from bmc.export import ExportOptions
from bmc.export.flow import export
from bmc.export.source import Source
from bmc.inspect.collect import TOKENS, costs_at
from bmc.measure import results, scores
from bmc.measure.latency import BenchSettings
from bmc.model import AfterStep, Model
from bmc.training.work import fit_model
from bmc.workflows.tuning import Tuning

DATA = "fashion-mnist"
STEPS = 30  # of a bisection
LAUNCHES, ROUNDS = 5, 6


@dataclass(frozen=True)
class Outcome:
    """The result of one pruning method for one seed."""

    way: str
    seed: int
    macs: float
    lost: dict[str, float]
    accuracy: float
    model_bytes: int
    bundle: str


def main() -> int:
    """Prune in each way, export, compare."""
    options = _options()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    outcomes: list[Outcome] = []
    for seed in range(options.seeds):
        outcomes += _seed(options.model, seed, options.macs, options.epochs)
    base = workspace.root() / f"{options.model}-{DATA}-0-onnx"
    folders = [
        base,
        *(workspace.root() / outcome.bundle for outcome in outcomes if outcome.seed == 0),
    ]
    run = results.measure_bundles(folders, (1, 2), BenchSettings(1, TOKENS, LAUNCHES, ROUNDS))
    results.save(run, workspace.root() / ".bench" / f"pruning-peers-{options.model}.json")
    speed = {row.name: asdict(row) for row in run.rows if row.best}
    bars = _bars(options.model, outcomes, speed)
    content = {"found": [asdict(outcome) for outcome in outcomes], "speed": speed, **vars(options)}
    return finish(f"pruning_peers-{options.model}", bars, content)


def _seed(name: str, seed: int, share: float, epochs: int) -> list[Outcome]:
    base = workspace.root() / f"{name}-{DATA}-{seed}"
    if not base.is_dir():
        bmc("train", name, "--data", DATA, "--seed", seed, "-o", base)
    if not base.with_name(f"{base.name}-onnx").is_dir():
        bmc("export", base, "--target", "onnx")
    data = datasets.load(DATA)
    methods: dict[str, Callable[[Path], float]] = {
        "bmc": lambda pruned_bundle: _bmc(base, pruned_bundle, share, seed, epochs),
        "bmc-distill": lambda pruned_bundle: _bmc(
            base, pruned_bundle, share, seed, epochs, "--distill"
        ),
        "torch-pruning": lambda pruned_bundle: _peer(
            _cut, base, pruned_bundle, data, share, seed, epochs
        ),
        "torch-masks": lambda pruned_bundle: _peer(
            _masked, base, pruned_bundle, data, share, seed, epochs
        ),
    }
    outcomes = []
    for method, run in methods.items():
        pruned_bundle = workspace.root() / f"peers-{name}-{seed}-{method}-onnx"
        outcomes.append(_compared(method, seed, run(pruned_bundle), base, pruned_bundle))
        print(outcomes[-1], flush=True)
    return outcomes


def _bmc(
    base: Path, pruned_bundle: Path, share: float, seed: int, epochs: int, *more: str
) -> float:
    pruned = pruned_bundle.with_name(pruned_bundle.name.removesuffix("-onnx"))
    target = ("--target-macs", f"{share}x", "--epochs", epochs)
    bmc("prune", base, *target, *more, "--seed", seed, "-o", pruned, "--force")
    bmc("export", pruned, "--target", "onnx", "--force")
    before, after = (
        costs_at(artifact.load(folder), TOKENS, runs=1).macs for folder in (base, pruned)
    )
    return after / before


def _peer(
    prune: Callable[[Model, float], tuple[nn.Module, float, AfterStep | None]],
    base: Path,
    pruned_bundle: Path,
    data: Dataset,
    share: float,
    seed: int,
    epochs: int,
) -> float:
    """Prune in a peer's way, fine-tune with the recipe that `bmc prune` takes, and export."""
    model = artifact.load(base)
    model.module, left, after_step = prune(model, share)
    settings = Tuning(epochs=epochs, seed=seed).settings(model)
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        fit_model(model, data, settings, Path(folder), after_step=after_step)
        model.module.cpu().eval()
        export(
            Source(base, model, data, ExportOptions(), Path(folder)),
            "onnx",
            pruned_bundle,
            force=True,
        )
    return left


def _cut(model: Model, share: float) -> tuple[nn.Module, float, AfterStep | None]:
    """Prune as Torch-Pruning's README does."""
    image = model.encoder.settings  # type: ignore[attr-defined]
    example = torch.randn(1, image.channels, image.height, image.width)
    full, _ = torch_pruning.utils.count_ops_and_params(model.module, example)

    def pruned(ratio: float) -> tuple[nn.Module, float]:
        module = copy.deepcopy(model.module)
        last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
        torch_pruning.pruner.BasePruner(
            module,
            example,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            ignored_layers=[last],
            round_to=8,
        ).step()
        macs, _ = torch_pruning.utils.count_ops_and_params(module, example)
        return module, macs / full

    low, high = 0.0, 0.99
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if pruned(middle)[1] <= share else (middle, high)
    module, left = pruned(high)
    return module, left, None


def _masked(model: Model, share: float) -> tuple[nn.Module, float, AfterStep | None]:
    """Mask the smallest weights of all layers, as torch.nn.utils.prune does."""
    macs = {layer.path: layer.macs for layer in costs_at(model, TOKENS, runs=1).layers}

    def masked(amount: float) -> tuple[nn.Module, float]:
        module = copy.deepcopy(model.module)
        layers = {
            path: layer
            for path, layer in module.named_modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
        }
        chosen = [(layer, "weight") for layer in layers.values()]
        prune.global_unstructured(chosen, pruning_method=prune.L1Unstructured, amount=amount)
        left = 0.0
        for path, layer in layers.items():
            prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
            left += macs[path] * float((layer.weight != 0).float().mean())
        return module, left / sum(macs.values())

    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if masked(middle)[1] <= share else (middle, high)
    module, left = masked(high)
    masks = {
        name: value != 0
        for name, value in module.named_parameters()
        if isinstance(value, Tensor) and (value == 0).any()
    }

    def keep_zeros(trained: nn.Module, done: float) -> None:
        with torch.no_grad():
            for name, value in trained.named_parameters():
                if name in masks:
                    value.mul_(masks[name])

    return module, left, keep_zeros


def _compared(method: str, seed: int, macs: float, base: Path, pruned_bundle: Path) -> Outcome:
    base_logits, pruned_logits = (
        np.load(folder / bundles.EVALUATION)
        for folder in (base.with_name(f"{base.name}-onnx"), pruned_bundle)
    )
    lost = scores.lost(
        "classification", pruned_logits["logits"], base_logits["logits"], pruned_logits["labels"]
    )
    done = bundles.read(pruned_bundle)
    accuracy = done.manifest.scores["accuracy"]["value"]
    return Outcome(
        method, seed, macs, asdict(lost), accuracy, done.model_size(), pruned_bundle.name
    )


def _bars(model: str, outcomes: list[Outcome], speed: dict[str, Any]) -> list[Bar]:
    def mean(method: str) -> float:
        return 100 * float(
            np.mean([outcome.lost["value"] for outcome in outcomes if outcome.way == method])
        )

    def first(method: str) -> Outcome:
        return next(outcome for outcome in outcomes if outcome.way == method)

    best = min(("bmc", "bmc-distill"), key=mean)
    bars = []
    for peer in ("torch-pruning", "torch-masks"):
        must = f"{model}: {best} loses no more points than {peer}"
        bars.append(
            Bar(must, f"{mean(best):.2f} against {mean(peer):.2f}", mean(best) <= mean(peer))
        )
        bmc_speed, base_logits = (speed[first(method).bundle] for method in (best, peer))
        met = bmc_speed["p50"]["low"] <= base_logits["p50"]["high"]
        times = f"{bmc_speed['p50']['value']:.3f} against {base_logits['p50']['value']:.3f} ms"
        bars.append(Bar(f"{model}: {best} is no slower than {peer}", times, met))
        sizes = first(best).model_bytes, first(peer).model_bytes
        text = f"{sizes[0]:,} against {sizes[1]:,} bytes"
        bars.append(
            Bar(f"{model}: {best}'s file is no larger than {peer}'s", text, sizes[0] <= sizes[1])
        )
    return bars


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--macs", type=float, default=0.27, help="share that is left")
    parser.add_argument("--epochs", type=int, default=3, help="of fine-tuning")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
