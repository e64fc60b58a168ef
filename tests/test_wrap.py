"""A network and data in memory: every verb works on them, and what does not fit is said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import bmc
from bmc import artifact, memory
from bmc.errors import ArtifactError, BmcError, DataError, ModelCodeError, UnknownError, UsageError
from tests._vnni import WEIGHT_BITS

QUICK: dict[str, Any] = {"precision": "fp32", "device": "cpu", "learning_rate": 0.01}
ROWS = 300


class Two(nn.Module):
    """Takes numbers and the index of a category."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.categories = nn.Embedding(5, 4)
        self.hidden = nn.Linear(8 + 4, 32)
        self.output = nn.Linear(32, classes)

    def forward(self, numbers: Tensor, category: Tensor) -> Any:
        both = torch.cat([numbers, self.categories(category)], dim=1)
        return self.output(torch.relu(self.hidden(both)))


def table() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return numbers (rows, 8), categories (rows) and classes (rows) that depend on both."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(ROWS, 8)).astype(np.float32)
    category = generator.integers(0, 5, ROWS)
    return numbers, category, (numbers[:, 0] > 0).astype(np.int64) + (category > 2)


def network() -> Two:
    torch.manual_seed(0)
    return Two()


@pytest.fixture
def wrapped(workspace: Path) -> bmc.ModelHandle:
    """Return a wrapped network of two inputs."""
    numbers, category, labels = table()
    return bmc.wrap(network(), ((numbers, category), labels), labels=["low", "middle", "high"])


def test_a_wrapped_network_answers_as_the_module_does(wrapped: bmc.ModelHandle) -> None:
    numbers, category, _ = table()
    module = network().eval()
    with torch.inference_mode():
        logits = module(torch.from_numpy(numbers[:5]), torch.from_numpy(category[:5]))
    predictions = wrapped.predict(list(zip(numbers[:5], category[:5], strict=True)))
    names = ("low", "middle", "high")
    assert [prediction.label for prediction in predictions] == [
        names[at] for at in logits.argmax(dim=1)
    ]
    assert predictions[0].score == pytest.approx(float(logits[0].softmax(0).max()), abs=1e-6)
    assert wrapped.labels == names, "in the order of the outputs, not of their names"


def test_training_compression_and_export_work_on_a_wrapped_network(
    wrapped: bmc.ModelHandle,
) -> None:
    trained = bmc.train(wrapped, epochs=30, **QUICK)
    score = "accuracy"
    before, after = (item.scores["validation"][score]["value"] for item in (wrapped, trained))
    assert after > before + 0.2
    pruned = bmc.prune(trained, ratio=0.25, epochs=2, tuning=QUICK)
    shared = bmc.share(trained, "lowrank", energy=0.9, epochs=0)
    small = bmc.quantize(pruned, samples=64, weight_bits=WEIGHT_BITS)
    onnx, openvino = small.to("onnx", "openvino", allow_slower=True)
    assert (onnx.precision, openvino.precision) == ("int8", "int8")
    assert onnx.labels == trained.labels
    assert shared.steps == ("share/lowrank",)
    numbers, category, _ = table()
    row = (numbers[0], category[0])
    assert onnx.predict(row).label == small.predict(row).label


class Many(nn.Module):
    """Takes 16 inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(16, 2)

    def forward(
        self,
        a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor, g: Tensor, h: Tensor,
        i: Tensor, j: Tensor, k: Tensor, l: Tensor, m: Tensor, n: Tensor, o: Tensor, p: Tensor,  # noqa: E741
    ) -> Any:  # fmt: skip
        return self.output(torch.cat([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p], dim=1))


def test_a_network_of_as_many_inputs_as_are_possible_is_exported_and_checked(
    workspace: Path,
) -> None:
    from bmc import checking
    from bmc.targets import RuntimeOptions

    values = np.random.default_rng(0).normal(size=(16, ROWS, 1)).astype(np.float32)
    wrapped = bmc.wrap(Many(), (tuple(values), (values[0, :, 0] > 0).astype(np.int64)))
    bundle = wrapped.to("onnx")
    assert checking.check(bundle.path, RuntimeOptions(threads=1)).rows == 2


def test_a_bundle_of_a_wrapped_network_checks_its_raw_rows(wrapped: bmc.ModelHandle) -> None:
    from bmc import checking
    from bmc.targets import RuntimeOptions

    bundle = wrapped.to("onnx")
    assert checking.check(bundle.path, RuntimeOptions(threads=1)).rows == 4


def test_the_module_that_was_given_is_not_changed(workspace: Path) -> None:
    module, (numbers, category, labels) = network(), table()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    handle = bmc.wrap(module.train(), ((numbers, category), labels))
    bmc.train(handle, epochs=1, **QUICK)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


class Rows(Dataset[Any]):
    """A torch Dataset whose rows are dictionaries."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> dict[str, Any]:
        numbers, category, labels = table()
        return {"numbers": numbers[index], "category": category[index], "y": labels[index]}


