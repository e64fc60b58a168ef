"""Compare a bundle of an ONNX file with the original file on samples, and score both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from math import isfinite
from typing import Any

from numpy.typing import NDArray

from bmc import bundle, console
from bmc.bundle import Bundle
from bmc.errors import GateError
from bmc.export import tensor_limits, tensor_parity
from bmc.export.flow import as_runnable
from bmc.export.onnx_scores import Scorer, Tally
from bmc.export.onnx_source import ROWS, OnnxSource
from bmc.golden import GoldenRows, most_rows
from bmc.measure.scores import Interval
from bmc.onnx_models.logits import logits_of, masks_of, probabilities_of
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions

_GOLDEN_BYTES = 1 << 26
_GOLDEN_ROWS = 4
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Limits:
    """How much the outputs of a compressed bundle may differ from the original file's.

    Args:
        min_agreement: smallest agreement; see `bmc.export.tensor_limits.check`. None where the
            score decides.
        scorer: how labeled samples are scored; None without labels.
        max_drop: points of the score that may be lost.
        precision: precision, a key of `bmc.precision.PRECISIONS`, whose largest change of a value
            is allowed.
        others_agreement: smallest agreement of the other outputs where labels score one of them.
    """

    min_agreement: float | None = None
    scorer: Scorer | None = None
    max_drop: float = 0.0
    precision: str = "int8"
    others_agreement: float = 0.99


@dataclass(frozen=True)
class Scored:
    """The scores of a bundle and of the original file on labeled samples.

    Args:
        name: name of the score.
        output: the output that is scored; "" for a function of all outputs.
        value: score of the bundle.
        original: score of the original file.
        lost_interval: points that the bundle lost, with their paired 95 % interval.
        rows: number of samples.
    """

    name: str
    output: str
    value: Interval
    original: Interval
    lost_interval: Interval
    rows: int

    @property
    def lost(self) -> float:
        """The points of the score that the bundle lost."""
        return self.lost_interval.value

    def scores(self) -> dict[str, Any]:
        """Return the entries of the manifest's `scores`."""
        return {"rows": self.rows, self.name: asdict(self.value)}

    def figures(self) -> dict[str, Any]:
        """Return the entries of the manifest's `parity`."""
        return {
            "score": {
                "name": self.name,
                "output": self.output,
                "original": asdict(self.original),
                "lost": self.lost,
                "interval": asdict(self.lost_interval),
            }
        }


@dataclass(frozen=True)
class Compared:
    """A bundle's outputs on the samples, compared with the original file's.

    Args:
        figures: entries of the manifest's `parity`.
        stand_in: target that ran the bundle's source file where the target has no device here.
        failure: message about the broken limit; None where no limit is broken.
        scored: scores of labeled samples; None without labels.
        check: name of the broken limit's check; see `bmc.errors.GateError`.
        warnings: what a caller must know although no limit is broken.
        doubts: what the comparison of outputs does not show.
    """

    figures: dict[str, Any]
    stand_in: str | None
    failure: str | None
    scored: Scored | None = None
    check: str = "parity"
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def compare(source: OnnxSource, draft: Bundle, limits: Limits | None = None) -> Compared:
    """Run all samples in the original file and in the bundle; write the golden rows.

    Args:
        source: the source.
        draft: the bundle, whose manifest is not on disk yet.
        limits: how much outputs may differ; what the bundle's precision explains when None.
    """
    runnable = as_runnable(draft)
    target, samples, graph = draft.manifest.target, source.samples, source.file.graph
    comparison = tensor_parity.Comparison(
        logits_of(graph), masks_of(graph), probabilities_of(graph)
    )
    scorer = limits.scorer if limits else None
    tallies: tuple[Tally, ...] = (scorer.tally(), scorer.tally()) if scorer else ()
    groups = list(source.groups(draft.manifest.build.get("max_batch", ROWS)))
    source.keep_expected(groups)
    with Pipeline(runnable, RuntimeOptions()) as pipeline:
        _write_golden(draft, pipeline, source)
        with console.progress(f"running {target}", len(samples)) as advance:
            for indices in groups:
                rows = source.together(indices)
                outputs = (pipeline.session.run(rows), source.expected(indices))
                comparison.add(*outputs)
                for tally, values in zip(tallies, outputs, strict=False):
                    for index, row in zip(indices, _rows(values, len(indices)), strict=True):
                        tally.add(index, row)
                advance(len(indices))
    parity, stand_in = comparison.outputs(), runnable.manifest.target
    figures = tensor_parity.figures_of(parity, len(samples))
    stand_in_or_none = stand_in if stand_in != target else None
    try:
        _check_parity(parity, draft.manifest.precision, limits)
    except GateError as error:
        return Compared(figures, stand_in_or_none, str(error))
    doubts = tensor_limits.doubts(parity)
    if scorer is None or limits is None:
        return Compared(figures, stand_in_or_none, None, doubts=doubts)
    bundle_tally, original_tally = tallies
    scored = Scored(
        scorer.name,
        scorer.output,
        bundle_tally.interval(),
        original_tally.interval(),
        bundle_tally.lost(original_tally),
        len(samples),
    )
    failure = _dropped(scored, limits)
    warnings = () if failure else _warnings(scored, scorer, limits)
    return Compared(figures, stand_in_or_none, failure, scored, "accuracy", warnings, doubts)


