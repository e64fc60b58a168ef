"""BERT's training form: less work, the same outputs and the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bmc.model import Model, output_of
from bmc.models import bert


def gradients(model: Model, logits: Tensor) -> dict[str, Tensor]:
    """Return the gradient of each parameter that has one, for a fixed loss."""
    model.module.zero_grad()
    cross_entropy(logits, torch.arange(len(logits)) % 2).backward()  # type: ignore[no-untyped-call]
    return {
        name: value.grad.clone()
        for name, value in model.module.named_parameters()
        if value.grad is not None
    }


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_outputs_and_gradients_are_the_modules(
    shared: bool, columns: int, padded: bool, make_lively: Callable[..., Model]
) -> None:
    model = make_lively(columns)
    model.module.eval()  # without dropout
    if shared:
        layers: Any = model.module.get_submodule("bert.encoder.layer")
        layers[1] = layers[0]
    inputs = bert.examples(model.module)[1]
    if not padded:
        inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
    if columns == 2:
        inputs["token_type_ids"] = (torch.arange(7) > 2) * torch.ones_like(inputs["input_ids"])
    logits, formed = output_of(model.module, inputs), bert.training_form(model.module)(inputs)
    torch.testing.assert_close(formed, logits, atol=1e-5, rtol=0)
    expected, result = gradients(model, logits), gradients(model, formed)
    assert expected.keys() == result.keys()
    assert max(float(value.abs().max()) for value in expected.values()) > 0.01
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_dropout_is_on_in_training_and_off_in_evaluation(make_lively: Callable[..., Model]) -> None:
    model = make_lively()
    form, inputs = bert.training_form(model.module), bert.examples(model.module)[0]
    with torch.no_grad():
        model.module.train()
        assert not torch.equal(form(inputs), form(inputs))
        model.module.eval()
        assert torch.equal(form(inputs), form(inputs))
