"""Remove from an environment what running ONNX bundles never opens: for devices and containers.

    python -m bmc.slim                        lists what would be removed, with sizes
    python -m bmc.slim --remove               removes it
    python -m bmc.slim --remove --keep-cli    keeps what the command `bmc` needs

The wheels of numpy and ONNX Runtime hold tests, tools and a second copy of the runtime for C
programs, and `tokenizers` brings a client that downloads models, which bmc never calls. Without
the command line's packages, `bmc.load` answers as before, `bmc check BUNDLE` checks a bundle, and
other commands of `bmc` say what to install. An environment in which models are trained is refused.
"""

from __future__ import annotations

import re
import shlex
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from bmc.disk import remove_tree
from bmc.errors import BmcError, UsageError

_PARTS = (
    *("numpy/**/tests", "numpy/f2py", "numpy/_core/include", "numpy/**/*.a", "numpy/**/*.pyi"),
    *("onnxruntime/capi/libonnxruntime.so*", "onnxruntime/transformers", "onnxruntime/tools"),
    *("onnxruntime/quantization", "onnxruntime/datasets"),
)
_DOWNLOADS = {"tokenizers": {"huggingface-hub"}}  # requirements that no bundle uses, by package
_COMMAND_LINE = {"bmc-toolkit": {"rich", "typer"}}
_NAME = re.compile(r"[\w.-]+")
_MEGABYTE = 1e6


def main(arguments: Sequence[str]) -> int:
    """List what can be removed from this environment, and remove it; return the exit code."""
    if not set(arguments) <= {"--remove", "--keep-cli"}:
        print(__doc__, file=sys.stderr)
        return UsageError.exit_code
    site = Path(sysconfig.get_path("purelib"))
    try:
        parts = removable(site, keep_cli="--keep-cli" in arguments)
    except BmcError as error:
        print(f"bmc: {error}", file=sys.stderr)
        return error.exit_code
    for name, paths in parts.items():
        print(f"{_size(paths) / _MEGABYTE:7.1f} MB  {name}")
    total = sum(map(_size, parts.values())) / _MEGABYTE
    if "--remove" not in arguments:
        command = shlex.join(["python", "-m", "bmc.slim", *arguments, "--remove"])
        print(f"{total:7.1f} MB  in all; {command} removes it")
        return 0
    remove((path for paths in parts.values() for path in paths), site)
    print(f"{total:7.1f} MB  removed")
    return 0


def removable(site: Path, *, keep_cli: bool = False) -> dict[str, list[Path]]:
    """Return the files and folders that running bundles never opens, by package or pattern.

    Args:
        site: folder of the installed packages.
        keep_cli: keep the packages of the command line.

    Raises:
        UsageError: PyTorch is installed, so that the rest may be needed.
    """
    installed = {_normal(found.name): found for found in distributions(path=[str(site)])}
    if "torch" in installed:
        raise UsageError(
            f"PyTorch is installed in {site}: this environment trains models. Install "
            "bmc-toolkit[onnx] into an environment of its own, and run this there"
        )
    parts = {pattern: sorted(site.glob(pattern)) for pattern in _PARTS}
    unused = _DOWNLOADS if keep_cli else _DOWNLOADS | _COMMAND_LINE
    names = sorted(_unneeded(installed, unused))
    parts |= {name: list(_files(installed[name], site)) for name in names}
    return {name: paths for name, paths in parts.items() if paths}


def remove(paths: Iterable[Path], site: Path) -> None:
    """Remove files and folders, and the folders below `site` that are then empty."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
        parent = path.parent
        while parent != site and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent


def _unneeded(installed: Mapping[str, Distribution], unused: Mapping[str, set[str]]) -> set[str]:
    """Return the packages that are installed for unused requirements alone."""
    needs = {name: set(_requirements(found)) for name, found in installed.items()}
    required = set().union(*needs.values(), *unused.values())
    for name, packages in unused.items():
        needs.setdefault(name, set()).difference_update(packages)
    dropped = _closure(set().union(*unused.values()), needs)
    roots = {
        name
        for name, found in installed.items()
        if name not in required or found.read_text("REQUESTED") is not None  # `pip install NAME`
    }
    return (dropped & installed.keys()) - _closure(roots, needs)


def _closure(roots: Iterable[str], needs: Mapping[str, set[str]]) -> set[str]:
    """Return packages with everything that they need."""
    found: set[str] = set()
    remaining = list(roots)
    while remaining:
        name = remaining.pop()
        if name not in found:
            found.add(name)
            remaining += needs.get(name, ())
    return found


def _requirements(found: Distribution) -> Iterator[str]:
    """Yield the names of the packages that a package needs, without those of its extras."""
    for requirement in found.requires or ():
        name = _NAME.match(requirement)
        if name and "extra ==" not in requirement:
            yield _normal(name[0])


def _files(found: Distribution, site: Path) -> Iterator[Path]:
    """Yield the files of a package inside `site`."""
    for file in found.files or ():
        path = site / file
        if not file.is_absolute() and ".." not in file.parts and path.exists():
            yield path


def _size(paths: Iterable[Path]) -> int:
    """Return the bytes of files and folders."""
    return sum(
        file.stat().st_size
        for path in paths
        for file in (path.rglob("*") if path.is_dir() else (path,))
        if file.is_file()
    )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
