"""`bmc.load`: raw text in, label and score out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

import bmc
from bmc import bundle as bundles
from bmc.errors import (
    ArtifactError,
    DataError,
    OutputsWarning,
    SettingError,
    UnknownError,
    UsageError,
)

TEXTS = ["a warm and witty film", "dull", "two hours of my life that nobody gives me back"]


@pytest.mark.parametrize("target", ["onnx", "openvino", "pytorch"])
def test_a_bundle_answers_raw_text_with_label_and_probability(
    bundle_of: Callable[[str], Path], target: str
) -> None:
    with bmc.load(bundle_of(target)) as classify:
        prediction = classify(TEXTS[0])
        logits = classify.outputs([(TEXTS[0],)])[0]
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert prediction.label == ("negative", "positive")[int(probabilities.argmax())]
    assert prediction.score == pytest.approx(float(probabilities.max()), abs=1e-6)


def test_a_list_is_answered_in_its_order_whatever_the_lengths(
    bundle_of: Callable[[str], Path],
) -> None:
    with bmc.load(bundle_of("onnx"), threads=1) as classify:
        together = classify(TEXTS)
        alone = [classify(text) for text in TEXTS]
        assert classify([]) == []
    assert [prediction.label for prediction in together] == [output.label for output in alone]
    for item, other in zip(together, alone, strict=True):
        assert item.score == pytest.approx(other.score, abs=1e-5)


def test_only_a_model_for_sound_listens(bundle_of: Callable[[str], Path]) -> None:
    with bmc.load(bundle_of("onnx")) as classify, pytest.raises(UsageError, match="takes text"):
        classify.listen()


def test_a_pair_given_to_a_model_of_single_texts_is_refused(
    bundle_of: Callable[[str], Path],
) -> None:
    with bmc.load(bundle_of("onnx")) as classify, pytest.raises(DataError, match="1 text"):
        classify(("one", "two"))


def test_the_batch_size_does_not_change_the_logits(bundle_of: Callable[[str], Path]) -> None:
    rows = [(text,) for text in TEXTS * 3]
    with bmc.load(bundle_of("onnx")) as classify:
        seen: list[int] = []
        logits = classify.outputs(rows, 2, seen.append)
        assert np.allclose(logits, classify.outputs(rows, 9), atol=1e-5)
    assert seen == [2, 2, 2, 2, 1]


def test_what_cannot_be_loaded_is_refused(tmp_path: Path, bundle_of: Callable[[str], Path]) -> None:
    with pytest.raises(UnknownError, match="no bundle at"):
        bmc.load(tmp_path / "gone")
    with pytest.raises(ArtifactError, match="is not a bundle"):
        bmc.load(tmp_path)
    with pytest.raises(SettingError, match="threads is -1"):
        bmc.load(bundle_of("onnx"), threads=-1)


def test_a_data_frame_is_no_list_of_texts_and_a_series_is_one_in_its_own_order(
    bundle_of: Callable[[str], Path],
) -> None:
    frame = pandas.DataFrame({"text": TEXTS}, index=[2, 0, 1])
    with bmc.load(bundle_of("onnx"), threads=1) as classify:
        with pytest.raises(DataError, match=r"pass the column with the rows, such as frame"):
            classify.batch(frame)
        with pytest.raises(DataError, match=r"pass the column with the rows, such as frame"):
            classify.outputs(frame)
        labels = [one.label for one in classify.batch(frame["text"])]
        assert labels == [one.label for one in classify(TEXTS)]
        expected = classify.outputs([(text,) for text in TEXTS])
        rows = pandas.Series([(text,) for text in TEXTS], index=[2, 0, 1])
        np.testing.assert_array_equal(classify.outputs(rows), expected)


def test_threads_of_a_pytorch_bundle_are_given_back(bundle_of: Callable[[str], Path]) -> None:
    before = torch.get_num_threads()
    with bmc.load(bundle_of("pytorch"), threads=before + 1) as classify:
        assert classify.session.execution["threads"] == before + 1
        classify(TEXTS[0])
        assert torch.get_num_threads() == before


def test_a_bundle_that_failed_a_check_says_so_when_it_is_loaded(
    bundle_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle_of("onnx"), tmp_path / "copied"))
    bundles.write(folder, replace(bundles.read(folder).manifest, failure="accuracy 0.5"))
    with pytest.warns(OutputsWarning, match=r"failed a check when it was exported \(accuracy 0.5"):
        bmc.load(folder).close()