class Streamed(IterableDataset[Any]):
    """A torch Dataset without a length."""

    def __iter__(self) -> Iterator[Any]:
        return zip(*table(), strict=True)


def of_every_kind() -> Iterator[Any]:
    numbers, category, labels = table()
    tensors = [torch.from_numpy(array) for array in (numbers, category, labels)]
    yield pytest.param(((numbers, category), labels), id="arrays")
    yield pytest.param((tuple(tensors[:2]), tensors[2]), id="tensors")
    named = {"category": category, "numbers": numbers}
    yield pytest.param((named, labels), id="inputs by name")
    yield pytest.param({**named, "label": labels.tolist()}, id="columns")
    yield pytest.param(TensorDataset(*tensors), id="TensorDataset")
    yield pytest.param(Rows(), id="Dataset of dictionaries")
    yield pytest.param(DataLoader(TensorDataset(*tensors), batch_size=64), id="DataLoader")
    yield pytest.param(DataLoader(Rows(), batch_size=64), id="DataLoader of dictionaries")
    yield pytest.param(DataLoader(TensorDataset(*tensors), batch_size=None), id="unbatched")
    yield pytest.param(([numbers, category], labels), id="list of arrays")
    pairs = [((numbers[at], category[at]), labels[at]) for at in range(ROWS)]
    yield pytest.param(DataLoader(pairs, batch_size=64), id="inputs as a tuple")  # type: ignore[arg-type]
    yield pytest.param(Streamed(), id="IterableDataset")
    frame = pandas.DataFrame({"numbers": list(numbers), "category": category, "y": labels})
    yield pytest.param(frame, id="data frame")
    hub = datasets.Dataset.from_dict({**named, "label": labels})
    yield pytest.param(hub.with_format("torch"), id="datasets.Dataset")


@pytest.mark.parametrize("data", list(of_every_kind()))
def test_data_of_every_kind_is_the_same_data(data: Any, workspace: Path) -> None:
    handle = bmc.wrap(network(), data)
    numbers, category, labels = table()
    same = bmc.wrap(network(), ((numbers, category), labels), name="same")
    assert handle.data["fingerprint"] == same.data["fingerprint"]
    assert handle.data["rows"] == {"train": 210, "validation": 30, "test": 60}


def test_a_regression_is_wrapped_too(workspace: Path) -> None:
    numbers, _, _ = table()
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    handle = bmc.wrap(module, (numbers, 3 * numbers[:, 0] + 1), task="regression")
    trained = bmc.train(handle, epochs=20, **QUICK)
    assert trained.scores["validation_r2"] > 0.8
    assert trained.predict(numbers[0]) == pytest.approx(3 * numbers[0, 0] + 1, abs=2)


class Flat(nn.Module):
    """Takes rows of numbers."""

    def __init__(self, columns: int = 2) -> None:
        super().__init__()
        self.output = nn.Linear(columns, 2)

    def forward(self, x: Tensor) -> Any:
        return self.output(x)


def plain_table() -> dict[str, Any]:
    """Return columns of numbers and a column of words."""
    numbers, _, labels = table()
    words = np.where(labels > 0, "high", "low").tolist()
    return {"width": numbers[:, 0], "height": numbers[:, 1], "label": words}


@pytest.mark.parametrize("columns", [None, ["width", "height"]])
def test_the_columns_of_a_data_frame_are_one_input(
    columns: list[str] | None, workspace: Path
) -> None:
    frame = pandas.DataFrame(plain_table())
    handle = bmc.wrap(Flat(), frame, columns=columns)
    assert handle.labels == ("high", "low")
    numbers, _, _ = table()
    assert handle.predict(numbers[0, :2]).label in handle.labels


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_columns_of_a_file_are_one_input(ending: str, workspace: Path, tmp_path: Path) -> None:
    frame, path = pandas.DataFrame(plain_table()), tmp_path / f"sizes.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    handle = bmc.wrap(Flat(), path, columns=["width", "height"], name="file")
    same = bmc.wrap(Flat(), frame, name="frame")
    assert handle.data["rows"] == same.data["rows"]
    assert handle.labels == same.labels
    with pytest.raises(DataError, match=r"width, height, label.*columns=\[\.\.\.\]"):
        bmc.wrap(Flat(), path, columns=["depth"], name="other")


