"""Choose output paths, and refuse an existing output before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmc import artifact, disk, processes, workspace, writing
from bmc import bundle as bundles
from bmc.data import Dataset
from bmc.errors import ArtifactError, UsageError
from bmc.untrusted import read_json
from bmc.workflows.lineage import weights_sha256
from bmc.writing import hold, refuse_existing

_SHOWN = 12  # characters of a hash in a message


def refuse_output(
    output: Path, force: bool, data: Dataset | None = None, source: Path | None = None
) -> None:
    """Refuse an output that exists, or take it for this command, before any work is done for it.

    If the existing output was made from something else, the message says so.

    Args:
        output: a model directory or bundle that is to be written.
        force: replace it.
        data: data that the model will be trained on.
        source: the model directory that is to be compressed or exported.

    Raises:
        UsageError: it exists and `force` is off, bmc did not write it, or another command is
            writing it.
    """
    try:
        refuse_existing(output, force)
    except UsageError as error:
        other = "" if force else _made_otherwise(output, data, source)
        if not other:
            raise
        raise UsageError(
            f"{output} exists, and {other}; --force replaces it, --output names another place"
        ) from error
    hold(output)


def _made_otherwise(output: Path, data: Dataset | None, source: Path | None) -> str:
    """Say what an output was made from, where that is not what is at hand; "" where it is."""
    try:
        data_then, weights_then = _made_from(output)
    except ArtifactError:
        return ""
    fingerprint_then = data_then.get("fingerprint")
    if data and fingerprint_then and fingerprint_then != data.fingerprint:
        return (
            f"was made from other data ({data_then.get('reference')}, fingerprint "
            f"{str(fingerprint_then)[:_SHOWN]}; this one has {data.fingerprint[:_SHOWN]})"
        )
    if source and weights_then and weights_then != weights_sha256(source):
        return f"was made from another {source.name} (weights {str(weights_then)[:_SHOWN]})"
    return ""


def _made_from(output: Path) -> tuple[Mapping[str, Any], object]:
    """Return the record of an output's data, and the sha256 of the weights that it was made of."""
    if workspace.kind_of(output) == "model":
        manifest = artifact.describe(output)
        return manifest["data"], manifest["origin"].get("from_sha256")
    lineage = read_json(output / bundles.MANIFEST, "bundle").get("lineage")
    if not isinstance(lineage, dict) or not isinstance(lineage.get("data"), dict):
        raise ArtifactError(f"bundle {output} does not say what it was made from")
    return lineage["data"], lineage.get("weights_sha256")


def forget_checkpoints(checkpoints: Path) -> None:
    """Remove a finished command's checkpoints; of several processes the first does."""
    if not processes.is_first():
        return
    writing.remove(checkpoints)
    disk.remove_folder(checkpoints.parent)
