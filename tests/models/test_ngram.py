"""The n-gram classifier: what it computes, how it starts, and its bundles."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from bmc import artifact, load
from bmc import data as datasets
from bmc.bundle import MANIFEST
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.files import write_json
from bmc.inputs.ngram import NgramEncoder
from bmc.manifest import DIGEST
from bmc.models import ngram
from bmc.models.ngram import Settings
from bmc.untrusted import read_json
from bmc.workflows.predict import predict_arguments
from tests.models import _bundles

SMALL = {"buckets": "512"}


def model_of(data: Dataset, **settings: Any) -> Any:
    return ngram.baseline("ngram", data, Settings(buckets=64, **settings))


def test_it_adds_up_the_rows_of_the_n_grams(reviews: Dataset) -> None:
    module = model_of(reviews, width=3).module
    with torch.no_grad():
        module.embedding.weight.normal_()
    ids, weights = torch.tensor([[5, 9, 5, 0]]), torch.tensor([[0.5, 0.5, 0.5, 0.0]])
    rows = module.embedding.weight
    expected = module.output((rows[5] + 0.5 * rows[9])[None])
    torch.testing.assert_close(module(ids, weights), expected)


@pytest.mark.parametrize(("width", "classes"), [(0, 2), (0, 3), (0, 40), (8, 2), (1, 5)])
def test_it_starts_with_no_preference_and_can_tell_all_classes_apart(
    reviews: Dataset, width: int, classes: int
) -> None:
    data = replace(reviews, labels=tuple(f"class {number}" for number in range(classes)))
    module = model_of(data, width=width).module
    first, _ = ngram.examples(module)
    assert not module(**first).any()
    result = torch.linalg.svdvals(module.output.weight)
    assert len(result) == min(width or min(classes - 1, 16), classes)
    torch.testing.assert_close(result, torch.ones_like(result))


def test_the_width_of_two_classes_is_one(reviews: Dataset) -> None:
    assert model_of(reviews).module.embedding.weight.shape == (64, 1)


def test_a_regression_has_one_output(reviews: Dataset) -> None:
    numbers = replace(reviews, labels=(), task="regression")
    assert model_of(numbers).module.output.weight.shape == (1, 1)


def test_zero_buckets_are_refused_with_the_way_out() -> None:
    with pytest.raises(SettingError, match=r"buckets is 0.*leave it out for 262144"):
        Settings(buckets=0)


@pytest.mark.parametrize("spec", [{}, {"buckets": 2**40}, {"buckets": 0}, {"embedding": "1"}])
def test_a_spec_out_of_bounds_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="does not fit together"):
        ngram.build({"embedding": 1, "outputs": 2, **spec})


@pytest.fixture(scope="module")
def small(
    reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_bundles.Exported]:
    """Return a small network after one epoch, and its bundles."""
    folder = tmp_path_factory.mktemp("small")
    with _bundles.exports_of("ngram", reviews, folder, **SMALL) as exported:
        yield exported


def test_bundles_answer_like_the_module(small: _bundles.Exported) -> None:
    inputs = small.model.encoder.probes(4)
    for target in ("onnx", "openvino", "pytorch"):
        outputs = _bundles.answers_of(small.bundle(target), inputs)
        for arrays, output in zip(inputs, outputs, strict=True):
            np.testing.assert_allclose(
                output, _bundles.module_answers(small.model, arrays), atol=1e-5, err_msg=target
            )
    kinds = [node.op_type for node in onnx.load(small.bundle("onnx").model_path).graph.node]
    assert kinds.count("Gather") == 1
    assert len(kinds) < 8
    with load(small.bundle("onnx").path) as pipeline:
        assert [prediction.label for prediction in pipeline(["a fine film", "नमस्ते"])]


def test_a_file_on_the_command_line_is_a_table_of_texts(
    small: _bundles.Exported, tmp_path: Path
) -> None:
    table = tmp_path / "more.csv"
    table.write_text("text,other\na fine film,x\ndull,y\n")
    folder = str(small.bundle("onnx").path)
    found = predict_arguments(folder, [str(table)])
    assert [row.shown for row in found.rows] == ["a fine film", "dull"]
    with load(folder) as pipeline:
        assert list(found.predictions) == pipeline(["a fine film", "dull"])
    lines = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa fine film\r\ndull\n"))
    assert predict_arguments(folder, [], stream=lines).predictions == found.predictions


def test_tensorrt_builds_an_engine(small: _bundles.Exported) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert small.bundle("tensorrt").model_path.stat().st_size > 0


def test_pairs_of_texts_are_classified(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    words = ("red", "green", "blue", "black", "white")
    rows = [f"a {word} ball {number},a {other} ball,{word == other}" for number in range(8)
            for word in words for other in words]  # fmt: skip
    path.write_text("first,second,label\n" + "\n".join(rows) + "\n")
    data = datasets.load(str(path), ("first", "second"))
    model = _bundles.trained("ngram", data, tmp_path / "checkpoints", **SMALL)
    loaded = _bundles.saved(model, tmp_path / "ngram")
    assert isinstance(loaded.encoder, NgramEncoder)
    assert loaded.encoder.settings.columns == 2


def test_a_model_whose_table_is_of_another_size_is_refused(
    reviews: Dataset, tmp_path: Path
) -> None:
    model = model_of(reviews)
    model.encoder = NgramEncoder(replace(model.encoder.settings, buckets=128))
    with pytest.raises(ArtifactError, match="128 buckets, and the model's table has 64 rows"):
        artifact.save(model, tmp_path / "ngram")


def test_a_bundle_that_says_more_buckets_than_its_table_has_is_refused_when_it_answers(
    small: _bundles.Exported, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small.bundle("onnx").path, tmp_path / "onnx"))
    content = read_json(folder / MANIFEST, "bundle")
    content["preprocessing"]["buckets"] = 2**24
    kept = {key: value for key, value in content.items() if key not in (DIGEST, "sizes")}
    write_json(folder / MANIFEST, kept)
    with load(folder) as pipeline, pytest.raises(ArtifactError):
        pipeline("a film that nobody saw")


def test_it_has_no_tokenizer_to_cut(reviews: Dataset) -> None:
    from bmc.compress.prune.vocabulary import Vocabulary

    with pytest.raises(UsageError, match="with a tokenizer; ngram has none"):
        Vocabulary().apply(model_of(reviews), None)  # type: ignore[arg-type]
