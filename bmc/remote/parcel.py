"""Gather what a device needs to measure bundles: the bundles, a runner, and the request."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import bundle as bundles
from bmc import disk, workspace
from bmc.bundle import Bundle
from bmc.contracts.targets import TARGETS, format_of
from bmc.contracts.tasks import TASKS
from bmc.errors import UsageError
from bmc.files import sha256
from bmc.measure.latency import BenchSettings
from bmc.remote import modules, request
from bmc.remote.request import BUNDLES, Request

RUN = "run.py"
README = "README.md"
_ROOTS = ("bmc.remote.runner", "bmc.remote.golden", "bmc.measure.worker")
_START = Path(__file__).with_name("start.py")


@dataclass(frozen=True)
class Content:
    """The content of a file that is sent.

    Args:
        size: number of bytes.
        sha256: the hash, 64 hexadecimal digits.
        path: file that holds the content; None for content in memory.
        data: content in memory.
    """

    size: int
    sha256: str
    path: Path | None = None
    data: bytes = b""

    @staticmethod
    def of_file(path: Path) -> Content:
        """Return the content of a file as it is now."""
        return Content(path.stat().st_size, sha256(path), path)

    @staticmethod
    def of_bytes(data: bytes) -> Content:
        """Return content that has no file."""
        return Content(len(data), hashlib.sha256(data).hexdigest(), None, data)

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield the content, up to a number of bytes at a time.

        The parts have `self.size` bytes together, whatever happened to the file meanwhile: what a
        file lacks is filled with zeros, and its sha256 then differs.
        """
        with io.BytesIO(self.data) if self.path is None else self.path.open("rb") as file:
            remaining = self.size
            while remaining:
                part = file.read(min(size, remaining)) or bytes(min(size, remaining))
                remaining -= len(part)
                yield part


@dataclass(frozen=True)
class Parcel:
    """What is sent to a device.

    Args:
        files: content of each file, by its path on the device.
        asked: the request among the files.
    """

    files: dict[str, Content]
    asked: Request

    @property
    def size(self) -> int:
        """The number of bytes in all."""
        return sum(content.size for content in self.files.values())


def parcel_of(
    folders: Sequence[Path], threads: Sequence[int], settings: BenchSettings, precision: str
) -> Parcel:
    """Gather bundles, a runner and the request.

    Args:
        folders: folders of the bundles; the first is the reference of the speed-ups.
        threads: thread counts to measure.
        settings: settings of the measurement.
        precision: "f32" or "bf16".

    Raises:
        UsageError: two bundles have the same name, or a bundle cannot run without what the
            training machine has: PyTorch, or a plug-in.
        ArtifactError: a bundle is damaged.
    """
    read = {folder: bundles.read(folder) for folder in dict.fromkeys(folders)}
    workspace.refuse_equal_names(list(read))
    for bundle in read.values():
        reason = reason_against(bundle)
        if reason:
            raise UsageError(f"{bundle.path} {reason}")
    needed = modules.needed_by([*_ROOTS, *_modules_of(list(read.values()))])
    asked = Request(
        {folder.name: sha256(folder / bundles.MANIFEST) for folder in read},
        tuple(threads),
        settings,
        precision,
        needed.packages,
    )
    files = {name: Content.of_file(path) for name, path in needed.files.items()}
    files[RUN] = Content.of_file(_START)
    files[request.FILE] = Content.of_bytes(asked.to_bytes())
    for folder, bundle in read.items():
        for name in (bundles.MANIFEST, *bundle.files):
            files[f"{BUNDLES}/{folder.name}/{name}"] = Content.of_file(folder / name)
    return Parcel(files, asked)


def reason_against(bundle: Bundle) -> str:
    """Say why a bundle cannot be measured with what is sent to a device; "" if it can."""
    target = bundle.manifest.target
    package = TARGETS.origin(target).package or TASKS.origin(bundle.manifest.task).package
    if package:
        return (
            f"needs a plug-in of the package {package}, which is not sent to devices; install "
            "bmc-toolkit and the package there, and run bmc bench there"
        )
    if format_of(target).is_reference:
        return (
            "runs in PyTorch, which is not measured on devices; export its model with bmc export "
            "--target onnx, openvino or tensorrt, and measure that bundle"
        )
    return ""


def write(parcel: Parcel, folder: Path) -> None:
    """Write a parcel into a folder, with a README.md for the person who carries the folder."""
    for name, content in parcel.files.items():
        disk.make_folders((folder / name).parent)
        data = content.data if content.path is None else content.path.read_bytes()
        disk.write(folder / name, data)
    disk.write(folder / README, _readme(parcel.asked).encode())


def _modules_of(read: Sequence[Bundle]) -> list[str]:
    """Return the modules that load and run bundles, which are found by a name in the manifest."""
    names: list[str] = []
    for bundle in read:
        manifest = bundle.manifest
        names += [
            f"bmc.inputs.{bundle.encoder.kind}",
            TASKS.origin(manifest.task).module,
            TARGETS.origin(manifest.target).module,
            format_of(manifest.target).session,
        ]
    return list(dict.fromkeys(names))


def _readme(asked: Request) -> str:
    names = "\n".join(f"- {name}" for name in asked.bundles)
    return f"""# Measure these bundles on a device

{names}

1. Copy this folder to the device.
2. Install Python 3.10 or newer there, and these packages:

       python3 -m pip install {" ".join(asked.packages)}

3. Close other programs there, and run:

       python3 run.py

   The golden outputs of each bundle are checked. The bundles that pass are measured in turn with
   {" and ".join(map(str, asked.threads))} threads, in at least {asked.settings.launches} launches.
4. Copy `result.json` back, and read it next to the bundles:

       bmc bench --read result.json

Nothing is sent anywhere, and nothing outside this folder is written.
"""
