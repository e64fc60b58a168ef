"""How the site is built: `make docs` writes it to build/docs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import _pages  # noqa: E402  docs/_pages.py

project = "bmc"
author = "the authors of bmc"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_*"]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
napoleon_use_rtype = False

default_role = "code"
html_theme = "furo"
html_title = "bmc"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
smartquotes = False  # they join the dashes of --options
html_theme_options = {"navigation_with_keys": True}


def _read(app: Any, name: str, content: list[str]) -> None:
    content[0] = _pages.page(name, content[0])


def setup(app: Any) -> None:
    """Let `_pages` write the generated pages, and the links that leave docs/."""
    app.connect("source-read", _read)
