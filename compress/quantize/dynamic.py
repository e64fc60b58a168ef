"""Dynamic quantization: weights of 8 bits, ranges of the inputs found anew at each call."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bmc.compress.quantize import _form
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Dynamic:
    """Quantize linear layers, their inputs at run time, and the weights of embeddings.

    Nothing is calibrated. It is for ONNX Runtime: the others have no such operators, or compute
    them in float.

    Args:
        in_float: names (fnmatch patterns) of layers that stay in float.
    """

    in_float: tuple[str, ...] = ()

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, and return how each layer is."""
        _form.become_form(model)
        found = _form.chosen(_form.weighted(model.module), self.in_float)
        record = {
            path: {
                "bits": 8,
                "group": 0,
                "inputs": "dynamic" if isinstance(layer, nn.Linear) else "float",
            }
            for path, layer in found.items()
        }
        _form.place(model.module, record)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, with the recorded layers."""
        _form.rebuild(model, record)


STEP = Dynamic
