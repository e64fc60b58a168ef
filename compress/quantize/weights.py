"""Weight-only quantization: weights of 8 or 4 bits, inputs stay in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from bmc.compress._rows import drawn
from bmc.compress.quantize import _form
from bmc.compress.quantize._rounding import place_fitted
from bmc.errors import SettingError
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Weights:
    """Quantize weights of linear and recurrent layers, convolutions and embeddings.

    Scales are symmetric, one for each output channel, or for each group of a row's values. Weights
    of 8 bits are rounded to the nearest step. Scales of 4 bits have the least squared error, and
    their rounding is fitted to what layers read and what comes of it. Files get smaller; run times
    multiply in float, or unfold the weights as they load.

    Args:
        bits: 8, or 4 (linear layers and embeddings; other layers get 8).
        group: values that share a scale with 4 bits; a row whose length it does not divide has
            one scale.
        rows: training rows, drawn at random, that 4 bits are fitted to.
        in_float: names (fnmatch patterns) of layers that stay in float.

    Raises:
        SettingError: a setting is out of range.

    Source: Dettmers and Zettlemoyer 2023, "The case for 4-bit precision", section 3 (blocks);
    Frantar et al. 2023, "GPTQ", section 3, and Kim et al. 2025, "GuidedQuant", section 3 (both
    rounding).
    """

    bits: int = 8
    group: int = 32
    rows: int = 1024
    in_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise SettingError(f"bits is {self.bits}; 4 and 8 are possible")
        if self.group < 16 or self.group & (self.group - 1):
            raise SettingError(f"group is {self.group}; it must be a power of 2, 16 or more")
        if self.rows < 1:
            raise SettingError(f"rows is {self.rows}; it must be at least 1")
        for name in ("group", "rows"):
            if self.bits == 8 and getattr(self, name) != getattr(Weights, name):
                raise SettingError(
                    f"{name} is {getattr(self, name)}, which only 4 bits read: --bits 4"
                )

    def apply(self, model: Model, work: Work) -> Record:
        """Quantize, and return how each weight is."""
        _form.become_form(model)
        found = _form.chosen(_form.weighted(model), self.in_float)
        record = {path: self._of(layer) for path, layer in found.items()}
        if self.bits == 8:
            _form.place(model.module, record)
            return record
        return place_fitted(model, record, found, drawn(model, work, self.rows))

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, with the recorded grids."""
        _form.rebuild(model, record)

    def _of(self, layer: nn.Module) -> Mapping[str, object]:
        if self.bits == 8 or not isinstance(layer, (nn.Linear, nn.Embedding)):
            return {"bits": 8, "group": 0, "inputs": "float"}
        group = self.group if layer.weight.shape[1] % self.group == 0 else 0
        return {"bits": 4, "group": group, "inputs": "float"}


STEP = Weights