def test_a_datasets_dataset_brings_the_names_of_its_classes(workspace: Path) -> None:
    numbers, category, labels = table()
    columns = {"numbers": numbers.tolist(), "category": category.tolist(), "label": labels.tolist()}
    data = datasets.Dataset.from_dict(columns)
    data = data.cast_column("label", datasets.ClassLabel(names=["few", "some", "many"]))
    handle = bmc.wrap(network(), data)
    assert handle.labels == ("few", "some", "many")
    trained = bmc.train(handle, epochs=1, **QUICK)
    assert trained.data["fingerprint"] == handle.data["fingerprint"]
    streamed = bmc.wrap(network(), data.to_iterable_dataset(), name="streamed")
    assert streamed.data["rows"] == handle.data["rows"]
    with pytest.raises(DataError, match=r"several tables, train, test: give one, such as data\["):
        bmc.wrap(network(), datasets.DatasetDict({"train": data, "test": data}))


class Failing(Two):
    """Works on one row alone."""

    def forward(self, numbers: Tensor, category: Tensor) -> Any:
        return super().forward(numbers.view(1, 8), category)


@pytest.mark.parametrize(
    ("module", "data", "error", "message"),
    [
        (Two(4), None, UsageError, r"returns shape \((3|5), 4\)"),
        (Failing(), None, ModelCodeError, "fails"),
        (Two(), DataLoader(TensorDataset(torch.zeros(0, 8))), DataError, "no rows"),
        (Two(), (np.zeros((5, 8)), np.zeros(5)), DataError, "1 inputs; the network takes numbers"),
        (Two(), {"numbers": [1.0], "category": [1]}, DataError, "no labels in the data"),
        (Two(), {"numbers": [1.0], "label": [1]}, DataError, "no input 'category'"),
        (Two(), 3, DataError, "data is int"),
        (Two(), pandas.DataFrame({"numbers": [], "category": [], "y": []}), DataError, "no rows"),
        (Two(), [], DataError, "the data has no rows"),
        (
            Two(),
            DataLoader([{"a": 1.0, "b": 2, "label": 0}]),  # type: ignore[arg-type]
            DataError,
            r"no input 'numbers' in the data; there are: a, b, label.*inputs=\[\.\.\.\]",
        ),
        (Flat(), (np.full((5, 2), np.nan), np.zeros(5)), DataError, "x holds NaN"),
        (Flat(), (np.zeros((5, 2)), np.full(5, np.nan)), DataError, "a label is NaN"),
        (Flat(), (np.zeros((5, 2)), np.eye(5)), DataError, r"labels\.argmax\(axis=1\)"),
        (Flat(), (torch.zeros(5, 2, device="meta"), np.zeros(5)), DataError, "meta device"),
        (Flat().to("meta"), (np.zeros((5, 2)), np.arange(5) % 2), UsageError, "cannot be copied"),
        (Flat(), "no-such.csv", UnknownError, "no file 'no-such.csv'"),
        (Flat(), {"a": ["x"] * 5, "label": [0] * 5}, DataError, "column 'a' holds .*columns="),
        (3, None, UsageError, "module is int; it must be an nn.Module"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_at_once(
    module: Any, data: Any, error: type[BmcError], message: str, workspace: Path
) -> None:
    numbers, category, labels = table()
    with pytest.raises(error, match=message):
        bmc.wrap(module, data if data is not None else ((numbers, category), labels), name="x")
    assert not (workspace / "x").exists()


def test_inputs_and_labels_of_different_lengths_are_refused(workspace: Path) -> None:
    numbers, category, labels = table()
    with pytest.raises(DataError, match="different numbers of rows: numbers 300"):
        bmc.wrap(network(), ((numbers, category), labels[:-1]))


def test_a_model_directory_of_another_process_says_what_to_call(
    wrapped: bmc.ModelHandle,
) -> None:
    name = wrapped.baseline.removeprefix("memory:")
    memory.forget_network(name)
    changed = wrapped.path / "bmc.json"
    changed.touch()  # it is not taken from the handles' cache
    with pytest.raises(UnknownError, match=rf"bmc\.wrap\(module, data, name='{name}'\)"):
        wrapped.predict((np.zeros(8, np.float32), 1))


@pytest.mark.parametrize("labels", [[-1, 1], [-1.0, 0.0, 1.0], [0.5, 10.0, 2.0]])
def test_classes_that_are_numbers_have_the_order_of_their_values(
    workspace: Path, labels: list[float]
) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    y = np.array([labels[row % len(labels)] for row in range(60)])
    handle = bmc.wrap(Flat(columns=2) if len(labels) == 2 else nn.Linear(2, 3), (x, y))
    assert [float(name) for name in artifact.load(handle.path).labels] == sorted(labels)


@pytest.mark.parametrize(
    ("label", "settings", "message"),
    [
        (None, {}, "which is none"),
        (float("nan"), {}, "which is none"),
        ("  ", {}, "which is none"),
        (1.7, {"labels": ["a", "b"]}, r"the label 1\.7; there are 2 classes"),
        (None, {"labels": ["a", "b"]}, "which is none"),
        ("n/a", {"task": "regression"}, "a regression learns numbers"),
        ("", {"task": "regression"}, "which is none"),
    ],
)
def test_a_label_that_is_none_is_refused(
    workspace: Path, label: Any, settings: dict[str, Any], message: str
) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    plain: list[Any] = [0, 1] if settings else ["no", "yes"]
    labels = [label, *(plain[row % 2] for row in range(59))]
    columns = {"a": x[:, 0], "b": x[:, 1], "label": pandas.Series(labels, dtype=object)}
    frame = pandas.DataFrame(columns)
    module = nn.Linear(2, 1) if settings.get("task") else Flat()
    with pytest.raises(DataError, match=message):
        bmc.wrap(module, frame, **settings)


def test_rows_that_the_runtime_refuses_have_their_error_and_others_their_answer(
    wrapped: bmc.ModelHandle,
) -> None:
    numbers, category, _ = table()
    rows = list(zip(numbers[:4], category[:4], strict=True))
    rows[1] = (numbers[1], np.int64(7))  # there are 5 categories
    with bmc.load(wrapped.to("onnx").path) as classify:
        found = classify(rows, errors="return")
        assert found[0::2] == classify([rows[0], rows[2]])
        assert found[3] == classify(rows[3])
        assert isinstance(found[1], ArtifactError)
        assert str(found[1]).startswith("row 2: ")
        with pytest.raises(ArtifactError, match=r"^row 2: "):
            classify(rows)
        mixed = classify([*rows, (numbers[0], "none")], errors="return")
        assert mixed[:1] == found[:1]
        assert isinstance(mixed[1], ArtifactError)
        assert isinstance(mixed[4], DataError)
        assert str(mixed[4]).startswith("row 5: ")


def test_a_bundles_handle_answers_iterators_and_columns_that_are_numbers(workspace: Path) -> None:
    numbers, _, labels = table()
    frame = pandas.DataFrame(numbers).assign(label=labels)
    settings: dict[str, Any] = {"epochs": 1, "precision": "fp32", "features": "all"}
    model = bmc.train("mlp", frame, output=workspace / "numbers", **settings)
    bundle = model.to("onnx")
    rows = [tuple(row) for row in numbers[:3].tolist()]
    assert bundle.predict(iter(rows)) == bundle.predict(rows)
    assert bundle.predict(frame.head(3)) == bundle.predict(rows)


class Closure(nn.Module):
    """A network whose forward calls its layers through a function that was made in __init__."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.output = nn.Linear(8, 8), nn.Linear(8, 3)
        self.first: Callable[[Tensor], Tensor] = lambda x: self.hidden(x)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.output(torch.relu(self.first(x)))
        return output


def test_a_network_that_keeps_layers_in_a_function_is_refused(workspace: Path) -> None:
    """Its copy would compute with the original's layer, and train another one."""
    numbers, _, labels = table()
    network = Closure()
    with pytest.raises(UsageError, match="a copy of the network calls hidden of the original"):
        bmc.wrap(network, (numbers, labels))
    assert not network.hidden._forward_pre_hooks
    assert not (workspace / "Closure").exists()


@pytest.mark.parametrize("kind", ["scripted", "traced", "compiled"])
def test_networks_that_torch_compiled_are_wrapped(kind: str, workspace: Path) -> None:
    numbers, _, labels = table()
    network = Wide(8).eval()
    compiled: Any = {
        "scripted": lambda: torch.jit.script(network),  # type: ignore[no-untyped-call]
        "traced": lambda: torch.jit.trace(network, torch.randn(2, 8)),  # type: ignore[no-untyped-call]
        "compiled": lambda: torch.compile(network),
    }[kind]()
    handle = bmc.wrap(compiled, (numbers, labels), name=kind, inputs=["x"])
    expected = network(torch.from_numpy(numbers[:3])).argmax(dim=1).tolist()
    assert [int(one.label) for one in handle.predict([(row,) for row in numbers[:3]])] == expected


def test_a_trained_network_is_not_trained_anew_in_silence(wrapped: bmc.ModelHandle) -> None:
    trained = bmc.train(wrapped, epochs=1, **QUICK)
    with pytest.raises(ArtifactError, match=r"bmc\.distill with teacher=.* trains it further"):
        bmc.train(trained, epochs=1, **QUICK)


class Wide(nn.Module):
    """A network of one class whose structure and function differ by its arguments."""

    def __init__(self, width: int, negative: bool = False) -> None:
        super().__init__()
        self.hidden, self.output, self.negative = nn.Linear(8, width), nn.Linear(width, 3), negative

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(x))
        output: Tensor = self.output(-hidden if self.negative else hidden)
        return output


def test_networks_of_one_class_in_two_directories_stay_two_networks(workspace: Path) -> None:
    numbers, _, labels = table()
    torch.manual_seed(0)
    first = bmc.wrap(Wide(16), (numbers, labels), output=workspace / "first")
    before = first.predict([(row,) for row in numbers[:5]])
    second = bmc.wrap(Wide(16, negative=True), (-numbers, labels), output=workspace / "second")
    assert [handle.baseline for handle in (first, second)] == ["memory:Wide", "memory:Wide-2"]
    opened = bmc.open(workspace / "first")
    assert opened.predict([(row,) for row in numbers[:5]]) == before
    trained = bmc.train(first, epochs=1, output=workspace / "trained", **QUICK)
    assert trained.data["fingerprint"] == first.data["fingerprint"] != second.data["fingerprint"]
    again = bmc.wrap(Wide(16), (numbers, labels), output=workspace / "first", force=True)
    assert again.baseline == "memory:Wide", "the same directory is the same model"


def test_a_network_is_wrapped_again_under_the_name_that_its_directory_records(
    workspace: Path,
) -> None:
    numbers, _, labels = table()
    for name in ("one", "two"):
        torch.manual_seed(0)
        network = Wide(12, negative=name == "two")
        handle = bmc.wrap(network, (numbers, labels), name="Kept", output=workspace / name)
    assert handle.baseline == "memory:Kept-2"
    for name in ("Kept", "Kept-2"):  # as in another process
        memory.forget_network(name)
    torch.manual_seed(0)
    again = bmc.wrap(
        Wide(12, negative=True), (numbers, labels), name="Kept", output=workspace / "two"
    )
    assert again.baseline == "memory:Kept-2"
    assert again.predict([(numbers[0],)])


def test_a_trained_network_teaches_and_learns_with_its_own_weights(workspace: Path) -> None:
    numbers, _, labels = table()
    torch.manual_seed(0)
    handle = bmc.wrap(Wide(16), (numbers, labels))
    trained = bmc.train(handle, epochs=20, **QUICK)
    settings: dict[str, Any] = {"epochs": 1, "precision": "fp32", "learning_rate": 1e-9}
    student = bmc.distill(trained, student=trained, output=workspace / "student", **settings)
    states = [artifact.load(each.path).module.state_dict() for each in (trained, student)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-4, rtol=0)


def test_single_weights_of_an_embedding_are_pruned_only_where_it_is_named(
    wrapped: bmc.ModelHandle,
) -> None:
    def zeros_of(**settings: Any) -> int:
        pruned = bmc.prune(
            wrapped, method="unstructured", ratio=0.8, epochs=0, force=True, **settings
        )
        table = artifact.load(pruned.path).module.get_submodule("network.categories").weight
        assert isinstance(table, Tensor)
        return int((table == 0).sum())

    assert not zeros_of()
    assert zeros_of(layers=("*categories",))


def test_a_loader_that_shuffles_is_said_to_be_other_data_the_next_time(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, category, labels = map(torch.from_numpy, table())
    rows = TensorDataset(numbers, category, labels)
    bmc.wrap(network(), DataLoader(rows, batch_size=64, shuffle=True), name="shuffled")
    assert "shuffle=False; bmc shuffles training rows itself" in capsys.readouterr().err
