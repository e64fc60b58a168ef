"""Gradient x input: exact where a model is linear, whole words, telling rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bmc.data import Dataset
from bmc.inputs.array import ArrayEncoder, ArrayInput
from bmc.inputs.image import ImageEncoder, ImageSettings
from bmc.inputs.series import SeriesEncoder, SeriesSettings
from bmc.inputs.text import TextEncoder
from bmc.inspect.importance import choose, explain
from bmc.model import Model


class Pixels(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.head = nn.Linear(size, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        output: Tensor = self.head(pixels.flatten(1))
        return output


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(2, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, series: Tensor, lengths: Tensor) -> Tensor:
        output: Tensor = self.head(self.layer(series)[0][:, -1])
        return output


def test_the_pixels_of_a_linear_model_add_up_to_its_answer() -> None:
    torch.manual_seed(0)
    module = Pixels(2 * 3 * 3).eval()
    encoder = ImageEncoder(ImageSettings(2, 3, 3, (0.5,) * 3, (0.25,) * 3))
    model = Model(module, "mlp", {}, ("a", "b", "c"), encoder)
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    (explanation,) = explain(model, [image], [1], [0])
    pixels = torch.from_numpy(encoder.batch(encoder.encode([image]), [0])["pixels"])
    logits = module(pixels)[0] - module.head.bias
    best = int(module(pixels)[0].argmax())
    assert explanation.weights is not None
    assert explanation.weights.shape == (2, 3)
    expected = (logits[best] - logits.mean()).item()
    assert float(explanation.weights.sum()) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(explanation.values, image)  # type: ignore[arg-type]
    assert (explanation.truth, explanation.prediction) == ("b", "abc"[best])


def test_right_labels_are_the_truth_in_whatever_order_they_are_probable() -> None:
    module = Pixels(2 * 3 * 3).eval()
    nn.init.zeros_(module.head.weight)
    module.head.bias.data = torch.tensor([3.0, 1.0, 2.0])
    encoder = ImageEncoder(ImageSettings(2, 3, 3, (0.5,) * 3, (0.25,) * 3))
    limits, labels = (0.5, 0.8, 0.5), ("b", "c", "a")
    model = Model(module, "mlp", {}, labels, encoder, task="multilabel", thresholds=limits)
    image = np.zeros((2, 3, 3), np.uint8)
    (explanation,) = explain(model, [image], [(1, 0, 1)], [0])
    assert explanation.truth == explanation.prediction == "a|b"


def test_a_series_is_weighed_by_step_and_channel() -> None:
    torch.manual_seed(0)
    encoder = SeriesEncoder(SeriesSettings(2, 50, (0.0, 0.0), (1.0, 1.0)))
    model = Model(Steps().eval(), "recurrent", {}, (), encoder, task="regression")
    series = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    series[3] = 0
    (explanation,) = explain(model, [series], [0.5], [0])
    assert explanation.weights is not None
    assert explanation.weights.shape == (7, 2)
    assert not explanation.weights[3].any()
    assert explanation.weights[6].any()
    assert explanation.probability is None


def test_word_pieces_are_merged_and_nothing_is_lost(make_lively: Callable[..., Model]) -> None:
    model = make_lively()
    text = ("An unforgettably charmless, overlong movie!",)
    (explanation,) = explain(model, [text], [0], [0])
    assert explanation.words is not None
    assert [word for word, _ in explanation.words] == [
        "An", "unforgettably", "charmless", ",", "overlong", "movie", "!",
    ]  # fmt: skip
    arrays = model.encoder.batch(model.encoder.encode([text]), [0])
    assert arrays["input_ids"].shape[1] > len(explanation.words) + 2  # there were pieces to merge
    table = model.module.get_submodule("bert.embeddings.word_embeddings")
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0]

    with_hook = table.register_forward_hook(keep)
    logits = model.module(**{name: torch.from_numpy(each) for name, each in arrays.items()}).logits
    with_hook.remove()
    (gradient,) = torch.autograd.grad(logits.max() - logits.mean(), kept)
    total = sum(weight for _, weight in explanation.words) + explanation.special
    assert total == pytest.approx((gradient * kept[0]).sum().item(), abs=1e-5)


def test_a_text_that_was_cut_is_weighed_as_far_as_it_was_read(model: Model) -> None:
    (explanation,) = explain(model, [("word " * 500,)], [0], [0])
    assert explanation.words is not None
    assert len(explanation.words) == 62  # 64 tokens, two of them special


def test_of_a_text_that_is_cut_at_its_beginning_the_last_words_are_weighed(model: Model) -> None:
    encoder: Any = model.encoder
    settings = replace(encoder.settings, truncation_side="left")
    model.encoder = TextEncoder(encoder.tokenizer, settings)
    (explanation,) = explain(model, [("bad " * 500 + "good",)], [0], [0])
    assert explanation.words is not None
    assert [word for word, _ in explanation.words] == ["bad"] * 61 + ["good"]


def test_arrays_of_ones_own_are_not_explained() -> None:
    encoder = ArrayEncoder([ArrayInput("values", "float32", (3,), -1.0, 1.0)])
    model = Model(nn.Linear(3, 2), "memory", {}, ("a", "b"), encoder)
    assert explain(model, [np.ones(3, np.float32)], [0], [0]) == []


def test_both_texts_of_a_pair_are_weighed(make_model: Callable[..., Model]) -> None:
    (explanation,) = explain(make_model(columns=2), [("good film", "bad film")], [0], [0])
    assert explanation.words is not None
    assert [word for word, _ in explanation.words] == ["good", "film", "bad", "film"]


def test_rows_are_the_surest_wrong_ones_then_right_ones_of_every_class() -> None:
    outputs = np.array([[5, 0], [4, 0], [3, 0], [0, 1], [0, 2], [9, 0], [0, 8]], np.float32)
    truth = np.array([0, 0, 0, 1, 1, 1, 0])
    assert choose(outputs, truth, "classification", 4) == [5, 6, 0, 4]
    assert choose(outputs, truth, "classification", 0) == []
    values = np.array([[1.0], [5.0], [2.1]], np.float32)
    assert choose(values, np.array([1.0, 2.0, 2.0]), "regression", 2) == [1, 0]


def test_explaining_does_not_touch_the_model(model: Model, reviews: Dataset) -> None:
    explain(model, reviews.validation.rows, reviews.validation.labels, [0])
    assert all(each.grad is None for each in model.module.parameters())
    assert not any(each._forward_hooks for each in model.module.modules())
