"""Build examples/cpp with the libraries that are installed for Python, once for each state of it.

    python tools/build_cpp.py               prints the folder with the programs
    python tools/build_cpp.py --sanitize    likewise, with sanitizers for addresses and behavior

ONNX Runtime's library comes from the package onnxruntime, its headers from an npm package that has
them (150 MB, of which 1 MB is kept); OpenVINO comes from openvino, the JSON headers from
nlohmann-json. The programs lie in the cache of bmc, under a hash of the sources and libraries.
Exit code 3: something is missing; the message says what.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bmc import assets
from bmc.errors import MissingError
from bmc.files import sha256

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "examples" / "cpp"
PROGRAMS = ("classify_onnx", "classify_openvino")
_HEADERS = "com.github.asus4.onnxruntime@0.4.9"  # with the headers of ONNX Runtime 1.29
_HEADERS_SHA256 = "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d"
_FRAMEWORK = "ios-arm64/onnxruntime.framework/Headers/"
_SANITIZE = ("-DBMC_SANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1")


def main() -> int:
    """Build what is not built yet, and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sanitize", action="store_true")
    options = parser.parse_args()
    try:
        print(build(options.sanitize))
    except MissingError as error:
        print(f"build_cpp: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def build(sanitize: bool) -> Path:
    """Return the folder with the programs.

    Raises:
        MissingError: a compiler, a library or a header is missing.
    """
    for program in ("cmake", "c++"):
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not installed: apt install cmake g++")
    openvino = _package("openvino") / "cmake"
    json = _package("nlohmann_json") / "include"
    prefix = _onnx_runtime()
    options = [f"-DONNXRUNTIME_ROOT={prefix}", f"-DOpenVINO_DIR={openvino}", f"-DJSON_ROOT={json}"]
    options += _SANITIZE if sanitize else ()
    versions = [path.name for path in _package("openvino").parent.glob("openvino-*.dist-info")]
    key = _hash([*options, *versions], SOURCES)
    return assets.made(f"cpp-{key}", lambda folder: _compile(options, folder))


def _package(name: str) -> Path:
    """Return the folder of an installed package; the package is not imported.

    Raises:
        MissingError: the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        package = name.replace("_", "-")
        raise MissingError(f"the package {package} is not installed: pip install {package}")
    return Path(spec.origin).parent


def _onnx_runtime() -> Path:
    """Return a folder with include/ and lib/ for the installed onnxruntime.

    Raises:
        MissingError: the package has no shared library, or there are no headers.
    """
    libraries = sorted((_package("onnxruntime") / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        raise MissingError(
            "the package onnxruntime has no libonnxruntime.so: install 1.31 or later"
        )
    headers = _headers()

    def link(folder: Path) -> None:
        (folder / "include").symlink_to(headers)
        (folder / "lib").mkdir()
        for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
            (folder / "lib" / name).symlink_to(libraries[-1])

    return assets.made(f"cpp-onnxruntime-{_hash([str(libraries[-1]), str(headers)])}", link)


def _headers() -> Path:
    """Return a folder with the headers of ONNX Runtime.

    Raises:
        MissingError: npm is not installed, or the package cannot be downloaded.
    """

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            _run(["npm", "pack", "--ignore-scripts", "--silent", _HEADERS], Path(work))
            (archive,) = Path(work).glob("*.tgz")
            if sha256(archive) != _HEADERS_SHA256:
                raise MissingError(f"the npm package {_HEADERS} has another content than expected")
            with tarfile.open(archive) as packed:
                for member in packed:
                    if _FRAMEWORK in member.name and (content := packed.extractfile(member)):
                        (folder / Path(member.name).name).write_bytes(content.read())

    return assets.made("cpp-onnxruntime-headers-29", make)


def _compile(options: list[str], folder: Path) -> None:
    """Build in a temporary folder, and copy the programs into `folder`.

    Raises:
        MissingError: a library or header was not found.
        SystemExit: the build is not valid, or a source does not compile.
    """
    with tempfile.TemporaryDirectory() as work:
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        configure = ["cmake", "-S", str(SOURCES), "-B", work, *generator, *options]
        for command in (configure, ["cmake", "--build", work, "--parallel", "2"]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            output = done.stdout[-8000:] + done.stderr[-8000:]
            if done.returncode != 0 and command == configure and _lacks_library(output):
                raise MissingError(f"cmake finds no library: {output}")
            if done.returncode != 0:
                sys.exit(output)
        for program in PROGRAMS:
            shutil.copy2(Path(work) / program, folder / program)


def _lacks_library(output: str) -> bool:
    """Tell whether cmake failed because a library or header is not installed."""
    return "Could NOT find" in output or "was not found" in output


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        raise MissingError(f"{' '.join(command[:2])} failed: {(done.stdout + done.stderr)[-4000:]}")


def _hash(texts: list[str], folder: Path | None = None) -> str:
    """Return a short hash of texts and of the files in a folder."""
    digest = hashlib.sha256("\n".join(texts).encode())
    for path in sorted(folder.rglob("*")) if folder else ():
        if path.is_file() and path.suffix in (".cpp", ".hpp", ".txt", ".cmake"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
