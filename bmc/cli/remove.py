"""bmc remove"""

from __future__ import annotations

from bmc import console
from bmc.rendering.rendered import Rendered


def remove(name: tuple[str, ...], *, yes: bool = False) -> Rendered:
    """Remove models or bundles of the workspace; asks for confirmation.

    Args:
        name: names of the models or bundles; those that failed a check end in .failed.
        yes: do not ask.

    Example:
        bmc remove tiny-movie-reviews-onnx
        bmc remove bert-movie-reviews-static.failed --yes
    """
    from bmc.rendering import listing as render
    from bmc.workflows import entries

    selected = tuple(entries.find(entry) for entry in dict.fromkeys(name))
    if not yes and not console.confirm(f"remove {render.names_and_sizes(selected)}?"):
        return render.removed(())
    entries.remove(selected)
    return render.removed(selected)
