"""Build the manifest of a bundle: its lineage, its tensors and facts about the build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmc import artifact, assets, curves, provenance
from bmc.bundle import Manifest
from bmc.contracts import families
from bmc.contracts.data_sets import DATA_SETS, data_set
from bmc.contracts.targets import TARGETS
from bmc.errors import MissingError, PluginError
from bmc.export import Written
from bmc.export.source import Source
from bmc.files import sha256
from bmc.inference.form import is_quantized
from bmc.inspect import zeros
from bmc.model import Model
from bmc.precision import precision_of


def manifest_of(source: Source, target: str, written: Written) -> Manifest:
    """Return the manifest of a bundle, without parity and scores.

    Args:
        source: source of the export.
        target: name of the target.
        written: files that the exporter wrote.
    """
    model = source.model
    lineage: dict[str, Any] = {
        "model": source.folder.name,
        "weights_sha256": sha256(source.folder / "model.safetensors"),
        "parameters": sum(value.numel() for value in model.module.parameters()),
        "data": data_of(model),
        "steps": [step.method for step in model.steps],
        "teacher": _teacher_of(model),
        "from": model.origin.get("from") if model.steps else None,
        "from_sha256": model.origin.get("from_sha256") if model.steps else None,
        "odd_widths": _widths_not_divisible_by_8(model),
        "history": list(curves.epochs_of(model.origin.get("history"))),
        provenance.KEY: provenance.commands_of(provenance.recorded(model.origin)),
    }
    if terms := _license_of(model.data.get("reference")):
        lineage["data_license"] = terms
    # Steps that set single weights to zero record the names of the parameters.
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
        thresholds=model.thresholds,
        build={
            **written.build,
            "versions": artifact.versions(),
            **_plugins(target),
            **_weight_bits(model),
        },
    )


def _license_of(reference: object) -> str:
    """Return the license of a named data set; "" for other data, whose license bmc cannot know."""
    if not isinstance(reference, str) or reference not in DATA_SETS.names():
        return ""
    try:
        described = data_set(reference)
    except (MissingError, PluginError):  # a plug-in that was removed after the training
        return ""
    asset = assets.ASSETS.get(described.asset or "")
    return described.license or (asset.license if asset else "")


def _weight_bits(model: Model) -> dict[str, Any]:
    """Return the bits of the weights of an int8 model; empty where its step does not say."""
    bits = [s.settings["weight_bits"] for s in model.steps if "weight_bits" in s.settings]
    return {"weight_bits": bits[-1]} if bits else {}


def _plugins(target: str) -> dict[str, Any]:
    """Return the package that a plug-in target comes from; empty for a target of bmc."""
    packages = TARGETS.record(target)
    return {"plugins": packages} if packages else {}


def _teacher_of(model: Model) -> dict[str, Any] | None:
    """Return a teacher's name, its sha256, the data it learned and how its student compares."""
    teacher = model.origin.get("teacher")
    if not teacher:
        return None
    data = [_public(record) for record in teacher.get("data") or ()]
    # What was measured of the student does not hold for a model that was made from it.
    measured = ("more", "validation") if model.origin.get("command") == "distill" else ("more",)
    optional = {key: teacher[key] for key in measured if teacher.get(key)}
    identity = {key: teacher.get(key) for key in ("name", "sha256")}
    return {**identity, **({"data": data} if data else {}), **optional}


def data_of(model: Model) -> dict[str, Any]:
    """Return facts about the data, without its location and summary, which are private."""
    return _public(model.data)


def _public(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("location", "summary")}


def _widths_not_divisible_by_8(model: Model) -> list[int]:
    """Return the widths of layers, except output layers, that are not divisible by 8."""
    if is_quantized(model.module):
        return []
    family = families.network(model.family)
    outputs = family.parts(model.module).outputs
    widths = {
        getattr(layer, name, None)
        for path, layer in model.module.named_modules()
        if path not in outputs
        for name in ("out_features", "out_channels", "hidden_size")
    }
    return sorted(width for width in widths if isinstance(width, int) and width % 8)
