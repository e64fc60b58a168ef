"""Examples for devices that bmc was not run on: they say so, and their commands exist."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bmc.cli import app
from tests._pages import ROOT

Run = Callable[..., tuple[int, str, str]]
_COMMAND = re.compile(r"(?:^|[\s/])bmc (\w+)((?: [^`\n|;]*)?)", re.MULTILINE)
_CODE = re.compile(r"```(?:bash|kotlin)?\n(.*?)```|`([^`\n]+)`", re.DOTALL)


@pytest.mark.parametrize("device", ["android", "raspberry-pi", "jetson"])
def test_an_example_says_what_was_not_run_and_its_commands_exist(device: str, bmc: Run) -> None:
    text = (ROOT / "examples" / device / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\*\*Nothing here\s+was run on", text)
    code = "\n".join(block or span for block, span in _CODE.findall(text))
    commands = _COMMAND.findall(code)
    assert commands
    for verb, rest in commands:
        assert verb in app.VERBS
        options = set(re.findall(r"--[a-z-]+", rest))
        if options:
            assert options <= set(re.findall(r"--[a-z-]+", bmc(verb, "--help")[1]))
