"""Images, texts and numbers become the samples of an ONNX file, or are refused with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bmc.errors import BmcError, UsageError
from bmc.onnx_models.reading import OnnxFile, read
from bmc.onnx_models.samples import Samples
from bmc.workflows import onnx_samples
from bmc.workflows.onnx_samples import samples_for
from bmc.workflows.options import SampledFiles
from tests._onnx import INT64, cnn, save


def samples(
    file: OnnxFile, reference: object, labels: str | None = None, **preprocess: Any
) -> Samples:
    """Return the samples that a reference names."""
    files = SampledFiles(samples=str(reference), preprocess=preprocess)
    return samples_for(file, files, labels=labels)


def labels_of(found: Samples) -> list[float]:
    """Return the labels of all samples; none as []."""
    return (
        np.concatenate([np.ravel(each) for each in found.labels]).tolist() if found.labels else []
    )


def draw(path: Path, number: int) -> NDArray[np.uint8]:
    """Write an image of 16 x 16 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def classifier(tmp_path: Path) -> OnnxFile:
    return read(cnn(tmp_path / "cnn.onnx"))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return a folder of 10 images in 5 classes."""
    for number in range(10):
        draw(tmp_path / "images" / f"c{number % 5}" / f"{number}.png", number)
    return f"imagefolder:{tmp_path / 'images'}"


def linear(path: Path, columns: int, outputs: int) -> OnnxFile:
    """Return a linear layer of floats."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = {"w": np.ones((columns, outputs), np.float32)}
    return read(save(path, [node], {"x": ("N", columns)}, {"y": ("N", outputs)}, weights))


def texts(path: Path, *names: str, length: int | str = "S") -> OnnxFile:
    """Return a file with inputs of tokens, and write a tokenizer beside it."""
    words = {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3, "c": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$A:0 $B:1", special_tokens=[]
    )
    tokenizer.save(str(path.parent / "tokenizer.json"))
    nodes = [helper.make_node("Neg", [name], [f"y_{name}"]) for name in names]
    shape = ("N", length)
    outputs = {f"y_{name}": shape for name in names}
    types = dict.fromkeys([*names, *outputs], INT64)
    return read(save(path, nodes, dict.fromkeys(names, shape), outputs, types=types))


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_images_are_normalized_and_their_folders_are_classes(
    classifier: OnnxFile, folder: str
) -> None:
    found = samples(classifier, folder, scale="1/255", mean=[0.5, 0.4, 0.3], std=0.2)
    assert (len(found), found.reference) == (10, folder)
    expected = draw(Path(folder.partition(":")[2]) / "c0" / "0.png", 0) / 255
    expected = (expected - np.array([0.5, 0.4, 0.3])) / 0.2
    assert np.allclose(found.calls[0]["image"][0], expected.transpose(2, 0, 1), atol=1e-5)
    assert labels_of(found) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_classes_are_those_of_the_config_beside_the_file(
    classifier: OnnxFile, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {str(index): f"c{4 - index}" for index in range(5)}
    (classifier.path.parent / "config.json").write_text(json.dumps({"id2label": names}))
    assert labels_of(samples(classifier, folder, scale="1")) == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    draw(Path(folder.partition(":")[2]) / "more" / "0.png", 99)
    assert labels_of(samples(classifier, folder, scale="1")) == []
    assert "has 6 classes (c0, c1, c2, c3, c4 and 1 more), and the model has 5" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (("Dog", "Cat"), ("cat", "dog"), [1, 0]),
        (("1", "10", "2"), ("1", "2", "10"), [0, 2, 1]),
        (("cat", "dog", "hen"), ("cat", "cow", "hen"), []),
        (("cat", "dog"), ("cat", "Cat"), []),
    ],
)
def test_labels_are_classes_of_the_config_or_none(
    tmp_path: Path, classes: tuple[str, ...], labels: tuple[str, ...], expected: list[int]
) -> None:
    file = linear(tmp_path / "x.onnx", 1, len(classes))
    names = {str(index): name for index, name in enumerate(classes)}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": names}))
    rows = table(tmp_path / "rows.csv", "a,label", *(f"1,{name}" for name in labels))
    assert labels_of(samples(file, rows)) == expected


def test_folders_are_no_labels_where_outputs_are_masks(tmp_path: Path) -> None:
    shape = ("N", 3, 16, 16)
    node = helper.make_node("Sigmoid", ["x"], ["y"])
    file = read(save(tmp_path / "x.onnx", [node], {"x": shape}, {"y": shape}))
    for name in ("cat", "dog"):
        draw(tmp_path / "images" / name / "0.png", 0)
    assert labels_of(samples(file, f"imagefolder:{tmp_path / 'images'}", scale="1")) == []


def test_a_folder_without_classes_has_no_labels(classifier: OnnxFile, tmp_path: Path) -> None:
    for number in range(3):
        draw(tmp_path / "flat" / f"{number}.png", number)
    found = samples(classifier, f"imagefolder:{tmp_path / 'flat'}", scale="1")
    assert (len(found), found.labels) == (3, ())


