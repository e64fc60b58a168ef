"""Targets: the format of a target's bundles, the run time that loads them, and their exporter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bmc.contracts.base import Contract, T, function, instance_of, value
from bmc.contracts.dialects import Dialect
from bmc.plugins import Kind, Origin, load_part

if TYPE_CHECKING:
    from bmc.bundle import Bundle
    from bmc.contracts.export_options import ExportOptions
    from bmc.export import Source, Written
    from bmc.inspect.executed import Executed
    from bmc.targets import Availability, RuntimeOptions, Session


@dataclass(frozen=True, kw_only=True)
class Format(Contract):
    """Describe a target's bundles; `bmc/bundle_formats/NAME.py` ends with `FORMAT = Format(...)`.

    The file imports neither torch nor a vendor's package: a bundle is listed and its hashes are
    checked where its run time is not installed.

    Args:
        about: the run time, in one sentence, for lists.
        session: the module with `RUNTIME = Runtime(...)`, which may import the vendor's package.
        exporter: the module with `EXPORTER = Exporter(...)`, which may import torch, too.
        files: returns the names of all files that loading a model opens, given the bundle's folder
            and the model's name in it; each must be listed in the manifest. An ArtifactError says
            that the model is no file of this format.
        parts: returns those of the names that hold the model, whose sizes count, given its name;
            None where that is the model's file or folder alone.
        check: refuses a model that reads beyond its files, or loads code, as far as that is cheap;
            None where nothing can be said.
        dialect: the module with `DIALECT = Dialect(...)`, how the target wants a quantized ONNX
            graph to be written; "" where it reads no ONNX.
        source: a file of the bundle that the model was built from, and other targets can run; ""
            for none.
        stand_ins: targets that run `source` where the target's own devices are missing, the best
            first.
        precisions: what `--precision` of `bmc bench` can ask the run time for.
        is_reference: whether it is PyTorch itself, which the others are compared with.
    """

    about: str = field(metadata=value(str))
    session: str = field(metadata=value(str))
    exporter: str = field(metadata=value(str))
    files: Callable[[Path, str], tuple[str, ...]] = field(metadata=function("folder", "model"))
    parts: Callable[[str], tuple[str, ...]] | None = field(default=None, metadata=function("model"))
    check: Callable[[Path, str], None] | None = field(
        default=None, metadata=function("folder", "model")
    )
    dialect: str = field(default="", metadata=value(str))
    source: str = field(default="", metadata=value(str))
    stand_ins: tuple[str, ...] = field(default=(), metadata=value(tuple))
    precisions: tuple[str, ...] = field(default=("f32",), metadata=value(tuple))
    is_reference: bool = field(default=False, metadata=value(bool))


@dataclass(frozen=True, kw_only=True)
class Runtime(Contract):
    """Run a target's bundles; `targets/NAME.py` ends with `RUNTIME = Runtime(...)`.

    Args:
        available: says which version of the run time and which devices are here.
        load: loads a bundle's model into a session.
        rebuild: makes a model anew from its source file in the bundle, where `load` raises a
            StaleEngineError; None where models do not depend on versions or devices.
    """

    available: Callable[[], Availability] = field(metadata=function())
    load: Callable[[Bundle, RuntimeOptions], Session] = field(
        metadata=function("bundle", "options")
    )
    rebuild: Callable[[Bundle], Bundle] | None = field(default=None, metadata=function("bundle"))


@dataclass(frozen=True, kw_only=True)
class Exporter(Contract):
    """Write a target's format; `export/NAME.py` ends with `EXPORTER = Exporter(...)`.

    Args:
        write: writes the model's files into a folder, and says what they are.
        executed: returns the multiplications that the run time executes for a bundle, with the
            precision of each; none where the run time does not tell.
    """

    write: Callable[[Source, Path, ExportOptions], Written] = field(
        metadata=function("source", "folder", "options")
    )
    executed: Callable[[Bundle], list[Executed]] = field(metadata=function("bundle"))


TARGETS = Kind(
    "target", "bmc.bundle_formats", "bmc.targets", "FORMAT", instance_of(Format, "FORMAT")
)


def format_of(target: str, made_with: object = ()) -> Format:
    """Return the format of a target's bundles; see `Kind.load` for what is raised.

    Args:
        target: its name, as in manifest.json.
        made_with: the plug-ins that the manifest lists.
    """
    return TARGETS.load(target, made_with)


def runtime_of(target: str) -> Runtime:
    """Return what runs a target's bundles; see `Kind.load` for what is raised."""
    return _part(target, format_of(target).session, "RUNTIME", Runtime)


def exporter_of(target: str) -> Exporter:
    """Return what writes a target's format; see `Kind.load` for what is raised."""
    return _part(target, format_of(target).exporter, "EXPORTER", Exporter)


def dialect_of(target: str) -> Dialect | None:
    """Return how a target wants quantization to be written; None where it reads no ONNX."""
    module = format_of(target).dialect
    return _part(target, module, "DIALECT", Dialect) if module else None


def _part(target: str, module: str, member: str, contract: type[T]) -> T:
    origin = TARGETS.origin(target)
    part = Origin(module, package=origin.package, version=origin.version)
    return load_part(part, member, instance_of(contract, member), f"the target {target!r}")
