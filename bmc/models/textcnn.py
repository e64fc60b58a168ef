"""A convolutional network over the words of a text, with maximum pooling over time.

Each convolution is a linear layer over windows of neighboring token vectors, which run times
compute faster than a convolution over few channels, and every technique for linear layers changes.
Padding does not change the outputs of a row. Batch size and sequence length stay dynamic.

Source: Kim 2014, "Convolutional Neural Networks for Sentence Classification".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.families.textcnn import MAX_FILTERS, MAX_WIDTH
from bmc.families.textcnn import Settings as Settings
from bmc.model import Model, Parts
from bmc.models import tokens, word_vectors
from bmc.models._sizes import sizes_checked


class TextConvolutionalNetwork(nn.Module):
    """Windows of token vectors, a linear layer and ReLU for each width, maximum, linear output.

    Args:
        vocabulary: number of tokens.
        embedding: width of the token embeddings.
        columns: number of texts of a row, 1 or 2.
        widths: number of tokens in a window, for each group of filters.
        filters: number of filters of each width.
        outputs: classes, or 1 in a regression.
        dropout: dropout probability of the token embeddings, and before the output layer.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int,
        columns: int,
        widths: tuple[int, ...],
        filters: int,
        outputs: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.widths = widths
        self.embedding = tokens.TokenEmbedding(vocabulary, embedding, columns)
        self.convolutions = nn.ModuleList(nn.Linear(width * embedding, filters) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(filters * len(widths), outputs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return outputs (rows, classes) for int64 ids, mask and types (rows, length)."""
        vectors = self.dropout(self.embedding(input_ids, token_type_ids))
        inside = attention_mask[:, :, None].to(vectors.dtype)
        vectors = vectors * inside
        features = [
            convolution(_windows(vectors, width))
            for width, convolution in zip(self.widths, self.convolutions, strict=True)
        ]
        # A feature is 0 or more, so a masked one changes no maximum. The axis is squeezed apart:
        # a quantization that OpenVINO fuses into a maximum over a dropped axis is wrong (2026.4).
        maxima = (relu(torch.cat(features, dim=2)) * inside).amax(dim=1, keepdim=True)
        outputs: Tensor = self.classifier(self.dropout(maxima.squeeze(1)))
        return outputs


def _windows(vectors: Tensor, width: int) -> Tensor:
    """Return the vectors around each step, (rows, length, width * embedding), zero outside."""
    before = width // 2
    length = vectors.shape[1]
    padded = pad(vectors, (0, 0, before, width - 1 - before))
    return torch.cat([padded[:, offset : offset + length] for offset in range(width)], dim=2)


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained network for the texts and classes of a data set."""
    encoder, table = word_vectors.encoder_for(data, settings)
    spec: dict[str, Any] = {
        "model_type": "textcnn",
        **word_vectors.sizes(encoder, table, settings),
        "widths": [int(width) for width in settings.widths],
        "filters": settings.filters,
        "dropout": settings.dropout,
        "outputs": max(len(data.labels), 1),
    }
    module: Any = build(spec)
    if table is not None:
        word_vectors.fill(module.embedding, table)
    return Model(module, "textcnn", spec, data.labels, encoder, data.task)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Raises:
        ArtifactError: the spec is malformed or inconsistent.
    """
    with sizes_checked(spec):
        return TextConvolutionalNetwork(
            spec["vocabulary"],
            spec["embedding"],
            spec["columns"],
            tuple(_whole("width", width, MAX_WIDTH) for width in spec["widths"]),
            _whole("filters", spec["filters"], MAX_FILTERS),
            spec["outputs"],
            float(spec["dropout"]),
        ).eval()


def _whole(name: str, value: Any, most: int) -> int:
    """Return a size of the spec.

    Raises:
        ValueError: it is not a whole number from 1 to `most`.
    """
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} is {value!r:.60}; it must be a whole number, 1..{most}")
    return value


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and checks."""
    embedding: Any = module.get_submodule("embedding")
    columns = 1 if embedding.types is None else 2
    words = embedding.words.num_embeddings
    first, second = tokens.token_examples(words, ((2, 12), (3, 7)), columns)
    return first, second


def parts(module: nn.Module) -> Parts:
    """Return the paths of the convolutions, embeddings and output layer."""
    every = list(module.named_modules(remove_duplicate=False))
    layers = [
        name for name, _ in every if name.startswith("convolutions.") and name.count(".") == 1
    ]
    tables = [name for name, part in every if isinstance(part, nn.Embedding)]
    return Parts(tuple(layers), {}, tuple(tables), ("classifier",))


NETWORK = Network(baseline=baseline, build=build, examples=examples, parts=parts)
