"""What `bmc inspect` shows."""

from __future__ import annotations

from dataclasses import asdict

from rich import box
from rich.table import Table

from bmc.inspect import page
from bmc.inspect.collect import Inspection
from bmc.inspect.executed import counted
from bmc.inspect.layers import Costs
from bmc.rendering import onnx
from bmc.rendering.rendered import Rendered
from bmc.workflows.inspect import InspectedBundle, InspectedModel
from bmc.workflows.onnx_files import InspectedOnnx


def inspected(result: InspectedModel | InspectedBundle | InspectedOnnx) -> Rendered:
    """Render what `bmc inspect` found."""
    if isinstance(result, InspectedOnnx):
        return onnx.inspected(result)
    return _bundle(result) if isinstance(result, InspectedBundle) else _model(result)


def _model(result: InspectedModel) -> Rendered:
    inspection, sensitivity_file = result.inspection, result.sensitivity_file
    return Rendered(
        {
            "output": str(result.output),
            "sensitivity_file": str(sensitivity_file) if sensitivity_file else None,
            **inspection.to_json(),
        },
        (
            _table(inspection.costs),
            *_lines(inspection),
            f"wrote {result.output}: open it in a browser",
        ),
    )


def _bundle(result: InspectedBundle) -> Rendered:
    """Show what a bundle's runtime multiplies in which precision."""
    table = Table(title=f"{result.path.name}: what is multiplied", box=box.SIMPLE_HEAD)
    for column in ("operator", "precision", "count"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for operator, precision, count in counted(list(result.executed)):
        table.add_row(operator, precision, str(count))
    in_fp32 = [call for call in result.executed if not call.is_reduced]
    lines = [f"in fp32: {call.operator} {call.name}" for call in in_fp32]
    if result.precision == "fp32":
        lines = []
    calls = [asdict(call) for call in result.executed]
    return Rendered({"bundle": str(result.path), "executed": calls}, (table, *lines))


def _table(costs: Costs) -> Table:
    """Show every layer; the paths fold where the terminal is narrow."""
    sizes = page.sizes(costs)
    table = Table(title=f"one call, {sizes}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    table.add_column("type", overflow="fold")
    for column in ("parameters", "MMACs", "kB", "time %"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in costs.layers:
        sharing = f"as {layer.shared_with}" if layer.shared_with else f"{layer.parameters:,}"
        table.add_row(
            layer.path,
            layer.kind,
            sharing,
            f"{layer.macs / 1e6:,.3f}",
            f"{layer.bytes / 1e3:,.1f}",
            f"{100 * costs.time_share(layer):.1f}",
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        f"{costs.parameters:,}",
        f"{costs.macs / 1e6:,.3f}",
        f"{costs.bytes / 1e3:,.1f}",
        f"{costs.milliseconds:.2f} ms",
    )
    table.caption = page.how_timed(costs)
    return table


def _lines(inspection: Inspection) -> list[str]:
    lines = page.notes(inspection)
    if inspection.sensitivity:
        lines += [f"most sensitive: {line}" for line in page.worst(inspection.sensitivity)]
    elif inspection.measure:
        lines.append("--sensitivity prunes and quantizes each layer alone, and scores it")
    return lines
