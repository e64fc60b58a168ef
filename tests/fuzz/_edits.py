"""Edits of a folder that bmc wrote: drawn as plain values, with or without fitting hashes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from bmc import plugins
from bmc.errors import MissingError
from bmc.manifest import DIGEST, digest_of

SEEDS = Path(__file__).parent / "seeds.zip"
_SIZES = (0, 1, 2, 3, 64, 1000, 2**16, 2**20, 2**24, 2**31 - 1, 2**31, 2**32, 2**40, 2**63, 10**30)
_TEXTS = (
    *(
        "",
        "x",
        "/etc/passwd",
        "../outside/secret.txt",
        "../../outside/model.bin",
        "a\0b",
        "n" * 5000,
    ),
    *("model", "model.onnx", "model.xml", "tokenizer.json", "golden.npz", "manifest.json", "."),
    *("onnx", "openvino", "pytorch", "tensorrt", "text", "image", "series", "latent", "os:system"),
    *("float16", "float32", "int64", "int8", "object", "batch", "sequence", "\x1b[31m", "python"),
    *("classification", "regression", "generation", "bert", "cnn", "timm", "gan", "mobilenet-v2"),
)
_LINKS = ("outside", "/dev/zero", "itself", "copy")
_LENGTHS = (0, 1, 2, 3, 4, 12, 64, 65, 1000, 2**20)
_DTYPES = ("float32", "int64", "float64", "bool", "uint8", "complex64", "U4")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def drawn(seed: int, names: Sequence[str]) -> list[Any]:
    """Return one to three edits of the files of a folder, the same for the same seed.

    Args:
        seed: hypothesis draws it; the rest is drawn here, ten times as fast as by strategies.
        names: the folder's files.
    """
    source = Random(seed)
    return [_edit(source, names) for _ in range(source.choice((1, 1, 2, 3)))]


def _edit(source: Random, names: Sequence[str]) -> Any:
    models = [item for item in names if item.endswith((".onnx", ".xml", ".bin", ".safetensors"))]
    jsons = [one for one in names if one.endswith(".json")]
    texts = [one for one in names if one.endswith((".json", ".xml"))]
    arrays = [one for one in names if one.endswith(".npz")] or list(names)
    name = source.choice(models if models and source.random() < 0.5 else names)
    share, index = source.random(), source.randrange(10**6)
    kinds: tuple[str, ...] = (
        "bytes",
        "bytes",
        "bytes",
        "insert",
        "cut",
        "truncate",
        "replace",
        "swap",
    )
    kinds += ("json", "json", "json", "json", "number", "number", "drop", "twice", "deep", "sparse")
    kind = source.choice((*kinds, "link", "special", "bomb", "array"))
    if kind == "bytes":
        return (kind, name, share, source.randbytes(source.choice((1, 1, 2, 4, 8))))
    if kind == "insert":
        return (kind, name, share, source.randbytes(source.choice((1, 4, 64))))
    if kind == "json":
        return (kind, source.choice(jsons), index, _value(source))
    if kind == "number":
        return (kind, source.choice(texts), index, _value(source))
    if kind in ("drop", "twice"):
        return (kind, source.choice(jsons), index)
    if kind == "array":
        shape = [source.choice(_LENGTHS) for _ in range(source.randrange(5))]
        return (kind, source.choice(arrays), index, shape, source.choice(_DTYPES))
    choices: dict[str, tuple[Sequence[str], Sequence[Any]]] = {
        "deep": (jsons, (10, 70, 1000, 200_000)),
        "bomb": (arrays, (2**20, 2**28, 2**31, 2**40)),
        "link": (names, _LINKS),
        "special": (names, ("fifo", "socket", "folder", "none")),
        "sparse": ([name], _SIZES),
        "swap": ([name], names),
        "replace": ([name], (b"", b"\0" * 40, b"[]", b"{}", b"PK\x03\x04", b"\xff" * 40)),
        "truncate": ([name], (share,)),
        "cut": ([name], (share,)),
    }
    files, options = choices[kind]
    option = source.choice(options)
    more = (source.random(),) if kind == "cut" else ()
    return (kind, source.choice(files), option, *more)


def _value(source: Random, levels: int = 2) -> Any:
    """Return a JSON value that stands where another belongs."""
    kind = source.randrange(9 if levels else 7)
    if kind == 0:
        return source.choice((None, True, False))
    if kind in (1, 2):
        return source.choice((1, -1)) * source.choice((*_SIZES, source.getrandbits(16)))
    if kind == 3:
        return source.choice((0.5, -0.0, 1e-300, 1e300, float("inf"), float("nan"), 1.5))
    if kind in (4, 5):
        return source.choice(_TEXTS)
    if kind == 6:
        return "".join(chr(source.choice((9, 65, 233, 0x4E2D, 0x1F600))) for _ in range(4))
    items = [_value(source, levels - 1) for _ in range(source.randrange(4))]
    return items if kind == 7 else {str(key): item for key, item in enumerate(items)}


def apply(edit: Sequence[Any], folder: Path, outside: Path) -> None:
    """Do one edit; one that does not fit what lies there does nothing."""
    kind, name, *rest = edit
    path = folder / name
    if not path.exists() or path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    try:
        if kind in ("link", "special", "swap"):
            _replace_entry(kind, path, rest, folder, outside)
        elif kind == "sparse":
            with path.open("r+b") as file:
                file.truncate(min(rest[0], 2**41))
        elif path.is_file() and path.stat().st_size < 2**24:
            path.write_bytes(_edited(kind, path.read_bytes(), rest))
    except (OSError, ValueError, EOFError, RecursionError, MemoryError, zipfile.BadZipFile):
        return


def fix(folder: Path, manifest: str) -> None:
    """Let hashes, sizes and digest fit what lies in the folder, as its own writer would."""
    path = folder / manifest
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 2**24:
        return
    try:
        content = json.loads(path.read_bytes())
        files = content["files"]
        for name in list(files):
            file = folder / name
            if file.is_file() and not file.is_symlink() and file.stat().st_size < 2**24:
                data = file.read_bytes()
                files[name] = hashlib.sha256(data).hexdigest()
                if isinstance(content.get("sizes"), dict):
                    content["sizes"][name] = len(data)
        if DIGEST in content:
            content[DIGEST] = digest_of(content)
        path.write_text(json.dumps(content))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return


def import_plugins(*packages: str, but: str = "") -> None:
    """Import all plug-ins that are installed, but one: a case then imports nothing."""
    for package in packages:
        for name in plugins.names(package):
            if name == but:
                continue
            with contextlib.suppress(MissingError):
                plugins.load(package, name, "plug-in")


def unpack(folder: Path) -> None:
    """Unpack the seeds: small bundles and model directories."""
    with zipfile.ZipFile(SEEDS) as archive:
        archive.extractall(folder)


@cache
def names_of(seed: str) -> list[str]:
    """Return the files of a seed."""
    with zipfile.ZipFile(SEEDS) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"{seed}/")]
    return sorted(name.removeprefix(f"{seed}/") for name in names)


@cache
def seeds(manifest: str) -> list[str]:
    """Return the seeds with a manifest of this name, at their top."""
    with zipfile.ZipFile(SEEDS) as archive:
        result = [name.split("/") for name in archive.namelist()]
    return sorted(parts[0] for parts in result if parts[1:] == [manifest])


def _edited(kind: str, data: bytes, rest: Any) -> bytes:
    if kind in ("json", "drop", "twice", "deep", "sparse"):
        return _edited_json(kind, data, rest)
    if kind == "number":
        return _with_number(data, *rest)
    if kind in ("bomb", "array"):
        return _bomb(rest[0]) if kind == "bomb" else _with_array(data, *rest)
    if kind == "replace":
        return bytes(rest[0])
    start = int(rest[0] * len(data))
    if kind == "truncate":
        return data[:start]
    if kind == "cut":
        return data[:start] + data[start + int(64 * rest[1]) :]
    put = bytes(rest[1])
    return data[:start] + put + data[start if kind == "insert" else start + len(put) :]


def _edited_json(kind: str, data: bytes, rest: Sequence[Any]) -> bytes:
    content = json.loads(data)
    if kind == "deep":
        levels = int(rest[0])
        return data.rstrip()[:-1] + b', "deep": ' + b"[" * levels + b"]" * levels + b"}"
    places = list(_places(content))
    if not places:
        return data
    parent, key = places[rest[0] % len(places)]
    if kind == "json":
        parent[key] = rest[1]
    elif kind == "drop":
        del parent[key]
    elif isinstance(parent, list):
        parent.append(parent[key])
    else:
        parent[f"{key} again"] = parent[key]
        return json.dumps(content).replace(f"{key} again", str(key)).encode()
    return json.dumps(content).encode()


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    items: Any = ()
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list):
        items = list(enumerate(content[:50]))
    for key, value in items:
        yield content, key
        yield from _places(value)


def _with_number(data: bytes, index: int, value: Any) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return data
    span = numbers[index % len(numbers)].span()
    return data[: span[0]] + str(value).encode(errors="replace") + data[span[1] :]


def _bomb(size: int) -> bytes:
    """Return an .npz whose one array unpacks to `size` zeros, or says so."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("input.input_ids.npy", header.getvalue() + bytes(min(size, 2**20)))
    return content.getvalue()


