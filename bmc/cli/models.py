"""bmc models"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered


def models() -> Rendered:
    """List built-in models, students, and the models and bundles of the workspace.

    Example:
        bmc models
        bmc models --json
    """
    from bmc.rendering import listing as render
    from bmc.workflows.listing import list_models

    return render.listed(list_models())
