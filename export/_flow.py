"""The way from a model directory to a bundle that is proven to answer the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bmc import artifact, bundle, console, inputs, plugins, targets
from bmc import data as datasets
from bmc.bundle import Bundle, Manifest
from bmc.compress.quantize._form import centred, form_of, is_quantized, precision_of
from bmc.compress.quantize._layers import QuantizedRecurrent
from bmc.data import Dataset
from bmc.errors import GateError, UsageError
from bmc.export import (
    NEWEST_OPSET,
    OLDEST_OPSET,
    Exporter,
    ExportOptions,
    Written,
    _parity,
    _speed,
    dialects,
)
from bmc.export._graph import write_onnx
from bmc.export._lower import lower_file
from bmc.export.dialects import Dialect
from bmc.files import new_folder, sha256
from bmc.inputs import Many
from bmc.inspect import zeros
from bmc.inspect.executed import counted
from bmc.measure import scores
from bmc.model import Model, output_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions

_GOLDEN_ROWS = 4
_BATCH = 32
_GENERATED = 512
_FOUR_BITS = 21


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

    def onnx(self, dialect: Dialect) -> tuple[Path, dict[str, int]]:
        """Return the ONNX file in a dialect, and how many nodes of each operator it has."""
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
        lowered = self.work / f"{dialect.target}.onnx"
        newest = self.options.opset or NEWEST_OPSET
        return lowered, lower_file(self._onnx, lowered, dialect, newest)

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
        return replace(self, model=_speed.in_fp32(self.model), work=work)

    @cached_property
    def opset(self) -> int:
        """The version of the operators that was asked for, or the one that 4 bits need."""
        asked = self.options.opset or OLDEST_OPSET
        if precision_of(self.model).startswith("int4") and asked < _FOUR_BITS:
            console.note(f"opset {asked} has no weights of 4 bits; raised to {_FOUR_BITS}")
            return _FOUR_BITS
        return asked

    @cached_property
    def _onnx(self) -> Path:
        path = self.work / "model.onnx"
        write_onnx(self.model, path, self.opset)
        return path

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
    with tempfile.TemporaryDirectory(prefix="bmc-export-") as work:
        yield Source(folder, model, data, options, Path(work))


def export(source: Source, target: str, output: Path, force: bool) -> Bundle:
    """Export to one target: write, compare with PyTorch, score, and keep as a bundle.

    Raises:
        GateError: the bundle's answers are out of limits; it is kept as `output`.failed.
    """
    exporter = plugins.load("bmc.export", target, "target")
    source = source.fit_for(target)
    with new_folder(output, force) as folder:
        written = exporter.write(source, folder, source.options)
        source.model.encoder.save(folder)
        failure: GateError | None = None
        manifest = _manifest(source, target, written)
        try:
            manifest = _prove(Bundle(folder, manifest), source)
            bundle.write(folder, manifest)
            if manifest.precision != "fp32":
                manifest = _timed(bundle.read(folder), exporter, source)
        except GateError as error:
            failure = error
            manifest = replace(manifest, parity={"failed": str(error)})
        bundle.write(folder, manifest)
        if failure:
            kept = output.with_name(f"{output.name}.failed")
            with new_folder(kept, force=True) as copy:
                shutil.copytree(folder, copy, dirs_exist_ok=True)
            raise GateError(f"{target}: {failure}. Kept as {kept} for inspection")
    return bundle.read(output)


def _timed(made: Bundle, exporter: Exporter, source: Source) -> Manifest:
    """Return a quantized bundle's manifest with what it executes, and its speed over fp32.

    Raises:
        GateError: it is slower.
    """
    manifest = made.manifest
    executed = exporter.executed(made)
    build = {**manifest.build, "executed": counted(executed)}
    if targets.load(manifest.target).available().devices:
        found = _speed.over_fp32(made, exporter, source.in_fp32, _manifest)
        build["over_fp32"] = asdict(found.ratio)
        if not source.options.allow_slower:
            _speed.refuse_slower(found, executed, manifest.precision)
    return replace(manifest, build=build)


def _prove(made: Bundle, source: Source) -> Manifest:
    """Run the bundle on real rows; return its manifest with parity and scores."""
    running, stand_in = _runnable(made)
    with Pipeline(running, RuntimeOptions()) as pipeline:
        _write_golden(made, pipeline, source)
        worst = _other_shapes(pipeline, source)
        rows = source.rows
        with console.progress(f"{made.manifest.target}'s answers", len(rows)) as advance:
            logits = pipeline.outputs(rows, _BATCH, advance)
    np.savez_compressed(made.path / bundle.EVALUATION, logits=logits, labels=source.labels)
    task = source.model.task
    parity = _parity.compare(logits, source.reference, source.labels, task)
    largest = float(np.abs(source.reference).max())
    shown = {**parity.to_json(), "max_error_other_shapes": worst}
    _parity.check(parity, made.manifest.precision, largest, worst)
    found = {"rows": len(source.labels), **scores.of_task(task, logits, source.labels)}
    if stand_in:
        build = {**made.manifest.build, "scores_of_the_onnx_file": found, "ran_here": False}
        return replace(made.manifest, parity={**shown, "of": "the ONNX file"}, build=build)
    return replace(made.manifest, parity=shown, scores=found)


def _runnable(made: Bundle) -> tuple[Bundle, bool]:
    """Return what can run here: the bundle, or, for an engine without a GPU, its ONNX file.

    ONNX Runtime runs it, or, where that refuses the precision, OpenVINO.
    """
    if targets.load(made.manifest.target).available().devices:
        return made, False
    stand_in = "openvino" if made.manifest.precision in dialects.ONNX.refused else "onnx"
    manifest = replace(made.manifest, target=stand_in, model="model.onnx")
    return Bundle(made.path, manifest), True


def _write_golden(made: Bundle, pipeline: Pipeline, source: Source) -> None:
    encoder = pipeline.bundle.encoder
    count = min(_GOLDEN_ROWS, made.manifest.build.get("max_batch", _GOLDEN_ROWS))
    # Golden rows are validation's: a bundle travels, and the test split should not.
    given = range(count) if source.model.task == "generation" else source.data.validation.rows
    rows = encoder.encode(given[:count])
    arrays = encoder.batch(rows, range(len(rows)))
    bundle.write_golden(made.path / bundle.GOLDEN, arrays, pipeline.session.run(arrays))


def _other_shapes(pipeline: Pipeline, source: Source) -> float:
    """Return the largest error at shapes that the tracer has not seen."""
    form = form_of(source.model)
    most_rows = pipeline.bundle.manifest.build.get("max_batch", _BATCH)
    name = source.model.outputs()[0].name
    errors = []
    for arrays in source.model.encoder.probes(most_rows):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        with torch.inference_mode():
            expected = output_of(form, tensors).numpy()
        errors.append(np.abs(pipeline.session.run(arrays)[name] - expected).max())
    return float(np.max(errors))  # NaN if one is: Python's own max would lose it


def _manifest(source: Source, target: str, written: Written) -> Manifest:
    model = source.model
    lineage: dict[str, Any] = {
        "model": source.folder.name,
        "weights_sha256": sha256(source.folder / "model.safetensors"),
        "parameters": sum(value.numel() for value in model.module.parameters()),
        "data": model.data,
        "steps": [step.method for step in model.steps],
        "teacher": model.origin.get("teacher"),
        "from": model.origin.get("from") if model.steps else None,
        "odd_widths": _odd_widths(model),
    }
    if any("parameters" in step.record for step in model.steps):
        weights = source.folder / "model.safetensors"
        lineage["sparsity"] = zeros.share_of_zeros(model.module)
        lineage["compressed"] = {
            "of_bytes": weights.stat().st_size,
            "bytes": zeros.compressed_size(weights),
            "by": zeros.COMPRESSION,
        }
    return Manifest(
        name=source.folder.name,
        target=target,
        precision=precision_of(model),
        model=written.model,
        inputs=written.inputs,
        outputs=written.outputs,
        labels=model.labels,
        task=model.task,
        preprocessing=model.encoder.to_json(),
        lineage=lineage,
        build={**written.build, "versions": artifact.versions()},
    )


def _odd_widths(model: Model) -> list[int]:
    """Return the widths of layers that are no multiple of 8, the outputs' aside."""
    if is_quantized(model.module):
        return []
    family = plugins.load("bmc.models", model.family, "model family")
    outputs = family.parts(model.module).outputs
    widths = {
        getattr(layer, name, None)
        for path, layer in model.module.named_modules()
        if path not in outputs
        for name in ("out_features", "out_channels", "hidden_size")
    }
    return sorted(width for width in widths if isinstance(width, int) and width % 8)
