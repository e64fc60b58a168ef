"""Hash what a step reads: files, folders, models and code of the user."""

from __future__ import annotations

import ast
import hashlib
import json
import mmap
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

from bmc import workspace
from bmc.errors import ArtifactError, UnknownError
from bmc.files import sha256
from bmc.onnx_files import external_files
from bmc.onnx_models import companions
from bmc.onnx_models.finding import ENCODER_FOLDERS
from bmc.untrusted import read_json
from bmc.writing import write_atomically

_SETTLED = 1.0  # seconds; a file that changed less than this ago may change within one clock tick
_FOLDERS = ("imagefolder:", "audiofolder:", "hf:")
_BESIDE = (
    companions.TOKENIZER,
    companions.TOKENIZER_CONFIG,
    companions.PREPROCESSOR,
    companions.CONFIG,
)
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_WHAT = "model directory"
_INSTALLED = ("site-packages", "dist-packages")  # what is imported there is no code of the user


class Hashes:
    """The sha256 of files; one that the file system calls unchanged is not read again.

    A file is unchanged if its device, inode, size, time of modification and time of change (ctime,
    which no program can set) are those at which it was hashed.

    Args:
        record: JSON file in which the hashes are kept; None for this process alone.
    """

    def __init__(self, record: Path | None = None) -> None:
        self._record = record
        self._known: dict[str, Any] = {}
        self._is_new = False
        if record is not None and record.is_file():
            with suppress(Exception):  # a damaged record costs time, nothing else
                self._known = dict(read_json(record, "record of hashes"))

    def of(self, path: Path) -> str:
        """Return the sha256 of a file as 64 hexadecimal digits."""
        stat = path.stat()
        shown = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        name = str(path.absolute())
        known = self._known.get(name)
        if isinstance(known, list) and known[:-1] == shown:
            return str(known[-1])
        is_settled = time.time() - stat.st_ctime > _SETTLED
        digest = sha256(path)
        if is_settled:
            self._known[name] = [*shown, digest]
            self._is_new = True
        return digest

    def save(self) -> None:
        """Keep the hashes for the next command; files that are gone are forgotten."""
        if self._record is None or not self._is_new:
            return
        known = {name: value for name, value in self._known.items() if os.path.lexists(name)}
        with suppress(Exception):  # without the record, the next command hashes again
            write_atomically(self._record, json.dumps(known).encode())
        self._is_new = False

    def of_all(self, paths: Iterable[Path], folder: Path) -> str:
        """Return one sha256 of the names and contents of files below a folder."""
        lines = [f"{path.relative_to(folder).as_posix()} {self.of(path)}" for path in sorted(paths)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def of_model(reference: str, hashes: Hashes) -> str:
    """Return what identifies a model that exists: the hash of its weights and its bmc.json.

    Which of two models of one name a verb takes, here or in the workspace, depends on the kinds
    that it reads: the content of both counts.

    Args:
        reference: a model directory, a bundle, their names in the workspace, an ONNX file, or a
            Hugging Face folder.
        hashes: hashes of files.

    Raises:
        UnknownError: there is no such model.
    """
    contents: list[str] = []
    places = workspace.candidates(reference)
    for path in dict.fromkeys(path.absolute() for path in places):
        if workspace.kind_of(path) == "model":
            names = (workspace.MODEL_MANIFEST, _WEIGHTS)
            files = [path / name for name in names if (path / name).is_file()]
            contents.append(hashes.of_all(files, path))
        elif path.is_file():
            contents.append(hashes.of_all(_with_companions(path), path.absolute().parent.parent))
        elif path.is_dir() and (workspace.kind_of(path) or _holds_model(path)):
            contents.append(hashes.of_all(_files_of(path), path))
    if contents:
        return " ".join(contents)
    return str(workspace.find(reference, "model"))  # raises; the message has the nearest name


def _holds_model(folder: Path) -> bool:
    """Tell whether a folder has a Hugging Face model, or an ONNX file."""
    return _has_config(folder) or any(folder.glob("**/*.onnx"))


def _has_config(folder: Path) -> bool:
    """Tell whether a folder has a Hugging Face model, or one of sentence-transformers."""
    return any((folder / place / _CONFIG).is_file() for place in ENCODER_FOLDERS)


def each_of(reference: str) -> list[str]:
    """Return the models that a reference names; teachers may be several, separated by commas."""
    if "," not in reference or Path(reference).exists():
        return [reference]
    return [name.strip() for name in reference.split(",")]


def of_data(reference: str, hashes: Hashes) -> str | None:
    """Return the hash of a data file, or of all files of a folder; None for a data set's name.

    Args:
        reference: data as `--data`, `--transfer` and `--samples` take them, or a Hugging Face
            folder that a setting names.
        hashes: hashes of files.
    """
    prefix = next((each for each in _FOLDERS if reference.startswith(each)), "")
    path = Path(reference.removeprefix(prefix))
    if prefix == "hf:" and not path.is_dir():  # hf:DIR:CONFIGURATION, hf:DIR@REVISION
        path = Path(str(path).partition("@")[0].partition(":")[0])
    try:
        if path.is_dir() and (prefix or _has_config(path)):  # such as a student's start
            return hashes.of_all(_files_of(path), path)
        return hashes.of_all(_with_companions(path), path.absolute().parent.parent)
    except OSError:  # no such file
        return None


def of_code(name: str, hashes: Hashes) -> str:
    """Return the hash of the user's code, without importing it.

    It covers the module's file, or the whole package, and the modules beside it that it imports.

    Args:
        name: module:function.
        hashes: hashes of files.

    Raises:
        UnknownError: there is no such module.
    """
    module = name.partition(":")[0].partition(".")[0]
    for folder in dict.fromkeys([os.getcwd(), *sys.path]):
        files = _module_files(Path(folder or "."), module)
        if files:
            return hashes.of_all(files, Path(folder or "."))
    raise UnknownError(f"no module named {module!r} for your own code {name}: run bmc beside it")


def built_by(reference: str) -> tuple[str, str]:
    """Return what builds a model that exists: its family, and the user's code, module:function.

    Args:
        reference: a model directory, or its name in the workspace; "" stands for both where it is
            another model, and for the code where there is none.
    """
    for path in workspace.candidates(reference):
        if workspace.kind_of(path) == "model":
            with suppress(ArtifactError):  # damaged: nothing is run
                manifest = read_json(path / workspace.MODEL_MANIFEST, _WHAT)
                spec = read_json(path / _CONFIG, _WHAT)
                return str(manifest.get("family")), str(spec.get("code") or "")
    return "", ""


def _module_files(folder: Path, module: str) -> set[Path]:
    """Return the files of a module in a folder, and of the modules beside it that it imports.

    Of an installed module, these would be torch and all that it imports: they are left out.
    """
    found: set[Path] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        package, file = folder / name, folder / f"{name}.py"
        if (package / "__init__.py").is_file() or not file.is_file():
            files = _sources_below(package) - found
        else:
            files = {file} - found
        found |= files
        if folder.name not in _INSTALLED:
            pending += [each for path in files for each in _imported(path)]
    return found


def _sources_below(folder: Path) -> set[Path]:
    """Return the source files of a package, with or without an __init__.py."""
    return {
        path
        for path in (folder.rglob("*.py") if folder.is_dir() else ())
        if not any(
            part.startswith(".") or part in _INSTALLED for part in path.relative_to(folder).parts
        )
    }


def _imported(path: Path) -> Iterator[str]:
    """Yield the top-level names that a source file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _with_companions(path: Path) -> list[Path]:
    """Return a file, and of an ONNX file its weights and what says how its inputs are made."""
    if path.suffix.lower() != ".onnx":
        return [path.absolute()]
    beside = [companions.beside(path, name) for name in _BESIDE]
    return [path.absolute(), *_external(path), *(each for each in beside if each is not None)]


def _external(path: Path) -> list[Path]:
    """Return the files beside an ONNX file that hold its weights, whatever their names."""
    with path.open("rb") as file, suppress(ValueError):  # empty, or no ONNX file: nothing is run
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            names = sorted(external_files(content))
        inside = [name for name in names if ".." not in PurePath(name).parts]
        paths = [
            path.absolute().parent / name for name in inside if not PurePath(name).is_absolute()
        ]
        return [each for each in paths if each.is_file()]
    return []


def _files_of(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files below a folder, also behind links to folders; hidden ones are left out.

    Args:
        folder: the folder.
        above: the folders that it lies in, to which a link in it may lead back.
    """
    place = folder.resolve()
    for path in folder.iterdir() if place not in above else ():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_of(path, (*above, place))
        elif path.is_file():
            yield path
