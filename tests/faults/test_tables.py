"""A user's own data is understood as its format says, or refused with file, row and way out."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import data as datasets
from bmc.data import Dataset
from bmc.errors import BmcError, DataError, SettingError, UnknownError
from bmc.export.manifests import data_of
from bmc.model import Model

Run = Callable[..., tuple[int, str, str]]
ROWS = [(f"the film number {number}", "ab"[number % 2]) for number in range(60)]


def csv_of(
    rows: Sequence[tuple[str, ...]] = ROWS, header: tuple[str, ...] = ("text", "label")
) -> str:
    lines = [",".join(row) for row in [header, *rows]]
    return "\n".join(lines) + "\n"


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def as_jsonl(folder: Path, values: list[Any], column: str = "label") -> str:
    records = [{"text": text, "label": label} for text, label in ROWS]
    for record, value in zip(records, values, strict=False):
        record[column] = value
    return written(folder, "t.jsonl", "".join(json.dumps(record) + "\n" for record in records))


def as_parquet(folder: Path, values: Any, column: str = "label") -> str:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    columns[column] = values
    parquet.write_table(pyarrow.table(columns), folder / "t.parquet")
    return str(folder / "t.parquet")


def as_hub(folder: Path, values: Any, column: str = "label") -> str:
    pytest.importorskip("datasets")
    os.environ.setdefault("HF_DATASETS_CACHE", str(folder / "cache"))
    repository = folder / "repository"
    repository.mkdir()
    Path(as_parquet(folder, values, column)).rename(repository / "train.parquet")
    return f"hf:{repository}"


def refusal(reference: str, **options: Any) -> str:
    with pytest.raises(BmcError) as refused:
        datasets.load(reference, **options)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (csv_of([*ROWS[:10], ("well", " a fine film", "a")]), "line 12 has 3 fields, the header 2"),
        (csv_of([*ROWS[:10], ("good",)]), "line 12 has 1 field, the header 2"),
        ("label,text\n" + "a,well, a fine film\n", 'quote .* such as "well, a fine film"'),
        ('text,label\n\n\n"two\nlines",a\n\nx,a,b\n', "line 7 has 3 fields"),
        ('text,label\r\n"two\r\nlines",a\r\nx,\r\n', "line 4, column 'label', has an empty label"),
        ("text,label\nx,a\n  ,b\n", "line 3, column 'text', has an empty text"),
        ('text,label\nx,a\n"never closed,b\nx,a\n', "line 3 opens a quote that is never closed"),
        ('text,label\nx,a\n"a "quote" inside",b\n', "line 3: .* twice"),
        ("text,label\nx,a\ny\0z,b\n", "line 3 holds a NUL character"),
        ("text,label\nx,a\n".encode("utf-16-le"), "NUL .* iconv -f UTF-16"),
        ("text,label\nx,a\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("text,label\nx,a\n".encode("utf-32"), "is UTF-32; save it as UTF-8"),
        ("text,label\nx,a\ncafé,b\n".encode("latin-1"), r"line 3 is not UTF-8 \(byte 0xe9 at 18\)"),
        ("text;label\nx;a\n", "with semicolons in it.* save it with commas"),
        ("text\tlabel\nx\ta\n", "with tabs in it.* as .tsv"),
        ("text,text,label\nx,y,a\n", "has 2 columns named 'text'"),
        (",,\nx,y,a\n", "no column 'text'; it has '', '', ''"),
        ("a film,good\nanother,bad\n", "if line 1 is a row already, put a header above it"),
        ("Text,label\nx,a\n", "no column 'text'.* Did you mean 'Text'"),
    ],
)
def test_a_csv_that_says_no_one_thing_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    message = refusal(written(tmp_path, "t.csv", content))
    assert re.search(words, message), message
    assert message.startswith(str(tmp_path / "t.csv"))


def test_a_ragged_table_is_exit_2_and_nothing_is_trained(
    bmc: Run, tmp_path: Path, workspace: Path
) -> None:
    path = written(tmp_path, "ragged.csv", csv_of([*ROWS, ("well", " a fine film", "good")]))
    code, out, err = bmc("train", "lstm", "--data", path)
    assert (code, out) == (2, "")
    assert "line 62 has 3 fields" in err
    assert not workspace.exists()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_blank_lines_and_a_byte_order_mark_change_nothing(
    tmp_path: Path, end: str, mark: str
) -> None:
    plain = datasets.load(written(tmp_path, "plain.csv", csv_of()))
    content = mark + csv_of().replace("\n", end + end) + "   " + end
    assert datasets.load(written(tmp_path, "t.csv", content)).fingerprint == plain.fingerprint


def test_tables_of_every_ending_are_the_same_data(tmp_path: Path) -> None:
    records = [{"text": text, "label": label} for text, label in ROWS]
    lines = "\n".join(json.dumps(record) for record in records)
    paths = [
        written(tmp_path, "t.csv", csv_of()),
        written(tmp_path, "t.tsv", csv_of().replace(",", "\t")),
        written(tmp_path, "t.jsonl", lines),
        written(tmp_path, "t.ndjson", lines),
        written(tmp_path, "t.json", json.dumps(records)),
    ]
    assert len({datasets.load(path).fingerprint for path in paths}) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.jsonl", '{"text": "x", "label": "a", "label": "b"}', "line 1 .* 'label' is repeated"),
        ("t.jsonl", '{"text": "x", "label": NaN}', "line 1, column 'label', has no label"),
        ("t.jsonl", '{"text": "x", "label": Infinity}', "has the label inf"),
        ("t.jsonl", '{"text": "\\ud800", "label": "a"}', "half of a surrogate pair"),
        ("t.jsonl", '{"text": "a\\u0000b", "label": "a"}', "NUL character"),
        ("t.jsonl", '\n{"text": "x", "label": "a"}\n{"text": "y"}', "line 3 has no column 'label'"),
        ("t.jsonl", '[{"text": "x", "label": "a"}]', "a JSON list is a .json file"),
        ("t.json", '{"text": "x", "label": "a"}', "write one object a line and name it .jsonl"),
        ("t.json", '{"text": "x"}\n{"text": "y"}', "name it .jsonl"),
        ("t.json", '[{"text": "x", "label": "a"}, 5]', "row 2 holds no JSON object"),
    ],
)
def test_json_that_says_no_one_thing_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    message = refusal(written(tmp_path, name, content))
    assert re.search(words, message), message


@pytest.mark.parametrize("form", [as_jsonl, as_parquet, as_hub])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([["a", "b"], ["c"]] * 30, "row 1.* label \\['a', 'b'\\]: several .*--task multilabel"),
        ([{"en": "a"}] * 60, "has the label dict .*which is no class"),
        ([*["a"] * 40, None, *["b"] * 19], "row 41.* has no label \\(null\\)"),
        ([*[1.0] * 40, float("nan"), *[2.0] * 19], "row 41.* has no label \\(nan\\)"),
        ([*["a"] * 40, " ", *["b"] * 19], "row 41.* has an empty label"),
        ([0.5, 1.5, 2.5] * 20, "labels such as 0.5 are numbers.*--task regression"),
    ],
)
def test_what_is_no_label_is_refused_in_every_kind_of_table(
    tmp_path: Path, form: Callable[[Path, Any], str], values: list[Any], words: str
) -> None:
    message = refusal(form(tmp_path, values)).replace("line ", "row ")
    assert re.search(words, message), message


@pytest.mark.parametrize("form", [as_jsonl, as_parquet, as_hub])
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([5] * 60, "5"),
        ([True] * 60, "True"),
        ([["a"]] * 60, "\\['a'\\]"),
        ([{"en": "a"}] * 60, "dict \\{'en'"),
        ([None, *["x"] * 59], "null"),
    ],
)
def test_what_is_no_text_is_refused_in_every_kind_of_table(
    tmp_path: Path, form: Callable[[Path, Any, str], str], values: list[Any], text: str
) -> None:
    message = refusal(form(tmp_path, values, "text")).replace("line ", "row ")
    assert re.search(f"row 1, column 'text', holds {text}.*, which is no text", message), message


@pytest.mark.parametrize(
    ("values", "labels"),
    [([True, False] * 30, ("False", "True")), ([2, 10] * 30, ("2", "10"))],
)
@pytest.mark.parametrize("form", [as_jsonl, as_parquet, as_hub])
def test_truth_values_and_whole_numbers_are_the_classes_that_a_csv_has(
    tmp_path: Path, form: Callable[[Path, Any], str], values: list[Any], labels: tuple[str, ...]
) -> None:
    pairs = [(text, str(value)) for (text, _), value in zip(ROWS, values, strict=True)]
    same = datasets.load(written(tmp_path, "same.csv", csv_of(pairs)))
    data = datasets.load(form(tmp_path, values))
    assert (data.labels, data.fingerprint) == (labels, same.fingerprint)


def test_arrow_types_of_text_are_texts_and_others_are_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    texts, labels = ([row[index] for row in ROWS] for index in (0, 1))
    plain = datasets.load(written(tmp_path, "plain.csv", csv_of()))
    for array in (
        pyarrow.array(labels).dictionary_encode(),
        pyarrow.array(labels, pyarrow.large_string()),
        pyarrow.array([label.encode() for label in labels], pyarrow.binary()),
    ):
        assert datasets.load(as_parquet(tmp_path, array)).fingerprint == plain.fingerprint
    encoded = pyarrow.array([text.encode() for text in texts])
    path = as_parquet(tmp_path, encoded, "text")
    assert datasets.load(path).fingerprint == plain.fingerprint
    when = datetime(2020, 1, 1, tzinfo=UTC)
    for values, words in (
        ([b"caf\xe9"] * 60, "no UTF-8 .0xe9 at byte 4"),
        ([when] * 60, "which is no text"),
        ([Decimal("1.5")] * 60, "which is no text"),
    ):
        assert re.search(words, refusal(as_parquet(tmp_path, values, "text")))
    assert "no class" in refusal(as_parquet(tmp_path, [when] * 60))


def test_what_a_label_column_holds_is_counted_and_noted(tmp_path: Path) -> None:
    rows = [*ROWS, ("one more", "A"), ("and one", " b"), ("a third", "nan"), (ROWS[0][0], "b")]
    data = datasets.load(written(tmp_path, "t.csv", csv_of(rows)))
    assert data.summary.classes == {"A": 1, "a": 30, "b": 32, "nan": 1}
    assert (data.summary.rows, data.summary.duplicates, data.summary.conflicts) == (64, 1, 1)
    notes = " / ".join(data.summary.notes)
    assert "'A' (1 rows) and 'a' (30 rows) are classes of their own" in notes
    assert "white space at the ends of 1 labels was dropped: ' b' is 'b'" in notes
    assert "fewer than 10 rows of 'A' (1), 'nan' (1)" in notes
    assert "the label 'nan' (1 rows) is a class" in notes
    assert "1 different rows appear with different labels (the first is row 1)" in notes


def test_numbers_written_in_two_ways_are_noted(tmp_path: Path) -> None:
    values = [1, "1", 1.0, 2] * 15
    data = datasets.load(as_jsonl(tmp_path, values))
    assert data.labels == ("1", "2", "1.0")
    notes = " / ".join(data.summary.notes)
    assert "'1' (30 rows) and '1.0' (15 rows)" in notes
    assert "1 and '1' are one class" in notes


def test_columns_that_differ_in_white_space_alone_are_found_and_noted(tmp_path: Path) -> None:
    data = datasets.load(written(tmp_path, "t.csv", csv_of(header=("text", " label "))))
    assert data.labels == ("a", "b")
    assert "column ' label ' was read as 'label'" in data.summary.notes


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", csv_of())
    with pytest.raises(SettingError, match="'text' is named as text and as label"):
        datasets.load(path, ("text",), "text")
    with pytest.raises(SettingError, match="names 'text' twice"):
        datasets.load(path, ("text", "text"))


def test_what_was_decided_is_printed_and_recorded(bmc: Run, tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", csv_of([*ROWS, ROWS[0]]))
    output = tmp_path / "model"
    code, _, err = bmc(
        *("train", "lstm", "--data", path, "--epochs", "1", "--device", "cpu", "-o", output)
    )
    assert code == 0, err
    assert "data t: text from 'text', 61 rows, 2 classes (a 31, b 30), 1 duplicates; " in err
    record = json.loads((output / "bmc.json").read_text())["data"]
    assert record["summary"]["classes"] == {"a": 31, "b": 30}
    assert (record["reference"], record["location"]) == (path, path)


def test_data_typed_as_a_relative_path_is_found_from_another_folder(
    bmc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    path = Path(written(here, "t.csv", csv_of()))
    monkeypatch.chdir(here)
    words = ("train", "lstm", "--data", "t.csv", "--epochs", "1", "--device", "cpu")
    assert bmc(*words, "-o", "model")[0] == 0
    monkeypatch.chdir(there)
    assert bmc("inspect", here / "model")[0] == 0
    path.rename(there / "t.csv")  # moved: what was typed is tried from here
    assert bmc("inspect", here / "model")[0] == 0
    (there / "t.csv").rename(there / "other.csv")
    code, _, err = bmc("inspect", here / "model")
    assert code == 2
    assert f"the data of {here / 'model'} is not at {str(path)!r}" in err
    assert "--data FILE" in err
    assert bmc("inspect", here / "model", "--data", "other.csv")[0] == 0
    sparse = ("prune", here / "model", "--method", "unstructured", "--ratio", "0.5")
    assert bmc(*sparse, "--data", "other.csv", "--epochs", "0", "-o", "sparse")[0] == 0
    monkeypatch.chdir(here)  # the new place is remembered
    assert bmc("export", there / "sparse", "--target", "pytorch")[0] == 0


def test_data_is_located_by_what_was_typed_where_no_absolute_path_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "t.csv", csv_of())
    (tmp_path / "images").mkdir()
    assert datasets.locate("t.csv", None, "m") == "t.csv"
    assert datasets.locate("imagefolder:images", None, "m") == "imagefolder:images"
    assert datasets.locate("movie-reviews", None, "m") == "movie-reviews"
    assert datasets.locate("hf:org/name@1", None, "m") == "hf:org/name@1"
    there = f"imagefolder:{tmp_path / 'images'}"
    monkeypatch.chdir("/")
    assert datasets.locate("imagefolder:images", there, "m") == there
    with pytest.raises(UnknownError, match=r"not at 't\.csv'; .* --data FILE"):
        datasets.locate("t.csv", None, "m")
    with pytest.raises(UnknownError, match="--data hf:DIR"):
        datasets.locate("hf:gone", f"hf:{tmp_path / 'gone'}", "m")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json", ".parquet", ".npz"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device", "circle", "name too long"])
def test_what_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, kind: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    path = Path(f"own{ending}")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "circle":
        path.symlink_to(path)
    else:
        path = Path("x" * 300 + ending)
    message = refusal(str(path))
    assert f"{path} cannot be read" in message
    assert "cannot be written" not in message
    assert "--output" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path: Path) -> None:
    path = Path(written(tmp_path, "own.csv", csv_of()))
    path.chmod(0)
    assert "cannot be read (Permission denied)" in refusal(str(path))


def test_a_file_whose_reading_fails_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "own.csv", csv_of())

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Path, "open", refuse)
    assert f"{path} cannot be read (Permission denied)" in refusal(path)


def test_a_packed_table_is_refused_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    assert "gunzip -k" in refusal(written(tmp_path, "t.csv.gz", b"\x1f\x8b"))
    assert "unzip" in refusal(written(tmp_path, "t.zip", b"PK"))


def test_transfer_texts_are_lines_in_utf8(tmp_path: Path) -> None:
    data = datasets.load(written(tmp_path, "t.csv", csv_of()))
    for content, words in (
        (b"fine\ncaf\xe9\n", "line 2 is not UTF-8"),
        (b"fine\na\0b\n", "line 2 holds a NUL"),
    ):
        with pytest.raises(DataError, match=words):
            datasets.transfer_rows(written(tmp_path, "t.txt", content), 5, data)
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(DataError, match="a named pipe"):
        datasets.transfer_rows(str(tmp_path / "pipe.txt"), 5, data)


def test_a_large_table_on_disk_is_refused_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmc.stored_rows.LARGE", 100)
    message = refusal(written(tmp_path, "t.csv", csv_of([*ROWS, ("a", "b", "c")])))
    assert "line 62 has 3 fields" in message


def test_a_table_that_csv_wrote_reads_back_whatever_its_texts_hold(tmp_path: Path) -> None:
    odd = ['a "b"', "a,b", "x\ny", "=1", "nan", "1", "\u2028 x", "\u0130", "'", "\\"]
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS, *((text, "a") for text in odd)])
    data: Dataset = datasets.load(str(path))
    texts = {row[0] for part in (data.train, data.validation, data.test) for row in part.rows}
    assert texts >= {text.strip() for text in odd}


def test_a_fingerprint_is_what_it_was_in_earlier_versions(tmp_path: Path) -> None:
    data = datasets.load(written(tmp_path, "t.csv", csv_of()))
    numbers = datasets.load(as_jsonl(tmp_path, [0, 1] * 30))
    assert data.fingerprint[:12] == "1fa917bf42e8"
    assert numbers.fingerprint[:12] == "33deeb3704b4"


def test_arrays_that_promise_more_than_they_hold_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmc.data_files.UNPACKED", 2**20)
    path = tmp_path / "own.npz"
    np.savez_compressed(path, images=np.zeros((90, 400, 400), np.uint8), labels=np.zeros(90, int))
    assert path.stat().st_size < 30_000
    assert re.search(r"0\.01\d+ MB and unpacks to 0\.0144 GB.*np\.savez", refusal(str(path)))


def test_a_bundle_does_not_say_where_data_lay_on_the_machine_it_was_made_on(
    model: Model,
) -> None:
    model.data = {"reference": "t.csv", "location": "/home/me/t.csv", "rows": {"train": 3}}
    assert data_of(model) == {"reference": "t.csv", "rows": {"train": 3}}


def test_a_parquet_file_that_repeats_one_long_text_is_refused_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("bmc.data_files.UNPACKED", 2**20)
    path = as_parquet(tmp_path, ["a long text " * 10_000] * 60, "text")
    assert re.search("unpacks to .* GB.*save honest texts", refusal(path))


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts, labels = ([row[index] for row in ROWS] for index in (0, 1))
    table = pyarrow.table([texts, labels, texts], names=["text", "label", "text"])
    parquet.write_table(table, tmp_path / "t.parquet")
    assert "2 columns named 'text'" in refusal(str(tmp_path / "t.parquet"))


def test_hub_data_that_is_ragged_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for number, row in enumerate((("well", " a fine film", "a"), ("alone",))):
        folder = tmp_path / f"own{number}"
        folder.mkdir()
        written(folder, "train.csv", csv_of([*ROWS, row]))
        refusal(f"hf:{folder}")
    folder = tmp_path / "shifted"
    folder.mkdir()
    written(folder, "train.csv", csv_of([(text, f"more {label}", label) for text, label in ROWS]))
    assert "not readable as a Hugging Face data set" in refusal(f"hf:{folder}")
