"""What single answers rest on: gradient x input, for words, pixels and time steps.

Source: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through
Propagating Activation Differences".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from bmc.inputs import Arrays, Encoder, Many, Row
from bmc.inputs.image import ImageEncoder
from bmc.inputs.ngram import NgramEncoder
from bmc.inputs.text import TextEncoder
from bmc.model import Model, output_of

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """One answer, and how much each part of its row spoke for it (above 0) or against it.

    Args:
        row: its place among the validation rows.
        truth: label, or number, that the row has.
        answer: label, or number, that the model gave.
        probability: of the answer; None in a regression.
        words: of a text with their weights, in order; None for other rows.
        special: what a text's special tokens ([CLS], [SEP]) weigh together.
        weights: of an image's pixels (height, width) or a series' steps (length, channels).
        shown: the row itself: bytes (height, width, channels), or the series (length, channels).
    """

    row: int
    truth: str
    answer: str
    probability: float | None
    words: tuple[tuple[str, float], ...] | None = None
    special: float = 0.0
    weights: Floats | None = None
    shown: NDArray[Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; maps of pixels and series stand in the page alone."""
        known = {
            "row": self.row,
            "truth": self.truth,
            "answer": self.answer,
            "probability": self.probability,
        }
        if self.words is None:
            return known
        return {**known, "words": [list(word) for word in self.words], "special": self.special}


def choose(outputs: Floats, truth: NDArray[Any], task: str, count: int) -> list[int]:
    """Choose telling rows: up to half are those that the model got most wrong.

    The others are right: the surest answer of each class in turn, or the nearest of a regression.

    Args:
        outputs: of the model (rows, classes or 1).
        truth: classes or numbers (rows).
        task: "classification" or "regression".
        count: rows to choose.
    """
    if task == "regression":
        order = np.argsort(np.abs(outputs[:, 0] - truth), kind="stable").tolist()
        most = min(count, len(order)) // 2
        return [*order[::-1][:most], *order[: min(count, len(order)) - most]]
    answers, sure = outputs.argmax(axis=1), _probabilities(outputs).max(axis=1)
    surest = np.argsort(-sure, kind="stable")
    wrong = [int(row) for row in surest if answers[row] != truth[row]][: count // 2]
    turns: dict[int, int] = {}
    ranked: list[tuple[int, int]] = []
    for row in surest.tolist():
        if answers[row] == truth[row]:
            turn = turns[int(truth[row])] = turns.get(int(truth[row]), -1) + 1
            ranked.append((turn, row))
    ranked.sort(key=lambda entry: entry[0])
    return wrong + [row for _, row in ranked[: count - len(wrong)]]


def explain(
    model: Model, rows: Many, truth: Sequence[Any], places: Sequence[int]
) -> list[Explanation]:
    """Weigh the parts of some rows by gradient x input.

    The gradient is that of the answer's logit above the mean of all logits (a shift of all logits
    changes no answer), or of a regression's value. The input is what the network is given: word
    embeddings, normalized pixels, normalized series.

    Args:
        model: for text, images or series.
        rows: raw rows.
        truth: class index, or number, of each.
        places: of the rows to explain.

    Returns:
        one for each place; nothing where the model looks a text's tokens up in no `nn.Embedding`.
    """
    encoder = model.encoder
    cutting = _cutting(encoder) if isinstance(encoder, TextEncoder) else None
    found = []
    for place in places:
        arrays = encoder.batch(encoder.encode([rows[place]]), [0])
        outputs, weights = _gradient_times_input(model.module, arrays)
        if weights is None:
            return []
        parts: dict[str, Any]
        if isinstance(encoder, NgramEncoder):
            parts = {"words": encoder.weights_of_words(rows[place], weights)}
        elif cutting:
            parts = _words(cutting, rows[place], weights)
        else:
            parts = {"weights": weights, "shown": _shown(encoder, arrays)}
        answer, probability = _answer(model, outputs)
        label = model.labels[int(truth[place])] if model.labels else f"{truth[place]:.4g}"
        found.append(Explanation(place, label, answer, probability, **parts))
    return found


def _gradient_times_input(module: nn.Module, arrays: Arrays) -> tuple[Floats, Floats | None]:
    """Return the outputs (1, ...), and weights of tokens (length), pixels or steps."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    looked_up = tensors["input_ids"].flatten() if "input_ids" in tensors else None
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    inputs = [tensor.requires_grad_() for tensor in floats] if looked_up is None else []

    def catch(layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if looked_up is None or not torch.equal(given[0].flatten(), looked_up):
            return None  # a table of positions or of types
        inputs.append(output.detach().requires_grad_())
        return inputs[-1]

    tables = [layer for layer in module.modules() if isinstance(layer, nn.Embedding)]
    hooks = [table.register_forward_hook(catch) for table in tables]
    try:
        outputs = output_of(module, tensors)
    finally:
        for hook in hooks:
            hook.remove()
    if not inputs:
        return outputs.detach().numpy(), None
    answer = outputs[0].max() - outputs[0].mean() if outputs.shape[1] > 1 else outputs[0, 0]
    weights = [
        value.detach() * gradient
        for value, gradient in zip(inputs, torch.autograd.grad(answer, inputs), strict=True)
    ]
    if looked_up is not None:
        tokens = sum(weight.reshape(len(looked_up), -1).sum(dim=1) for weight in weights)
        return outputs.detach().numpy(), np.asarray(tokens, np.float32)
    of_row = weights[0][0]
    merged = of_row.sum(dim=0) if "pixels" in tensors else of_row
    return outputs.detach().numpy(), merged.numpy()


def _words(cutting: Tokenizer, row: Row, weights: Floats) -> dict[str, Any]:
    """Merge word pieces: each word weighs what its tokens weigh together."""
    texts = (row,) if isinstance(row, str) else tuple(row)
    encoding = cutting.encode(*texts)
    merged: dict[tuple[int, int], tuple[int, int, float]] = {}
    special = 0.0
    tokens = zip(
        encoding.sequence_ids, encoding.word_ids, encoding.offsets, weights.tolist(), strict=True
    )
    for text, word, (start, end), weight in tokens:
        if text is None or word is None:
            special += weight
            continue
        first, _, before = merged.get((text, word), (start, end, 0.0))
        merged[text, word] = (first, end, before + weight)
    words = tuple(
        (texts[text][start:end], weight) for (text, _), (start, end, weight) in merged.items()
    )
    return {"words": words, "special": special}


def _cutting(encoder: TextEncoder) -> Tokenizer:
    """Return the tokenizer, cutting where the encoder cuts."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    tokenizer.enable_truncation(encoder.settings.max_length)
    return tokenizer


def _shown(encoder: Encoder, arrays: Arrays) -> NDArray[Any]:
    """Return what the network was given as a person would see it."""
    if not isinstance(encoder, ImageEncoder):
        series: Floats = arrays["series"][0]
        return series
    own = encoder.settings
    image = arrays["pixels"][0].transpose(1, 2, 0) * np.array(own.std) + np.array(own.mean)
    shown: NDArray[Any] = np.clip(np.round(255 * image), 0, 255).astype(np.uint8)
    return shown


def _answer(model: Model, outputs: Floats) -> tuple[str, float | None]:
    if model.task == "regression":
        return f"{outputs[0, 0]:.4g}", None
    best = int(outputs[0].argmax())
    return model.labels[best], float(_probabilities(outputs)[0, best])


def _probabilities(outputs: Floats) -> Floats:
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    found: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return found
