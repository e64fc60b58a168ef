"""bmc rename"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered


def rename(name: str, new: str) -> Rendered:
    """Rename a model or bundle of the workspace.

    What was made from it stays linked to it: bmc tracks lineage by a hash of the weights, not by
    name.

    Args:
        name: current name.
        new: new name.

    Example:
        bmc rename tiny-movie-reviews reviewer
        bmc rename tiny-movie-reviews-onnx reviewer-onnx
    """
    from bmc.rendering import listing as render
    from bmc.workflows import entries

    return render.renamed(entries.rename(name, new), name)
