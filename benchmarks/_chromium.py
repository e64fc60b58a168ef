"""Open a page in headless Chromium: the time of its first paint, and what its console says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")
_CONSOLE = re.compile(r"^.*:CONSOLE.*$", re.MULTILINE)
_MEASURED = re.compile(r'"measured ([\w-]+) ([\d.]+)"')
_OBSERVER = """<script>
const tell = (name, time) => console.info(`measured ${name} ${time}`);
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) tell(entry.name, entry.startTime);
}).observe({ type: "paint", buffered: true });
addEventListener("load", () => tell("loaded", performance.now()));
</script>"""


@dataclass(frozen=True)
class Opened:
    """What a browser measured of a page.

    Args:
        first_paint_ms: time from the start of the navigation to the first paint; None where the
            browser did not paint.
        loaded_ms: time to the end of loading.
        console: lines of the console.
    """

    first_paint_ms: float | None
    loaded_ms: float | None
    console: tuple[str, ...]


def open_page(page: Path) -> Opened:
    """Open a page that is one file, and measure its first paint.

    The page is opened twice: as it is, for its console, and as a copy without its policy and with
    a script that observes the first paint.
    """
    if shutil.which("chromium") is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    text = page.read_text(encoding="utf-8")
    observed = re.sub(r"<meta http-equiv=[^>]*>", _OBSERVER, text, count=1)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "observed.html"
        copy.write_text(observed, encoding="utf-8")
        console = _console_of(page, Path(folder))
        of_copy = _console_of(copy, Path(folder))
    measured = {name: float(time) for name, time in _MEASURED.findall("\n".join(of_copy))}
    others = [line for line in of_copy if not _MEASURED.search(line)]
    paint = measured.get("first-contentful-paint")
    return Opened(paint, measured.get("loaded"), (*console, *others))


def _console_of(page: Path, folder: Path) -> list[str]:
    """Open a page until it is drawn, and return the lines of its console."""
    options = (f"--screenshot={folder / 'page.png'}", f"--user-data-dir={folder / 'profile'}")
    command = ["chromium", *_OPTIONS, *options, page.absolute().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return _CONSOLE.findall(done.stderr)
