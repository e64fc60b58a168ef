"""Static quantization: weights and inputs of 8 bits, ranges found beforehand on real rows."""

from __future__ import annotations

from dataclasses import dataclass

from bmc import console
from bmc.compress._rows import drawn
from bmc.compress.quantize import _form
from bmc.compress.quantize._calibration import CALIBRATORS, calibrate, constant_points
from bmc.compress.quantize._smoothing import check_reach, place_divided
from bmc.errors import SettingError
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Static:
    """Quantize linear layers, convolutions and embeddings, and what they read, to 8 bits.

    Weights have a symmetric scale for each output channel (each row of an embedding), inputs one
    scale for the tensor, and a zero point where they lie on one side of zero. Sums and poolings
    between convolutions are quantized too, so that a run time can stay in whole numbers from one
    convolution to the next. Matmuls inside attention, norms and activations stay in float.

    Args:
        rows: training rows that ranges are found on, drawn at random.
        calibrator: how a range is chosen: minmax (all that was seen), percentile, or mse (the one
            with the least squared error).
        percentile: of the absolute values, for that calibrator.
        weight_bits: 8, or 7 for processors without VNNI, where ONNX Runtime adds two products in 16
            bits and cuts what does not fit; stored as 8 all the same.
        in_float: names (fnmatch patterns) of layers that stay in float.
        reach: input channels of a linear layer that reach farther than so many times the median one
            are divided down to that, and their weights multiplied, where one reaches three times
            as far and more; 0 leaves all as they are.

    Raises:
        SettingError: a setting is out of range.
    """

    rows: int = 256
    calibrator: str = "mse"
    percentile: float = 99.99
    weight_bits: int = 8
    in_float: tuple[str, ...] = ()
    reach: float = 2.0

    def __post_init__(self) -> None:
        if self.calibrator not in CALIBRATORS:
            raise SettingError(
                f"calibrator is {self.calibrator!r}; possible: {', '.join(CALIBRATORS)}"
            )
        if self.rows < 1:
            raise SettingError(f"rows is {self.rows}; it must be at least 1")
        if self.weight_bits not in (7, 8):
            raise SettingError(f"weight_bits is {self.weight_bits}; 7 and 8 are possible")
        if self.percentile != Static.percentile and self.calibrator != "percentile":
            raise SettingError(
                f"percentile is {self.percentile}, which calibrator {self.calibrator!r} does not "
                "read; calibrator 'percentile' does"
            )
        if not 50 <= self.percentile <= 100:
            raise SettingError(f"percentile is {self.percentile}; it must lie in 50..100")
        check_reach(self.reach)

    def apply(self, model: Model, work: Work) -> Record:
        """Find the ranges, and return what is quantized."""
        _form.become_form(model)
        found = _form.chosen(_form.read_layers(model), self.in_float)
        record: Record = {
            path: {
                "bits": self.weight_bits if type(layer) in _form.WEIGHTED else 0,
                "group": 0,
                "inputs": "float" if type(layer) in _form.WEIGHTS_ALONE else "static",
            }
            for path, layer in found.items()
        }
        rows = drawn(model, work, self.rows)
        record = place_divided(model, record, found, rows, self.reach)
        calibrate(model.module, model.encoder, rows, self.calibrator, self.percentile)
        for path in constant_points(model.module):
            console.note(f"{path} reads nothing but zeros from the calibration rows")
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, with the recorded points."""
        _form.rebuild(model, record)


STEP = Static
