"""Dynamic quantization: 8-bit weights, and ranges of the inputs that each call computes."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from bmc.errors import SettingError
from bmc.inference import quantized_form
from bmc.inference.form import become_inference_form
from bmc.inference.layers import called_layers_with_weights, say_left_in_float, without
from bmc.inference.quantized_form import LayerQuantization
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work
from bmc.quantization.equalization import check_outlier_threshold, quantize_equalized
from bmc.quantization.weight_bits import check_weight_bits


@dataclass(frozen=True)
class Dynamic:
    """Quantize linear layers, their inputs at runtime, and the weights of embeddings.

    Ranges are not calibrated; samples are needed only to find outlying input channels. The method
    is for ONNX Runtime: the other targets lack the operators, or compute them in float.

    Args:
        samples: number of calibration samples for finding outlying channels: training rows, drawn
            at random.
        weight_bits: bits of the weights of linear layers: 8, or 7 for x86 processors without VNNI,
            where int8 kernels add two products in 16 bits and saturate. 7 bits are stored as 8.
        in_float: names (fnmatch patterns) of layers that stay in float.
        outlier_threshold: limit of an input channel's largest value, in multiples of the median
            channel's. Linear layers with a channel that exceeds the limit three times or more are
            equalized: larger channels are divided down to the limit, and their weights multiplied;
            0 equalizes no layer.

    Raises:
        SettingError: a setting is out of range.
    """

    samples: int = field(default=256, metadata={"alias": "rows"})
    weight_bits: int = 8
    in_float: tuple[str, ...] = ()
    outlier_threshold: float = field(default=2.0, metadata={"alias": "reach"})

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SettingError(f"samples is {self.samples}; it must be at least 1")
        check_weight_bits(self.weight_bits)
        check_outlier_threshold(self.outlier_threshold)

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize the model, and return how each layer is quantized."""
        become_inference_form(model)
        layers = without(called_layers_with_weights(model), self.in_float)
        record: Record = {}
        for path, layer in layers.items():
            is_linear = isinstance(layer, nn.Linear)
            bits, inputs = (self.weight_bits, "dynamic") if is_linear else (8, "float")
            record[path] = LayerQuantization(bits, inputs=inputs).to_json()
        samples = calibration_samples(model, work, self.samples)
        record = quantize_equalized(model, record, layers, samples, self.outlier_threshold)
        say_left_in_float(model.module, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace a newly built model's module by its inference form, quantized as recorded."""
        quantized_form.rebuild(model, record)


STEP = Dynamic
