"""A bundle in two steps: rows of similar length share a batch, and each row has its own error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bmc as package
from bmc.errors import DataError, TooLongError
from bmc.pipeline import Pipeline
from bmc.serving.model import ServedModel, batches_of
from bmc.serving.settings import ServingSettings
from bmc.targets.onnx import OnnxSession

SHORT, LONG = "a bore", "a warm and witty film that never finds its feet"


@pytest.fixture(scope="module")
def pipeline(bundle_of: Callable[[str], Path]) -> Iterator[Pipeline]:
    with package.load(bundle_of("onnx"), threads=1) as loaded:
        yield loaded


def results_of(pipeline: Pipeline, rows: list[Any], **settings: Any) -> list[Any]:
    """Return the result of each row, in the order of the rows."""
    jobs = ServedModel(pipeline, ServingSettings(**settings)).jobs(rows)
    results = dict(pair for job in jobs for pair in job.run())
    return [results[index] for index in range(len(rows))]


def test_rows_of_similar_length_share_a_batch_and_have_the_predictions_of_the_pipeline(
    pipeline: Pipeline,
) -> None:
    rows = [LONG, SHORT] * 4
    model = ServedModel(pipeline, ServingSettings(max_batch=4))
    assert model.round_size == 32
    assert [list(job.rows) for job in model.jobs(rows)] == [[1, 3, 5, 7], [0, 2, 4, 6]]
    results = results_of(pipeline, rows, max_batch=4)
    for result, expected in zip(results, pipeline(rows), strict=True):
        assert (result.label, result.score) == (expected.label, pytest.approx(expected.score))


def test_a_batch_ends_where_the_next_row_would_bring_much_padding() -> None:
    assert list(batches_of([7] * 70, 32)) == [(0, 32), (32, 64), (64, 70)]
    assert list(batches_of([5] * 10 + [50] * 10, 32)) == [(0, 10), (10, 20)]
    assert list(batches_of([1, 2, 4, 8, 16, 32], 4)) == [(n, n + 1) for n in range(6)]
    lengths = sorted(n % 61 + 4 for n in range(0, 256 * 7, 7))
    cuts = list(batches_of(lengths, 32))
    assert [stop for _, stop in cuts[:-1]] == [start for start, _ in cuts[1:]]
    assert max(stop - start for start, stop in cuts) <= 32
    assert min(stop - start for start, stop in cuts[:-1]) >= 8
    assert sum((stop - start) * lengths[stop - 1] for start, stop in cuts) < 1.06 * sum(lengths)


def test_a_row_that_cannot_be_encoded_has_an_error_and_the_others_predictions(
    pipeline: Pipeline,
) -> None:
    first, empty, number, last = results_of(pipeline, [SHORT, " ", 7, LONG])
    assert first.label == pipeline(SHORT).label
    assert last.label == pipeline(LONG).label
    assert str(empty) == "row 1 is an empty text; leave it out"
    assert isinstance(number, DataError)


def test_a_long_text_is_cut_where_that_keeps_its_tokens_and_refused_elsewhere(
    pipeline: Pipeline,
) -> None:
    words, letters = "film " * 100_000, "f" * 100_000
    cut, refused = results_of(pipeline, [words, letters], max_text=50_000)
    assert cut.label == pipeline(words).label
    assert isinstance(refused, TooLongError)
    assert "row 1: the tokenizer would have to read 100,000 characters" in str(refused)


def test_a_row_on_which_the_runtime_fails_does_not_end_the_others_of_its_batch(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OnnxSession.run
    length = len(pipeline.bundle.encoder.encode([(LONG,)])[0].ids)

    def failing(self: OnnxSession, inputs: Any) -> Any:
        if (inputs["attention_mask"].sum(axis=1) == length).any():
            raise RuntimeError("out of memory")
        return run(self, inputs)

    monkeypatch.setattr(OnnxSession, "run", failing)
    first, bad, last = results_of(pipeline, [SHORT, LONG, SHORT])
    assert first == last == pipeline(SHORT)
    assert isinstance(bad, RuntimeError)


def test_rows_are_computed_alone_where_others_would_change_their_outputs(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = replace(pipeline.bundle.manifest, precision="int8-dynamic")
    monkeypatch.setattr(pipeline, "bundle", replace(pipeline.bundle, manifest=manifest))
    jobs = ServedModel(pipeline, ServingSettings(max_batch=4)).jobs([SHORT, LONG, SHORT])
    assert [list(job.rows) for job in jobs] == [[0], [2], [1]]
