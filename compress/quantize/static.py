"""Static quantization: 8-bit weights and inputs, with ranges from calibration samples."""

from __future__ import annotations

from dataclasses import dataclass, field

from bmc import console
from bmc.choices import Among, about
from bmc.errors import SettingError
from bmc.inference import quantized_form
from bmc.inference.form import become_inference_form
from bmc.inference.layers import called_layers, say_left_in_float, without
from bmc.inference.quantized_form import LayerQuantization
from bmc.inference.quantized_layers import FLOAT_INPUTS, WITH_WEIGHTS, plain_layer
from bmc.inference.replacing import replace_layers
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Record, Work
from bmc.quantization.calibration import calibrate, layers_that_read_zeros
from bmc.quantization.equalization import check_outlier_threshold, quantize_equalized
from bmc.quantization.observers import CALIBRATORS
from bmc.quantization.weight_bits import check_weight_bits


@dataclass(frozen=True)
class Static:
    """Quantize linear layers, convolutions and embeddings, and their inputs, to 8 bits.

    Weights have a symmetric scale for each output channel (each row of an embedding). Inputs have
    one scale for the tensor, and a zero point where the values are mostly positive. Sums and
    poolings between convolutions are quantized too, which lets a runtime compute in integers from
    one convolution to the next. Matmuls inside attention, norms and activations stay in float; in
    a user's network all layers but `nn.Linear`, `nn.Conv2d` and `nn.Embedding` do, as does a layer
    that reads only zeros on the samples.

    Args:
        samples: number of calibration samples: training rows, drawn at random.
        calibrator: calibration method: minmax (the whole range), percentile, or mse (the range
            with the least squared error).
        percentile: percentile of the absolute values, for the calibrator percentile.
        weight_bits: bits of the weights: 8, or 7 for x86 processors without VNNI, where int8
            kernels add two products in 16 bits and saturate. 7 bits are stored as 8.
        in_float: names (fnmatch patterns) of layers that stay in float.
        outlier_threshold: limit of an input channel's largest value, in multiples of the median
            channel's. Linear layers with a channel that exceeds the limit three times or more are
            equalized: larger channels are divided down to the limit, and their weights multiplied;
            0 equalizes no layer.

    Raises:
        SettingError: a setting is out of range.
    """

    samples: int = field(default=256, metadata={"alias": "rows"})
    calibrator: str = field(default="mse", metadata=about(search=Among(("mse", "minmax"))))
    percentile: float = 99.99
    weight_bits: int = 8
    in_float: tuple[str, ...] = ()
    outlier_threshold: float = field(default=2.0, metadata={"alias": "reach"})

    def __post_init__(self) -> None:
        if self.calibrator not in CALIBRATORS:
            raise SettingError(
                f"calibrator is {self.calibrator!r}; possible: {', '.join(CALIBRATORS)}"
            )
        if self.samples < 1:
            raise SettingError(f"samples is {self.samples}; it must be at least 1")
        check_weight_bits(self.weight_bits)
        if self.percentile != Static.percentile and self.calibrator != "percentile":
            raise SettingError(
                f"percentile is {self.percentile}, which calibrator {self.calibrator!r} does not "
                "read; calibrator 'percentile' does"
            )
        if not 50 <= self.percentile <= 100:
            raise SettingError(f"percentile is {self.percentile}; it must lie in 50..100")
        check_outlier_threshold(self.outlier_threshold)

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize and calibrate the model; return how each layer is quantized."""
        become_inference_form(model)
        layers = without(called_layers(model), self.in_float)
        record: Record = {}
        for path, layer in layers.items():
            bits = self.weight_bits if type(layer) in WITH_WEIGHTS else 0
            inputs = "float" if type(layer) in FLOAT_INPUTS else "static"
            record[path] = LayerQuantization(bits, inputs=inputs).to_json()
        samples = calibration_samples(model, work, self.samples)
        record = quantize_equalized(model, record, layers, samples, self.outlier_threshold)
        calibrate(model.module, model.encoder, samples, self.calibrator, self.percentile)
        unread = layers_that_read_zeros(model.module)
        for path in unread:
            console.note(
                f"{path} stays in float: the calibration samples give it no values but zeros, so "
                "its range is not known"
            )
        layers = {path: model.module.get_submodule(path) for path in unread}
        replace_layers(model.module, {layer: plain_layer(layer) for layer in layers.values()})
        record = {path: entry for path, entry in record.items() if path not in unread}
        say_left_in_float(model.module, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace a newly built model's module by its inference form, quantized as recorded."""
        quantized_form.rebuild(model, record)


STEP = Static
