"""Every command and snippet of docs/ runs, on small data; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests._pages import QUICK_PAGES, ROOT, blocks, prepare, run_page

DOCS = ROOT / "docs"
_PATH = re.compile(r"`((?:bmc|compress|export|targets|tests|benchmarks|examples|docs)/[\w./-]+)`")
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def name_of(page: Path) -> str:
    """Return a page's path in docs/, without suffix."""
    return page.relative_to(DOCS).with_suffix("").as_posix()


PAGES = [
    pytest.param(page, id=name_of(page))
    for page in sorted(DOCS.rglob("*.md"))
    if "decisions" not in page.parts and page.name != "architecture.md" and blocks(page)
    if name_of(page) not in QUICK_PAGES  # tests/readme runs them, on what the README made
]


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    """Return a user's folder with a small teacher, its student, and their ONNX bundles."""
    folder = tmp_path_factory.mktemp("user")
    commands = [
        "bmc train bert",
        "bmc distill --teacher bert --student tiny",
        "bmc export bert-movie-reviews --target onnx",
        "bmc export tiny-movie-reviews --target onnx",
    ]
    prepare(folder, reviews_csv, commands, layers=4)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(page: Path, user: Path) -> None:
    run_page(page, user)


EVERY_PAGE = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    *ROOT.glob("examples/*/README.md"),
    ROOT / "benchmarks" / "README.md",
]


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target for target in _LINK.findall(text) if "://" not in target]
    lost = [target for target in targets if not (page.parent / target).exists()]
    assert not lost


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    """Capital letters in a path stand for a name of any plug-in, seed or the like."""
    named = _PATH.findall(page.read_text(encoding="utf-8"))
    patterns = {path: re.sub(r"[A-Z]{3,}", "*", path) for path in named if "README" not in path}
    assert not [path for path, pattern in patterns.items() if not any(ROOT.glob(pattern))]
