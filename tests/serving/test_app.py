"""The application of a service, asked in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import bmc as package
from bmc.errors import ArtifactError
from bmc.serving.app import application
from bmc.serving.settings import ServingSettings
from bmc.targets.onnx import OnnxSession


def test_rows_up_to_max_batch_are_one_call_of_the_runtime(
    bundle_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = OnnxSession.run

    def counted(self: OnnxSession, inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        return run(self, inputs)

    with package.load(bundle_of("onnx"), threads=1) as pipeline:
        monkeypatch.setattr(OnnxSession, "run", counted)
        with TestClient(application(pipeline, ServingSettings(max_batch=40))) as client:
            answer = client.post("/predict", json={"rows": ["a warm and witty film"] * 41})
    assert len(answer.json()["predictions"]) == 41
    assert sizes == [40, 1]


@pytest.mark.parametrize("kind", [ArtifactError, RuntimeError])
def test_an_error_of_the_runtime_is_500_and_names_no_folder(
    kind: type[Exception], bundle_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bundle_of("onnx")

    def failing(self: OnnxSession, inputs: Any) -> Any:
        raise kind(f"bundle {folder}: no memory")

    with package.load(folder, threads=1) as pipeline:
        monkeypatch.setattr(OnnxSession, "run", failing)
        service = application(pipeline, ServingSettings())
        with TestClient(service, raise_server_exceptions=False) as client:
            answer = client.post("/predict", json={"rows": ["a film"]})
    assert answer.status_code == 500
    assert "the service's log says why" in answer.json()["error"]
    assert str(folder.parent) not in answer.text


@contextmanager
def client_of(folder: Path, settings: ServingSettings) -> Iterator[TestClient]:
    """Serve a bundle in this process."""
    with (
        package.load(folder, threads=1) as pipeline,
        TestClient(application(pipeline, settings)) as client,
    ):
        yield client


def test_a_text_of_40_kb_is_answered_and_one_that_must_be_read_whole_is_refused(
    bundle_of: Callable[[str], Path],
) -> None:
    rows = ["film " * 8_000, "f" * 60_000]
    with client_of(bundle_of("onnx"), ServingSettings(max_text=50_000)) as client:
        both = client.post("/predict", json={"rows": rows})
        alone = client.post("/predict", json={"rows": rows[1:]})
    assert [each is None for each in both.json()["predictions"]] == [False, True]
    assert both.json()["notes"][0]["note"].startswith("row 2: the tokenizer would have to read")
    assert alone.status_code == 413
    assert "--max-text" in alone.json()["error"]


@pytest.mark.parametrize(("value", "megabytes"), [(b"[]", 2.0), (b'{"a":1}', 5.5)])
def test_lists_that_would_fill_the_memory_are_refused_before_they_are_parsed(
    value: bytes, megabytes: float, bundle_of: Callable[[str], Path]
) -> None:
    """30,000 parsed lists take 2 MB, and as many objects 5.8 MB."""
    body = b'{"rows": [' + (value + b",") * 30_000 + value + b"]}"
    with client_of(bundle_of("onnx"), ServingSettings(max_body=0.5, max_held=megabytes)) as client:
        headers = {"content-type": "application/json"}
        answer = client.post("/predict", content=body, headers=headers)
        after = client.post("/predict", json={"rows": ["a film"]})
    assert answer.status_code == 413
    assert "the lists and values of the body would take" in answer.json()["error"]
    assert after.status_code == 200
