"""bmc inspect"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.table import Table

from bmc import artifact, console, disk, plugins, workspace
from bmc import bundle as bundles
from bmc.cli._common import Answer, Writing
from bmc.errors import UsageError
from bmc.inspect import page
from bmc.inspect.collect import Inspection, InspectSettings, inspect_model
from bmc.inspect.executed import Executed, counted
from bmc.inspect.kept import path_of, write
from bmc.inspect.layers import Costs
from bmc.workflows.lineage import data_of
from bmc.writing import write_atomically


def inspect(
    model: str | None = None,
    *,
    data: str | None = None,
    length: int = 32,
    rows: int = 512,
    examples: int = 6,
    sensitivity: bool = False,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Look into a model: cost by layer, activations, what its answers rest on, sensitivity.

    Writes an HTML page that opens offline. Only validation rows are looked at, never test rows.
    Times are those of eager PyTorch in fp32 on the CPU: they rank layers, they are not what a
    bundle takes (bmc bench measures that).

    Args:
        model: a model directory, or its name in the workspace; the newest when left out. Of a
            bundle, what its run time executes, and in which precision, is shown.
        data: the data that the model was trained on, if it is not where it was.
        length: tokens of a text, or steps of a series, that costs are measured with.
        rows: validation rows at most.
        examples: answers to explain.
        sensitivity: also prune and quantize each layer alone and score it; this takes a while.
    """
    common.begin()
    settings = InspectSettings(length, rows, examples, sensitivity)
    places = (Path(model), workspace.root() / model) if model else ()
    if model and any(workspace.kind_of(place) == "bundle" for place in places):
        return _executed(workspace.find(model, "bundle"))
    folder = workspace.find(model, "model") if model else workspace.newest("model")
    if not model:
        console.note(f"inspecting {folder}, the newest model")
    output = common.output or path_of(folder).with_suffix(".html")
    if common.output:
        _refuse_existing(output, common.force)
    loaded = artifact.load(folder)
    generator = loaded.task == "generation"
    known = None if generator else data_of(folder, data)
    found = inspect_model(folder.name, loaded, known.validation if known else None, settings)
    kept = None
    if known and found.sensitivity:
        kept = write(folder, found.sensitivity, known.fingerprint)
    disk.make_folders(output.parent)
    write_atomically(output, page.html(found).encode())
    return Answer(
        {"output": str(output), "sensitivity_file": str(kept) if kept else None, **found.to_json()},
        (_table(found.costs), *_lines(found), f"wrote {output}: open it in a browser"),
    )


def _executed(folder: Path) -> Answer:
    """Show what a bundle's run time multiplies in which precision."""
    made = bundles.read(folder)
    exporter = plugins.load("bmc.export", made.manifest.target, "target")
    found: list[Executed] = exporter.executed(made)
    table = Table(title=f"{folder.name}: what is multiplied", box=box.SIMPLE_HEAD)
    for column in ("operator", "precision", "count"):
        table.add_column(column, justify="right" if column == "count" else "left")
    for operator, precision, count in counted(found):
        table.add_row(operator, precision, str(count))
    wide = [one for one in found if not one.narrow]
    lines = [f"in fp32: {one.operator} {one.name}" for one in wide]
    if made.manifest.precision == "fp32":
        lines = []
    shown = [asdict(one) for one in found]
    return Answer({"bundle": str(folder), "executed": shown}, (table, *lines))


def _refuse_existing(output: Path, force: bool) -> None:
    if output.is_dir():
        raise UsageError(f"{output} is a folder; --output names the page, such as page.html")
    if output.exists() and not force:
        raise UsageError(f"{output} exists; --force replaces it, --output names another place")


def _table(costs: Costs) -> Table:
    """Show every layer; the paths fold where the terminal is narrow."""
    sizes = page.sizes(costs)
    table = Table(title=f"one call, {sizes}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    table.add_column("type", overflow="fold")
    for column in ("parameters", "MMACs", "kB", "time %"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in costs.layers:
        own = f"as {layer.shared_with}" if layer.shared_with else f"{layer.parameters:,}"
        table.add_row(
            layer.path,
            layer.kind,
            own,
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


def _lines(found: Inspection) -> list[str]:
    lines = page.notes(found)
    if found.sensitivity:
        lines += [f"most sensitive: {line}" for line in page.worst(found.sensitivity)]
    elif found.task != "generation":
        lines.append("--sensitivity prunes and quantizes each layer alone, and scores it")
    return lines
