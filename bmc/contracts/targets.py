"""Contracts of targets: the format of the bundles, the runtime and the exporter of a target."""

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

    The file imports neither torch nor a vendor's package: bmc lists bundles and checks their hashes
    also where their runtime is not installed.

    Args:
        about: description of the runtime in one sentence, for lists.
        session: name of the module with `RUNTIME = Runtime(...)`, which may import the vendor's
            package.
        exporter: name of the module with `EXPORTER = Exporter(...)`, which may also import torch.
        files: function that returns the names of all files that loading a model opens, given the
            bundle's folder and the model's name in it; the manifest must list each of these files.
            It raises an ArtifactError for a model that is not a file of this format.
        parts: function that returns the names of the files whose sizes count as the model's size,
            given the model's name; None where only the model's file or folder counts.
        check: function that refuses a model that reads files outside the bundle or loads code, as
            far as a cheap check can tell; None where there is no such check.
        packed: function that checks the model of a packed bundle as `files` and `check` do, and
            tells whether `Runtime.load` loads the model from the bytes that `Bundle.read_file`
            returns. It is given a function that returns the bytes of a file by name, and the
            model's name. None where the runtime needs files: bmc then unpacks the bundle.
        dialect: name of the module with `DIALECT = Dialect(...)`; "" for a target that does not
            read ONNX.
        source: file of the bundle that the model was built from and that other targets can run;
            "" for none.
        stand_ins: targets that run `source` where the target has no device, the preferred target
            first.
        precisions: values of `--precision` of `bmc bench` that the runtime supports.
        is_reference: whether the target is PyTorch, with which other targets are compared.
        has_mobile: whether `bmc export --mobile` writes a second model for a small build of the
            runtime, which `Runtime.load` loads, too.
    """

    about: str = field(metadata=value(str))
    session: str = field(metadata=value(str))
    exporter: str = field(metadata=value(str))
    files: Callable[[Path, str], tuple[str, ...]] = field(metadata=function("folder", "model"))
    parts: Callable[[str], tuple[str, ...]] | None = field(default=None, metadata=function("model"))
    check: Callable[[Path, str], None] | None = field(
        default=None, metadata=function("folder", "model")
    )
    packed: Callable[[Callable[[str], bytes], str], bool] | None = field(
        default=None, metadata=function("read", "model")
    )
    dialect: str = field(default="", metadata=value(str))
    source: str = field(default="", metadata=value(str))
    stand_ins: tuple[str, ...] = field(default=(), metadata=value(tuple))
    precisions: tuple[str, ...] = field(default=("f32",), metadata=value(tuple))
    is_reference: bool = field(default=False, metadata=value(bool))
    has_mobile: bool = field(default=False, metadata=value(bool))


@dataclass(frozen=True, kw_only=True)
class Runtime(Contract):
    """Run a target's bundles; `targets/NAME.py` ends with `RUNTIME = Runtime(...)`.

    Args:
        available: function that returns the installed version of the runtime and the available
            devices.
        load: function that loads a bundle's model into a session.
        rebuild: function that builds a model again from the source file in the bundle, for bundles
            for which `load` raises a StaleEngineError; None where models do not depend on versions
            or devices.
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
        write: function that writes the model's files into a folder, and returns their description.
        executed: function that returns the multiplications that the runtime executes for a bundle,
            with their precision; it returns an empty list where the runtime does not tell.
    """

    write: Callable[[Source, Path, ExportOptions], Written] = field(
        metadata=function("source", "folder", "options")
    )
    executed: Callable[[Bundle], list[Executed]] = field(metadata=function("bundle"))


TARGETS = Kind(
    "target", "bmc.bundle_formats", "bmc.targets", "FORMAT", instance_of(Format, "FORMAT")
)


def format_of(target: str, made_with: object = ()) -> Format:
    """Return the format of a target's bundles; see `Kind.load` for the errors.

    Args:
        target: name of the target, as in manifest.json.
        made_with: plug-ins that the manifest lists.
    """
    return TARGETS.load(target, made_with)


def runtime_of(target: str) -> Runtime:
    """Return the runtime of a target's bundles; see `Kind.load` for the errors."""
    return _part(target, format_of(target).session, "RUNTIME", Runtime)


def exporter_of(target: str) -> Exporter:
    """Return the exporter of a target's bundles; see `Kind.load` for the errors."""
    return _part(target, format_of(target).exporter, "EXPORTER", Exporter)


def dialect_of(target: str) -> Dialect | None:
    """Return the ONNX dialect of a target; None for a target that does not read ONNX."""
    module = format_of(target).dialect
    return _part(target, module, "DIALECT", Dialect) if module else None


def _part(target: str, module: str, member: str, contract: type[T]) -> T:
    origin = TARGETS.origin(target)
    part = Origin(module, package=origin.package, version=origin.version)
    return load_part(part, member, instance_of(contract, member), f"the target {target!r}")
