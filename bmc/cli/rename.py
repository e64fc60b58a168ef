"""bmc rename"""

from __future__ import annotations

from bmc.cli.options import Answer


def rename(name: str, new: str) -> Answer:
    """Rename a model or bundle of the workspace.

    What was made from it still finds it: lineages go by its weights.

    Args:
        name: as it is called now.
        new: as it will be called.

    Example:
        bmc rename tiny-movie-reviews reviewer
        bmc rename tiny-movie-reviews-onnx reviewer-onnx
    """
    from bmc.rendering import listing as shown
    from bmc.workflows import shelf

    return shown.renamed(shelf.rename(name, new), name)
