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

    Students, techniques, their order and their settings are tried; short trainings come first, and
    the best candidates are trained in full. Candidates are chosen by validation rows, and timed on
    the target. The front of the best is written as bundles MODEL-compressed-1-TARGET and so on,
    which are scored on the test split. A search that was stopped resumes when it is run again. If
    the budgets cannot be met, the exit code is 1 and the nearest model is kept as NAME.failed.

    Args:
        target: target runtime, on which latency is measured.

    Example:
        bmc compress bert-movie-reviews --max-drop 1 --max-size 20MB --target openvino
        bmc compress cnn-fashion-mnist --max-latency 1/6 --target onnx --minutes 20
    """
    from bmc.rendering import searching as render
    from bmc.search import compressing as workflow

    return render_result(render.found, workflow.compress, model, target, budgets, options, files)
