"""Is a quantized bundle faster than the same model in fp32, in the same run time?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bmc import bundle as bundles
from bmc import console
from bmc.bundle import Bundle, Manifest
from bmc.compress.quantize._layers import Narrowed, Quantized
from bmc.contracts import Exporter
from bmc.errors import GateError
from bmc.export import Written
from bmc.inspect.executed import Executed
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.model import Model
from bmc.precision import PRECISIONS
from bmc.writing import scratch

TIMING = BenchSettings(launches=3, rounds=4)
_OVERHEAD_MS = 0.3
Describe = Callable[[Any, str, Written], Manifest]


@dataclass(frozen=True)
class Speed:
    """How many times faster than fp32, and the median call in milliseconds."""

    ratio: Interval
    p50: float | None


def in_fp32(model: Model) -> Model:
    """Return a copy of a quantized model that computes in fp32, of the same layers."""
    module: nn.Module = copy.deepcopy(model.module)
    for part in module.modules():
        if isinstance(part, Quantized):
            part.active = False
        elif isinstance(part, Narrowed):
            part.to(torch.float32)
    return replace(model, module=module, steps=model.steps[:-1])


def over_fp32(
    made: Bundle, exporter: Exporter, plain: Callable[[Path], Any], describe: Describe
) -> Speed:
    """Return how many times faster a bundle is than its fp32 export.

    Both are measured in turn in one run, batch 1, 32 tokens, each at its better of one and two
    threads.

    Args:
        made: the quantized bundle.
        exporter: of its target.
        plain: makes the fp32 source, given a folder to work in.
        describe: makes a manifest of what the exporter wrote.
    """
    with scratch() as work:
        folder = work / "fp32"
        folder.mkdir()
        source = plain(work)
        written = exporter.write(source, folder, source.options)
        source.model.encoder.save(folder)
        bundles.write_golden(folder / bundles.GOLDEN, *made.golden())
        bundles.write(folder, describe(source, made.manifest.target, written))
        console.note(f"{made.manifest.target}: timing it against fp32")
        run = results.measure_bundles([folder, made.path], (1, 2), TIMING)
        own = next(row for row in run.rows if row.best and row.name == made.path.name)
        return Speed(results.ratio(run, "fp32", made.path.name), own.p50.value if own.p50 else None)


def refuse_slower(found: Speed, executed: Sequence[Executed], precision: str) -> None:
    """Refuse a bundle that is slower than its fp32 export, and say why.

    One of a precision that is chosen for size is kept, and what it costs is said.

    Raises:
        GateError: the whole interval lies below 1.
    """
    if found.ratio.high >= 1:
        return
    if not PRECISIONS[precision].for_speed:
        console.note(
            f"{precision} is {1 / found.ratio.value:.2f}x slower than fp32 here; it is chosen for "
            "size, so that speed refuses nothing"
        )
        return
    floats = sorted({part.operator for part in executed if not part.is_reduced})
    cause = "its other work outweighs what is saved"
    if found.p50 is not None and found.p50 < _OVERHEAD_MS:
        cause = f"overhead-bound: a call takes {found.p50:.2f} ms"
    elif floats:
        cause = f"executed in fp32 all the same: {', '.join(floats)}"
    raise GateError(
        f"{precision} is {1 / found.ratio.value:.2f}x slower than fp32 here ({cause}); "
        "--allow-slower accepts it"
    )
