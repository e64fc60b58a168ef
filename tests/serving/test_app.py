"""The application of a service, asked in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import bmc as package
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
