"""What `bmc inspect` shows of an ONNX file of another tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from rich import box
from rich.table import Table

from bmc.measure.shown import megabytes
from bmc.onnx_models.costs import OnnxCosts
from bmc.onnx_models.reading import Declared
from bmc.rendering.rendered import Rendered
from bmc.workflows.onnx_files import InspectedOnnx


def inspected(result: InspectedOnnx) -> Rendered:
    """Render what an ONNX file takes, returns, holds and costs."""
    data = {**asdict(result), "path": str(result.path)}
    return Rendered(data, (_table(result.costs), *_lines(result)))


def _lines(result: InspectedOnnx) -> Iterator[str]:
    opsets = ", ".join(f"{domain} {version}" for domain, version in result.opsets.items())
    yield f"{result.path}: {result.precision}, opset {opsets}, by {result.producer or 'unknown'}"
    yield f"inputs: {_tensors(result.inputs)}"
    yield f"outputs: {_tensors(result.outputs)}"
    yield f"operators: {_counts(result.operators)}"
    yield f"{result.parameters:,} parameters, {megabytes(result.bytes)} of weights"
    if result.quantized:
        yield f"quantized already: {_counts(result.quantized)}"
    if result.costs.note:
        yield f"not run, so without MACs and times: {result.costs.note}"


def _table(costs: OnnxCosts) -> Table:
    sizes = ", ".join(f"{name} {tuple(shape)}" for name, shape in costs.inputs.items())
    title = f"one call, {sizes}" if sizes else "layers"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    table.add_column("operator", overflow="fold")
    for column in ("parameters", "MMACs", "kB", "time %"):
        table.add_column(column, justify="right", no_wrap=True)
    total = costs.milliseconds
    for layer in costs.layers:
        took = layer.milliseconds
        table.add_row(
            layer.name,
            f"{layer.operator}{' (8 bits)' if layer.is_quantized else ''}",
            f"as {layer.shared_with}" if layer.shared_with else f"{layer.parameters:,}",
            "" if layer.macs is None else f"{layer.macs / 1e6:,.3f}",
            f"{layer.bytes / 1e3:,.1f}",
            f"{100 * took / total:.1f}" if took is not None and total else "",
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        f"{sum(layer.parameters for layer in costs.layers):,}",
        "" if costs.macs is None else f"{costs.macs / 1e6:,.3f}",
        f"{sum(layer.bytes for layer in costs.layers) / 1e3:,.1f}",
        "" if total is None else f"{total:.2f} ms",
    )
    if total is not None:
        table.caption = "times: ONNX Runtime without fusion, one thread, on generated inputs"
    return table


def _tensors(tensors: Sequence[Declared]) -> str:
    return ", ".join(
        f"{info.name} {info.dtype} "
        f"({'any rank' if info.shape is None else ', '.join(map(str, info.shape))})"
        for info in tensors
    )


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)