def _with_array(data: bytes, index: int, shape: Sequence[int], dtype: str) -> bytes:
    if np.prod(shape, dtype=float) > 2**20:
        return data
    try:
        with np.load(io.BytesIO(data)) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        return data  # an earlier edit damaged it
    names = sorted(content)
    content[names[index % len(names)]] = np.ones(shape, dtype)
    packed = io.BytesIO()
    np.savez(packed, **content)
    return packed.getvalue()


def _replace_entry(kind: str, path: Path, rest: Sequence[Any], folder: Path, outside: Path) -> None:
    if kind == "swap":
        other = folder / rest[0]
        sizes = [item.lstat().st_size for item in (path, other)]
        if path.is_file() and other.is_file() and not other.is_symlink() and max(sizes) < 2**24:
            first, second = path.read_bytes(), other.read_bytes()
            path.write_bytes(second)
            other.write_bytes(first)
        return
    if path.is_dir() or not path.parent.is_dir():
        return
    old = path.with_name(f"{path.name}.old")
    path.rename(old)
    if kind == "link":
        canary = outside / (path.name if (outside / path.name).exists() else "secret.bin")
        target = {"outside": canary, "copy": old, "itself": path}.get(rest[0], Path(rest[0]))
        path.symlink_to(target)
    elif rest[0] == "fifo":
        os.mkfifo(path)
    elif rest[0] == "folder":
        path.mkdir()
    elif rest[0] == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
