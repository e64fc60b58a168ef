"""Read a page: whether its elements are closed, what it loads, and the text of its parts."""

from __future__ import annotations

import html.parser

VOID = frozenset({"meta", "link", "br", "input", "hr", "img", "col"})
_LOADS = ("src", "href", "action", "data", "poster", "srcset", "xlink:href", "formaction")


class Page(html.parser.HTMLParser):
    """Parse a page, and fail where an element is closed that is not open.

    Args:
        text: the page.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.handlers: set[str] = set()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing at {self.getpos()}"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.add(name)
            if name in _LOADS and value is not None:
                self.loads.append(value)
            if name == "id" and value is not None:
                self.ids.add(value)