def test_images_fill_the_calls_of_a_fixed_batch(tmp_path: Path, folder: str) -> None:
    found = samples(read(cnn(tmp_path / "x.onnx", batch=4)), folder, scale="1")
    assert [call["image"].shape for call in found.calls] == [(4, 3, 16, 16)] * 2
    assert [len(each) for each in found.labels] == [4, 4]
    with pytest.raises(BmcError, match="has 10 rows, and the model takes 16 a call"):
        samples(read(cnn(tmp_path / "y.onnx", batch=16)), folder, scale="1")


def test_many_rows_are_drawn(
    classifier: OnnxFile, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_samples, "MAX_ROWS", 6)
    found = samples(classifier, folder, scale="1")
    assert (len(found), len(found.labels)) == (6, 6)


@pytest.mark.parametrize(
    ("reference", "labels", "preprocess", "message"),
    [
        ("imagefolder:{}/images", None, {}, "how the bytes of images become input 'image'"),
        ("imagefolder:{}/images", None, {"scale": "1/0"}, "scale is '1/0'; .* such as 1/255"),
        ("imagefolder:{}/images", None, {"mean": ["a"]}, "must be a number, or a list of them"),
        ("imagefolder:{}/images", None, {"means": "1"}, "no setting of --preprocess named 'means'"),
        ("imagefolder:{}/images", None, {"scale": 1, "text": "a"}, "text does not fit: .* images"),
        ("imagefolder:{}/images", "x", {"scale": "1"}, "its labels are the names of its class"),
        ("imagefolder:{}/gone", None, {"scale": "1"}, "no folder"),
        ("{}/rows.npz", None, {"scale": "1"}, "the arrays of an .npz file are the inputs"),
        ("{}/rows.txt", None, {}, "it must be an .npz file .* or imagefolder:DIR"),
        ("{}/gone.csv", None, {}, r"input 'image' is float32 \(N, 3, 16, 16\)"),
    ],
)
def test_images_that_cannot_be_inputs_are_refused(
    classifier: OnnxFile,
    folder: str,
    tmp_path: Path,
    reference: str,
    labels: str | None,
    preprocess: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(BmcError, match=message):
        samples(classifier, reference.format(tmp_path), labels, **preprocess)


def test_a_broken_image_and_an_empty_folder_are_named(
    classifier: OnnxFile, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BmcError, match="holds no image"):
        samples(classifier, f"imagefolder:{tmp_path / 'empty'}", scale="1")
    (tmp_path / "images" / "c1" / "1.png").write_bytes(b"no image")
    with pytest.raises(BmcError, match=r"1\.png is no image that can be read"):
        samples(classifier, folder, scale="1")


def test_settings_without_samples_are_refused(classifier: OnnxFile) -> None:
    with pytest.raises(BmcError, match="and there are none: leave it out"):
        samples_for(classifier, SampledFiles(random_samples=True, preprocess={"scale": "1"}))


def test_texts_become_tokens_without_padding(tmp_path: Path) -> None:
    file = texts(tmp_path / "x.onnx", "input_ids", "attention_mask", "token_type_ids")
    found = samples(file, table(tmp_path / "rows.csv", "review", "a b", "c"))
    assert [call["input_ids"].tolist() for call in found.calls] == [[[2, 3]], [[4]]]
    assert [call["attention_mask"].tolist() for call in found.calls] == [[[1, 1]], [[1]]]
    assert not found.calls[0]["token_type_ids"].any()


def test_texts_fill_a_fixed_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = texts(tmp_path / "x.onnx", "ids", "mask", length=4)
    rows = table(tmp_path / "rows.csv", "text", "a b", "a b c a b c")
    found = samples(file, rows)
    assert found.calls[0]["ids"].tolist() == [[2, 3, 0, 0]]
    assert found.calls[0]["mask"].tolist() == [[1, 1, 0, 0]]
    assert found.calls[1]["ids"].tolist() == [[2, 3, 4, 2]]
    err = capsys.readouterr().err
    assert "1 of 2 texts are cut to 4 tokens" in err
    assert "padded" not in err, "a fixed length needs padding"


def test_texts_are_cut_at_the_end_that_the_files_say_and_left_padding_is_refused(
    tmp_path: Path,
) -> None:
    file = texts(tmp_path / "x.onnx", "ids", "mask", length=4)
    rows = table(tmp_path / "rows.csv", "text", "a a a b c a b")
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"truncation_side": "left"}')
    assert samples(file, rows).calls[0]["ids"].tolist() == [[3, 4, 2, 3]]
    config.write_text('{"padding_side": "left"}')
    with pytest.raises(UsageError, match="pad them on the left, which bmc does not: save the arr"):
        samples(file, rows)
    one = texts(tmp_path / "y.onnx", "ids", "mask")
    assert samples(one, rows).calls[0]["ids"].tolist() == [[2, 2, 2, 3, 4, 2, 3]], "nothing to pad"


