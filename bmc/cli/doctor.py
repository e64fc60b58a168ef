"""bmc doctor"""

from __future__ import annotations

from bmc.rendering.rendered import Rendered


def doctor() -> Rendered:
    """Show what works on this machine, and how to install what is missing.

    Example:
        bmc doctor
        bmc doctor --json
    """
    from bmc.rendering import health as render
    from bmc.workflows.doctor import examine

    return render.examined(examine())
