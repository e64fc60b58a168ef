"""Feature importance of single predictions: gradient x input, for words, pixels, steps, numbers.

Source: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through
Propagating Activation Differences".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from bmc.contracts.tasks import task as task_of
from bmc.inputs import Arrays, Encoder, Many, Row
from bmc.inputs.audio import RATE, AudioEncoder
from bmc.inputs.features import FeatureEncoder
from bmc.inputs.image import ImageEncoder
from bmc.inputs.ngram import NgramEncoder
from bmc.inputs.series import SeriesEncoder
from bmc.inputs.text import TextEncoder
from bmc.model import Model, output_of

Floats = NDArray[np.float32]
_EXPLAINED = (
    *(TextEncoder, NgramEncoder, FeatureEncoder),
    *(ImageEncoder, AudioEncoder, SeriesEncoder),
)
_BLOCK = RATE // 50  # samples of sound that one weight is shown for: 20 ms


@dataclass(frozen=True)
class Explanation:
    """One prediction, and the weight of each part of its row.

    A part with a weight above 0 speaks for the prediction, a part with a weight below 0 against it.

    Args:
        row: index of the row in the validation split.
        truth: label or value of the row.
        prediction: predicted label or value.
        probability: probability of the predicted label; None in a regression.
        words: words of a text, or columns of a table with their values, with their weights, in
            order; None for other rows.
        special: sum of the weights of a text's special tokens ([CLS], [SEP]).
        weights: weights of an image's pixels (height, width) or of a series (length, channels).
        values: pixels of the image, uint8 (height, width, channels), or the series (length,
            channels); None for a text.
    """

    row: int
    truth: str
    prediction: str
    probability: float | None
    words: tuple[tuple[str, float], ...] | None = None
    special: float = 0.0
    weights: Floats | None = None
    values: NDArray[Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as a JSON object, without the weights of pixels and time steps."""
        content = {
            "row": self.row,
            "truth": self.truth,
            "answer": self.prediction,
            "probability": self.probability,
        }
        if self.words is None:
            return content
        return {**content, "words": [list(word) for word in self.words], "special": self.special}


