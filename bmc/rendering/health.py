"""What `bmc doctor` shows."""

from __future__ import annotations

from rich.table import Table

from bmc.rendering.rendered import Rendered
from bmc.workflows.doctor import Examined, Finding


def examined(result: Examined) -> Rendered:
    """Render what works on this machine."""
    about = result.machine
    table = Table("what", "here", "note")
    for finding in result.findings:
        if finding.name != "int8" or finding.note:
            note = f"{finding.version}; {finding.note}" if finding.version else finding.note
            table.add_row(finding.name, _state(finding), note)
    instructions = ", ".join(about["instructions"]) or "none of the telling ones"
    return Rendered(
        {
            "version": result.version,
            "machine": about,
            "found": {finding.name: _facts(finding) for finding in result.findings},
        },
        (
            f"bmc {result.version}, Python {about['python']}, {about['system']}",
            f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB; "
            f"instructions: {instructions}",
            table,
        ),
    )


def _facts(finding: Finding) -> dict[str, object]:
    version = {"version": finding.version} if finding.version else {}
    return {"works": finding.works, **version, "note": finding.note}


def _state(finding: Finding) -> str:
    """Say whether it works; a target that is installed without its device can still build."""
    return "yes" if finding.works else "builds only" if finding.version else "no"
