"""Mixed precision: static quantization, with the most sensitive layers left in float."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bmc import console
from bmc.choices import Between, about
from bmc.compress.quantize.static import Static
from bmc.contracts.tasks import objective
from bmc.errors import SettingError, UsageError
from bmc.inference.ablation import measure_each
from bmc.inference.layers import say_left_in_float
from bmc.inference.quantized_form import quantized_layers
from bmc.inference.quantized_layers import plain_layer
from bmc.inference.replacing import replace_layers
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work, output_of
from bmc.training.batches import Rows

_BATCH = 32
_SAMPLES = 128


@dataclass(frozen=True)
class Mixed(Static):
    """Quantize as `static` does, and leave the most sensitive layers in float.

    A layer's sensitivity is the change of the outputs on calibration samples when only this layer
    is quantized: the KL divergence for a classifier, the squared error for other models. The most
    sensitive layers return to float, each time twice as many, until the validation score is within
    the allowed drop.

    Args:
        max_drop: points of the validation score that may be lost.

    Raises:
        SettingError: a setting is out of range.
        UsageError: the model is a generator, which has no validation score.

    Source: Wu et al. 2020, "Integer Quantization for Deep Learning Inference", section 6.1.
    """

    max_drop: float = field(
        default=0.5, metadata=about(alias="max_points", search=Between(0.1, 2.0))
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.max_drop <= 100:
            raise SettingError(f"max_drop is {self.max_drop}; it must lie in 0..100")

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, measure each layer's sensitivity, and return how each layer is quantized."""
        if not model.has_labels:
            raise UsageError("mixed chooses by a validation score; a generator has none")
        score_in_float = work.score(model)
        model.module.cpu()  # calibration runs on the CPU
        record = super().apply(model, work)
        layers = quantized_layers(model.module)
        samples = calibration_samples(model, work, min(self.samples, _SAMPLES))
        sensitivity = _sensitivity(model, layers, samples)
        most_sensitive_first = sorted(sensitivity, key=lambda path: -sensitivity[path])
        count = len(sensitivity)
        count_in_float = 0
        while True:
            for rank, path in enumerate(most_sensitive_first):
                layers[path].enabled = rank >= count_in_float
            drop = 100 * (score_in_float - work.score(model))
            console.note(f"{count_in_float} of {count} layers in float: {drop:.2f} points lost")
            if drop <= self.max_drop or count_in_float == count:
                break
            count_in_float = min(max(1, 2 * count_in_float), count)
        for path in most_sensitive_first[: max(count_in_float, 3)]:
            state = "float" if not layers[path].enabled else "int8"
            console.note(
                f"  {path}: the outputs change by {sensitivity[path]:.2g} when only this layer is "
                f"int8; it stays in {state}"
            )
        if count_in_float == count:
            console.note(f"no layer can have 8 bits within {self.max_drop} points")
        restored = most_sensitive_first[:count_in_float]
        replace_layers(model.module, {layers[path]: plain_layer(layers[path]) for path in restored})
        record = {path: entry for path, entry in record.items() if path not in restored}
        if restored:
            say_left_in_float(model.module, record)
        return record


@torch.inference_mode()
def _sensitivity(model: Model, layers: dict[str, Any], rows: list[Any]) -> dict[str, float]:
    """Return the mean change of a row's outputs when only one layer is quantized, by path.

    Args:
        model: a model whose module is calibrated.
        layers: the model's quantized layers, by path.
        rows: calibration samples.
    """
    encoded = Rows(rows, [], model.encoder)
    batches = [encoded.batch(indices) for indices in encoded.in_order(_BATCH)]
    for layer in layers.values():
        layer.enabled = False

    def run() -> list[Tensor]:
        return [batch.selected(output_of(model.module, batch.inputs)) for batch in batches]

    expected = run()

    @contextmanager
    def quantized(path: str) -> Iterator[None]:
        layers[path].enabled = True
        yield
        layers[path].enabled = False

    divergence = objective(model.task).divergence

    def mean_change(path: str) -> float:
        changes = [float(divergence(*pair).sum()) for pair in zip(run(), expected, strict=True)]
        return sum(changes) / len(rows)

    return measure_each(list(layers), quantized, mean_change, "measuring sensitivity")


STEP = Mixed
