"""Tags that mark spans: which schemes there are, what breaks them, and which spans they mark."""

from __future__ import annotations

import random

import pytest
from seqeval.metrics.sequence_labeling import get_entities

from bmc.tag_schemes import BIO, IOBES, first_break, marks_spans, scheme_of, spans_in


@pytest.mark.parametrize(
    ("scheme", "tags", "index"),
    [
        (BIO, "B-A I-A O B-A", None),
        (BIO, "O I-A", 1),
        (BIO, "I-A", 0),
        (BIO, "B-A I-B", 1),
        (IOBES, "S-A B-A I-A E-A O", None),
        (IOBES, "B-A O", 1),
        (IOBES, "O E-A", 1),
        (IOBES, "S-A B-A I-A", 2),
        (IOBES, "B-A S-A", 1),
    ],
)
def test_the_first_tag_that_breaks_a_scheme_is_found(
    scheme: str, tags: str, index: int | None
) -> None:
    broken = first_break(tags.split(), scheme)
    assert (broken and broken[0]) == index


def test_plain_tags_mark_no_spans_and_end_tags_tell_the_scheme() -> None:
    assert marks_spans(["O", "B-A"])
    assert not marks_spans(["NOUN", "B-A"])
    assert not marks_spans(["O"])
    assert scheme_of(["O", "B-A", "I-A"]) == BIO
    assert scheme_of(["O", "S-A"]) == IOBES


def test_spans_are_those_of_seqeval_also_where_tags_break_a_scheme() -> None:
    generator = random.Random(0)
    alphabet = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("A", "B-C"))]
    for _ in range(2000):
        tags = generator.choices(alphabet, k=generator.randint(1, 7))
        expected = [(kind, start, end + 1) for kind, start, end in get_entities(tags)]
        assert list(spans_in(tags)) == expected, tags
