"""bmc inspect"""

from __future__ import annotations

from typing import Annotated

import typer

from bmc.cli import _complete
from bmc.cli.options import Answer, CodedWriting, DataPath

PANEL = "Inspection"


def inspect(
    model: Annotated[str | None, typer.Argument(autocompletion=_complete.entries)] = None,
    *,
    data: DataPath = None,
    length: int = 32,
    rows: int = 512,
    examples: int = 6,
    sensitivity: bool = False,
    common: CodedWriting = CodedWriting(),
) -> Answer:
    """Inspect a model: cost by layer, activations, feature importance, sensitivity.

    The command writes an HTML page that opens offline. It reads validation rows, never test rows.
    Times are of eager PyTorch in fp32 on the CPU: they rank layers. `bmc bench` measures bundles.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out. For a
            bundle, the precision of each operator that its run time executes is shown.
        data: where the model's training data is now, if it was moved.
        length: tokens of a text, or time steps of a series, for the cost by layer.
        rows: number of validation rows, at most.
        examples: predictions to explain by feature importance.
        sensitivity: prune and quantize each layer alone and measure the score; this takes a while.

    Example:
        bmc inspect bert-movie-reviews --sensitivity
        bmc inspect bert-movie-reviews-static-onnx
    """
    from bmc.cli.shown.inspection import inspected
    from bmc.inspect.collect import InspectSettings
    from bmc.workflows import inspect as workflow

    common.begin()
    settings = InspectSettings(length, rows, examples, sensitivity)
    return inspected(workflow.inspect(model, settings, data, common.output, common.force))
