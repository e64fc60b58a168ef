"""Serve a folder on loopback, with the two headers that threads of WebAssembly need.

    python examples/browser/serve.py [FOLDER] [--port 8000] [--header "Name: value"]

Any static server serves the page; without these headers the model runs on one thread.
"""

from __future__ import annotations

import argparse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DIST = Path(__file__).parent / "dist"
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


class Handler(SimpleHTTPRequestHandler):
    """Send files with further headers, and write no line for each request."""

    extensions_map = {  # noqa: RUF012  typeshed declares it as a variable of instances
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".gz": "application/octet-stream",
    }

    def __init__(self, *arguments: Any, headers: dict[str, str], **options: Any) -> None:
        self.further_headers = headers
        super().__init__(*arguments, **options)

    def end_headers(self) -> None:
        """Add the headers to those of the file."""
        for name, value in self.further_headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=DIST)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free port")
    parser.add_argument("--header", action="append", default=[], help="a further header")
    options = parser.parse_args()
    further = dict(line.split(": ", 1) for line in options.header)
    handler = partial(Handler, headers={**ISOLATION, **further}, directory=str(options.folder))
    with ThreadingHTTPServer(("127.0.0.1", options.port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
