"""bmc compress"""

from __future__ import annotations

from typing import Annotated

from bmc.choices import of_plugins
from bmc.common_options import ModelName
from bmc.contracts.targets import TARGETS
from bmc.rendering.rendered import Rendered, render_result
from bmc.search.budgets import Budgets
from bmc.search.options import SearchOptions
from bmc.workflows.options import Files, OwnCode

PANEL = "Bundle"


def compress(
    model: ModelName = None,
    *,
    target: Annotated[str, of_plugins(TARGETS)],
    budgets: Budgets = Budgets(),
    options: SearchOptions = SearchOptions(),
    files: Files = Files(),
    code: OwnCode = OwnCode(),
) -> Rendered:
    """Search for a compressed model within budgets of accuracy, size and latency.

    The search tries students, techniques, their order and settings with short trainings, trains the
    best in full, and chooses by validation rows and latency on the target. It writes the Pareto
    front as bundles MODEL-compressed-1-TARGET and so on, with test scores. If no model is within
    the budgets, the exit code is 1 and the nearest is kept as NAME.failed.

    Args:
        model: a model directory or its name; the newest model when left out.
        target: target runtime, on which latency is measured.
        output: folder of the best model, without -1; MODEL-compressed in the workspace by default.
        force: discard earlier trials and results of this search; without it, the search resumes.

    Example:
        bmc compress bert-movie-reviews --max-drop 1 --max-size 20MB --target openvino
        bmc compress cnn-fashion-mnist --max-latency 1/6 --target onnx --minutes 20
    """
    from bmc.rendering import searching as render
    from bmc.search import compressing as workflow

    return render_result(render.found, workflow.compress, model, target, budgets, options, files)
