"""An attention in parts becomes one operator, which answers the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx_ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from bmc.export.attention_fusion import fuse_attention
from bmc.inference.attention import additive_mask, attend

WIDTH, HEADS, LENGTH, ROWS = 24, 3, 7, 2


class Twice(nn.Module):
    """Two attentions: of all tokens, and of each row's first one; the mask may be left out."""

    def __init__(self, bias: str) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.bias = bias

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        mask = additive_mask(attention_mask, hidden)
        if self.bias == "each head has its own":
            mask = mask + torch.arange(1.0, HEADS + 1)[None, :, None, None] * hidden.mean(-1)[
                :, None, :, None
            ].view(mask.shape[0], 1, -1, 1)
        query, key, value = self.project(hidden.flatten(0, 1)).split(WIDTH, dim=-1)
        queries = hidden.shape[1]
        seen = attend(query, key, value, mask, HEADS, queries)
        first = seen.view(*hidden.shape)[:, 0]
        return attend(first, key, value, mask[:, :, :1], HEADS, 1)


def exported(module: nn.Module, path: Path, opset: int = 18) -> onnx_ir.Model:
    rows, tokens = torch.export.Dim("rows", max=64), torch.export.Dim("tokens", max=64)
    program = torch.onnx.export(
        module,
        inputs(),
        dynamo=True,
        opset_version=opset,
        input_names=["hidden", "attention_mask"],
        dynamic_shapes=({0: rows, 1: tokens}, {0: rows, 1: tokens}),
        verbose=False,
    )
    assert program is not None
    program.save(path)
    return onnx_ir.load(path)


def inputs(rows: int = ROWS, length: int = LENGTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows * length)
    mask = torch.ones(rows, length, dtype=torch.int64)
    mask[-1, length // 2 + 1 :] = 0
    return torch.randn(rows, length, WIDTH, generator=generator), mask


def answer(path: Path, arguments: tuple[Tensor, Tensor]) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    fed = {name: value.numpy() for name, value in zip(names, arguments, strict=True)}
    return torch.from_numpy(session.run(None, fed)[0])


@pytest.mark.parametrize("bias", ["none", "each head has its own"])
def test_one_operator_answers_as_its_parts_did_at_any_shape(bias: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Twice(bias).eval()
    model = exported(module, tmp_path / "parts.onnx")
    fuse_attention(model)
    assert Counter(node.op_type for node in model.graph)["Attention"] == 2
    assert model.opset_imports[""] == 23
    onnx_ir.save(model, tmp_path / "whole.onnx")
    for rows, length in ((1, 1), (2, 7), (3, 40)):
        arguments = inputs(rows, length)
        torch.testing.assert_close(answer(tmp_path / "whole.onnx", arguments), module(*arguments))


def test_a_mask_is_expanded_once_for_all_layers(tmp_path: Path) -> None:
    model = exported(Twice("none").eval(), tmp_path / "parts.onnx")
    fuse_attention(model)
    read = [node.inputs[3] for node in model.graph if node.op_type == "Attention"]
    expanded = {
        item.name for item in read if item is not None and str(item.name).endswith("_expanded")
    }
    assert len(expanded) == 1  # the first token alone needs one row of it


class Sharpened(nn.Module):
    """An attention whose weights are read again, so that no one operator has them."""

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        mask = additive_mask(attention_mask, hidden)
        split = hidden.view(*hidden.shape[:2], HEADS, -1).transpose(1, 2)
        weights = torch.softmax(split @ split.transpose(-1, -2) + mask, dim=-1)
        return (weights @ split).transpose(1, 2).flatten(2) * weights.mean()


class MultiQuery(nn.Module):
    """An attention whose queries share one head of keys and values."""

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        mask = additive_mask(attention_mask, hidden)
        rows, tokens = hidden.shape[:2]
        query = hidden.view(rows, tokens, HEADS, -1).transpose(1, 2)
        shared = hidden[:, :, : WIDTH // HEADS].view(rows, tokens, 1, -1).transpose(1, 2)
        weights = torch.softmax(query @ shared.transpose(-1, -2) + mask, dim=-1)
        return (weights @ shared).transpose(1, 2).flatten(2)


class AcrossQueries(nn.Module):
    """An attention whose weights sum to 1 over the queries."""

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        mask = additive_mask(attention_mask, hidden)
        split = hidden.view(*hidden.shape[:2], HEADS, -1).transpose(1, 2)
        weights = torch.softmax(split @ split.transpose(-1, -2) + mask, dim=2)
        return (weights @ split).transpose(1, 2).flatten(2)


class HeadsApart(nn.Module):
    """An attention whose heads are not joined again."""

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        mask = additive_mask(attention_mask, hidden)
        split = hidden.view(*hidden.shape[:2], HEADS, -1).transpose(1, 2)
        weights = torch.softmax(split @ split.transpose(-1, -2) + mask, dim=-1)
        return (weights @ split).transpose(1, 2).mean(dim=2)


@pytest.mark.parametrize("kind", [Sharpened, MultiQuery, AcrossQueries, HeadsApart])
def test_what_the_operator_does_not_say_stays_in_parts_and_the_opset_too(
    kind: type[nn.Module], tmp_path: Path
) -> None:
    model = exported(kind().eval(), tmp_path / "parts.onnx")
    fuse_attention(model)
    counts = Counter(node.op_type for node in model.graph)
    assert counts["Attention"] == 0
    assert counts["Softmax"] == 1
    assert model.opset_imports[""] == 18
