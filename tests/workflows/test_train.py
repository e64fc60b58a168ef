"""Training a model on labeled data, and taking trained weights as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from bmc import artifact
from bmc.errors import SettingError, UsageError
from bmc.training.settings import TrainingSettings
from bmc.workflows import scoring
from bmc.workflows import train as workflow
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.tuning import Distillation
from tests.models import _encoders

AS_IT_IS = {"epochs": 0}
SHORT = {"max_length": 64}  # the folder has few positions


def folder_of(path: Path, labels: tuple[str, ...] = ("positive", "negative"), **more: Any) -> Path:
    return _encoders.saved("distilbert", path, labels=labels, **more)


def test_a_fine_tuned_folder_is_taken_as_it_is_with_its_scores(
    reviews_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, source = folder_of(tmp_path / "folder"), DataSource(data=str(reviews_csv))
    output = Output(tmp_path / "model")
    made = workflow.train(str(folder), source, SHORT, AS_IT_IS, output)
    assert "is taken as it is. Its scores are too high if" in capsys.readouterr().err
    model, texts = artifact.load(made.path), source.read().validation
    logits = scoring.outputs_on(model, texts)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    for text, row in zip(texts.rows, logits, strict=True):
        tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        expected = network(**tokens).logits[0].detach().numpy()
        np.testing.assert_allclose(row[::-1], expected, atol=1e-5)  # the folder names them in turn
    accuracy = np.mean(logits.argmax(1) == np.array(texts.labels))
    assert made.scores["validation_accuracy"] == pytest.approx(accuracy)
    assert "best_epoch" not in made.scores


@pytest.mark.parametrize(
    ("labels", "more", "reason"),
    [
        (("good", "bad"), {}, "no name is the same"),
        (("positive", "negative"), {"headless": True}, "the folder has none"),
    ],
)
def test_a_folder_without_a_head_for_these_classes_is_not_taken_as_it_is(
    labels: tuple[str, ...], more: dict[str, Any], reason: str, reviews_csv: Path, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "folder", labels, **more)
    with pytest.raises(UsageError, match=f"has none for this data .*{reason}.*--epochs 1 or more"):
        workflow.train(
            str(folder),
            DataSource(data=str(reviews_csv)),
            SHORT,
            AS_IT_IS,
            Output(tmp_path / "model"),
        )
    assert not (tmp_path / "model").exists()


def test_random_weights_are_not_taken_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mlp has none for this data .its head is new"):
        workflow.train("mlp", DataSource(data="digits"), {}, AS_IT_IS, Output(tmp_path / "model"))


def test_a_student_and_a_negative_number_of_epochs_are_refused() -> None:
    with pytest.raises(SettingError, match="a student learns for at least 1"):
        Distillation(epochs=0)
    with pytest.raises(SettingError, match="epochs is -1"):
        TrainingSettings(epochs=-1)


def test_a_student_learns_in_the_precision_of_its_recipe() -> None:
    recipe = TrainingSettings(precision="fp32")
    assert Distillation().training(recipe).precision == "fp32"
    assert Distillation(precision="bf16").training(recipe).precision == "bf16"


def test_pretrained_weights_are_not_drawn_anew(reviews_csv: Path, tmp_path: Path) -> None:
    folder, training = folder_of(tmp_path / "folder"), {"epochs": 1, "initialization": "xavier"}
    where = DataSource(data=str(reviews_csv)), SHORT, training, Output(tmp_path / "model")
    with pytest.raises(SettingError, match="would draw the weights anew with which"):
        workflow.train(str(folder), *where)
