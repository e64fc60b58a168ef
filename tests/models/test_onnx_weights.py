"""Weights of a BERT that is there as an ONNX file alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bmc.errors import ArtifactError
from bmc.model import Model
from bmc.models import bert
from bmc.models.onnx_weights import bert_weights


class Wrapped(nn.Module):
    """An encoder under another name, as sentence-transformers exports one."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.auto_model = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.auto_model(input_ids, attention_mask).last_hidden_state  # type: ignore[no-any-return]


@pytest.fixture
def exported(make_lively: Callable[..., Model], tmp_path: Path) -> tuple[Model, Path]:
    """Return a model and its encoder as an ONNX file, as TorchScript's exporter writes it."""
    model = make_lively()
    model.module.set_attn_implementation("eager")  # type: ignore[operator]
    first, _ = bert.examples(model.module)
    inputs = (first["input_ids"], first["attention_mask"])
    path = tmp_path / "encoder.onnx"
    encoder = Wrapped(model.module.get_submodule("bert")).eval()
    torch.onnx.export(encoder, inputs, str(path), dynamo=False, opset_version=17)
    return model, path


def test_every_weight_of_the_encoder_is_found_as_it_was(exported: tuple[Model, Path]) -> None:
    model, path = exported
    weights = bert_weights(path, "auto_model.")
    expected = model.module.get_submodule("bert").state_dict()
    unread = {name for name in expected if name.startswith("pooler.")}
    assert weights.keys() == expected.keys() - unread
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_a_file_without_such_names_is_refused(exported: tuple[Model, Path]) -> None:
    with pytest.raises(ArtifactError, match=r"no weights whose names start with model\."):
        bert_weights(exported[1], "model.")