def _check_parity(
    outputs: Mapping[str, tensor_parity.OutputParity], precision: str, limits: Limits | None
) -> None:
    """Refuse outputs that differ too much.

    Where labels score an output, that output must be finite, and the others must agree. Integers
    need not: most often they are the classes of the scored output. A function of the caller scores
    outputs of any shape, such as the boxes that a detector finds.
    """
    if limits is None or limits.min_agreement is not None:
        share = limits.min_agreement if limits else None
        tensor_limits.check(outputs, limits.precision if limits else precision, share)
        return
    tensor_limits.check_finite(outputs)
    if limits.scorer is not None and limits.scorer.output:
        tensor_limits.check_shapes(outputs)
        others = {
            name: parity
            for name, parity in outputs.items()
            if name != limits.scorer.output and not parity.exact
        }
        tensor_limits.check(others, limits.precision, limits.others_agreement)


def _dropped(scored: Scored, limits: Limits) -> str | None:
    """Say that a score lost more than it may; None where it did not."""
    if isfinite(scored.lost) and scored.lost <= limits.max_drop:
        return None
    return (
        f"{scored.name} is {scored.value.value:.4g}, and {scored.original.value:.4g} in the "
        f"original file: {scored.lost:.2f} points were lost; --max-drop allows {limits.max_drop:g}"
    )


def _warnings(scored: Scored, scorer: Scorer, limits: Limits) -> tuple[str, ...]:
    """Say what a score that was kept does not show."""
    warnings = []
    if scorer.baseline is not None and scored.original.value <= scorer.baseline:
        warnings.append(
            f"the original file's {scored.name} is {scored.original.value:.4g}, no better than one "
            f"answer for every label ({scorer.baseline:.4g}): do the labels belong to the samples?"
        )
    if scored.lost_interval.high > limits.max_drop:
        warnings.append(
            f"{scored.rows} samples do not show that at most {limits.max_drop:g} points are lost: "
            f"up to {scored.lost_interval.high:.2g} may be; pass more"
        )
    return tuple(warnings)


def golden_call(source: OnnxSource, largest_batch: int) -> tuple[list[tuple[Any, ...]], Arrays]:
    """Return the golden rows of a bundle, and their input tensors.

    Args:
        source: the source.
        largest_batch: largest number of rows of a call.
    """
    encoder, calls = source.model.encoder, source.samples.calls
    names = [info.name for info in encoder.inputs]
    shapes = {name: array.shape for name, array in calls[0].items()}
    same_shape = (call for call in calls if {n: a.shape for n, a in call.items()} == shapes)
    alike = list(islice(same_shape, _GOLDEN_ROWS))
    count_rows = encoder.has_batch and all(shape[0] == 1 for shape in shapes.values())
    room = most_rows(len(names), len(source.signature.outputs), len(names))
    fitting = max(1, _GOLDEN_BYTES // source.signature.call_bytes)
    count = min(_GOLDEN_ROWS, room, fitting, len(alike)) if count_rows else 1
    count = min(count, largest_batch)
    rows = [tuple(call[name] for name in names) for call in alike[:count]]
    return rows, encoder.batch(encoder.encode(rows), range(len(rows)))


def _write_golden(draft: Bundle, pipeline: Pipeline, source: OnnxSource) -> None:
    rows, arrays = golden_call(source, draft.manifest.build.get("max_batch", _GOLDEN_ROWS))
    outputs = pipeline.session.run(arrays)
    bundle.write_golden(draft.path / bundle.GOLDEN, arrays, outputs, GoldenRows(rows, []))


def _rows(outputs: Arrays, count: int) -> list[Arrays]:
    """Split the outputs of a batch into those of each sample."""
    if count == 1:
        return [outputs]
    return [
        {name: array[index : index + 1] for name, array in outputs.items()}
        for index in range(count)
    ]
