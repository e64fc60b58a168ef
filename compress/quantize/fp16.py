"""Half precision: weights and most of the arithmetic in fp16."""

from __future__ import annotations

from dataclasses import dataclass

from bmc import console
from bmc.compress._rows import drawn
from bmc.compress.quantize import _form, _narrow
from bmc.errors import SettingError
from bmc.model import Model, Record, Work


@dataclass(frozen=True)
class Fp16:
    """Compute in fp16; norms and softmax stay in fp32, and so do layers that would overflow.

    The precision stands in the graph. TensorRT computes as it says; ONNX Runtime and OpenVINO on a
    CPU store half as much, and compute in fp32.

    Args:
        rows: training rows that overflow is looked for on.
        in_float: names (fnmatch patterns) of layers that stay in fp32, beside those that overflow.

    Raises:
        SettingError: a setting is out of range.

    Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.
    """

    rows: int = 256
    in_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise SettingError(f"rows is {self.rows}; it must be at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Look for overflow, say what stays in fp32, and change the rest."""
        form = _form.form_of(model)
        every = _form.layers_of(form)
        kept = every.keys() - _form.chosen(every, self.in_float).keys()
        kept |= _narrow.answering(form, model.task)
        rows = drawn(model, work, self.rows)
        far = _narrow.overflowing(form, model.encoder, rows)
        if far:
            console.note(f"near the end of fp16 and left in fp32: {', '.join(far)}")
        record: Record = {"precision": "fp16", "keep": sorted(kept | set(far))}
        if not _narrow.narrowed(form, record["keep"]):
            return {}
        Fp16.rebuild(model, record)
        _narrow.check_answers(model.module, model.encoder, rows)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Make a freshly built model its inference form, in the recorded precision."""
        _narrow.rebuild(model, record)


STEP = Fp16
