"""bmc check"""

from __future__ import annotations

import math

import numpy as np

from bmc import bundle as bundles
from bmc import console, plugins, targets, workspace
from bmc.bundle import Bundle
from bmc.cli._common import Answer, Common
from bmc.errors import GateError, MissingError, StaleEngineError
from bmc.targets import Arrays, RuntimeOptions

_TOLERANCE = 2e-3
_NARROW = 0.1  # other processors round what has few bits otherwise


def check(
    bundle: str | None = None,
    /,
    *,
    threads: int = 0,
    common: Common = Common(),  # noqa: B008  frozen
) -> Answer:
    """Check a bundle on this device: checksums and golden outputs.

    Every file's sha256 is compared, then the golden inputs are run and must give the outputs that
    they gave where the bundle was made. A TensorRT engine that was built for another version or
    GPU is rebuilt from the bundle's ONNX file first.

    Args:
        bundle: a bundle's folder, or its name in the workspace; the newest when left out.
        threads: threads of the CPU; 0 leaves the choice to the run time.
    """
    common.begin()
    folder = workspace.find(bundle, "bundle") if bundle else workspace.newest("bundle")
    made = bundles.read(folder)
    console.note(f"{folder}: every file has its recorded sha256")
    target = targets.load(made.manifest.target)
    here = target.available()
    if not here.devices:
        raise MissingError(f"{folder}: checksums are right, but it was not run: {here.note}")
    options = RuntimeOptions(threads=threads)
    if made.manifest.target == "tensorrt":
        made = _fresh_engine(made, options)
    inputs, expected = made.golden()
    with target.load(made, options) as session:
        found = session.run(inputs)
        execution = session.execution
    errors = {name: float(np.abs(found[name] - array).max()) for name, array in expected.items()}
    worst = max(errors.values())
    share = _TOLERANCE if made.manifest.precision == "fp32" else _NARROW
    allowed = share * _scale(made, expected)
    if not worst <= allowed:
        raise GateError(
            f"{folder} answers differently on this device: outputs change by up to {worst:.2g}, "
            f"allowed is {allowed:.2g}"
        )
    return Answer(
        {"bundle": str(folder), "max_error": worst, "allowed": allowed, "execution": execution},
        (
            f"{folder}: right. {made.manifest.target} {here.version} on {execution['device']} "
            f"answers as where it was made (largest change {worst:.1g})",
        ),
    )


def _scale(made: Bundle, expected: Arrays) -> float:
    """Return what changes of an output are held against: as at the export, if that is recorded."""
    scale = made.manifest.parity.get("scale")
    if isinstance(scale, float) and 0 < scale < math.inf:
        return scale
    return max(1.0, *(float(np.abs(array).max()) for array in expected.values()))


def _fresh_engine(made: Bundle, options: RuntimeOptions) -> Bundle:
    tensorrt = plugins.load("bmc.targets", "tensorrt", "target")
    try:
        tensorrt.TARGET.load(made, options).close()
    except StaleEngineError as error:
        console.note(f"{error}; rebuilding from its ONNX file")
        rebuilt: Bundle = tensorrt.rebuild(made)
        return rebuilt
    return made
