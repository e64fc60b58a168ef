"""Splits: every class in every part, duplicates together, the same whatever the order of rows."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bmc.data import Fold, Table, split
from bmc.errors import SettingError
from bmc.split import TEST, TRAIN, VALIDATION, keys_of, parts_of, parts_of_groups

KEYS = keys_of([(f"row {number}",) for number in range(1000)])
STRATA = np.array([0] * 900 + [1] * 90 + [2] * 7 + [3] * 3)


def test_every_class_of_three_rows_or_more_is_in_every_part() -> None:
    parts = parts_of(KEYS, STRATA, with_test=True)
    for stratum in range(4):
        assert set(parts[stratum == STRATA]) == {TRAIN, VALIDATION, TEST}


def test_each_class_is_cut_70_10_20() -> None:
    parts = parts_of(KEYS, STRATA, with_test=True)
    for stratum, size in ((0, 900), (1, 90)):
        counts = np.bincount(parts[stratum == STRATA], minlength=3)
        assert counts.tolist() == [round(0.7 * size), round(0.1 * size), round(0.2 * size)]


def test_with_an_official_test_part_nothing_is_cut_for_testing() -> None:
    parts = parts_of(KEYS, STRATA, with_test=False)
    assert np.bincount(parts, minlength=3)[TEST] == 0
    assert np.bincount(parts[STRATA == 0]).tolist() == [810, 90]


def test_the_part_of_a_row_does_not_depend_on_the_order_of_rows() -> None:
    mixed = np.random.default_rng(0).permutation(len(KEYS))
    parts = parts_of(KEYS, STRATA, with_test=True)
    np.testing.assert_array_equal(parts_of(KEYS[mixed], STRATA[mixed], True), parts[mixed])


def test_duplicates_go_together_also_with_other_labels_and_in_folds() -> None:
    twice = np.concatenate([KEYS, KEYS[::-1]])
    strata = np.concatenate([STRATA, STRATA])  # the copies' labels are others'
    for fold in (None, Fold(2, 5)):
        parts = parts_of(twice, strata, with_test=True, fold=fold)
        np.testing.assert_array_equal(parts[:1000], parts[1000:][::-1])


@pytest.mark.parametrize("of", [2, 3, 5, 7])
def test_the_folds_hold_out_every_row_exactly_once(of: int) -> None:
    tested = np.zeros(len(KEYS), int)
    for number in range(1, of + 1):
        parts = parts_of(KEYS, STRATA, with_test=True, fold=Fold(number, of))
        tested += parts == TEST
        assert {TRAIN, VALIDATION} <= set(parts[STRATA == 0])
        assert (parts == TEST).sum() == pytest.approx(1000 / of, abs=4)
    assert (tested == 1).all()


def test_a_group_is_in_one_part_and_its_duplicates_in_no_other() -> None:
    groups = [f"speaker {number % 97}" for number in range(1000)]
    keys = KEYS.copy()
    keys[500:510] = keys[:10]  # said by others
    tested = np.zeros(len(keys), int)
    for fold in (None, *(Fold(number, 3) for number in (1, 2, 3))):
        parts = parts_of_groups(keys, groups, with_test=True, fold=fold)
        for part in (VALIDATION, TEST):
            is_other = (parts != part) & (parts >= 0)
            assert not np.isin(keys[is_other], keys[parts == part]).any()
            assert not {groups[i] for i in np.flatnonzero(is_other)} & {
                groups[i] for i in np.flatnonzero(parts == part)
            }
        tested += (parts == TEST) if fold else 0
    assert (tested == 1).all()
    counts = np.bincount(1 + parts_of_groups(keys, groups, with_test=True), minlength=4)
    assert counts[1:].tolist() == pytest.approx([700, 100, 200], abs=20)
    assert TEST not in parts_of_groups(keys, groups, with_test=False)


@pytest.mark.parametrize("sizes", [(1, 1, 98), (98, 1, 1), (1, 98, 1), (30, 30, 40)])
def test_three_groups_of_any_size_are_enough(sizes: tuple[int, ...]) -> None:
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    assert set(parts_of_groups(KEYS[:100], groups, with_test=True)) == {TRAIN, VALIDATION, TEST}


@pytest.mark.parametrize(("number", "of"), [(0, 5), (6, 5), (1, 1), (1, 21)])
def test_folds_that_do_not_exist_are_refused(number: int, of: int) -> None:
    with pytest.raises(SettingError):
        Fold(number, of)


def test_each_fold_of_a_data_set_is_other_data() -> None:
    rows = [(f"text {number}",) for number in range(60)]
    table = Table(rows, ["a", "b"] * 30)
    folds = [split(table, "rows", ("text",), fold=Fold(number, 3)) for number in (1, 2, 3)]
    assert len({data.fingerprint for data in folds}) == 3
    assert sorted(row for data in folds for row in data.test.rows) == sorted(rows)


def test_texts_have_one_key_whatever_their_case_and_white_space() -> None:
    first, second, third = keys_of([("A  film",), (" a\tFILM ",), ("afilm",)])
    assert first == second != third


def test_a_text_is_a_duplicate_however_unicode_composes_its_accents() -> None:
    composed, decomposed, plain = keys_of([("caf\u00e9",), ("Cafe\u0301",), ("cafe",)])
    assert composed == decomposed != plain


def test_arrays_of_other_shapes_or_types_have_other_keys() -> None:
    flat = np.zeros(4, np.uint8)
    assert len(set(keys_of([flat, flat.reshape(2, 2), flat.astype(np.int8)]))) == 3


def test_a_group_that_is_larger_than_a_part_should_be_is_for_training() -> None:
    for first in "abcdefgh":
        sizes = {first: 500, **{f"{first}{number}": 30 for number in range(10)}}
        groups = [name for name, size in sizes.items() for _ in range(size)]
        parts = parts_of_groups(np.arange(800, dtype=np.uint64), groups, with_test=True)
        assert {parts[at] for at, name in enumerate(groups) if name == first} == {TRAIN}
        assert 30 <= (parts == VALIDATION).sum() <= 120
        assert 60 <= (parts == TEST).sum() <= 200


def test_groups_that_former_versions_split_otherwise_are_other_data() -> None:
    rows = [(f"text {number}",) for number in range(60)]
    labels, names = ["ab"[number % 2] for number in range(60)], [str(n % 6) for n in range(60)]
    even = split(Table(rows, labels, groups=names), "even", ("text",))
    large = split(Table(rows, labels, groups=["0"] * 20 + names[20:]), "large", ("text",))
    digest = hashlib.sha256()
    for (text,), label in zip(rows, labels, strict=True):
        digest.update(text.encode() + b"\x1f" + label.encode() + b"\x1e")
    digest.update("\x1f".join(names).encode())
    assert even.fingerprint == digest.hexdigest()
    assert large.fingerprint != even.fingerprint
