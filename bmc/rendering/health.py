"""What `bmc doctor` shows."""

from __future__ import annotations

from rich.table import Table

from bmc.rendering.answer import Answer
from bmc.workflows.doctor import Examined, Finding


def examined(result: Examined) -> Answer:
    """Render what works on this machine."""
    about = result.machine
    table = Table("what", "here", "note")
    for one in result.findings:
        if one.name != "int8" or one.note:
            note = f"{one.version}; {one.note}" if one.version else one.note
            table.add_row(one.name, _state(one), note)
    instructions = ", ".join(about["instructions"]) or "none of the telling ones"
    return Answer(
        {
            "version": result.version,
            "machine": about,
            "found": {one.name: _facts(one) for one in result.findings},
        },
        (
            f"bmc {result.version}, Python {about['python']}, {about['system']}",
            f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB; "
            f"instructions: {instructions}",
            table,
        ),
    )


def _facts(one: Finding) -> dict[str, object]:
    version = {"version": one.version} if one.version else {}
    return {"works": one.works, **version, "note": one.note}


def _state(one: Finding) -> str:
    """Say whether it works; a target that is installed without its device can still build."""
    return "yes" if one.works else "builds only" if one.version else "no"
