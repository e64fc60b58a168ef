"""Errors of Python calls name arguments; code of the caller's runs where a call names it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bmc
from bmc.api.wording import in_python
from bmc.errors import ArtifactError, SettingError, UsageError

QUICK: dict[str, Any] = {"precision": "fp32", "device": "cpu", "epochs": 1}
NETWORK = """
from torch import nn

def build(classes, channels, height, width):
    size = channels * height * width
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.Linear(8, classes))
"""


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--force replaces it, --output names another", "force=True replaces it, output names"),
        ("take a lower --ratio, or more --epochs", "take a lower ratio, or more epochs"),
        ("--method qat trains on", 'method="qat" trains on'),
        ("quantize again with --set in_float=a.0,b or", 'again with in_float=["a.0", "b"] or'),
        ("bmc quantize --set weight_bits=7 avoids", "bmc.quantize with weight_bits=7 avoids"),
        ("can: --target onnx,openvino", 'can: .to("onnx", "openvino")'),
        ("--target names none of onnx", "target names none of onnx"),
        ("which only 4-bit weights use: --bits 4", "which only 4-bit weights use: bits=4"),
        ("--target-macs 0.25x was not", 'target_macs="0.25x" was not'),
        ("add --code mine:build", 'open it with bmc.open(path, code="mine:build")'),
        ("name it with --data", "name it with data"),
        ("add --preprocess scale=1/255 or", 'add preprocess={"scale": "1/255"} or'),
        ("two words -- and a-b--c", "two words -- and a-b--c"),
        ("no data file 'run--final.csv'", "no data file 'run--final.csv'"),
        ("no data file ./x/--best.csv", "no data file ./x/--best.csv"),
    ],
)
def test_an_option_is_named_as_an_argument(typed: str, message: str) -> None:
    assert message in in_python(typed)
    assert in_python(message) == message, "what is worded already stays"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bmc.ModelHandle:
    return bmc.train(
        "mlp", data="digits", width=16, output=tmp_path_factory.mktemp("errors") / "mlp", **QUICK
    )


def calls(model: bmc.ModelHandle) -> dict[str, Callable[[], object]]:
    """Return calls whose errors have a way out that is an option on the command line."""
    return {
        "output": lambda: bmc.train("mlp", data="digits", output=model.path, **QUICK),
        "data": lambda: bmc.train("bert", data="digits", **QUICK),
        "transfer": lambda: bmc.prune(model, tuning={"transfer": "imdb"}),
        "augment_texts": lambda: bmc.prune(model, tuning={"augment_texts": 2}),
        "bits": lambda: bmc.quantize(model, bits=4),
        "epochs": lambda: bmc.quantize(model, epochs=3),
        "samples": lambda: bmc.quantize(model, samples=1),
        "teacher": lambda: bmc.distill("brt"),
        "columns": lambda: bmc.train("lstm", data=__file__.replace(".py", ".csv"), **QUICK),
        "export": lambda: model.to("onnx", "pytorch", output="x"),
        "none": lambda: model.to("onnxx"),
        "gate": lambda: bmc.prune(model, "unstructured", ratio=0.999, epochs=0, max_drop=0.0),
        "budget": lambda: bmc.prune(model, target_macs="0.0001x", epochs=0),
    }


@pytest.mark.parametrize("call", list(calls(bmc.ModelHandle(Path()))))
def test_no_error_of_a_call_names_an_option(
    call: str, trained: bmc.ModelHandle, workspace: Path
) -> None:
    with pytest.raises(bmc.BmcError) as refused:
        calls(trained)[call]()
    assert "--" not in str(refused.value)


@pytest.fixture
def foreign(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> bmc.ModelHandle:
    """Return the handle of a model that code of the user's builds."""
    (workspace.parent / "own_network_of_test.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(workspace.parent))
    monkeypatch.delitem(sys.modules, "own_network_of_test", raising=False)
    return bmc.train("python:own_network_of_test:build", data="digits", **QUICK)


def test_code_that_a_call_named_does_not_run_in_another(foreign: bmc.ModelHandle) -> None:
    message = r'bmc\.open\(path, code="own_network_of_test:build"\)'
    with pytest.raises(ArtifactError, match=message):
        bmc.quantize(foreign.path, method="fp16")
    with pytest.raises(ArtifactError, match=message):
        bmc.open(foreign.path).predict([0])
    bmc.open(foreign.path, code="own_network_of_test:build")
    with pytest.raises(ArtifactError, match=message):
        bmc.quantize(foreign.path, method="fp16")


def test_a_handle_that_was_opened_with_code_and_those_made_from_it_work(
    foreign: bmc.ModelHandle,
) -> None:
    model = bmc.open(foreign.path, code="python:own_network_of_test:build")
    assert isinstance(model, bmc.ModelHandle)
    assert model == foreign
    shared = bmc.share(model, "lowrank", energy=0.5, multiple=1, epochs=0)
    assert bmc.quantize(shared, method="fp16").to("pytorch", allow_slower=True).labels
    assert foreign.to("onnx").labels == foreign.labels


def test_what_is_no_name_of_code_is_refused() -> None:
    with pytest.raises(SettingError, match="it must look like module:function"):
        bmc.open("x", code="os.system")


def test_a_call_from_python_names_no_option_where_it_refuses_a_student() -> None:
    with pytest.raises(UsageError) as refused:
        bmc.distill("bert", student="tinny")
    assert "--" not in str(refused.value)
