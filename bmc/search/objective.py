"""A trial: the steps of candidates are run, and what they make is exported, scored and timed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bmc import artifact, writing
from bmc.contracts.tasks import task
from bmc.data import Dataset, Examples, with_fewer_rows
from bmc.errors import BmcError
from bmc.model import Model
from bmc.recipes.plan import Step
from bmc.recipes.runners import Runner
from bmc.recipes.store import StepStore
from bmc.search import exporting, making, timing
from bmc.search.budgets import Measured
from bmc.search.chain import ScoredRows
from bmc.search.exporting import Scored
from bmc.workflows import scoring

FAILURES = (
    *(BmcError, RuntimeError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, AssertionError, MemoryError),
)
"""What a technique that does not fit a model raises: its candidate fails, the search goes on."""
_ROUNDING = 0.01  # points
_BASELINE, _TRIAL = "baseline", "trial"
SCORED_ROWS = 1024
"""Validation rows by which a trial is scored; finalists are scored by all."""
SCORED_UNTRAINED = 256  # of a step that trains nothing, whose score decides little
_COMPARED, _COMPARED_AT_END = 256, 2048
"""Rows of a trial and of a finalist that PyTorch computes, too; the last export compares all."""


@dataclass
class Objective:
    """What measures candidates of one model on one target.

    Args:
        model: the model directory.
        data: its data, without the test split.
        target: name of the target.
        folder: folder of the search; the bundles of trials are written there, one at a time.
        threads: numbers of threads to try.
        store: results of steps, which several candidates may share.
        runner: what runs steps.
    """

    model: Path
    data: Dataset
    target: str
    folder: Path
    threads: Sequence[int]
    store: StepStore
    runner: Runner
    _base: Scored | None = None
    _trial_score: float = 0.0
    _trial_outputs: NDArray[np.float32] | None = None
    _latencies: dict[str, float] = field(default_factory=dict)

    @property
    def baseline(self) -> Path:
        """The bundle of the uncompressed model."""
        return self.folder / f"{_BASELINE}-{self.target}"

    def begin(self, latency: float | None = None) -> Measured:
        """Export, score and time the uncompressed model, with which candidates are compared.

        Args:
            latency: its latency when the search began; None where it begins now.
        """
        scored = self._export(self.model, self.data, self.baseline, _COMPARED)
        self._base, self._trial_score, self._trial_outputs = scored, scored.score, scored.outputs
        if self.validation_rows is not None:
            validation, model = self._data_of_trials.validation, artifact.load(self.model)
            if task(model.task).thresholds:  # a candidate's are chosen by these rows, too
                scoring.score_validation(model, validation)
            outputs = exporting.outputs_of(self.baseline, validation)
            self._trial_score = exporting.score_of(model, outputs, validation)
            self._trial_outputs = outputs
        if latency is None:
            measured = timing.milliseconds([self.baseline], self.threads, timing.TRIAL)
            latency = measured[self.baseline]
        self._latencies[_BASELINE] = latency
        return Measured(0.0, scored.bytes, latency)

    @property
    def score(self) -> float:
        """The validation score of the uncompressed model's bundle."""
        return self._base.score if self._base else 0.0

    @property
    def validation_rows(self) -> int | None:
        """Validation rows by which a trial is scored; None where that is all of them."""
        return validation_rows_of_trials(self.data)

    def make(self, candidates: Sequence[Sequence[Step]]) -> list[making.Made]:
        """Run the steps of candidates that were not run before; see `making.make_all`."""
        return making.make_all(candidates, self.model, self.store, self.runner)

    def measure(self, model: Path, structure: str) -> Measured:
        """Return what a candidate loses and costs.

        Its latency is measured in turn with the uncompressed model's, and multiplied by what the
        latter took when the search began: a processor that slows down changes both.

        Args:
            model: its model directory.
            structure: its steps in words; two trainings of them whose files are as large take
                equally long, and the second is not timed. Ranks and layers in float that a
                technique chooses by the weights show in the size.
        """
        bundle = self.folder / f"{_TRIAL}-{self.target}"
        try:
            scored = self._export(model, self._data_of_trials, bundle, _COMPARED)
            timed = f"{structure}, {scored.bytes:.3g} bytes"  # OpenVINO's differ by a few
            if timed not in self._latencies:
                both = timing.milliseconds([self.baseline, bundle], self.threads, timing.TRIAL)
                ratio = both[bundle] / both[self.baseline]
                self._latencies[timed] = ratio * self._latencies[_BASELINE]
        finally:
            writing.remove(bundle)
        reference = self._trial_outputs
        validation, latency = self._data_of_trials.validation, self._latencies[timed]
        return self._compared(scored, self._trial_score, reference, validation, latency)

    def measure_finalist(self, model: Path, bundle: Path) -> Measured:
        """Export a finalist; return what it loses by all validation rows, without its latency.

        Args:
            model: its model directory.
            bundle: folder to write its bundle to.
        """
        scored = self._export(model, self.data, bundle, _COMPARED_AT_END)
        reference = None if self._base is None else self._base.outputs
        return self._compared(scored, self.score, reference, self.data.validation, 0.0)

    def keys(self, steps: Sequence[Step]) -> list[str]:
        """Return the keys of a candidate's steps."""
        return making.keys_of(steps, self.store)

    def has(self, steps: Sequence[Step]) -> bool:
        """Tell whether all results of a candidate's steps are kept."""
        return all(self.store.has(key) for key in self.keys(steps))

    def seconds(self, steps: Sequence[Step]) -> float | None:
        """Return how long a candidate's steps took; None where that is not known of one of them."""
        seals = [self.store.seal(key) for key in self.keys(steps)]
        times = [0.0 if seal is None else seal.seconds for seal in seals]
        return sum(times) if all(times) else None

    def forget(self, kept: Collection[str]) -> None:
        """Remove the results of all steps but some; they take as much space as their models."""
        for key in set(self.store.keys()) - set(kept):
            self.store.remove(key)

    def _compared(
        self,
        scored: Scored,
        score: float,
        reference: NDArray[np.float32] | None,
        validation: Examples,
        latency: float,
    ) -> Measured:
        """Return what a bundle loses and costs, in comparison with the uncompressed model's.

        Args:
            scored: the bundle's score and outputs.
            score: score of the uncompressed model's bundle, by the same rows.
            reference: its outputs.
            validation: the rows.
            latency: the bundle's, in milliseconds.
        """
        drop = round(100 * (score - scored.score), 6)
        measured = Measured(drop, scored.bytes, latency, scored.failure)
        if reference is None:
            return measured
        base = artifact.load(self.model)
        divergence = exporting.divergence(base, scored.outputs, reference)
        measured = replace(measured, divergence=divergence)
        if not exporting.is_paired(base):
            return measured
        lost = exporting.points_lost(base, scored.outputs, reference, validation)
        if abs(lost.value - drop) > _ROUNDING:  # points of another score
            return measured
        return replace(measured, drop_low=lost.low, drop_high=lost.high)

    @property
    def _data_of_trials(self) -> Dataset:
        return with_fewer_rows(self.data, validation=self.validation_rows)

    def _export(self, model: Path, data: Dataset, output: Path, compared: int) -> Scored:
        return exporting.export_and_score(model, data, self.target, output, compared)


def validation_rows_of_trials(data: Dataset) -> int | None:
    """Return how many validation rows score a trial, at most; None where that is all of them."""
    return None if len(data.validation) <= SCORED_ROWS else SCORED_ROWS


def scored_rows(model: Model, data: Dataset, is_final: bool) -> ScoredRows:
    """Return which validation rows score the steps of a candidate; its bundle is scored anyway.

    Args:
        model: the uncompressed model.
        data: its data.
        is_final: whether the candidate is trained in full.
    """
    if task(model.task).thresholds:  # they are chosen by the rows that score the last step
        rows = None if is_final else validation_rows_of_trials(data)
        return ScoredRows(rows, rows)
    is_few = len(data.validation) <= SCORED_UNTRAINED
    return ScoredRows(validation_rows_of_trials(data), None if is_few else SCORED_UNTRAINED)
