"""A linear model of words, their endings and their neighbors, as the floor of words with tags.

Source: Ratnaparkhi 1996, "A Maximum Entropy Model for Part-Of-Speech Tagging", section 2 (the
features); Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

from bmc.data import Dataset, Examples
from bmc.inputs import Many
from bmc.tag_sequences import TagSequences
from bmc.workflows.majority_tags import one_hot
from bmc.workflows.scored_floor import ScoredModel

_MAX_WORDS = 200_000
_MAX_UPDATES = 4_000_000  # words that are trained on, times tags, in one epoch
_MAX_WEIGHTS = 2**22
_MOST_BUCKETS = 2**18
_SEEN = 1_000_000  # words that are trained on, over all epochs
_EPOCHS = (5, 50)
_STEP = 0.1
_BEFORE, _AFTER = "<s>", "</s>"


def outputs_of(data: Dataset) -> NDArray[Any]:
    """Fit scikit-learn's model; return 1 for the tag of each held-out word, float32 (words, tags).

    Of many training rows a random part is used, and the model has one weight for each tag and each
    of at most 262,144 hashed features.
    """
    tags = len(data.labels)
    train = part_of(data.train, min(_MAX_WORDS, _MAX_UPDATES // tags))
    buckets = _MOST_BUCKETS
    while buckets * tags > _MAX_WEIGHTS:
        buckets //= 2
    hasher = FeatureHasher(buckets, input_type="string", alternate_sign=False)
    labels = np.array(train.labels)[:, 0]
    if len(np.unique(labels)) == 1:
        predicted = np.full(sum(map(len, data.test.rows)), labels[0])
    else:
        epochs = int(np.clip(_SEEN // len(labels), *_EPOCHS))
        model = SGDClassifier(
            loss="log_loss",
            learning_rate="constant",
            eta0=_STEP,
            alpha=1e-6,
            max_iter=epochs,
            tol=None,
            average=len(labels),  # from the second epoch on
            random_state=0,
        )
        model.fit(hasher.transform(_features(train.rows)), labels)
        predicted = model.predict(hasher.transform(_features(data.test.rows)))
    return one_hot(predicted.tolist(), tags)


def _features(rows: Many) -> Iterator[list[str]]:
    """Yield the features of each word of some rows, as texts."""
    for row in rows:
        lower = [_BEFORE, _BEFORE, *(word.lower() for word in row), _AFTER, _AFTER]
        for index, word in enumerate(row, start=2):
            current, before, after = lower[index], lower[index - 1], lower[index + 1]
            yield [
                f"word {word}",
                f"lower {current}",
                *(f"ending {current[-length:]}" for length in range(1, 5)),
                f"beginning {current[:3]}",
                f"form {_form(word)}",
                f"before {before}",
                f"before ending {before[-3:]}",
                f"two before {lower[index - 2]}",
                f"after {after}",
                f"after ending {after[-3:]}",
                f"two after {lower[index + 2]}",
                f"before and form {before} {_form(word)}",
            ]


def _form(word: str) -> str:
    """Return which capitals, digits and hyphens a word has."""
    marks = {
        "A": word[:1].isupper(),
        "AA": word.isupper() and len(word) > 1,
        "1": any(character.isdigit() for character in word),
        "-": "-" in word,
    }
    return "".join(mark for mark, is_there in marks.items() if is_there)


def part_of(examples: Examples, words: int) -> Examples:
    """Return a random part of rows that has about this number of words; all rows if it has less."""
    lengths = np.fromiter(map(len, examples.rows), np.int64, len(examples))
    if lengths.sum() <= words:
        return examples
    order = np.random.default_rng(0).permutation(len(lengths))
    count = max(1, int(np.searchsorted(np.cumsum(lengths[order]), words)))
    chosen = np.sort(order[:count]).tolist()
    rows = tuple(examples.rows[index] for index in chosen)
    return Examples(rows, TagSequences.of([examples.labels[index] for index in chosen]))


MODEL = ScoredModel(
    title="a linear model of words",
    described="a linear model of words, endings and neighbors (SGDClassifier of scikit-learn)",
    reason="It was scored in scikit-learn: it is no bundle, and has no size or time here",
    outputs_of=outputs_of,
)
