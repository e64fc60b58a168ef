"""How are weights of 4 bits best rounded?

    python benchmarks/rounding.py --model bmc-runs/bert-movie-reviews     (three minutes a model)

Each way rounds the linear layers and the word table of a trained `bert` to 4 bits, groups of 32;
what is held against fp32 is what PyTorch answers to the validation rows and to 2,000 sentences of
IMDB. No held-out row is read. The last way is that of `bmc quantize --method weights --bits 4`.
Several models may be named. Writes benchmarks/results/rounding.json.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import finish
from calibrators import logits_of
from torch import Tensor, nn

from bmc import artifact
from bmc.data import transfer_rows
from bmc.inference.form import inference_form
from bmc.inference.quantizers import WeightQuantizer
from bmc.inference.samples import calibration_samples
from bmc.quantization.gptq import fit_scales, round_and_fit, round_in_turn
from bmc.quantization.hessian import hessians
from bmc.quantization.observers import observe_inputs
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows.lineage import data_of

GRID = WeightQuantizer(4, 32)
ROWS = 1024
SENTENCES, EVERY = 10_000, 5

Products = Mapping[str, Tensor]
Rounded = Callable[[str, Any], Tensor]  # a path and its layer: what its weight becomes


def main() -> int:
    """Round each model with each method, and compare the logits."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", action="append", required=True, help="a model directory")
    results = [result for name in parser.parse_args().model for result in _of_model(Path(name))]
    return finish("rounding", [], {"rows_fitted_to": ROWS, "found": results})


def _of_model(folder: Path) -> Iterator[dict[str, Any]]:
    model, data = artifact.load(folder), data_of(folder, None)
    rows = [*data.validation.rows, *transfer_rows("imdb", SENTENCES, data).rows[::EVERY]]
    with tempfile.TemporaryDirectory() as name:
        model_folder = Path(name)
        work = work_for(
            data, (), TrainingSettings(), model_folder, model_folder, lambda name: model, run=""
        )
        fitted_to = calibration_samples(model, work, ROWS)
    plain = inference_form(model)
    layers: dict[str, Any] = {
        path: layer
        for path, layer in plain.named_modules()
        if type(layer) in (nn.Linear, nn.Embedding)
    }
    linears = {path: layer for path, layer in layers.items() if type(layer) is nn.Linear}
    read = _products_read(plain, linears, model.encoder, fitted_to)
    counted = hessians(plain, layers, model.encoder, fitted_to)
    expected = logits_of(model, plain, rows)
    for method, by in _ways(read, counted):
        form = copy.deepcopy(plain)
        for path in layers:
            layer: Any = form.get_submodule(path)
            layer.weight.data = by(path, layer)
        logits = logits_of(model, form, rows)
        result = {
            "model": folder.name,
            "way": method,
            "rows": len(rows),
            "changed": float((logits.argmax(axis=1) != expected.argmax(axis=1)).mean()),
            "mean_square_move": float(np.sqrt(np.square(logits - expected).mean())),
        }
        print(result, flush=True)
        yield result


def _ways(read: Products, counted: Products) -> Iterator[tuple[str, Rounded]]:
    def in_turn(products: Products, path: str, layer: Any) -> Tensor:
        scales = _scales(layer)
        return round_in_turn(layer.weight.data, scales, products[path])

    yield "nearest, scales of the largest weight", lambda path, layer: GRID(layer.weight).detach()
    yield "nearest, scales of least squared error", lambda path, layer: _nearest(layer)
    yield (
        "linear layers in turn, by what they read",
        lambda path, layer: in_turn(read, path, layer) if path in read else _nearest(layer),
    )
    yield (
        "what is read counts by its gradients",
        lambda path, layer: in_turn(counted, path, layer) if path in read else _nearest(layer),
    )
    yield "the word table in turn, too", lambda path, layer: in_turn(counted, path, layer)
    yield (
        "scales fitted anew, twice",
        lambda path, layer: round_and_fit(layer.weight.data, _scales(layer), counted[path])[0],
    )


def _products_read(
    form: nn.Module, linears: Mapping[str, nn.Module], encoder: Any, rows: list[Any]
) -> dict[str, Tensor]:
    """Return the products of what linear layers read, (in, in), by path."""
    hessians: dict[str, Tensor] = {}

    def add(path: str, values: Tensor) -> None:
        values = values.flatten(0, -2)
        hessians[path] = hessians.get(path, 0) + values.t() @ values

    observe_inputs(form, linears, encoder, rows, add, "what layers read")
    return hessians


def _scales(layer: Any) -> Tensor:
    return fit_scales(GRID, layer.weight).view(len(layer.weight), -1)


@torch.no_grad()
def _nearest(layer: Any) -> Tensor:
    scales = _scales(layer).repeat_interleave(GRID.group, dim=1)
    rounded: Tensor = (layer.weight / scales).round().clamp(-8, 7) * scales
    return rounded


if __name__ == "__main__":
    sys.exit(main())
