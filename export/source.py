"""What is exported: a model directory with its data, made once for all targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bmc import artifact, console, inputs
from bmc import data as datasets
from bmc.compress.quantize._form import centred
from bmc.compress.quantize._layers import QuantizedRecurrent
from bmc.data import Dataset
from bmc.errors import UsageError
from bmc.export import NEWEST_OPSET, OLDEST_OPSET, ExportOptions, dialects, speed
from bmc.export._graph import write_onnx
from bmc.export._lower import lower_file
from bmc.export.dialects import Dialect
from bmc.inputs import Many
from bmc.model import Model, output_of
from bmc.precision import PRECISIONS, precision_of
from bmc.writing import scratch

_BATCH = 32
_GENERATED = 512


@dataclass(frozen=True)
class Source:
    """A model directory on its way into bundles; what targets have in common is made once.

    Args:
        folder: the model directory.
        model: what was loaded from it.
        data: the data it was trained on, whose test split is scored.
        options: how to export.
        work: a folder for the ONNX file.
    """

    folder: Path
    model: Model
    data: Dataset
    options: ExportOptions
    work: Path

    def check(self, target: str) -> None:
        """Refuse a target that cannot execute the model.

        Raises:
            UsageError: it cannot; the message names those that can.
        """
        for dialect in dialects.EVERY:
            if dialect.target == target:
                self._check(dialect)

    def onnx(self, dialect: Dialect) -> tuple[Path, dict[str, int]]:
        """Return the ONNX file in a dialect, and how many nodes of each operator it has."""
        lowered = self.work / f"{dialect.target}.onnx"
        newest = self.options.opset or NEWEST_OPSET
        return lowered, lower_file(self._written[0], lowered, dialect, newest)

    def _check(self, dialect: Dialect) -> None:
        precision = precision_of(self.model)
        if precision in dialect.refused:
            able = [one.target for one in dialects.EVERY if precision not in one.refused]
            raise UsageError(
                f"{self.folder} is {precision}, which {dialect.target} cannot execute; "
                f"{' and '.join(able)} can: --target {','.join(able)}"
            )
        if stuck := _stuck(self.model.module, dialect):
            named = ",".join(stuck)
            raise UsageError(
                f"{dialect.target} takes the weights of a {' or '.join(dialect.float_alone)} in "
                f"float alone, and those of {named} have 8 bits; quantize again with "
                f"--set in_float={named} or export to another target"
            )

    def fit_for(self, target: str) -> Source:
        """Return the model with the grids that a target takes, in a folder of its own if new."""
        module = self.model.module
        for dialect in dialects.EVERY:
            if dialect.target == target and dialect.inputs != "uint8":
                module = centred(module, keep_unsigned=dialect.inputs == "both")
        if module is self.model.module:
            return self
        work = self.work / target
        work.mkdir(exist_ok=True)
        return replace(self, model=replace(self.model, module=module), work=work)

    def in_fp32(self, work: Path) -> Source:
        """Return the same model in fp32, to be exported in another folder."""
        return replace(self, model=speed.in_fp32(self.model), work=work)

    @cached_property
    def opset(self) -> int:
        """The version of the ONNX operators: what was asked for, or the first that is enough."""
        asked = self.options.opset or OLDEST_OPSET
        precision = precision_of(self.model)
        least = PRECISIONS[precision].least_opset
        if asked < least:
            console.note(f"opset {asked} has no {precision}; raised to {least}")
            return least
        return asked

    @cached_property
    def _written(self) -> tuple[Path, str]:
        path = self.work / "model.onnx"
        return path, write_onnx(self.model, path, self.opset)

    @cached_property
    def batch(self) -> dict[str, Any]:
        """What a bundle says of a network that takes one row alone, and which line makes it so."""
        line = self._written[1]
        if not line:
            return {}
        console.note(
            f"the network makes a constant of the number of rows ({line}): the bundle answers row "
            "by row; x.shape[0] or -1 in place of len(x) or int(...) would keep it free"
        )
        return {"max_batch": 1, "fixed_batch": line}

    @cached_property
    def rows(self) -> Many:
        """Held-out rows; seeds of noise for a generator."""
        if self.model.task == "generation":
            return range(_GENERATED)
        return self.data.test.rows

    @cached_property
    def labels(self) -> NDArray[Any]:
        """Classes, or numbers, of the held-out rows."""
        if self.model.task == "generation":
            return np.zeros(_GENERATED, np.int64)
        return np.array(self.data.test.labels)

    @cached_property
    def reference(self) -> NDArray[np.float32]:
        """Outputs of the model in PyTorch, in fp32, on the held-out rows."""
        encoder = self.model.encoder
        rows = encoder.encode(self.rows)
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
        with torch.inference_mode(), console.progress("PyTorch's answers", len(rows)) as advance:
            for places, arrays in inputs.ordered_batches(encoder, rows, _BATCH):
                tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
                outputs = output_of(self.model.module, tensors).numpy()
                for place, output in zip(places, outputs, strict=True):
                    found[place] = output
                advance(len(places))
        return np.stack(found)


def _stuck(form: nn.Module, dialect: Dialect) -> list[str]:
    """Return the recurrent layers of a form whose 8 bits a target does not take."""
    return [
        path
        for path, layer in form.named_modules()
        if isinstance(layer, QuantizedRecurrent)
        and layer.grid
        and layer.operator in dialect.float_alone
    ]


@contextmanager
def source_of(folder: Path, data: Dataset, options: ExportOptions) -> Iterator[Source]:
    """Load a model directory for export.

    Args:
        folder: the model directory.
        data: the data it was trained on.
        options: how to export.

    Raises:
        DataError: the data is not what the model was trained on, so that its test rows may have
            been among the training rows.
    """
    model = artifact.load(folder)
    datasets.check_same(data, model.data.get("fingerprint"), str(folder))
    with scratch() as work:
        yield Source(folder, model, data, options, work)
