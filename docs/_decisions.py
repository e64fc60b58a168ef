"""The list of decisions, read from their files."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent / "decisions"
_INTRODUCTION = """# Decisions

Ten lines each: the question, what was measured, the choice, and what would change it.

```{toctree}
:maxdepth: 1

"""


def page() -> str:
    """Return the page: a link to each decision, in the order in which they were made."""
    names = sorted(path.stem for path in HERE.glob("[0-9]*.md"))
    return _INTRODUCTION + "\n".join(names) + "\n```\n"
