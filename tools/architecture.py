"""Draw docs/architecture.svg, and list below it which package imports which.

    python tools/architecture.py            writes docs/architecture.svg and docs/architecture.md
    python tools/architecture.py --check    exits with 1 where they are not up to date

The layers are those of the import contract in pyproject.toml; the arrows are the imports that grimp
finds. In a layer, what imports another package stands above it. An arrow that others imply is left
out of the picture, and stands in the list.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
START, END = "<!-- imports: generated -->\n", "<!-- end -->\n"
_BOX, _GAP, _ROW = (112, 24), 12, 50  # pixels: size of a box, between boxes, between rows
_MARGIN, _SPACE = 16, 12  # pixels: around the picture, and between two layers
_MOST = 8  # boxes of a row

Edges = Mapping[str, frozenset[str]]


def layers() -> list[list[str]]:
    """Return the packages of each layer, top to bottom, as the import contract lists them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = [item for item in contracts if item["type"] == "layers"]
    return [[name.strip() for name in row.split(":")] for row in contract["layers"]]


def imports(packages: Sequence[str]) -> Edges:
    """Return the packages that each package imports when the program runs."""
    graph = grimp.build_graph("bmc", cache_dir=None, exclude_type_checking_imports=True)
    edges: dict[str, set[str]] = {package: set() for package in packages}
    for module in graph.modules:
        importer = _package_of(module)
        for imported in graph.find_modules_directly_imported_by(module):
            package = _package_of(imported)
            if importer in edges and package in edges and package != importer:
                edges[importer].add(package)
    return {package: frozenset(edges[package]) for package in packages}


def rows_of(layer: Sequence[str], edges: Edges) -> list[list[str]]:
    """Return a layer's packages in rows: what imports another one of the layer stands above it."""

    def depth(package: str) -> int:
        return max((1 + depth(target) for target in edges[package] & set(layer)), default=0)

    rows = []
    for level in range(max(map(depth, layer)), -1, -1):
        row = [package for package in layer if depth(package) == level]
        rows += [row[start : start + _MOST] for start in range(0, len(row), _MOST)]
    return rows


def reduced(edges: Edges) -> Edges:
    """Return the edges that no longer path implies."""
    return {
        package: frozenset(
            target
            for target in targets
            if not any(target in _reached(other, edges) for other in targets - {target})
        )
        for package, targets in edges.items()
    }


def picture(layers: Sequence[Sequence[str]], edges: Edges) -> str:
    """Return an SVG: a band for each layer, its packages in rows of boxes, an arrow an edge.

    Args:
        layers: packages of each layer, top to bottom.
        edges: what each package imports.
    """
    bands = [rows_of(layer, edges) for layer in layers]
    widest = max(len(row) for rows in bands for row in rows)
    width = 2 * _MARGIN + widest * (_BOX[0] + _GAP) + _GAP
    places: dict[str, tuple[float, float]] = {}
    shades: list[str] = []
    top = float(_MARGIN)
    for rows in bands:
        tall = len(rows) * _ROW - (_ROW - _BOX[1]) + 2 * _SPACE
        shades.append(
            f'<rect x="{_MARGIN}" y="{top:g}" width="{width - 2 * _MARGIN}" height="{tall}" rx="6" '
            'fill="#f6f8fb"/>'
        )
        for number, row in enumerate(rows):
            start = (width - len(row) * (_BOX[0] + _GAP) + _GAP) / 2
            for column, package in enumerate(row):
                left = start + column * (_BOX[0] + _GAP)
                places[package] = (left, top + _SPACE + number * _ROW)
        top += tall + _SPACE
    height = top - _SPACE + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" '
        'font-family="sans-serif" font-size="13" role="img">',
        "<title>The packages of bmc: each imports only what stands below it</title>",
        f'<rect width="{width}" height="{height:g}" fill="#ffffff"/>',
        *shades,
    ]
    for package, targets in edges.items():
        parts += [_arrow(places[package], places[target]) for target in sorted(targets)]
    for package, (left, upper) in places.items():
        parts.append(
            f'<rect x="{left:g}" y="{upper:g}" width="{_BOX[0]}" height="{_BOX[1]}" rx="4" '
            'fill="#eef3fa" stroke="#35618f"/>'
            f'<text x="{left + _BOX[0] / 2:g}" y="{upper + 16:g}" text-anchor="middle" '
            f'fill="#12263a">{escape(package)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def listed(layers: Sequence[Sequence[str]], edges: Edges) -> str:
    """Return a Markdown table of each package's imports, top to bottom."""
    lines = ["| package | imports |", "|---|---|"]
    order = [package for layer in layers for package in layer]
    for package in order:
        below = [target for target in order if target in edges[package]]
        lines.append(f"| `{package}` | {', '.join(below) or 'nothing of bmc'} |")
    return "\n".join(lines) + "\n"


def made() -> dict[Path, str]:
    """Return what the files should hold."""
    bands = layers()
    edges = imports([package for band in bands for package in band])
    page = DOCS / "architecture.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return {
        DOCS / "architecture.svg": picture(bands, reduced(edges)),
        page: f"{before}{START}{listed(bands, edges)}{END}{after}",
    }


def main(arguments: Sequence[str]) -> int:
    """Write the files, or compare them; return the exit code."""
    stale = {
        path: text
        for path, text in made().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run python tools/architecture.py")
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return 0


def _package_of(module: str) -> str:
    return ".".join(module.split(".")[1:2])


def _reached(package: str, edges: Edges) -> set[str]:
    """Return all packages that a package imports, directly or through others."""
    reached: set[str] = set()
    open_ends = [package]
    while open_ends:
        for target in edges[open_ends.pop()] - reached:
            reached.add(target)
            open_ends.append(target)
    return reached


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a curve from the lower edge of one box to the upper edge of another."""
    left, top = start[0] + _BOX[0] / 2, start[1] + _BOX[1]
    right, bottom = end[0] + _BOX[0] / 2, end[1]
    middle = (top + bottom) / 2
    return (
        f'<path d="M{left:g} {top:g} C{left:g} {middle:g} {right:g} {middle:g} {right:g} '
        f'{bottom:g}" fill="none" stroke="#9db4cc"/>'
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
