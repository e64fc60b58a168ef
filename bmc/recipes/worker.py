"""A process that makes results of steps: `python -m bmc.recipes.worker LOCATION FOLDER`.

Each line on stdin is a step, as JSON. The process prints notes, progress and the outcome of the
step as JSON lines. It ends when stdin closes, at once, also in the middle of a step: then the
command that started it is gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from bmc import console
from bmc.console import Callback, Event
from bmc.recipes.plan import Step
from bmc.recipes.runners import make
from bmc.recipes.store import StepStore
from bmc.termination import raise_on_signals
from bmc.trust import trusting

_EVERY = 0.5  # seconds between two lines of progress


def main() -> None:
    """Make results until stdin closes."""
    raise_on_signals()
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not for the reader of the lines
    location, folder = sys.argv[1:3]
    store = StepStore(location, Path(folder))
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        while True:
            _serve(json.loads(requests.get()), store, lines)
    except KeyboardInterrupt:  # a signal: what was half-written is removed by now
        os._exit(1)


def _read(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(1)


def _serve(request: Mapping[str, Any], store: StepStore, lines: TextIO) -> None:
    step = Step(**request["step"])
    with trusting(*request["codes"]), console.reporting(Callback(_reporter(lines))):
        outcome = make(step, request["key"], request["inputs"], store)
    _send(lines, {"outcome": asdict(outcome)})


def _reporter(lines: TextIO) -> Callable[[Event], None]:
    """Return a function that sends notes, and progress from time to time."""
    sent = [0.0]

    def report(event: Event) -> None:
        now = time.monotonic()
        if event.total is None:
            _send(lines, {"note": event.text})
        elif now - sent[0] >= _EVERY:
            sent[0] = now
            _send(lines, {"progress": [event.text, event.done, event.total, event.unit]})

    return report


def _send(lines: TextIO, message: Mapping[str, Any]) -> None:
    lines.write(json.dumps(message) + "\n")
    lines.flush()


if __name__ == "__main__":
    main()
