"""A pipeline is safe to share: threads, forks, closing, moving, long inputs and bad rows."""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import bmc
from bmc.bundle import Bundle
from bmc.data import Dataset
from bmc.errors import ArtifactError, DataError, SettingError, UnknownError, UsageError
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions
from bmc.targets.pool import Pool
from bmc.workflows.rows import from_arguments
from tests.cli._refusals import Run, refused
from tests.faults import _kinds

Made = Callable[[str, str], tuple[Path, list[Any]]]
_SECONDS = 0.3
EACH = pytest.mark.parametrize(
    ("kind", "target"), [(kind, target) for kind in _kinds.KINDS for target in _kinds.TARGETS]
)


@pytest.fixture(scope="module")
def made(lively_folder: Path, reviews: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a function that gives a bundle of a kind for a target, made once, with rows."""
    root = tmp_path_factory.mktemp("kinds")
    sources: dict[str, tuple[Path, Dataset]] = {}

    def make(kind: str, target: str) -> tuple[Path, list[Any]]:
        if kind not in sources:
            sources[kind] = _kinds.model_of(kind, lively_folder, reviews, root)
            _kinds.export(sources[kind], root / f"{kind}-bundles")
        return root / f"{kind}-bundles" / target, _kinds.rows_of(sources[kind][1], 24)

    return make


# Threads


@EACH
def test_eight_threads_get_their_own_answers(made: Made, kind: str, target: str) -> None:
    path, rows = made(kind, target)
    wrong: list[Any] = []
    with bmc.load(path, threads=1) as pipeline:
        truth = [pipeline(row) for row in rows]

        def check(prediction: Any, index: int) -> None:
            if (
                prediction.label != truth[index].label
                or abs(prediction.score - truth[index].score) > 1e-4
            ):
                wrong.append((index, prediction, truth[index]))

        def ask(start: int) -> None:
            try:
                end, turn = time.monotonic() + _SECONDS, 7 * start
                while time.monotonic() < end:
                    turn += 1
                    check(pipeline(rows[turn % len(rows)]), turn % len(rows))
                    places = [(turn + step) % len(rows) for step in range(5)]
                    result = pipeline([rows[place] for place in places])
                    for output, position in zip(result, places, strict=True):
                        check(output, position)
            except BaseException as error:  # noqa: BLE001  whatever it is, it is wrong
                wrong.append(error)

        threads = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert len({round(answer.score, 6) for answer in truth}) > 4, "the rows tell answers apart"


def test_a_pool_makes_no_more_than_its_limit_and_keeps_what_it_made() -> None:
    created: list[object] = []

    def make() -> object:
        created.append(object())
        return created[-1]

    pool, busy = Pool(make, limit=2), []
    lock = threading.Lock()

    def use() -> None:
        with pool.borrowed() as item:
            with lock:
                assert item not in busy
                busy.append(item)
                assert len(busy) <= 2
            time.sleep(0.002)
            with lock:
                busy.remove(item)

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(created) <= 2


# Closing


@pytest.mark.parametrize("target", _kinds.TARGETS)
def test_a_closed_pipeline_says_so_and_closing_twice_does_no_harm(made: Made, target: str) -> None:
    path, rows = made("text", target)
    pipeline = bmc.load(path)
    pipeline(rows[0])
    pipeline.close()
    pipeline.close()
    for ask in (lambda: pipeline(rows[0]), lambda: pipeline(rows), lambda: pipeline.session):
        with pytest.raises(UsageError, match=r"is closed; load the bundle again"):
            ask()
    with bmc.load(path) as used:
        used(rows[0])
    with pytest.raises(UsageError, match="is closed"):
        used(rows[0])


@pytest.mark.parametrize("target", _kinds.TARGETS)
def test_closing_frees_the_model_although_the_variable_lives(made: Made, target: str) -> None:
    path, rows = made("text", target)
    with bmc.load(path, threads=1) as pipeline:
        pipeline(rows[0])
        session = weakref.ref(pipeline.session)
        encoder = weakref.ref(pipeline.bundle.encoder)
    gc.collect()
    assert session() is None
    assert encoder() is None


@pytest.mark.parametrize("is_list", [False, True])
def test_a_call_ends_with_its_prediction_although_the_files_of_its_pack_are_gone(
    is_list: bool, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = made("text", "pytorch")  # whose runtime needs files
    packed = bmc.pack(path, tmp_path / "x.bmc")
    row = [rows[0]] if is_list else rows[0]
    with bmc.load(packed, threads=1) as other:
        expected = other(row)
    pipeline = bmc.load(packed, threads=1)
    outputs_of = pipeline.outputs

    def closing(*arguments: Any) -> Any:
        outputs = outputs_of(*arguments)
        pipeline.close()
        return outputs

    monkeypatch.setattr(pipeline, "outputs", closing)
    assert pipeline(row) == expected


def test_a_call_under_way_ends_when_another_thread_closes(made: Made) -> None:
    path, rows = made("text", "openvino")
    for _ in range(6):
        pipeline = bmc.load(path, threads=1)
        outcomes: list[str] = []

        def ask(pipeline: Pipeline = pipeline, outcomes: list[str] = outcomes) -> None:
            try:
                while True:
                    pipeline(rows[0])
            except UsageError:
                outcomes.append("closed")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        pipeline.close()
        for thread in threads:
            thread.join(timeout=120)
        assert outcomes == ["closed"] * 4


def test_a_pipeline_is_not_pickled(made: Made) -> None:
    path, _ = made("text", "onnx")
    with bmc.load(path) as pipeline, pytest.raises(UsageError, match=r"bmc\.load\("):
        pickle.dumps(pipeline)


# Forks


def _in_child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code that forks, in a process of its own: this one has threads of every runtime."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


_FORK = """
import json, os, sys, time
import bmc
pipelines = [bmc.load(path) for path in sys.argv[1:]]
rows = [pipeline.bundle.encoder.example() for pipeline in pipelines]
def ask(pipeline, row):
    return [answer.score for answer in pipeline([row] * 40)]
before = [ask(*each) for each in zip(pipelines, rows)]
child = os.fork()
if not child:
    for pipeline, row, scores in zip(pipelines, rows, before):
        try:
            found = ask(pipeline, row)
            print("same" if max(abs(a - b) for a, b in zip(scores, found)) < 1e-5 else "other")
        except bmc.BmcError as error:
            print(error)
    sys.exit(0)
end = time.monotonic() + 120
while time.monotonic() < end:
    if os.waitpid(child, os.WNOHANG)[0]:
        break
    time.sleep(0.02)
else:
    os.kill(child, 9)
    print("hangs")
for pipeline, row in zip(pipelines, rows):
    pipeline(row)
print("the parent goes on")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("target", _kinds.TARGETS)
def test_a_forked_child_answers_or_says_what_to_do(made: Made, target: str) -> None:
    done = _in_child(_FORK, *(made(kind, target)[0] for kind in _kinds.KINDS))
    assert done.returncode == 0, done.stderr
    *child, parent = done.stdout.splitlines()
    assert parent == "the parent goes on"
    assert len(child) == len(_kinds.KINDS)
    for message in child:
        if target == "openvino":
            assert "OpenVINO does not survive a fork" in message
            assert "spawn" in message
        else:
            assert message == "same"


_SPAWN = """
import multiprocessing, sys
import bmc

def score(path):
    with bmc.load(path) as pipeline:
        return pipeline(pipeline.bundle.encoder.example()).score

if __name__ == "__main__":
    here = score(sys.argv[1])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(abs(pool.apply(score, (sys.argv[1],)) - here) < 1e-5)
"""


def test_a_spawned_process_loads_the_bundle_itself(made: Made, tmp_path: Path) -> None:
    path, _ = made("text", "openvino")
    (tmp_path / "spawn.py").write_text(_SPAWN)
    command = [sys.executable, str(tmp_path / "spawn.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "True\n", done.stderr


# Places


@pytest.mark.parametrize("target", _kinds.TARGETS)
def test_a_relative_path_is_resolved_when_it_is_loaded(
    made: Made, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = made("text", target)
    monkeypatch.chdir(path.parent)
    pipeline = bmc.load(path.name)
    monkeypatch.chdir(tmp_path)
    assert pipeline(rows[0]).label in ("negative", "positive")
    with pytest.raises(UnknownError, match=f"the working folder is {tmp_path}"):
        bmc.load(path.name)


def test_a_deleted_working_folder_is_said_in_a_line(made: Made, tmp_path: Path) -> None:
    path, _ = made("text", "onnx")
    code = (
        "import os, sys, bmc\n"
        f"os.chdir({str(tmp_path)!r}); os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        f"print(bmc.load({str(path)!r})('a film').label)\n"
        "try:\n    bmc.load('relative')\n"
        "except bmc.BmcError as error:\n    print(error)\n"
    )
    prediction, message = _in_child(code).stdout.splitlines()
    assert prediction in ("negative", "positive")
    assert "the working folder was deleted" in message


# Long inputs


def test_an_iterator_is_answered_without_being_read_to_its_end(made: Made) -> None:
    path, rows = made("text", "onnx")
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield rows[read % len(rows)]

    with bmc.load(path, threads=1) as pipeline:
        predictions = pipeline(endless())
        first = [next(predictions) for _ in range(100)]
        assert read <= 1024
        expected = pipeline([rows[index % len(rows)] for index in range(1, 101)])
        assert [prediction.label for prediction in first] == [output.label for output in expected]


def test_a_long_list_of_images_is_not_copied_whole(made: Made) -> None:
    path, rows = made("image", "onnx")
    process = psutil.Process()
    large = np.kron(rows[0], np.ones((24, 24, 1))).astype(np.uint8)
    with bmc.load(path, threads=1) as pipeline:
        many = [large] * 3000
        size = pipeline.bundle.encoder.settings.height  # type: ignore[attr-defined]
        encoded = 3000 * size**2
        before = process.memory_info().rss
        assert len(pipeline(many)) == 3000
        assert process.memory_info().rss - before < max(encoded, 40 * 2**20)


# Rows that cannot be answered


def test_a_bad_row_is_counted_and_need_not_lose_the_others(made: Made) -> None:
    path, rows = made("text", "onnx")
    asked: list[Any] = [rows[0], None, rows[1], 5, "", b"x", float("nan"), "half \ud800", rows[2]]
    with bmc.load(path) as pipeline:
        with pytest.raises(DataError, match="row 2"):
            pipeline(asked)
        result = pipeline(asked, errors="return")
        assert [isinstance(prediction, DataError) for prediction in result] == [
            *(False, True, False, True, True, True, True, True, False)
        ]
        assert [f"row {index + 1}" in str(result[index]) for index in (1, 3, 4, 5, 6, 7)] == [
            True
        ] * 6
        assert result[8].score == pytest.approx(pipeline(rows[2]).score, abs=1e-5)
        far = [rows[0]] * 1500 + [None]
        with pytest.raises(DataError, match="row 1501"):
            pipeline(far)
        assert all(isinstance(item, DataError) for item in pipeline([None, None], errors="return"))
        with pytest.raises(SettingError, match="errors is 'ignore'"):
            pipeline(asked, errors="ignore")  # type: ignore[arg-type]


def test_a_bad_image_or_series_is_counted_too(made: Made, tmp_path: Path) -> None:
    path, rows = made("series", "onnx")
    with bmc.load(path) as pipeline:
        result = pipeline([rows[0], rows[1] * np.nan, rows[2]], errors="return")
        assert "series 2" in str(result[1])
        assert [isinstance(prediction, DataError) for prediction in result] == [False, True, False]
    path, _ = made("image", "onnx")
    (tmp_path / "no.png").write_text("no image")
    with bmc.load(path) as pipeline, pytest.raises(DataError, match=r"2: .*no\.png"):
        pipeline([np.zeros((8, 8), np.uint8), tmp_path / "no.png"])


class _Answers:
    """A session that answers with given numbers: no runtime can be made to on purpose."""

    execution: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, values: list[list[float]]) -> None:
        self.values = np.array(values, np.float32)

    def run(self, inputs: Any) -> dict[str, Any]:
        return {"logits": self.values[: len(next(iter(inputs.values())))]}


def test_outputs_that_are_nan_or_infinite_are_an_error_of_the_bundle(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = made("text", "onnx")
    with bmc.load(path) as pipeline:
        for values in ([float("nan"), 0], [float("inf"), 0]):
            monkeypatch.setattr(pipeline._shared, "_session", _Answers([[1, 0], values]))
            with pytest.raises(ArtifactError, match=f"bundle {path}.* row 2 are NaN"):
                pipeline(["one", "two"])
            first, second = pipeline(["one", "two"], errors="return")
            assert (first.label, type(second)) == ("negative", ArtifactError)
            monkeypatch.setattr(pipeline._shared, "_session", _Answers([values]))
            with pytest.raises(ArtifactError, match="NaN or infinite"):
                pipeline("one")
        monkeypatch.undo()
        pipeline(rows[0])


@pytest.mark.parametrize("size", [-1, 0, "x", None, True, 2.5])
def test_a_manifest_cannot_make_batches_that_answer_nothing(made: Made, size: Any) -> None:
    path, rows = made("text", "onnx")
    with bmc.load(path) as good:
        manifest = replace(good.bundle.manifest, build={"max_batch": size})
        with pytest.raises(SettingError, match="batch_size is 0"):
            good.outputs(rows, 0)
    with (
        Pipeline(Bundle(path, manifest), RuntimeOptions()) as pipeline,
        pytest.raises(ArtifactError, match="max_batch"),
    ):
        pipeline(rows)


# bmc predict


def _asked(path: Path, inputs: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "bmc", "predict", str(path), *options]
    return subprocess.run(command, input=inputs, capture_output=True, check=False)


def test_every_line_of_input_has_an_answer_and_blank_ones_are_null(made: Made) -> None:
    path, _ = made("text", "onnx")
    done = _asked(path, b"a\n\nb\n", "--json")
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    assert [prediction is None for prediction in message["answers"]] == [False, True, False]
    assert message["rows"] == ["a", "", "b"]
    assert message["notes"] == [{"row": 2, "note": "standard input: line 2 is an empty text"}]


def test_lines_that_are_no_utf_8_lose_no_others_and_end_in_2(made: Made) -> None:
    path, _ = made("text", "onnx")
    done = _asked(path, b"a\n" + b"caf\xe9\nn\0l\n" + b"x" * 10**6 + b"\nz", "--json")
    assert done.returncode == 2
    message = json.loads(done.stdout)
    assert [prediction is None for prediction in message["answers"]] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert "line 2 holds bytes that are no UTF-8" in message["notes"][0]["note"]
    assert b"no answer: standard input: line 2" in done.stderr


def test_a_blank_argument_is_null_as_a_blank_line_is(bmc: Run, made: Made) -> None:
    path, _ = made("text", "onnx")
    code, out, _ = bmc("predict", path, "fine", "  ", "--json")
    assert (code, json.loads(out)["answers"][1]) == (0, None)


def test_a_closed_stdin_is_said_in_a_line(made: Made) -> None:
    path, _ = made("text", "onnx")
    command = f"{sys.executable} -m bmc predict {path} <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    refused((done.returncode, done.stdout, done.stderr), "no rows to predict")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("rows.csv", 'text,label\nfine,a\n"bad, dull",b\n', []),
        ("rows.csv", 'body\nfine\n"bad, dull"\n', []),
        ("rows.csv", 'body,id\nfine,1\n"bad, dull",2\n', ["--text-column", "body"]),
        ("rows.jsonl", '{"text": "fine"}\n{"text": "bad, dull"}\n', []),
        ("rows.txt", "fine\nbad, dull\n", []),
    ],
)
def test_the_rows_of_a_table_are_answered_not_its_name(
    bmc: Run, made: Made, tmp_path: Path, name: str, content: str, options: list[str]
) -> None:
    path, _ = made("text", "onnx")
    (tmp_path / name).write_text(content)
    code, out, _ = bmc("predict", path, tmp_path / name, "--json", *options)
    assert code == 0
    message = json.loads(out)
    assert message["rows"] == ["fine", "bad, dull"]
    assert all(message["answers"])


def test_a_table_without_the_column_or_that_is_not_there_is_refused(
    bmc: Run, made: Made, tmp_path: Path
) -> None:
    path, _ = made("text", "onnx")
    (tmp_path / "other.csv").write_text("body,id\nfine,1\n")
    refused(bmc("predict", path, tmp_path / "other.csv"), "no column 'text'", "--text-column")
    refused(bmc("predict", path, tmp_path / "gone.csv"), "no file", "gone.csv")


def test_a_text_that_is_a_files_name_is_answered_with_a_note(
    bmc: Run, made: Made, tmp_path: Path
) -> None:
    path, _ = made("text", "onnx")
    (tmp_path / "LICENSE").write_text("words")
    code, _, err = bmc("predict", path, tmp_path / "LICENSE")
    assert code == 0
    assert "is taken as a text, although a file has this name" in err


def test_images_that_are_not_there_lose_no_others(bmc: Run, made: Made, tmp_path: Path) -> None:
    path, _ = made("image", "onnx")
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    code, out, err = bmc(
        "predict", path, tmp_path / "a.png", tmp_path / "b.png", tmp_path, "--json"
    )
    assert code == 2
    assert [content is None for content in json.loads(out)["answers"]] == [False, True, True]
    assert "no image file" in err
    assert "is a folder" in err
    refused(bmc("predict", path, tmp_path / "*.jpg"), "no image file", "*.jpg")


def test_an_answer_is_one_line_whatever_its_text_holds(bmc: Run, made: Made) -> None:
    path, _ = made("text", "onnx")
    code, out, _ = bmc("predict", path, "fine\nand\r\ndull", "dull")
    assert code == 0
    assert [line.split("  ")[1] for line in out.splitlines()] == [r"fine\nand\r\ndull", "dull"]


def test_a_picture_is_no_text(bmc: Run, made: Made, tmp_path: Path) -> None:
    path, _ = made("text", "onnx")
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    refused(bmc("predict", path, tmp_path / "cat.png"), "cat.png' is a file", "takes texts")


def test_a_text_that_starts_with_a_dash_is_told_how(bmc: Run, made: Made) -> None:
    path, _ = made("text", "onnx")
    assert bmc("predict", path, "--", "-dull slow")[0] == 0
    command = [sys.executable, "-m", "bmc", "predict", str(path), "-dull slow"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused((done.returncode, done.stdout, done.stderr), "starts with - stands after --")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u3000"])
def test_white_space_is_an_empty_text_from_python_too(made: Made, text: str) -> None:
    path, _ = made("text", "onnx")
    with bmc.load(path) as pipeline, pytest.raises(DataError, match="row 1 is an empty text"):
        pipeline(text)


def test_the_second_text_of_a_pair_is_held_to_what_the_first_is() -> None:
    first, second, third = from_arguments(
        "text", ["a", "b", "c"], ["", "nul\0", " fine "], ("text",)
    )
    assert "the --pair text is an empty text" in str(first.error)
    assert "NUL" in str(second.error)
    assert (third.row, third.error) == (("c", "fine"), None)


def test_two_columns_of_a_pair_are_two(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names 'a' twice"):
        from_arguments("text", ["rows.csv"], (), ("a", "a"))
