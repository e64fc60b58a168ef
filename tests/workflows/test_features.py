"""Tables of numbers through every verb: trained, taught, compressed, exported, and predicted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bmc as package
from bmc import cli
from bmc import data as datasets
from bmc.errors import DataError, UnknownError, UsageError
from bmc.memory import PREFIX

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--epochs", "2", "--device", "cpu", "--quiet")
COLUMNS = ("age", "height", "weight")


def rows(count: int = 120) -> list[dict[str, Any]]:
    """Return people with a missing height each, a constant, and a label that follows from both."""
    generator = np.random.default_rng(0)
    people = []
    for index in range(count):
        height, weight = generator.normal(170, 10), generator.normal(70, 12)
        heavy = weight / (height / 100) ** 2 > 24
        people.append(
            {
                "name": f"p{index}",
                "age": int(generator.integers(18, 90)),
                "height": None if index % 10 == 0 else float(height),
                "weight": float(weight),
                "planet": 3,
                "label": "heavy" if heavy else "light",
            }
        )
    return people


def written(path: Path, people: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(people[0]))
        writer.writeheader()
        writer.writerows(people)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace: a perceptron of a table, a student of it, both compressed; bundles."""
    folder = tmp_path_factory.mktemp("features")
    table = written(folder / "people.csv", rows())
    data = ("--data", str(table), "--features", "all")
    student = ("--student", "mlp", "--set", "width=16", "-o", f"{folder}/runs/small")
    slower = ("--allow-slower", "--quiet")
    every = ("--target", "onnx,openvino,tensorrt", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMC_HOME", str(folder / "runs"))
        for command in (
            [
                "train",
                "mlp",
                *data,
                *QUICK,
                "--epochs",
                "8",
                "--set",
                "width=32",
                "--set",
                "depth=2",
            ],
            ["distill", "--teacher", "mlp-people", *student, *data, *QUICK],
            ["prune", "small", "--ratio", "0.5", "--epochs", "1", "--quiet"],
            ["share", "mlp-people", "--method", "cluster", "--set", "values=4", "--quiet"],
            ["quantize", "small-structured", "--set", "weight_bits=7", "--quiet"],
            ["export", "small", *every],
            ["export", "small-structured-static", "--target", "onnx,tensorrt", *slower],
        ):
            assert cli.run(command) == 0, command
    return folder


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use that workspace."""
    monkeypatch.setenv("BMC_HOME", str(made / "runs"))
    return made


def test_every_bundle_was_scored_and_answers_as_its_model_does(made: Path) -> None:
    bundles = [path.parent for path in (made / "runs").glob("small*/manifest.json")]
    assert len(bundles) == 5
    for bundle in bundles:
        manifest = json.loads((bundle / "manifest.json").read_text())
        scores = manifest["scores"] or manifest["stand_in"]["scores"]
        assert scores["accuracy"]["value"] > 0.5
        assert manifest["failure"] is None


def test_a_bundle_takes_dictionaries_tuples_lists_and_data_frames(made: Path) -> None:
    pandas = pytest.importorskip("pandas")
    person = {"age": 40, "height": 180.0, "weight": 120.0, "planet": 3}
    with package.load(made / "runs" / "small-onnx") as predict:
        answer = predict(person)
        assert answer.label == "heavy"
        assert predict((40, 180.0, 120.0, 3)) == answer
        assert predict([person, {**person, "height": None}])[0].score == pytest.approx(answer.score)
        assert len(predict(pandas.DataFrame([person, person, person]))) == 3
        numbered = {0: 40, "height": 180.0, "weight": 120.0, "planet": 3}
        with pytest.raises(DataError, match="has no column 'age'"):
            predict(numbered)
        with pytest.raises(DataError, match="row 2 has no column 'weight'; the model takes age"):
            predict([person, {"age": 40, "height": 180.0, "planet": 3}])
        errors = predict([person, {"age": 40}], errors="return")
        assert isinstance(errors[1], DataError)


def test_a_table_with_columns_in_another_order_gets_the_same_answers(
    place: Path, tmp_path: Path, bmc: Run
) -> None:
    backwards = [{name: row[name] for name in reversed(row)} for row in rows()]
    code, out, _ = bmc("predict", "small-onnx", place / "people.csv", "--json")
    other = written(tmp_path / "backwards.csv", backwards)
    code_backwards, out_backwards, _ = bmc("predict", "small-onnx", other, "--json")
    answers = [answer["label"] for answer in json.loads(out)["answers"]]
    assert (code, code_backwards, len(answers)) == (0, 0, 120)
    assert answers == [answer["label"] for answer in json.loads(out_backwards)["answers"]]


def test_a_json_object_is_a_row_to_predict(place: Path, bmc: Run) -> None:
    person = json.dumps({"age": 40, "height": None, "weight": 120, "planet": 3})
    code, out, _ = bmc("predict", "small-onnx", person)
    assert code == 0
    assert out.startswith("heavy")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a text", "takes numbers, and 'a text' is neither a table"),
        ("none.csv", "no file 'none.csv'"),
        ('{"age": ', "not readable as JSON"),
        ('{"age": 1}', "row 1 has no column 'height'"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused(
    place: Path, bmc: Run, argument: str, message: str
) -> None:
    code, _, said = bmc("predict", "small-onnx", argument)
    assert code == 2
    assert message in said


def test_a_table_that_lacks_a_column_is_refused_with_the_columns_that_it_has(
    place: Path, tmp_path: Path, bmc: Run
) -> None:
    less = [{key: row[key] for key in ("name", "age", "planet", "height")} for row in rows(3)]
    code, _, said = bmc("predict", "small-onnx", written(tmp_path / "less.csv", less))
    assert code == 2
    assert "has no column 'weight'; it has name, age, planet, height" in said
    assert "--text-column" not in said


def test_a_row_with_text_in_a_column_of_numbers_gets_no_answer_and_the_others_do(
    place: Path, tmp_path: Path, bmc: Run
) -> None:
    people = rows(3)
    people[1]["weight"] = "heavy"
    code, out, said = bmc("predict", "small-onnx", written(tmp_path / "t.csv", people))
    assert code == 2
    assert [line.split()[0] == "no" for line in out.splitlines()] == [False, True, False]
    assert "line 3, column 'weight', holds 'heavy', which is not a number" in said


def test_the_page_of_an_inspection_names_the_columns(place: Path, tmp_path: Path, bmc: Run) -> None:
    code, _, said = bmc("inspect", "small", "-o", tmp_path / "page.html")
    assert code == 0, said
    assert "weight=" in (tmp_path / "page.html").read_text()


def test_a_report_has_a_linear_model_and_gradient_boosting_beside_the_network(
    place: Path, bmc: Run
) -> None:
    code, out, said = bmc("report", "small-onnx", "--no-bench")
    assert code == 0, said
    assert "floor-linear-people-onnx is one linear layer on the numbers" in out
    assert "gradient boosting (HistGradientBoosting of scikit-learn) has accuracy" in out
    code, _, said = bmc("report", "small-onnx", "--no-bench")
    assert "floor: gradient boosting" not in said  # its score is kept


def test_a_teacher_of_other_columns_is_refused(place: Path, bmc: Run) -> None:
    code, _, said = bmc(
        *("distill", "--teacher", "mlp-people", "--student", "mlp", *QUICK),
        *("--data", place / "people.csv", "--features", "age,weight", "-o", place / "none"),
    )
    assert code == 2
    assert "takes the columns age, height, weight, planet" in said
    assert "name the same with --features, in the same order" in said


def test_a_student_folder_of_other_columns_is_refused(place: Path, bmc: Run) -> None:
    frame = {"age": range(80), "label": ["a", "b"] * 40}
    other = package.train("mlp", frame, epochs=1)
    with pytest.raises(UsageError, match="takes the columns age, and 'people' has age, height"):
        package.distill(
            place / "runs" / "mlp-people",
            str(other.path),
            place / "people.csv",
            features="all",
            output=place / "none",
            epochs=1,
        )


def test_rows_in_memory_are_the_same_data_as_their_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    people = rows(60)
    columns = {name: [row[name] for row in people] for name in people[0]}
    models = [
        package.train("mlp", form, epochs=1, features="all", output=tmp_path / f"m{index}")
        for index, form in enumerate(
            [people, columns, pandas.DataFrame(people), written(tmp_path / "t.csv", people)]
        )
    ]
    assert len({model.data["fingerprint"] for model in models}) == 1
    assert models[0].data["features"] == ["age", "height", "weight", "planet"]
    assert models[0].to("onnx", output=tmp_path / "bundle").scores["accuracy"]


def test_rows_in_memory_are_not_there_in_another_process(tmp_path: Path) -> None:
    with pytest.raises(UnknownError, match=r"save these rows as a table .* --data"):
        datasets.load(f"{PREFIX}table-0123456789ab")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "data is int; give a file's name, a data frame"),
        ([], "data is list"),
        ({"a": [1, 2], "label": ["x"]}, "different numbers of rows: a 2, label 1"),
        ({"a": ["x", "y"], "label": ["x", "y"]}, "no numeric column besides the label"),
        ({"a": [1, 2]}, "the data has no column 'label'"),
    ],
)
def test_rows_in_memory_of_another_form_are_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        package.train("mlp", data)


def test_a_wrapped_network_teaches_a_perceptron(tmp_path: Path) -> None:
    people = [{**row, "height": row["height"] or 170.0} for row in rows()]
    x = np.array([[row[name] for name in COLUMNS] for row in people], np.float32)
    y = np.array([row["label"] == "heavy" for row in people]).astype(np.int64)
    torch.manual_seed(0)
    teacher = package.wrap(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), (x, y), inputs=["x"])
    student = package.distill(teacher, "mlp", epochs=1, output=tmp_path / "student")
    assert student.steps == ("distill/logits",)
    bundle = student.to("onnx", output=tmp_path / "bundle")
    assert bundle.predict({"x0": 40, "x1": 180, "x2": 120}).label in ("0", "1")


def test_a_wrapped_teacher_that_has_learned_held_out_rows_of_a_table_is_refused(
    tmp_path: Path,
) -> None:
    people = [{**row, "height": row["height"] or 170.0} for row in rows()]
    train, others = people[:100], people[:100][::-1]
    teacher = package.wrap(
        nn.Linear(3, 2),
        {name: [row[name] for row in train] for name in (*COLUMNS, "label")},
        inputs=["x"],
        name="learned",
    )
    table = written(tmp_path / "others.csv", others[:50])
    with pytest.raises(UsageError, match=r"was trained on .* of the .* rows that are held out"):
        package.distill(teacher, "mlp", table, features=COLUMNS, output=tmp_path / "none", epochs=1)


def test_a_regression_of_a_table_is_trained_and_scored(tmp_path: Path) -> None:
    table = [{**row, "kilos": row["weight"] * 2} for row in rows()]
    model = package.train(
        "mlp",
        table,
        features=COLUMNS,
        label_column="kilos",
        task="regression",
        epochs=10,
        learning_rate=0.05,
        width=16,
        output=tmp_path / "model",
    )
    bundle = model.to("onnx", output=tmp_path / "bundle")
    assert bundle.scores["r2"]["value"] > 0.3
    assert isinstance(bundle.predict((40, 170, 70)), float)


@pytest.mark.parametrize("label_column", ["tags", ["heavy", "tall"]])
def test_rows_in_memory_may_have_several_labels(tmp_path: Path, label_column: Any) -> None:
    people = [
        {**row, "tags": [name for name in ("heavy", "tall") if flags[name]], **flags}
        for row in rows()
        for flags in [{"heavy": int(row["label"] == "heavy"), "tall": int(row["weight"] > 70)}]
    ]
    model = package.train(
        "mlp",
        people,
        features=COLUMNS,
        label_column=label_column,
        task="multilabel",
        epochs=1,
        output=tmp_path / "model",
    )
    assert model.labels == ("heavy", "tall")


def test_an_image_size_is_refused_for_a_table(bmc: Run) -> None:
    code, _, said = bmc("train", "mlp", "--data", "breast-cancer", "--set", "image_size=8")
    assert code == 2
    assert "holds numbers; leave it out" in said
