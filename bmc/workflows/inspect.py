"""Look into a model or a bundle: cost by layer, activations, importance, sensitivity."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from bmc import artifact, console, disk, workspace
from bmc import bundle as bundles
from bmc.contracts import targets
from bmc.errors import UsageError
from bmc.inference.scripted import refuse_scripted
from bmc.inspect import page, recorded_costs
from bmc.inspect.collect import Inspection, inspect_model
from bmc.inspect.executed import Executed
from bmc.inspect.kept import drawn, key_of, path_of, write
from bmc.inspect.layers import Costs
from bmc.inspect.recorded_costs import LayerCost, LayerCosts
from bmc.inspect.settings import InspectSettings
from bmc.measure import machine
from bmc.workflows.encoder_folders import as_model, onnx_file, texts_of
from bmc.workflows.lineage import data_of, weights_sha256
from bmc.workflows.onnx_files import InspectedOnnx, inspect_file
from bmc.workflows.options import Files
from bmc.writing import write_atomically


@dataclass(frozen=True)
class InspectedModel:
    """A model's inspection, and the page that shows it.

    Args:
        output: the HTML page.
        sensitivity_file: file with the measured sensitivity of the layers; None if not measured.
        inspection: results of the inspection.
    """

    output: Path
    sensitivity_file: Path | None
    inspection: Inspection


@dataclass(frozen=True)
class InspectedBundle:
    """What a bundle's runtime executes, and in which precision.

    Args:
        path: the bundle's folder.
        precision: precision of the bundle in its manifest.
        executed: the multiplications that the runtime executes.
    """

    path: Path
    precision: str
    executed: tuple[Executed, ...]


def inspect(
    reference: str | None,
    settings: InspectSettings = InspectSettings(),
    files: Files = Files(),
) -> InspectedModel | InspectedBundle | InspectedOnnx:
    """Inspect a model and write an HTML page; of a bundle, list what its runtime executes.

    Args:
        reference: a model directory or a bundle, or its name in the workspace, the folder of a
            sentence encoder, or an ONNX file; the newest model when None.
        settings: settings of the inspection.
        files: present location of the model's data, or the texts of a sentence encoder, and the
            output; the default is a page next to the model, which is replaced.

    Raises:
        UnknownError: there is no such model.
        UsageError: the output exists, or a setting is for models alone.
    """
    onnx_path = onnx_file(reference)
    if onnx_path is not None:
        return inspect_file(onnx_path, settings, files)
    places = workspace.candidates(reference) if reference else ()
    if reference and any(workspace.kind_of(path) == "bundle" for path in places):
        _refuse_settings_of_models(reference, settings, files)
        return _inspect_bundle(workspace.find(reference, "bundle"))
    reference, files = as_model(reference, texts_of(reference, files.data), files)
    folder = workspace.find(reference, "model")
    if reference is None:
        console.note(f"inspecting {folder}, the newest model")
    if files.output:
        _refuse_existing(files.output, files.force)
    output = files.output or path_of(folder).with_suffix(".html")
    model = artifact.load(folder)
    refuse_scripted(folder, model.module)
    data = data_of(folder, files.data) if model.has_labels else None
    inspection = inspect_model(folder.name, model, data.validation if data else None, settings)
    sensitivity_file = None
    if data and inspection.sensitivity:
        rows = data.validation.rows
        measured = [rows[place] for place in drawn(len(rows), settings.rows)]
        key = key_of(data.fingerprint, measured)
        sensitivity_file = write(folder, inspection.sensitivity, key)
    recorded_costs.write(weights_sha256(folder), _recorded(inspection.costs))
    disk.make_folders(output.parent)
    write_atomically(output, page.html(inspection).encode())
    return InspectedModel(output, sensitivity_file, inspection)


def _refuse_settings_of_models(reference: str, settings: InspectSettings, files: Files) -> None:
    """Refuse what a bundle, of which the runtime's operators are listed, has no use for.

    Raises:
        UsageError: a page is to be written, or a setting is another than the default.
    """
    default = InspectSettings()
    named = {
        "output": files.output,
        "data": files.data,
        "force": files.force,
        **{
            each.name: getattr(settings, each.name) != getattr(default, each.name)
            for each in fields(settings)
        },
    }
    for option, value in named.items():
        if value:
            raise UsageError(
                f"{reference} is a bundle, of which what its runtime executes is listed: leave "
                f"--{option} out, or name the model directory"
            )


def _recorded(costs: Costs) -> LayerCosts:
    """Return the costs of a model's layers in the form that a report reads."""
    return LayerCosts(
        str(machine.describe()["processor"]),
        costs.threads,
        {name: tuple(shape) for name, shape in costs.inputs.items()},
        tuple(
            LayerCost(
                *(layer.path, layer.kind, layer.parameters),
                *(layer.bytes, layer.macs, layer.milliseconds),
            )
            for layer in costs.layers
        ),
    )


def _inspect_bundle(folder: Path) -> InspectedBundle:
    """List what a bundle's runtime multiplies, and in which precision."""
    bundle = bundles.read(folder)
    exporter = targets.exporter_of(bundle.manifest.target)
    return InspectedBundle(folder, bundle.manifest.precision, tuple(exporter.executed(bundle)))


def _refuse_existing(output: Path, force: bool) -> None:
    """Refuse a page that exists.

    Raises:
        UsageError: it is a folder, or exists and `force` is off.
    """
    if output.is_dir():
        raise UsageError(f"{output} is a folder; --output names the page, such as page.html")
    if output.exists() and not force:
        raise UsageError(f"{output} exists; --force replaces it, --output names another place")
