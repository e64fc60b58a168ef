"""Which calibrator changes the fewest predictions of a quantized bert? Do other methods help?

    python benchmarks/calibrators.py        (ten minutes)

Each calibrator quantizes the model bert of baselines.py (trained first if it is missing) with the
same 256 calibration samples. The quantized model's outputs in PyTorch are compared with fp32 on the
validation rows and on 1,000 sentences of IMDB. No held-out row is read.

Besides the calibrators and outlier thresholds of `bmc quantize`, two methods are measured that bmc
does not have:

- SmoothQuant (Xiao et al. 2023, equation 4) instead of equalization: each input channel of a linear
  layer is divided by its largest value to the power of alpha, over its largest weight to the power
  of 1 - alpha, and the weights are multiplied by it;
- bias correction (Nagel et al. 2019, section 4.2) on top of the default: the change of the mean of
  a linear layer's outputs, layer after layer, is subtracted from its bias.

Writes benchmarks/results/calibrators.json.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RUNS, bmc, finish
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import artifact, inputs, workspace
from bmc import data as datasets
from bmc.compress.quantize.static import Static
from bmc.data import Dataset, transfer_rows
from bmc.inference.form import inference_form
from bmc.inference.quantized_form import quantize_layers
from bmc.inference.quantized_layers import QuantizedLinear
from bmc.inference.samples import calibration_samples
from bmc.model import Model, output_of
from bmc.quantization.calibration import calibrate
from bmc.quantization.equalization import largest_inputs
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

BASE, BATCH = "bert-movie-reviews-0", 32
SENTENCES, EVERY = 10_000, 10  # every tenth of the 10,000 most similar sentences
TINY = 1e-5
ALPHAS = (0.5, 0.75, 0.95)
UNDIVIDED = Static(outlier_threshold=0)
TRIED = (
    replace(UNDIVIDED, calibrator="minmax"),
    UNDIVIDED,
    replace(UNDIVIDED, calibrator="percentile", percentile=99.99),
    replace(UNDIVIDED, in_float=("*.narrow",)),  # each layer's second feed-forward matmul
    Static(calibrator="minmax"),
    Static(),
    Static(calibrator="percentile", percentile=99.99),
    Static(outlier_threshold=1),
    Static(outlier_threshold=4),
)


def main() -> int:
    """Quantize with each method, and compare the logits with fp32."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "").parse_args()
    os.environ["BMC_HOME"] = str(RUNS / "baselines")
    if not (workspace.root() / BASE).is_dir():
        bmc("train", "bert", "--data", "movie-reviews", "-o", workspace.root() / BASE)
    model = artifact.load(workspace.root() / BASE)
    data = datasets.load("movie-reviews")
    sentences = transfer_rows("imdb", SENTENCES, data).rows[::EVERY]
    rows = [*data.validation.rows, *sentences]
    labels = np.array(data.validation.labels)
    plain = inference_form(model)
    expected = logits_of(model, plain, rows)
    lines = []
    for name, settings, form in _methods(model, data, plain):
        logits = logits_of(model, form, rows)
        changed = logits.argmax(axis=1) != expected.argmax(axis=1)
        result = {
            "way": name,
            "settings": settings,
            "changed": float(changed[: len(labels)].mean()),
            "changed_sentences": float(changed[len(labels) :].mean()),
            "accuracy": float((logits[: len(labels)].argmax(axis=1) == labels).mean()),
            "mean_move": float(np.abs(logits - expected).mean()),
        }
        print(result, flush=True)
        lines.append(result)
    counts = {"rows": len(labels), "sentences": len(sentences)}
    return finish("calibrators", [], {**counts, "found": lines})


def _methods(
    model: Model, data: Dataset, plain: nn.Module
) -> Iterator[tuple[str, dict[str, Any], nn.Module]]:
    """Yield the name, the settings and the quantized network of each method."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        work = work_for(data, (), TrainingSettings(), models, models, lambda name: model, run="")
        for step in TRIED:
            quantized = replace(model, module=copy.deepcopy(model.module))
            step.apply(quantized, work)
            yield "bmc quantize", asdict(step), quantized.module
        step, rows = Static(), calibration_samples(model, work, Static().samples)
        quantized = replace(model, module=copy.deepcopy(model.module))
        step.apply(quantized, work)
        _correct_biases(model, quantized.module, plain, rows)
        yield "bias correction", {}, quantized.module
        record = UNDIVIDED.apply(replace(model, module=copy.deepcopy(model.module)), work)
        for alpha in ALPHAS:
            form = copy.deepcopy(plain)
            _smooth(model, form, rows, alpha)
            quantize_layers(form, record)
            calibrate(form, model.encoder, rows, step.calibrator, step.percentile)
            yield "SmoothQuant", {"alpha": alpha}, form


def _smooth(model: Model, form: nn.Module, rows: Sequence[Any], alpha: float) -> None:
    """Apply SmoothQuant in place: divide input channels, and multiply the weights."""
    linears = {path: part for path, part in form.named_modules() if type(part) is nn.Linear}
    sizes = largest_inputs(form, linears, model.encoder, rows)
    for path, part in linears.items():
        largest = part.weight.detach().abs().amax(dim=0).clamp(min=TINY)
        divided = sizes[path].clamp(min=TINY) ** alpha / largest ** (1 - alpha)
        part.weight.data *= divided
        part.register_forward_pre_hook(lambda _, inputs, by=divided: (inputs[0] / by,))


def _correct_biases(model: Model, form: nn.Module, plain: nn.Module, rows: Sequence[Any]) -> None:
    """Correct the bias of each quantized linear layer by the change of its mean output."""
    for path, part in form.named_modules():
        if isinstance(part, QuantizedLinear):
            quantized_mean, float_mean = (
                _mean_output(model, network, path, rows) for network in (form, plain)
            )
            part.bias.data += float_mean - quantized_mean


def _mean_output(model: Model, form: nn.Module, path: str, rows: Sequence[Any]) -> Tensor:
    total, count = torch.zeros(()), 0

    def hook(_: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal total, count
        total = total + output.flatten(0, -2).sum(dim=0)
        count += output.flatten(0, -2).shape[0]

    handle = form.get_submodule(path).register_forward_hook(hook)
    logits_of(model, form, rows)
    handle.remove()
    return total / count


@torch.inference_mode()
def logits_of(model: Model, form: nn.Module, rows: Sequence[Any]) -> NDArray[np.float32]:
    """Return the logits of a network, (rows, classes)."""
    encoded = model.encoder.encode(rows)
    logits = np.empty((len(rows), len(model.labels)), np.float32)
    for places, arrays in inputs.ordered_batches(model.encoder, encoded, BATCH):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        logits[list(places)] = output_of(form, tensors).numpy()
    return logits


if __name__ == "__main__":
    sys.exit(main())
