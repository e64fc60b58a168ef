"""Dynamic quantization: weights of 8 bits, with ranges of the inputs found at each call."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from bmc.errors import SettingError
from bmc.inference import quantized_form
from bmc.inference.form import become_inference_form
from bmc.inference.layers import called_layers_with_weights, without
from bmc.inference.quantized_form import LayerQuantization
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work
from bmc.quantization.equalization import check_outlier_threshold, quantize_equalized


@dataclass(frozen=True)
class Dynamic:
    """Quantize linear layers, their inputs at run time, and the weights of embeddings.

    No range is calibrated; samples are read for outlying input channels alone. It is for ONNX
    Runtime: the other targets have no such operators, or compute them in float.

    Args:
        samples: calibration samples in which outlying channels are looked for: training rows, drawn
            at random.
        in_float: names (fnmatch patterns) of layers that stay in float.
        outlier_threshold: of equalization: input channels of a linear layer whose largest value
            exceeds so many times the median channel's are scaled down to that, and their weights
            multiplied, where one exceeds it three times or more; 0 leaves all as they are.

    Raises:
        SettingError: a setting is out of range.
    """

    samples: int = field(default=256, metadata={"alias": "rows"})
    in_float: tuple[str, ...] = ()
    outlier_threshold: float = field(default=2.0, metadata={"alias": "reach"})

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise SettingError(f"samples is {self.samples}; it must be at least 1")
        check_outlier_threshold(self.outlier_threshold)

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, and return how each layer is quantized."""
        become_inference_form(model)
        layers = without(called_layers_with_weights(model), self.in_float)
        record: Record = {}
        for path, layer in layers.items():
            inputs = "dynamic" if isinstance(layer, nn.Linear) else "float"
            record[path] = LayerQuantization(8, inputs=inputs).to_json()
        samples = calibration_samples(model, work, self.samples)
        return quantize_equalized(model, record, layers, samples, self.outlier_threshold)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, with the recorded layers quantized."""
        quantized_form.rebuild(model, record)


STEP = Dynamic
