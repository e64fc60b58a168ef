"""Whose code an error arose in."""

from __future__ import annotations

from pathlib import Path

import pytest

import bmc
from bmc.user_code import line_of

RAISES = {
    "a library that bmc calls": "import jinja2\njinja2.Template('{{ 1 / 0 }}').render()",
    "a library of a library": "import yaml\nyaml.safe_load('a: [')",
    "the language": "import json\njson.loads('{')",
}


@pytest.mark.parametrize("code", RAISES.values(), ids=RAISES)
def test_an_error_in_a_library_that_bmc_calls_is_not_the_users(code: str) -> None:
    path = Path(bmc.__file__).parent / "report" / "page.py"
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever the library raises
        exec(compile(code, str(path), "exec"), {})
    in_bmc = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    assert line_of(in_bmc) == ""


def test_an_error_in_a_file_of_the_user_names_file_line_and_function(tmp_path: Path) -> None:
    path = tmp_path / "nets.py"
    path.write_text("def build():\n    return 1 / 0\n")
    space: dict[str, object] = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    with pytest.raises(ZeroDivisionError) as caught:
        space["build"]()  # type: ignore[operator]
    assert line_of(caught.value) == "nets.py:2, in build"
