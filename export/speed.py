"""Time a quantized bundle against the fp32 export of the same model, in the same runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
from bmc.measure.shown import with_interval
from bmc.precision import PRECISIONS
from bmc.writing import scratch

TIMING = BenchSettings(launches=3, rounds=4, drop_slower=1.25)
THREADS = (1, 2)
LARGE = 1 << 30
"""Bytes of a bundle that is timed with one thread count; each has a process with all weights."""
_OVERHEAD_MS = 0.3
_CLEARLY_SLOWER = 0.9  # speed over fp32, at the median


@dataclass(frozen=True)
class Speed:
    """Speed of a quantized bundle.

    Args:
        ratio: latency of the fp32 export over latency of the bundle.
        p50: median latency of the bundle in milliseconds; None where it was not measured.
    """

    ratio: Interval
    p50: float | None


def over_fp32(quantized: Bundle, exporter: Exporter, fp32: Source) -> Speed:
    """Return how many times faster a bundle is than its fp32 export.

    The two bundles are measured in turn in one run, with batch size 1 and 32 tokens, each with
    one and with two threads; the faster thread count of each bundle counts, and one that is clearly
    slower is measured in the first of three launches alone.

    Args:
        quantized: the quantized bundle.
        exporter: exporter of the bundle's target.
        fp32: source of the same model, switched to fp32.
    """
    with scratch() as work:
        folder = work / "fp32"
        folder.mkdir()
        written = exporter.write(fp32, folder, fp32.options)
        fp32.model.encoder.save(folder)
        bundles.write_golden(folder / bundles.GOLDEN, *quantized.golden())
        bundles.write(folder, manifest_of(fp32, quantized.manifest.target, written))
        return over(quantized, folder)


def over(quantized: Bundle, fp32: Path) -> Speed:
    """Return how many times faster a bundle is than another one, measured as in `over_fp32`.

    Bundles of more than 1 GiB are measured with two threads alone, for the sake of memory.

    Args:
        quantized: the quantized bundle.
        fp32: the bundle of the same model in fp32; its folder has another name.
    """
    console.note(f"{quantized.manifest.target}: timing it against fp32")
    name = quantized.path.name
    size = sum(path.stat().st_size for path in fp32.iterdir())
    threads = THREADS if size <= LARGE else THREADS[-1:]
    run = results.measure_bundles([fp32, quantized.path], threads, TIMING)
    best = next(row for row in run.rows if row.best and row.name == name)
    return Speed(results.ratio(run, fp32.name, name), best.p50.value if best.p50 else None)


def refuse_slower(speed: Speed, executed: Sequence[Executed], precision: str) -> None:
    """Refuse a bundle that is slower than its fp32 export, and give the likely cause.

    A precision that serves size alone is not refused; a note states the slowdown.

    Args:
        speed: speed of the bundle.
        executed: multiplications that the bundle's runtime executes.
        precision: the bundle's precision, a key of `bmc.precision.PRECISIONS`.

    Raises:
        GateError: the whole interval of the speed ratio lies below 1.
    """
    if speed.ratio.high >= 1:
        return  # `doubt_of` says where that does not show that the bundle is fast enough
    slowdown = f"{precision} is {1 / speed.ratio.value:.2f}x slower than fp32 here"
    if not PRECISIONS[precision].for_speed:
        console.note(f"{slowdown}; {precision} is chosen for size, so the bundle is not refused")
        return
    in_fp32 = sorted({operation.operator for operation in executed if not operation.is_reduced})
    cause = "quantizing and dequantizing cost more than the multiplications save"
    if speed.p50 is not None and speed.p50 < _OVERHEAD_MS:
        cause = f"overhead-bound: a call takes {speed.p50:.2f} ms"
    elif in_fp32:
        cause = f"still executed in fp32: {', '.join(in_fp32)}"
    raise GateError(f"{slowdown} ({cause}); --allow-slower accepts it")


def doubt_of(ratio: Interval, precision: str) -> str:
    """Say that a bundle is probably slower than in fp32, where its timings do not prove it.

    Args:
        ratio: latency of the fp32 export over latency of the bundle.
        precision: the bundle's precision, a key of `bmc.precision.PRECISIONS`.

    Returns:
        "" where it is not slower, where its whole interval lies below 1, and for a precision that
        serves size alone.
    """
    if not PRECISIONS[precision].for_speed or ratio.value >= _CLEARLY_SLOWER or ratio.high < 1:
        return ""
    return (
        f"probably {1 / ratio.value:.2f}x slower than fp32: its timings vary too much to tell "
        f"(speed over fp32 {with_interval(ratio)}); compare the two with bmc bench"
    )
