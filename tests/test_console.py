"""What is shown: data never moves the cursor, and a lost terminal never loses work."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest
from rich.table import Table

from bmc import console

HOSTILE = "good\x1b[2J\x1b]0;title\x07\x9b31m\r\u202eevil\u2066\ud800\x7f"
SHOWN = r"good\x1b[2J\x1b]0;title\x07\x9b31m\r\u202eevil\u2066\ud800\x7f"


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert console.printable(HOSTILE) == SHOWN


@pytest.mark.parametrize(
    "text", ["größer", "a\nb\tc", "می\u200cخواهم", "👩\u200d🔬", "[red]x[/red]"]
)
def test_text_that_is_merely_foreign_is_shown_as_it_is(text: str) -> None:
    assert console.printable(text) == text


def test_notes_results_and_tables_are_shown_that_way(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(f"[bold]{HOSTILE}[/bold] :smile:")
    console.note(HOSTILE)
    console.say(HOSTILE, table)
    out, err = capsys.readouterr()
    assert SHOWN in err
    assert out.count(SHOWN) == 4
    assert "[bold]" in out
    assert ":smile:" in out
    for character in "\x1b\x07\x9b\r\u202e\u2066\x7f":
        assert character not in out + err


def test_a_note_that_nobody_can_read_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w", buffering=1)  # noqa: SIM115  closing it fails
    for stream in (full, None):
        monkeypatch.setattr(sys, "stderr", stream)
        console.note("lost")
        with console.progress("lost", total=1) as advance:
            advance(1)
    monkeypatch.undo()
    with suppress(OSError):
        full.close()


def test_nothing_is_said_until_a_reporter_is_set() -> None:
    code = (
        "from bmc import console\n"
        "console.note('a note')\n"
        "with console.progress('work', total=1) as advance:\n"
        "    advance(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_callers_function_gets_notes_and_progress() -> None:
    events: list[console.Event] = []
    with console.reporting(console.Callback(events.append)):
        console.note("a note")
        with console.progress("training", total=3, done=1) as advance:
            advance(2)
    assert events == [
        console.Event("a note"),
        console.Event("training", 1, 3),
        console.Event("training", 3, 3),
    ]


def test_what_is_muted_is_heard_again_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with console.muted():
        console.note("unheard")
    console.note("heard")
    assert capsys.readouterr().err == "heard\n"
