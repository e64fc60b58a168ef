"""Render the templates of a report's page; everything that is filled in is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from bmc.measure.shown import significant, with_interval
from bmc.report.axes import pixel
from bmc.report.words import joined

_PACKAGES = ("bmc.report.sections", "bmc.report")


def render(name: str, values: Mapping[str, Any]) -> Markup:
    """Fill in a template.

    Args:
        name: name of a file in `bmc/report` or `bmc/report/sections`, such as "page.html".
        values: values by their names in the template.
    """
    return Markup(_environment().get_template(name).render(values))


def source(name: str) -> str:
    """Return the text of a file in `bmc/report` or `bmc/report/sections`."""
    for package in _PACKAGES:
        path = files(package).joinpath(name)
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"the installed bmc lacks {name}")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(source),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "significant": significant,
        "with_interval": with_interval,
        "pixel": pixel,
        "named": joined,
    }
    return environment
