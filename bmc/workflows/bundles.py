"""Write a bundle for each target, and keep what passed where others failed a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bmc import console, workspace
from bmc.bundle import Bundle
from bmc.contracts.targets import TARGETS, exporter_of
from bmc.errors import BmcError, GateError, UsageError, unknown
from bmc.workflows.bundle_lines import line_of
from bmc.workflows.outputs import refuse_output


@dataclass(frozen=True)
class Exported:
    """Bundles that an export wrote.

    Args:
        bundles: bundles in the order of the targets; those that failed a check come last.
    """

    bundles: tuple[Bundle, ...]


def check_targets(targets: Sequence[str], output: Path | None) -> None:
    """Refuse unknown targets, and one output for several targets.

    Raises:
        UsageError: no target is named, or an output for several.
        UnknownError: there is no such target.
    """
    names = TARGETS.names()
    if not targets:
        raise UsageError(f"--target names none of {', '.join(names)}")
    for name in targets:
        if name not in names:
            raise unknown("target", name, names)
    if output and len(targets) > 1:
        raise UsageError(f"--output names one bundle, but there are {len(targets)} targets")


def outputs_for(
    targets: Sequence[str],
    name: str,
    output: Path | None,
    force: bool,
    source: Path | None = None,
) -> dict[str, Path]:
    """Return the folder of each target's bundle.

    Args:
        targets: names of targets, which exist.
        name: name of the folders, without the target.
        output: the folder for a single target; NAME-TARGET in the workspace when None.
        force: whether outputs may exist.
        source: the model directory that is exported; None for an ONNX file.

    Raises:
        UsageError: a folder exists.
        MissingError: a target's package is not installed.
    """
    outputs = {target: output or workspace.root() / f"{name}-{target}" for target in targets}
    for target, folder in outputs.items():
        exporter_of(target)
        refuse_output(folder, force, source=source)
    return outputs


def write_each(
    outputs: Mapping[str, Path],
    what: str,
    check: Callable[[str], None],
    write: Callable[[str, Path], Bundle],
) -> tuple[list[Bundle], list[GateError]]:
    """Write a bundle for each target.

    Args:
        outputs: folder of each target's bundle.
        what: what is done, for notes.
        check: function that refuses a target that cannot execute the model.
        write: function that writes a target's bundle into a folder.

    Returns:
        the bundles that passed, and the errors of those that failed, which are kept.
    """
    written: list[Bundle] = []
    failures: list[GateError] = []
    for target in outputs:
        check(target)  # before the first of several is made
    for target, output in outputs.items():
        console.note(f"{target}: {what}")
        try:
            written.append(write(target, output))
        except GateError as error:
            failures.append(error)
        except BmcError:
            for line in [*map(line_of, written), *map(str, failures)]:
                console.note(line)
            raise
    return written, failures


def exported(written: Sequence[Bundle], failures: Sequence[GateError]) -> Exported:
    """Return what was exported; raise the failures, if there are any, with what was kept."""
    if failures:
        for bundle in written:
            console.note(line_of(bundle))
        kept = [error.result for error in failures if isinstance(error.result, Bundle)]
        message = "; ".join(str(failure) for failure in failures)
        raise GateError(message, "", Exported((*written, *kept)), failures)
    return Exported(tuple(written))
