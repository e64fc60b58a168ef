"""What every family must keep for every compression: the law of Records, and inference forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from bmc import artifact, plugins
from bmc.compress.distill.logits import Logits
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.files import sha256
from bmc.model import Model, Record, Step, Work
from bmc.training.loop import TrainingSettings
from bmc.training.work import work_for

FAMILIES = plugins.names("bmc.models")
METHODS = [
    f"{kind}/{name}"
    for kind in plugins.names("bmc.compress")
    for name in plugins.names(f"bmc.compress.{kind}")
]


def step_of(method: str, teacher: Path) -> Step:
    """Return a step with settings that change a small model; a new method gets a line here."""
    steps: dict[str, Step] = {
        "distill/logits": Logits(str(teacher), sha256(teacher / "model.safetensors")),
        "share/lowrank": LowRank(energy=0.5),
    }
    return steps[method]


@pytest.fixture
def build_model(make_lively: Callable[..., Model]) -> Callable[..., Model]:
    """Return a function that makes a small model of a family; a new family gets a line here."""
    makers = {"bert": make_lively}
    return lambda family, columns=1: makers[family](columns)


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(
        reviews, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )


def inputs_of(model: Model) -> list[dict[str, Tensor]]:
    """Return the family's two examples; with token types of both kinds for pairs."""
    inputs: list[dict[str, Tensor]] = list(family_of(model).examples(model.module))
    if model.text.columns == 1:
        return inputs
    for example in inputs:
        types = torch.zeros_like(example["input_ids"])
        types[:, 3:] = 1
        example["token_type_ids"] = types
    return inputs


def family_of(model: Model) -> Any:
    return plugins.load("bmc.models", model.family, "model family")


def logits_of(model: Model, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return model.module.eval()(**inputs).logits  # type: ignore[no-any-return]


def test_the_methods_and_families_are_found() -> None:
    assert {"share/lowrank", "distill/logits"} <= set(METHODS)
    assert "bert" in FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_a_record_rebuilds_names_and_shapes_and_the_outputs_are_bit_equal(
    method: str,
    family: str,
    build_model: Callable[..., Model],
    work: Work,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    applied = build_model(family)
    step = step_of(method, model_folder)
    record: Record = json.loads(json.dumps(step.apply(applied, work)))
    rebuilt = build_model(family)
    rebuilt.module = family_of(rebuilt).build(rebuilt.spec)
    type(step).rebuild(rebuilt, record)
    shapes = {name: value.shape for name, value in applied.module.state_dict().items()}
    assert {name: value.shape for name, value in rebuilt.module.state_dict().items()} == shapes
    save_model(applied.module, str(tmp_path / "weights.safetensors"))
    load_model(rebuilt.module, tmp_path / "weights.safetensors", strict=True)
    for inputs in inputs_of(applied):
        assert torch.equal(logits_of(applied, inputs), logits_of(rebuilt, inputs))
    if method.startswith("distill/"):
        assert record == {}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", [name for name in METHODS if not name.startswith("distill/")])
def test_records_of_a_step_applied_twice_replay_in_order(
    method: str, family: str, build_model: Callable[..., Model], work: Work, model_folder: Path
) -> None:
    applied, rebuilt = build_model(family), build_model(family)
    step = step_of(method, model_folder)
    records = [step.apply(applied, work), step.apply(applied, work)]
    for record in records:
        type(step).rebuild(rebuilt, record)
    shapes = {name: value.shape for name, value in applied.module.state_dict().items()}
    assert {name: value.shape for name, value in rebuilt.module.state_dict().items()} == shapes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("method", ["no step", *METHODS])
def test_the_inference_form_answers_as_the_module(
    method: str,
    columns: int,
    family: str,
    build_model: Callable[..., Model],
    work: Work,
    model_folder: Path,
) -> None:
    model = build_model(family, columns)
    if method != "no step" and not (method.startswith("distill/") and columns == 2):
        before = {name: value.clone() for name, value in model.module.state_dict().items()}
        step_of(method, model_folder).apply(model, work)
        after = model.module.state_dict()
        assert any(name not in after or not before[name].equal(after[name]) for name in before)
    form = family_of(model).inference_form(model.module, columns).eval()
    for inputs in inputs_of(model):
        expected = logits_of(model, inputs)
        with torch.inference_mode():
            found = form(**inputs)
        assert expected.std() > 0.1, "answers that do not differ prove nothing"
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
