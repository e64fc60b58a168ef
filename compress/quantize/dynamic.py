"""Dynamic quantization: weights of 8 bits, ranges of the inputs found anew at each call."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bmc.compress._rows import drawn
from bmc.compress.quantize import _form
from bmc.compress.quantize._smoothing import check_reach, place_divided
from bmc.errors import SettingError
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Dynamic:
    """Quantize linear layers, their inputs at run time, and the weights of embeddings.

    No range is calibrated; rows are read for outlying input channels alone. It is for ONNX Runtime:
    the others have no such operators, or compute them in float.

    Args:
        rows: training rows in which outlying channels are looked for, drawn at random.
        in_float: names (fnmatch patterns) of layers that stay in float.
        reach: input channels of a linear layer that reach farther than so many times the median one
            are divided down to that, and their weights multiplied, where one reaches three times
            as far and more; 0 leaves all as they are.

    Raises:
        SettingError: a setting is out of range.
    """

    rows: int = 256
    in_float: tuple[str, ...] = ()
    reach: float = 2.0

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise SettingError(f"rows is {self.rows}; it must be at least 1")
        check_reach(self.reach)

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, and return how each layer is."""
        _form.become_form(model)
        found = _form.chosen(_form.weighted(model), self.in_float)
        record = {
            path: {
                "bits": 8,
                "group": 0,
                "inputs": "dynamic" if isinstance(layer, nn.Linear) else "float",
            }
            for path, layer in found.items()
        }
        rows = drawn(model, work, self.rows)
        return place_divided(model, record, found, rows, self.reach)

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, with the recorded layers."""
        _form.rebuild(model, record)


STEP = Dynamic
