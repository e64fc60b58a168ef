"""A loss and a score function of the caller's own: every verb goes by them, and files name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss

import bmc
from bmc import memory
from bmc.errors import BmcError, GateError, ModelCodeError, SettingError, UnknownError, UsageError

QUICK: dict[str, Any] = {"precision": "fp32", "device": "cpu", "learning_rate": 0.01}
ROWS = 300
WEIGHTS = torch.tensor([1.0, 9.0])
_calls: list[int] = []


def weighted(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a cross-entropy in which the rare class weighs nine times as much."""
    _calls.append(len(labels))
    return cross_entropy(logits, labels, weight=WEIGHTS)


def recall_of_rare(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the share of rows of class 1 that are answered so."""
    return float((logits.argmax(axis=1) == 1)[labels == 1].mean())


def data() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return rows (rows, 8) and classes (rows), of which one is rare and hard to tell."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS, 8)).astype(np.float32)
    return rows, (rows[:, 0] + generator.normal(size=ROWS) > 1.6).astype(np.int64)


def network(outputs: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, outputs))


@pytest.fixture
def wrapped(workspace: Path) -> bmc.ModelHandle:
    """Return a wrapped network with a loss and a score of its own."""
    return bmc.wrap(network(), data(), name="rare", loss=weighted, score=recall_of_rare)


@pytest.fixture
def trained(wrapped: bmc.ModelHandle) -> bmc.ModelHandle:
    """Return the same, trained."""
    return bmc.train(wrapped, epochs=8, **QUICK)


def recall(handle: bmc.ModelHandle | bmc.BundleHandle) -> float:
    scores = handle.scores.get("validation", handle.scores)
    return float(scores["recall_of_rare"]["value"])


def test_training_lowers_the_callers_loss(trained: bmc.ModelHandle, workspace: Path) -> None:
    plain = bmc.train(bmc.wrap(network(), data(), name="plain"), epochs=8, **QUICK)
    rows, _ = data()
    yes = [
        sum(prediction.label == "1" for prediction in handle.predict(list(rows)))
        for handle in (trained, plain)
    ]
    assert yes[0] > yes[1] + 20, "the rare class is answered more often where it weighs more"
    assert _calls


def test_the_best_epoch_is_chosen_by_the_callers_score(trained: bmc.ModelHandle) -> None:
    history = [epoch["validation_recall_of_rare"] for epoch in trained.history]
    assert trained.scores["validation_recall_of_rare"] == max(history)
    assert 0 < recall(trained) == pytest.approx(max(history))
    assert "validation_accuracy" not in trained.scores
    assert "recall_of_rare 0." in repr(trained) or "recall_of_rare 1" in repr(trained)


def test_a_model_directory_names_both_functions(trained: bmc.ModelHandle) -> None:
    spec = json.loads((trained.path / "config.json").read_text())
    assert (spec["loss"], spec["score"]) == ("weighted", "recall_of_rare")


def test_pruning_and_sharing_fine_tune_and_score_by_them(trained: bmc.ModelHandle) -> None:
    _calls.clear()
    pruned = bmc.prune(trained, ratio=0.5, epochs=2, tuning=QUICK)
    assert _calls, "fine-tuning lowers the caller's loss"
    shared = bmc.share(trained, "lowrank", energy=0.3, multiple=1, epochs=1, tuning=QUICK)
    for created in (pruned, shared):
        assert created.scores["validation_recall_of_rare"] == pytest.approx(recall(created))
        assert "validation_accuracy" not in created.scores


def test_taylor_importance_is_that_of_the_callers_loss(trained: bmc.ModelHandle) -> None:
    _calls.clear()
    bmc.prune(trained, ratio=0.25, epochs=0, criterion="taylor")
    assert _calls


def test_a_ratio_is_searched_by_the_callers_score(trained: bmc.ModelHandle) -> None:
    pruned = bmc.prune(trained, max_drop=100, epochs=0)
    assert pruned.scores["validation_recall_of_rare"] >= 0


def test_a_gate_counts_points_of_the_callers_score(workspace: Path) -> None:
    def sureness(logits: NDArray[Any], labels: NDArray[Any]) -> float:
        return float(np.abs(logits[:, 1] - logits[:, 0]).mean())

    sure = bmc.wrap(network(), data(), name="sure", score=sureness)
    with pytest.raises(GateError, match=r"points of the validation score were lost") as refused:
        bmc.prune(sure, ratio=0.9, epochs=0, max_drop=1.0)
    kept = bmc.open(workspace / "sure-structured.failed")
    assert isinstance(kept, bmc.ModelHandle)
    before, after = (handle.scores["validation"]["sureness"]["value"] for handle in (sure, kept))
    lost = float(str(refused.value).split()[0])
    assert lost == pytest.approx(100 * (before - after), abs=0.1)


def test_a_student_learns_the_callers_loss_beside_its_teachers_answers(
    trained: bmc.ModelHandle,
) -> None:
    _calls.clear()
    tuned = bmc.prune(trained, ratio=0.25, epochs=1, distill=True, tuning=QUICK)
    assert _calls, "the loss on the true labels is the caller's"
    assert tuned.scores["validation_recall_of_rare"] == pytest.approx(recall(tuned))


def test_a_wrapped_network_learns_another_ones_answers_and_its_own_loss(
    trained: bmc.ModelHandle, workspace: Path
) -> None:
    torch.manual_seed(1)
    small = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    student = bmc.wrap(small, data(), name="small", loss=weighted, score=recall_of_rare)
    _calls.clear()
    taught = bmc.distill(trained, student=student, epochs=3, **QUICK)
    assert _calls
    assert taught.path == workspace / "small-distilled"
    assert taught.steps == ("distill/logits",)
    assert recall(taught) == pytest.approx(taught.scores["validation_recall_of_rare"])
    assert recall(taught.to("onnx")) >= 0


def test_a_student_for_other_data_than_its_teachers_is_refused(trained: bmc.ModelHandle) -> None:
    plain = bmc.train("mlp", data="digits", width=16, epochs=1, **QUICK)
    with pytest.raises(UsageError, match=r"the student .* takes image; the data here has array"):
        bmc.distill(trained, student=plain)


def test_quantized_models_and_their_bundles_have_the_callers_score(
    trained: bmc.ModelHandle,
) -> None:
    small = bmc.quantize(trained, samples=64)
    learned = bmc.quantize(trained, method="qat", samples=64, epochs=1, tuning=QUICK)
    mixed = bmc.quantize(trained, method="mixed", samples=64, max_drop=50.0)
    assert [0 <= recall(created) <= 1 for created in (small, learned, mixed)] == [True] * 3
    onnx, openvino = small.to("onnx", "openvino", allow_slower=True)
    for bundle in (onnx, openvino):
        score = bundle.scores["recall_of_rare"]
        assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1
        assert "recall_of_rare" in repr(bundle)
    comparison = bmc.compare([onnx, openvino], bench=False)
    assert comparison.rows[0].scores["recall_of_rare"] == onnx.scores["recall_of_rare"]
    assert "recall_of_rare" in comparison._repr_html_()


def test_a_bundles_score_is_that_of_its_own_answers(trained: bmc.ModelHandle) -> None:
    bundle = trained.to("onnx")
    evaluated = np.load(bundle.path / "evaluation.npz")
    expected = recall_of_rare(evaluated["logits"], evaluated["labels"])
    assert bundle.scores["recall_of_rare"]["value"] == pytest.approx(expected)


def negative_error(values: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return minus the mean absolute error, in the labels' own unit."""
    assert values.shape == labels.shape
    return -float(np.abs(values - labels).mean())


def test_a_regressions_functions_see_values_in_the_labels_own_unit(workspace: Path) -> None:
    rows, _ = data()
    seen: list[float] = []

    def absolute(values: Tensor, labels: Tensor) -> Tensor:
        seen.extend(labels.tolist())
        return l1_loss(values, labels)

    truth = 1000 + 50 * rows[:, 0]
    handle = bmc.wrap(
        network(1), (rows, truth), task="regression", loss=absolute, score=negative_error
    )
    trained = bmc.train(handle, epochs=20, **QUICK)
    assert 700 < min(seen) < max(seen) < 1300
    validation = trained.scores["validation"]
    assert trained.scores["validation_negative_error"] == pytest.approx(
        validation["negative_error"]["value"], rel=1e-3
    )
    assert validation["negative_error"]["value"] == pytest.approx(-validation["mae"]["value"])
    assert validation["r2"]["value"] > 0.5


def test_a_loss_may_be_a_module_and_a_score_a_lambda(workspace: Path) -> None:
    handle = bmc.wrap(
        network(),
        data(),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        score=lambda logits, labels: (logits.argmax(axis=1) == labels).mean(),
    )
    trained = bmc.train(handle, epochs=1, **QUICK)
    assert trained.scores["validation"]["score"] == trained.scores["validation"]["accuracy"] | {
        key: trained.scores["validation"]["score"][key] for key in ("low", "high")
    }
    assert json.loads((trained.path / "config.json").read_text())["loss"] == "CrossEntropyLoss"


def failing(outputs: Any, labels: Any) -> Any:
    raise ValueError("no such luck")


@pytest.mark.parametrize(
    ("functions", "error", "message"),
    [
        (
            {"loss": failing},
            ModelCodeError,
            r"loss failing fails in test_wrap_functions\.py:\d",
        ),
        ({"score": failing}, ModelCodeError, r"the score function failing fails in test_wrap_func"),
        ({"loss": nn.CrossEntropyLoss}, UsageError, r"give an instance: loss=CrossEntropyLoss\(\)"),
        ({"loss": "mse"}, UsageError, "loss is 'mse'; it must be a function"),
        (
            {"loss": nn.CrossEntropyLoss(reduction="none")},
            ModelCodeError,
            r"returns shape \(8,\); it must return one number",
        ),
        (
            {"loss": lambda o, y: o.detach().mean()},
            ModelCodeError,
            "does not depend on the",
        ),
        ({"loss": lambda o, y: 1.0}, ModelCodeError, "the loss loss returns 1.0"),
        ({"score": lambda o, y: float("nan")}, ModelCodeError, "returns nan"),
        ({"score": lambda o, y: None}, ModelCodeError, "the score function score fails"),
        (
            {"score": type("f1", (), {"__call__": failing, "__name__": "accuracy"})()},
            UsageError,
            "score is named 'accuracy'",
        ),
    ],
)
def test_functions_that_cannot_be_used_are_refused_at_once(
    functions: dict[str, Any], error: type[BmcError], message: str, workspace: Path
) -> None:
    with pytest.raises(error, match=message):
        bmc.wrap(network(), data(), name="x", **functions)
    assert not (workspace / "x").exists()


def test_a_failed_call_leaves_the_network_that_had_the_name(
    wrapped: bmc.ModelHandle, workspace: Path
) -> None:
    with pytest.raises(ModelCodeError):
        bmc.wrap(network(), data(), name="rare", loss=failing, output=workspace / "other")
    assert bmc.train(wrapped, epochs=1, **QUICK).labels == ("0", "1")


def test_settings_that_the_callers_loss_does_not_read_are_refused(
    wrapped: bmc.ModelHandle,
) -> None:
    with pytest.raises(SettingError, match="class_weights is 'balanced', which the loss weighted"):
        bmc.train(wrapped, epochs=1, class_weights="balanced", **QUICK)


def test_functions_that_this_process_was_not_given_are_asked_for(
    trained: bmc.ModelHandle, workspace: Path
) -> None:
    name = trained.baseline.removeprefix("memory:")
    memory.forget_network(name)  # as in another process
    bmc.wrap(network(), data(), name=name, output=workspace / "again")
    with pytest.raises(
        UnknownError, match=rf"bmc\.wrap\(module, data, name='{name}', \w+=\.\.\.\)"
    ):
        bmc.prune(trained, ratio=0.5, epochs=1, tuning=QUICK)
