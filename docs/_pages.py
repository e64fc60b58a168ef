"""Pages of the site that are not written in docs/: files of the repository, and generated ones.

A page of docs/ links to files of the repository by their path, so that it reads well where it lies;
in the site these links lead to the site's page of that file, or name the path.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

import _command_line
import _decisions

ROOT = Path(__file__).parents[1]
FILES = {
    "benchmarks": "benchmarks/README.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "changelog": "CHANGELOG.md",
}
GENERATED: dict[str, Callable[[], str]] = {
    "reference/cli": _command_line.page,
    "decisions/index": _decisions.page,
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def page(name: str, text: str) -> str:
    """Return the source of a page.

    Args:
        name: its path in docs/, without suffix.
        text: what lies there.
    """
    if name in GENERATED:
        return GENERATED[name]()
    path = FILES.get(name, f"docs/{name}.md")
    if name in FILES:
        text = (ROOT / path).read_text(encoding="utf-8")
    return _LINK.sub(lambda link: _relinked(link, path, name), text)


def _relinked(link: re.Match[str], path: str, name: str) -> str:
    """Return a link of a file at `path` as one of the page `name`, or the path that it names."""
    mark, text, target, anchor = link.group(1), link.group(2), link.group(3), link.group(4) or ""
    if "://" in target or target.startswith("/"):
        return link.group(0)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    pages = {file: f"docs/{page}.md" for page, file in FILES.items()}
    pages["README.md"] = "docs/index.md"
    inside = pages.get(inside, inside)
    if not inside.startswith("docs/") or not (ROOT / inside).is_file():
        return f"`{inside}`" if inside.endswith(text.strip("`")) else f"{text} (`{inside}`)"
    here = posixpath.dirname(f"docs/{name}")
    return f"{mark}[{text}]({posixpath.relpath(inside, here)}{anchor})"