def test_pairs_of_texts_have_types(tmp_path: Path) -> None:
    file = texts(tmp_path / "x.onnx", "input_ids", "token_type_ids")
    rows = table(tmp_path / "rows.csv", "first,second", "a,b c")
    found = samples(file, rows, text="first,second")
    assert found.calls[0]["input_ids"].tolist() == [[2, 3, 4]]
    assert found.calls[0]["token_type_ids"].tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("names", "header", "preprocess", "message"),
    [
        (("input_ids",), "a,b", {}, "has the columns a, b: name that of the texts"),
        (("input_ids",), "a,b", {"text": "c"}, "has no column 'c'.*--preprocess text=COLUMN"),
        (("input_ids",), "text,b", {"scale": "1"}, "scale does not fit: .* holds texts"),
        (("input_ids", "position_ids"), "text,b", {}, "texts become input_ids, attention_mask"),
    ],
)
def test_tables_that_hold_no_texts_are_refused(
    tmp_path: Path, names: tuple[str, ...], header: str, preprocess: dict[str, str], message: str
) -> None:
    file = texts(tmp_path / "x.onnx", *names)
    with pytest.raises(BmcError, match=message):
        samples(file, table(tmp_path / "rows.csv", header, "a b,c"), **preprocess)


def test_texts_without_a_tokenizer_are_refused(tmp_path: Path) -> None:
    file = texts(tmp_path / "x.onnx", "input_ids")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(BmcError, match=r"texts need tokenizer.json beside .* save_pretrained"):
        samples(file, table(tmp_path / "rows.csv", "text", "a"))
    with pytest.raises(BmcError, match="no table of samples"):
        samples(file, tmp_path / "gone.csv")


def test_numbers_come_in_the_order_of_their_columns(tmp_path: Path) -> None:
    file = linear(tmp_path / "x.onnx", 2, 3)
    rows = table(tmp_path / "rows.csv", "a,b,label", "1,2,0", "3,4,2")
    found = samples(file, rows)
    assert [call["x"].tolist() for call in found.calls] == [[[1, 2]], [[3, 4]]]
    assert labels_of(found) == [0, 2]
    assert samples(file, rows, features="b,a").calls[0]["x"].tolist() == [[2, 1]]


def test_named_columns_are_inputs_whatever_their_names(tmp_path: Path) -> None:
    rows = table(tmp_path / "rows.csv", "km/h,label,id", "1,2,9")
    found = samples(linear(tmp_path / "x.onnx", 2, 3), rows, features="km/h,label")
    assert found.calls[0]["x"].tolist() == [[1, 2]]
    assert found.labels == ()


@pytest.mark.parametrize(
    ("outputs", "lines", "expected"),
    [
        (2, ("1,no", "2,yes"), [0, 1]),  # in alphabetical order
        (1, ("1,0.5", "2,1.5"), [0.5, 1.5]),
        (1, ("1,30", "2,40"), [30.0, 40.0]),  # values, not classes
        (1, ("1,1", "2,0"), [1, 0]),
        (3, ("1,0.5", "2,1.5"), []),
        (3, ("1,0", "2,3"), []),
        (3, ("1,no", "2,yes"), []),
        (2, ("1,-1", "2,1"), []),  # no class has the number -1
        (3, ("1,-1", "2,0", "3,1"), [-1, 0, 1]),  # a row without a label
        (3, ("1,-2", "2,0", "3,1"), []),
    ],
)
def test_a_column_of_labels_is_used_where_it_fits(
    tmp_path: Path, outputs: int, lines: tuple[str, ...], expected: list[float]
) -> None:
    file = linear(tmp_path / "x.onnx", 1, outputs)
    assert labels_of(samples(file, table(tmp_path / "rows.csv", "a,label", *lines))) == expected


@pytest.mark.parametrize(
    ("lines", "labels", "preprocess", "message"),
    [
        (("a,b,c", "1,2,3"), None, {}, "takes 2 numbers a row, and .* has 3 columns .*features=a"),
        (("a,b,label", "1,,0"), None, {}, "line 2, column 'b', has no finite number"),
        (("a,b,label", "1,x,0"), None, {}, "line 2, column 'b', holds 'x', which is not a number"),
        (("a,b", "1,2"), None, {"features": "a,c"}, "has no column 'c'"),
        (("a,b", "1,2"), None, {"max_length": 8}, "max_length does not fit: .* holds numbers"),
        (("a,b,kind", "1,2,x"), "kind", {}, "has 1 classes .* the model has 3: name them by"),
        (("a,b,label",), None, {}, "has no rows"),
    ],
)
def test_tables_that_hold_no_numbers_are_refused(
    tmp_path: Path,
    lines: tuple[str, ...],
    labels: str | None,
    preprocess: dict[str, Any],
    message: str,
) -> None:
    file = linear(tmp_path / "x.onnx", 2, 3)
    with pytest.raises(BmcError, match=message):
        samples(file, table(tmp_path / "rows.csv", *lines), labels, **preprocess)
