"""Batches: every row once, like lengths together, an order that seed and epoch alone decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from bmc.data import Dataset
from bmc.model import Model
from bmc.training.batches import Rows


@pytest.fixture(scope="module")
def rows(reviews: Dataset, make_model: Callable[..., Model]) -> Rows:
    return Rows(reviews.train.rows, reviews.train.labels, make_model().encoder)


def padded(rows: Rows, batches: Sequence[Sequence[int]]) -> int:
    """Count the tokens that are computed, padding included."""
    return sum(max(int(rows.lengths[index]) for index in batch) * len(batch) for batch in batches)


def test_an_epoch_has_every_row_once(rows: Rows) -> None:
    for batches in (rows.shuffled(8, 0, 0), rows.in_order(8)):
        assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
        assert all(1 <= len(batch) <= 8 for batch in batches)


def test_the_order_depends_on_seed_and_epoch_alone(rows: Rows) -> None:
    first = rows.shuffled(8, seed=3, epoch=1)
    torch.manual_seed(99)
    assert rows.shuffled(8, seed=3, epoch=1) == first
    assert rows.shuffled(8, seed=3, epoch=2) != first
    assert rows.shuffled(8, seed=4, epoch=1) != first


def test_rows_of_like_length_come_together(rows: Rows) -> None:
    real = int(rows.lengths.sum())
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    plain = [order[start : start + 8] for start in range(0, len(order), 8)]
    waste = padded(rows, plain) - real
    assert padded(rows, rows.shuffled(8, 0, 0)) - real < waste / 3
    assert padded(rows, rows.in_order(8)) - real < waste / 3


def test_batches_of_an_epoch_are_not_sorted_by_length(rows: Rows) -> None:
    lengths = [int(rows.lengths[batch[0]]) for batch in rows.shuffled(8, 0, 0)]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))


def test_a_batch_holds_its_rows_padded_and_masked(
    rows: Rows, reviews: Dataset, make_model: Callable[..., Model]
) -> None:
    encoded = make_model().encoder.encode(reviews.train.rows)
    batch = rows.batch([5, 0, 7])
    assert batch.rows.tolist() == [5, 0, 7]
    assert batch.labels.tolist() == [int(rows.labels[position]) for position in (5, 0, 7)]
    assert set(batch.inputs) == {"input_ids", "attention_mask"}
    for number, index in enumerate((5, 0, 7)):
        ids = encoded[index].ids
        assert batch.inputs["input_ids"][number, : len(ids)].tolist() == list(ids)
        assert batch.inputs["input_ids"][number, len(ids) :].eq(0).all()
        assert int(batch.inputs["attention_mask"][number].sum()) == len(ids)


def test_pairs_have_token_types_and_rows_without_label_have_minus_one(
    make_model: Callable[..., Model],
) -> None:
    model = make_model(2)
    rows = Rows([("a film", "a very long book")], [-1], model.encoder)
    batch = rows.batch([0])
    assert batch.labels.tolist() == [-1]
    assert batch.inputs["token_type_ids"][0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_moving_a_batch_moves_every_tensor(rows: Rows) -> None:
    moved = rows.batch([0, 1]).to(torch.device("meta"))
    tensors = [*moved.inputs.values(), moved.labels, moved.rows]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
