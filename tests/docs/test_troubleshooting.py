"""docs/troubleshooting.md quotes messages that bmc prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests._pages import ROOT

_FOLDERS = ("bmc", "compress", "export", "targets")


def texts() -> Iterator[str]:
    """Yield every text of the sources; what is filled in is a blank."""
    for folder in _FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "\0"
                        for part in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_quoted_message_is_one_that_bmc_prints() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("`") and "BMC_DEBUG" not in line]
    messages = [message for line in lines for message in re.findall(r"`([^`]+)`", line)]
    assert len(messages) > 20
    known = "\n".join(texts())
    for message in messages:
        parts = [part.strip(" '") for part in message.split("...")]
        for part in [part for part in parts if " " in part.strip(" ();:,.")]:
            assert part in known, f"{message}: bmc prints no {part!r}"
