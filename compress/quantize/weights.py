"""Weight-only quantization: 8-bit or 4-bit weights, with inputs in float."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from bmc.choices import Among, about
from bmc.errors import SettingError
from bmc.inference import quantized_form
from bmc.inference.form import become_inference_form
from bmc.inference.layers import called_layers_with_weights, say_left_in_float, without
from bmc.inference.quantized_form import LayerQuantization, quantize_layers
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work
from bmc.quantization.gptq import quantize_fitted


@dataclass(frozen=True)
class Weights:
    """Quantize weights of linear and recurrent layers, convolutions and embeddings.

    Scales are symmetric: one for each output channel, or for each group of a row's values. 8-bit
    weights are rounded to the nearest step. 4-bit weights get the scales with the least squared
    error, and are rounded with GPTQ on calibration samples. Files get smaller; the runtimes
    multiply in float, or unpack the weights when they load the file.

    Args:
        bits: bits of the weights: 8, or 4 for linear layers and embeddings (other layers get 8).
        group: number of values of a row that share a scale with 4 bits; a row whose length is not
            divisible by this number has one scale.
        samples: number of calibration samples for GPTQ: training rows, drawn at random.
        in_float: names (fnmatch patterns) of layers that stay in float.

    Raises:
        SettingError: a setting is out of range.

    Source: Dettmers and Zettlemoyer 2023, "The case for 4-bit precision", section 3 (blocks);
    Frantar et al. 2023, "GPTQ", section 3, and Kim et al. 2025, "GuidedQuant", section 3 (both
    rounding).
    """

    bits: int = field(default=8, metadata=about(search=Among((8, 4))))
    group: int = 32
    samples: int = field(default=1024, metadata={"alias": "rows"})
    in_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise SettingError(f"bits is {self.bits}; 4 and 8 are possible")
        if self.group < 16 or self.group & (self.group - 1):
            raise SettingError(f"group is {self.group}; it must be a power of 2, 16 or more")
        if self.samples < 1:
            raise SettingError(f"samples is {self.samples}; it must be at least 1")
        for name in ("group", "samples"):
            if self.bits == 8 and getattr(self, name) != getattr(Weights, name):
                raise SettingError(
                    f"{name} is {getattr(self, name)}, which only 4-bit weights use: --bits 4"
                )

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize the model, and return how each layer is quantized."""
        become_inference_form(model)
        layers = without(called_layers_with_weights(model), self.in_float)
        record: Record = {path: self._entry(layer).to_json() for path, layer in layers.items()}
        say_left_in_float(model.module, record)
        if self.bits == 8:
            quantize_layers(model.module, record)
            return record
        samples = calibration_samples(model, work, self.samples)
        return quantize_fitted(model, record, layers, samples)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace a newly built model's module by its inference form, quantized as recorded."""
        quantized_form.rebuild(model, record)

    def _entry(self, layer: nn.Module) -> LayerQuantization:
        """Return how a layer is quantized."""
        if self.bits == 8 or not isinstance(layer, (nn.Linear, nn.Embedding)):
            return LayerQuantization(8)
        is_divisible = layer.weight.shape[1] % self.group == 0
        return LayerQuantization(4, self.group if is_divisible else 0)


STEP = Weights