def choose(outputs: Floats, truth: NDArray[Any], task: str, count: int) -> list[int]:
    """Return the indices of rows to explain: wrong predictions first, then correct ones.

    Up to half are the most confident wrong predictions (in a regression, the largest errors). The
    others are the most confident correct predictions, of each class in turn (in a regression, the
    smallest errors).

    Args:
        outputs: outputs of the model relative to its thresholds, float32 (rows, classes or 1).
        truth: class indices or values (rows), or 0 and 1 (rows, labels).
        task: name of a task with labels.
        count: number of rows to choose.
    """
    if task_of(task).is_numeric:
        by_error = np.argsort(np.abs(outputs[:, 0] - truth), kind="stable").tolist()
        worst = min(count, len(by_error)) // 2
        return [*by_error[::-1][:worst], *by_error[: min(count, len(by_error)) - worst]]
    if task_of(task).thresholds:
        return _choose_by_margin(outputs, truth, count)
    predictions, confidence = outputs.argmax(axis=1), _probabilities(outputs).max(axis=1)
    by_confidence = np.argsort(-confidence, kind="stable")
    wrong = [int(row) for row in by_confidence if predictions[row] != truth[row]][: count // 2]
    last_rank: dict[int, int] = {}  # within each class
    ranked: list[tuple[int, int]] = []
    for row in by_confidence.tolist():
        if predictions[row] == truth[row]:
            rank = last_rank[int(truth[row])] = last_rank.get(int(truth[row]), -1) + 1
            ranked.append((rank, row))
    ranked.sort(key=lambda entry: entry[0])
    return wrong + [row for _, row in ranked[: count - len(wrong)]]


def _choose_by_margin(outputs: Floats, truth: NDArray[Any], count: int) -> list[int]:
    """Return rows with several labels: those with wrong ones, then those that are all right.

    In both, rows whose nearest label is far from its threshold come first.
    """
    is_right = ((outputs > 0) == (truth > 0)).all(axis=1)
    by_margin = np.argsort(-np.abs(outputs).min(axis=1), kind="stable").tolist()
    wrong = [row for row in by_margin if not is_right[row]][: count // 2]
    right = [row for row in by_margin if is_right[row]]
    return wrong + right[: count - len(wrong)]


def explain(
    model: Model, rows: Many, truth: Sequence[Any], indices: Sequence[int]
) -> list[Explanation]:
    """Return the weights of the parts of some rows, by gradient x input.

    The gradient is of the predicted class's logit minus the mean of all logits (adding a constant
    to all logits does not change a prediction), of the largest logit of several labels, or of a
    regression's value. The input is the word embeddings, the normalized pixels or the normalized
    series.

    Args:
        model: a model for text, images, sound, series or tables of numbers.
        rows: raw rows.
        truth: class index or value of each row.
        indices: indices of the rows to explain.

    Returns:
        An explanation for each index. The list is empty if a text model does not look its tokens up
        in an `nn.Embedding`, and for rows of other kinds, such as arrays of one's own.
    """
    encoder = model.encoder
    if not isinstance(encoder, _EXPLAINED):
        return []
    tokenizer = _truncating_tokenizer(encoder) if isinstance(encoder, TextEncoder) else None
    explanations = []
    for index in indices:
        arrays = encoder.batch(encoder.encode([rows[index]]), [0])
        several = task_of(model.task).thresholds is not None
        outputs, weights = _gradient_times_input(model.module, arrays, several)
        if weights is None:
            return []
        parts: dict[str, Any]
        if isinstance(encoder, NgramEncoder):
            parts = {"words": encoder.weights_of_words(rows[index], weights)}
        elif isinstance(encoder, FeatureEncoder):
            parts = {"words": _columns(encoder, rows[index], weights)}
        elif isinstance(encoder, TextEncoder) and tokenizer:
            parts = _words(tokenizer, encoder.texts_of(rows[index]), weights)
        else:
            parts = {"weights": weights, "values": _values(encoder, arrays)}
        prediction, probability = _prediction(model, outputs)
        label = _written_truth(model, truth[index])
        explanations.append(Explanation(index, label, prediction, probability, **parts))
    return explanations


def _gradient_times_input(
    module: nn.Module, arrays: Arrays, several: bool
) -> tuple[Floats, Floats | None]:
    """Return a row's outputs (1, ...) and weights.

    Weights are of tokens (length), pixels (height, width), a series (length, channels) or blocks
    of sound (blocks, 1); None if no layer looks the token ids up.
    """
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    token_ids = tensors["input_ids"].flatten() if "input_ids" in tensors else None
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    inputs = [tensor.requires_grad_() for tensor in floats] if token_ids is None else []

    def replace_output(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if token_ids is None or not torch.equal(args[0].flatten(), token_ids):
            return None  # an embedding of positions or token types
        inputs.append(output.detach().requires_grad_())
        return inputs[-1]

    embeddings = [layer for layer in module.modules() if isinstance(layer, nn.Embedding)]
    hooks = [embedding.register_forward_hook(replace_output) for embedding in embeddings]
    try:
        outputs = output_of(module, tensors)
    finally:
        for hook in hooks:
            hook.remove()
    if not inputs:
        return outputs.detach().numpy(), None
    mean = 0 if several or outputs.shape[1] == 1 else outputs[0].mean()
    target = outputs[0].max() - mean
    weights = [
        value.detach() * gradient
        for value, gradient in zip(inputs, torch.autograd.grad(target, inputs), strict=True)
    ]
    if token_ids is not None:
        by_token = sum(weight.reshape(len(token_ids), -1).sum(dim=1) for weight in weights)
        return outputs.detach().numpy(), np.asarray(by_token, np.float32)
    row_weights = weights[0][0]
    if "samples" in tensors:
        return outputs.detach().numpy(), _blocks(row_weights.numpy()).sum(axis=1, keepdims=True)
    merged = row_weights.sum(dim=0) if "pixels" in tensors else row_weights
    return outputs.detach().numpy(), merged.numpy()


def _blocks(samples: Floats) -> Floats:
    """Return samples of sound (samples) in blocks of 20 ms, (blocks, 320); the last is padded."""
    blocks = -(-len(samples) // _BLOCK)
    return np.pad(samples, (0, blocks * _BLOCK - len(samples))).reshape(blocks, _BLOCK)


def _words(tokenizer: Tokenizer, texts: tuple[str, ...], weights: Floats) -> dict[str, Any]:
    """Return the words of a text with the sum of the weights of their tokens, in order.

    Args:
        tokenizer: what truncates as the encoder does.
        texts: the text, or a pair of texts, as the encoder reads it.
        weights: weight of each token.
    """
    encoding = tokenizer.encode(texts[0], texts[1] if len(texts) > 1 else None)
    merged: dict[tuple[int, int], tuple[int, int, float]] = {}
    special = 0.0
    tokens = zip(
        encoding.sequence_ids, encoding.word_ids, encoding.offsets, weights.tolist(), strict=True
    )
    for text, word, (start, end), weight in tokens:
        if text is None or word is None:
            special += weight
            continue
        word_start, _, total = merged.get((text, word), (start, end, 0.0))
        merged[text, word] = (word_start, end, total + weight)
    words = tuple(
        (texts[text][start:end], weight) for (text, _), (start, end, weight) in merged.items()
    )
    return {"words": words, "special": special}


def _columns(encoder: FeatureEncoder, row: Row, weights: Floats) -> tuple[tuple[str, float], ...]:
    """Return the columns of a row with their values, each with its weight."""
    (values,) = encoder.values_of([row])
    named = zip(encoder.settings.columns, values.tolist(), weights.tolist(), strict=True)
    return tuple((f"{name}={value:.4g}", weight) for name, value, weight in named)


def _truncating_tokenizer(encoder: TextEncoder) -> Tokenizer:
    """Return a copy of the encoder's tokenizer that truncates texts as the encoder does."""
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    settings = encoder.settings
    tokenizer.enable_truncation(settings.max_length, direction=settings.truncation_side)
    return tokenizer


def _values(encoder: Encoder, arrays: Arrays) -> NDArray[Any]:
    """Return the input of a network for display: an image's pixels, or a series.

    Of sound the series is the loudness of each 20 ms: the root of the mean square, (blocks, 1).
    """
    if isinstance(encoder, AudioEncoder):
        loudness: Floats = np.sqrt((_blocks(arrays["samples"][0]) ** 2).mean(axis=1))
        return loudness[:, None]
    if not isinstance(encoder, ImageEncoder):
        series: Floats = arrays["series"][0]
        return series
    settings = encoder.settings
    normalized = arrays["pixels"][0].transpose(1, 2, 0)
    image = normalized * np.array(settings.std) + np.array(settings.mean)
    pixels: NDArray[Any] = np.clip(np.round(255 * image), 0, 255).astype(np.uint8)
    return pixels


def _written_truth(model: Model, truth: Any) -> str:
    if isinstance(truth, tuple):
        names = zip(model.labels, truth, strict=True)
        return _written_set(name for name, is_set in names if is_set)
    return model.labels[int(truth)] if model.labels else f"{truth:.4g}"


def _written_set(names: Iterable[str]) -> str:
    """Return labels as one text, sorted: the truth and the prediction are equal if they are."""
    return "|".join(sorted(names)) or "no label"


def _prediction(model: Model, outputs: Floats) -> tuple[str, float | None]:
    described = task_of(model.task)
    if described.thresholds:
        (labels,) = described.predictions(outputs, model.labels, model.thresholds)
        names = _written_set(each.label or "" for each in labels)
        return names, labels[0].score if labels else None
    if task_of(model.task).is_numeric:
        return f"{outputs[0, 0]:.4g}", None
    best = int(outputs[0].argmax())
    return model.labels[best], float(_probabilities(outputs)[0, best])


def _probabilities(outputs: Floats) -> Floats:
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities
