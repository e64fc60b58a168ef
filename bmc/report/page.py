"""Write a report as one HTML page, which opens offline, on dark and light screens and on paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from bmc.console import printable
from bmc.report import table
from bmc.report.answer import answer, answers
from bmc.report.line import Report
from bmc.report.sections import (
    circumstances,
    classes,
    comparison,
    disagreements,
    gates,
    latencies,
    layers,
    lineage,
    tradeoffs,
    training,
)
from bmc.report.templates import render, source

_SECTIONS: tuple[tuple[str, str, Callable[[Report], Markup]], ...] = (
    ("gates", "Gates", gates.section),
    ("bundles", "Every bundle", comparison.section),
    ("tradeoffs", "Score against cost", tradeoffs.section),
    ("latency", "Latency", latencies.section),
    ("classes", "By class", classes.section),
    ("disagreements", "Where student and teacher disagree", disagreements.section),
    ("layers", "By layer", layers.section),
    ("training", "Training", training.section),
    ("lineage", "How the models were made", lineage.section),
    ("circumstances", "How it was measured", circumstances.section),
)


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Args:
        anchor: name by which the contents link to it.
        title: its heading.
        body: its HTML.
    """

    anchor: str
    title: str
    body: Markup


def html(report: Report) -> str:
    """Return the page; nothing is loaded from outside, and no text of a bundle can run."""
    script = source("page.js")
    values = {
        "answer": answer(report),
        "others": list(answers(report).values())[1:],
        "sections": [
            Section(anchor, title, body)
            for anchor, title, write in _SECTIONS
            if (body := write(report).strip())
        ],
        "notes": table.notes(report),
        # Neither is escaped: both are files of this package.
        "style": Markup(source("page.css")),
        "script": Markup(script),
        "script_sha256": _script_hash(script),
    }
    written = render("page.html", values)
    return "\n".join(printable(line) for line in written.splitlines()) + "\n"


def _script_hash(script: str) -> str:
    """Return the hash by which the page's policy allows its script, and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
