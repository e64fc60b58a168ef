"""How errors of a weight's columns count together: by what is read, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bmc.data import Dataset
from bmc.inference.form import inference_form
from bmc.inference.samples import calibration_samples
from bmc.model import Model, Work
from bmc.models import mlp
from bmc.quantization.hessian import hessians


@pytest.fixture
def model(digits: Dataset) -> Model:
    torch.manual_seed(0)
    copied: Model = mlp.baseline("mlp", digits, mlp.Settings(width=64, depth=2))
    return copied


def test_products_leave_the_network_as_it_was(model: Model, work: Work) -> None:
    form = inference_form(model)
    linears = {path: layer for path, layer in form.named_modules() if isinstance(layer, nn.Linear)}
    learning = [parameter.requires_grad for parameter in form.parameters()]
    by_path = hessians(form, linears, model.encoder, calibration_samples(model, work, 8))
    assert {path: entry.shape[0] for path, entry in by_path.items()} == {
        path: value.in_features for path, value in linears.items()
    }
    assert [tensor.requires_grad for tensor in form.parameters()] == learning
    assert all(own.grad is None for own in form.parameters())
    assert not any(own._forward_hooks for own in linears.values())


def test_what_moves_no_output_counts_by_what_it_reads_alone(model: Model, work: Work) -> None:
    form = inference_form(model)
    last: Any = form.get_submodule("output")
    with torch.no_grad():
        last.weight.zero_()
    first = {"hidden.0": form.get_submodule("hidden.0")}
    [hessian] = hessians(form, first, model.encoder, calibration_samples(model, work, 8)).values()
    assert hessian.isfinite().all()
    assert float(hessian.diagonal().mean()) == pytest.approx(1.0)


class Odd(nn.Module):
    """A network that does what hooks and gradients stumble over."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.kind = kind

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (rows, 10)."""
        values = pixels.flatten(1)
        hidden = self.first(input=values) if self.kind == "named" else self.first(values).relu()
        if self.kind == "no gradient":
            hidden = (hidden[:, :, None] - hidden[:, None]).square().sum(dim=-1).sqrt()
        if self.kind == "detached":
            return self.last(hidden).detach()  # type: ignore[no-any-return]
        return self.last(hidden)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["named", "no gradient", "detached"])
def test_a_network_without_gradients_is_fitted_to_what_its_layers_read(
    kind: str, model: Model, work: Work
) -> None:
    torch.manual_seed(0)
    form = Odd(kind)
    linears = {"first": form.first, "last": form.last}
    by_path = hessians(form, linears, model.encoder, calibration_samples(model, work, 16))
    assert set(by_path) == set(linears)
    assert all(entry.isfinite().all() for entry in by_path.values())


def test_what_a_layer_read_counts_as_it_was_read(model: Model, work: Work) -> None:
    class Changed(Odd):
        def forward(self, pixels: Tensor) -> Tensor:
            values = pixels.flatten(1)
            hidden = self.first(values)
            if self.kind == "in place":
                values += 100 * hidden[:, :1]
            else:
                values = values + 100 * hidden[:, :1]
            return self.last(hidden + values[:, :32])  # type: ignore[no-any-return]

    rows = calibration_samples(model, work, 16)
    both = []
    for kind in ("in place", "as it was"):
        torch.manual_seed(0)
        form = Changed(kind)
        both.append(hessians(form, {"first": form.first}, model.encoder, rows)["first"])
    torch.testing.assert_close(both[0], both[1])
