"""Is a quantized bundle faster than the same model in fp32, in the same run time?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bmc import bundle as bundles
from bmc import console
from bmc.bundle import Bundle
from bmc.contracts import Exporter
from bmc.errors import GateError
from bmc.export.manifests import manifest_of
from bmc.export.source import Source
from bmc.inspect.executed import Executed
from bmc.measure import results
from bmc.measure.latency import BenchSettings
from bmc.measure.scores import Interval
from bmc.precision import PRECISIONS
from bmc.writing import scratch

TIMING = BenchSettings(launches=3, rounds=4)
_OVERHEAD_MS = 0.3


@dataclass(frozen=True)
class Speed:
    """How fast a quantized bundle is.

    Args:
        ratio: how many times faster than the fp32 export.
        p50: median latency in milliseconds; None where it was not measured.
    """

    ratio: Interval
    p50: float | None


def over_fp32(quantized: Bundle, exporter: Exporter, source: Source) -> Speed:
    """Return how many times faster a bundle is than its fp32 export.

    Both are measured in turn in one run, batch 1, 32 tokens, each at its better of one and two
    threads.

    Args:
        quantized: the bundle.
        exporter: of its target.
        source: that the bundle was exported from.
    """
    with scratch() as work:
        folder = work / "fp32"
        folder.mkdir()
        fp32 = source.in_fp32(work)
        written = exporter.write(fp32, folder, fp32.options)
        fp32.model.encoder.save(folder)
        bundles.write_golden(folder / bundles.GOLDEN, *quantized.golden())
        bundles.write(folder, manifest_of(fp32, quantized.manifest.target, written))
        console.note(f"{quantized.manifest.target}: timing it against fp32")
        name = quantized.path.name
        run = results.measure_bundles([folder, quantized.path], (1, 2), TIMING)
        best = next(row for row in run.rows if row.best and row.name == name)
        return Speed(results.ratio(run, "fp32", name), best.p50.value if best.p50 else None)


def refuse_slower(speed: Speed, executed: Sequence[Executed], precision: str) -> None:
    """Refuse a bundle that is slower than its fp32 export, and say why.

    A precision that is chosen for size is not refused; its cost is said.

    Args:
        speed: of the bundle.
        executed: multiplications that its run time executes.
        precision: of the bundle, a key of `bmc.precision.PRECISIONS`.

    Raises:
        GateError: the whole interval lies below 1.
    """
    if speed.ratio.high >= 1:
        return
    slowdown = f"{precision} is {1 / speed.ratio.value:.2f}x slower than fp32 here"
    if not PRECISIONS[precision].for_speed:
        console.note(f"{slowdown}; it is chosen for size, so that speed refuses nothing")
        return
    in_fp32 = sorted({operation.operator for operation in executed if not operation.is_reduced})
    cause = "its other work outweighs what is saved"
    if speed.p50 is not None and speed.p50 < _OVERHEAD_MS:
        cause = f"overhead-bound: a call takes {speed.p50:.2f} ms"
    elif in_fp32:
        cause = f"executed in fp32 all the same: {', '.join(in_fp32)}"
    raise GateError(f"{slowdown} ({cause}); --allow-slower accepts it")
