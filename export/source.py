"""The source of an export: a model directory with its data, prepared once for all targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bmc import artifact, console
from bmc import data as datasets
from bmc.contracts import Dialect
from bmc.contracts.targets import TARGETS, dialect_of
from bmc.data import Dataset
from bmc.errors import UsageError
from bmc.export import NEWEST_OPSET, OLDEST_OPSET, ExportOptions
from bmc.export.lowering import lower_file
from bmc.export.onnx_graph import write_onnx
from bmc.inference.quantized_form import in_fp32, with_zero_point_0
from bmc.inference.quantized_layers import QuantizedRecurrent
from bmc.inference.run import outputs_on_rows
from bmc.inputs import Many
from bmc.model import Model
from bmc.precision import PRECISIONS, precision_of
from bmc.writing import scratch

_BATCH = 32
_GENERATED = 512


@dataclass(frozen=True)
class Source:
    """A model directory to export; results that all targets share are computed once.

    Args:
        folder: the model directory.
        model: the model in that directory.
        data: the data the model was trained on; its test split is scored.
        options: the export's options.
        work: scratch folder for the ONNX files.
    """

    folder: Path
    model: Model
    data: Dataset
    options: ExportOptions
    work: Path

    def check(self, target: str) -> None:
        """Refuse a target that cannot execute the model.

        Raises:
            UsageError: the target cannot execute the model; the message names targets that can.
        """
        dialect = dialect_of(target)
        if dialect is not None:
            self._check(target, dialect)

    def onnx(self, target: str) -> tuple[Path, dict[str, int]]:
        """Return the ONNX file in a target's dialect, and its number of nodes by operator.

        Raises:
            ValueError: the target's format has no dialect.
        """
        dialect = dialect_of(target)
        if dialect is None:
            raise ValueError(f"the format of {target} has no dialect of ONNX")
        lowered = self.work / f"{target}.onnx"
        max_opset = self.options.opset or NEWEST_OPSET
        return lowered, lower_file(self._canonical[0], lowered, dialect, max_opset)

    def _check(self, target: str, dialect: Dialect) -> None:
        precision = precision_of(self.model)
        if precision in dialect.unsupported:
            targets = _targets_for(precision)
            raise UsageError(
                f"{self.folder} is {precision}, which {target} cannot execute; "
                f"{' and '.join(targets)} can: --target {','.join(targets)}"
            )
        if layers := _quantized_recurrent(self.model.module, dialect):
            paths, operators = ",".join(layers), " or ".join(dialect.float_weights_only)
            raise UsageError(
                f"{target} accepts the weights of {operators} only in float, and the weights of "
                f"{paths} have 8 bits; quantize again with --set in_float={paths} or export to "
                "another target"
            )

    def adapted_to(self, target: str) -> Source:
        """Return the source with zero points that a target accepts, in a separate work folder."""
        module = self.model.module
        dialect = dialect_of(target)
        if dialect is not None and dialect.activations != "uint8":
            module = with_zero_point_0(module, keep_unsigned=dialect.activations == "both")
        if module is self.model.module:
            return self
        work = self.work / target
        work.mkdir(exist_ok=True)
        return replace(self, model=replace(self.model, module=module), work=work)

    @cached_property
    def in_fp32(self) -> Source:
        """The source with its quantized model switched to fp32, with the same layers.

        Its bundle is timed alone, so there is no model for mobile devices in it.
        """
        model = replace(self.model, module=in_fp32(self.model.module), steps=self.model.steps[:-1])
        work = self.work / "fp32"
        work.mkdir()
        return replace(self, model=model, work=work, options=replace(self.options, mobile=False))

    @cached_property
    def opset(self) -> int:
        """The opset of the options, raised to the first opset that has the model's precision."""
        opset = self.options.opset or OLDEST_OPSET
        precision = precision_of(self.model)
        least = PRECISIONS[precision].least_opset
        if opset < least:
            console.note(f"opset {opset} has no {precision}; raised to {least}")
            return least
        return opset

    @cached_property
    def _canonical(self) -> tuple[Path, str]:
        """The canonical ONNX file, and the line of the network that fixes the batch size, or ""."""
        path = self.work / "model.onnx"
        return path, write_onnx(self.model, path, self.opset)

    @cached_property
    def batch(self) -> dict[str, Any]:
        """Entries of `build` for a network that fixes the batch size to 1; empty otherwise."""
        line = self._canonical[1]
        if not line:
            return {}
        console.note(
            f"the network turns the batch size into a constant ({line}): the bundle runs row by "
            "row; x.shape[0] or -1 instead of len(x) or int(...) would keep the batch size free"
        )
        return {"max_batch": 1, "fixed_batch": line}

    @cached_property
    def rows(self) -> Many:
        """The held-out rows; for a generator, seeds of noise."""
        if not self.model.has_labels:
            return range(_GENERATED)
        return self.data.test.rows

    @cached_property
    def labels(self) -> NDArray[Any]:
        """The labels of the held-out rows: class indices or numbers; zeros for a generator."""
        if not self.model.has_labels:
            return np.zeros(_GENERATED, np.int64)
        return np.array(self.data.test.labels)

    @cached_property
    def reference(self) -> NDArray[np.float32]:
        """The outputs of the model in PyTorch, in fp32, on the held-out rows."""
        title = "running PyTorch"
        return outputs_on_rows(self.model.module, self.model.encoder, self.rows, _BATCH, title)


def _targets_for(precision: str) -> list[str]:
    """Return the targets that read ONNX and can execute a precision."""
    dialects = {name: dialect_of(name) for name in TARGETS.usable()}
    return [
        name
        for name, dialect in dialects.items()
        if dialect is not None and precision not in dialect.unsupported
    ]


def _quantized_recurrent(form: nn.Module, dialect: Dialect) -> list[str]:
    """Return the paths of quantized recurrent layers whose weights the target needs in float."""
    return [
        path
        for path, layer in form.named_modules()
        if isinstance(layer, QuantizedRecurrent)
        and layer.weight_quantizer
        and layer.operator in dialect.float_weights_only
    ]


@contextmanager
def source_of(folder: Path, data: Dataset, options: ExportOptions) -> Iterator[Source]:
    """Load a model directory for export.

    Args:
        folder: the model directory.
        data: the data the model was trained on.
        options: the export's options.

    Raises:
        DataError: the model was trained on other data; test rows may have been training rows.
    """
    model = artifact.load(folder)
    datasets.check_same(data, model.data.get("fingerprint"), str(folder))
    with scratch() as work:
        yield Source(folder, model, data, options, work)
