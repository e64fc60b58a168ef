"""A transformer encoder trained from scratch, with a classifier on the mean of the token vectors.

Where words have tags, the classifier reads the vector of each token.

The layers are pre-norm, which trains well without pretrained weights. Batch size and sequence
length stay dynamic, the length up to `max_length`.

Source: Vaswani et al. 2017, "Attention Is All You Need"; Xiong et al. 2020, "On Layer Normalization
in the Transformer Architecture" (pre-norm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bmc.contracts import Network
from bmc.contracts.tasks import task
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.families.transformer import Settings as Settings
from bmc.inference.attention import additive_mask, attend, fusable_activation, fused_projection
from bmc.inference.sharing import tied_parameters
from bmc.inference.token_ngrams import TokenNgrams, width_for
from bmc.model import Model, Parts
from bmc.models import tokens
from bmc.models._sizes import sizes_checked


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained transformer with a tokenizer for a data set.

    Raises:
        SettingError: n-grams are to be added, and words are classified.
    """
    if settings.ngrams and data.kind == "words":
        raise SettingError(
            f"ngrams is {settings.ngrams}: n-grams of a whole text are added to the vector that a "
            "classifier of texts reads, and here each word has a tag; leave ngrams out"
        )
    encoder = tokens.encoder_for(
        data,
        settings.vocabulary,
        settings.max_length,
        settings.lowercase,
        settings.strip_accents,
    )
    outputs = max(len(data.labels), 1)
    width = width_for(outputs, task(data.task).thresholds is not None)
    ngrams = {"ngram_buckets": settings.ngrams, "ngram_width": width}
    spec = {
        "model_type": "transformer",
        "layers": settings.layers,
        "hidden": settings.hidden,
        "heads": settings.heads,
        "feed_forward": settings.feed_forward,
        "dropout": settings.dropout,
        "vocabulary": encoder.tokenizer.get_vocab_size(),
        "columns": encoder.settings.columns,
        "max_length": settings.max_length,
        "outputs": outputs,
        **({"by_token": True} if data.kind == "words" else {}),
        **(ngrams if settings.ngrams else {}),
    }
    return Model(build(spec), "transformer", spec, data.labels, encoder, data.task)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained transformer.

    Raises:
        ArtifactError: the spec is malformed or inconsistent.
    """
    with sizes_checked(spec):
        return Transformer(spec).eval()


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and checks."""
    embedding: Any = module.get_submodule("embedding")
    columns = 1 if embedding.types is None else 2
    words = embedding.words.num_embeddings
    first, second = tokens.token_examples(words, ((2, 12), (3, 7)), columns)
    return first, second


def inference_form(model: Model) -> nn.Module:
    """Return the module to export, with one matmul for query, key and value of each layer."""
    return InferenceForm(model.module)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the layers, heads, embeddings and output layer."""
    modules = list(module.named_modules(remove_duplicate=False))
    layers = [name for name, part in modules if isinstance(part, _Layer)]
    heads = {name: part.heads for name, part in modules if isinstance(part, _Attention)}
    tables = [name for name, part in modules if isinstance(part, nn.Embedding)]
    inside = ("attention_norm", "attention"), ("norm", "widen", "narrow")
    return Parts(tuple(layers), heads, tuple(tables), ("classifier",), *inside)


class Transformer(nn.Module):
    """A transformer classifier: embedding, layers, masked mean, linear output."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        hidden = int(spec["hidden"])
        self.embedding = tokens.TokenEmbedding(
            int(spec["vocabulary"]), hidden, int(spec["columns"])
        )
        self.register_buffer(
            "positions", _sinusoids(int(spec["max_length"]), hidden), persistent=False
        )
        nn.init.normal_(self.embedding.words.weight, std=hidden**-0.5)
        self.dropout = nn.Dropout(float(spec["dropout"]))
        self.layers = nn.ModuleList(_Layer(spec) for _ in range(int(spec["layers"])))
        self.norm = nn.LayerNorm(hidden)
        self.ngrams = _token_ngrams(spec)
        self.classifier = nn.Linear(hidden, int(spec["outputs"]))
        self.by_token = spec.get("by_token") is True

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return outputs (rows, classes) for int64 ids, mask and types (rows, length).

        Where the classifier reads each token, outputs are (rows, length, classes).
        """
        hidden = self.dropout(_embedded(self, input_ids, token_type_ids))
        mask = additive_mask(attention_mask, hidden)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return _classified(self, self.norm(hidden), input_ids, attention_mask, self.dropout)


class _Layer(nn.Module):
    """A pre-norm transformer layer: self-attention and a feed-forward part, both residual."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        hidden, wide = int(spec["hidden"]), int(spec["feed_forward"])
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention = _Attention(hidden, int(spec["heads"]))
        self.norm = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, wide)
        self.activation: nn.Module = nn.GELU()
        self.narrow = nn.Linear(wide, hidden)
        self.dropout = nn.Dropout(float(spec["dropout"]))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), mask))
        widened = self.activation(self.widen(self.norm(hidden)))
        return hidden + self.dropout(self.narrow(widened))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Multi-head self-attention over vectors (rows x length, width)."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (hidden // heads) ** -0.5
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden, hidden) for _ in range(4)
        )

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.query(hidden) * self.scale, self.key(hidden), self.value(hidden)
        mixed = attend(query, key, value, mask, self.heads, mask.shape[-1])
        return self.output(mixed)  # type: ignore[no-any-return]


class InferenceForm(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.embedding = module.embedding
        self.register_buffer("positions", module.positions, persistent=False)
        tied = tied_parameters(module)
        projections: dict[int, nn.Module] = {}  # several layers may share an attention
        forms: dict[int, _FusedLayer] = {}
        for layer in module.layers:
            inner = layer.attention
            linears = [inner.query, inner.key, inner.value]
            fused = projections.setdefault(id(inner), fused_projection(linears, inner.scale, tied))
            forms.setdefault(id(layer), _FusedLayer(layer, fused))
        self.layers = nn.ModuleList(forms[id(layer)] for layer in module.layers)
        self.norm = module.norm
        self.ngrams = module.ngrams
        self.classifier = module.classifier
        self.by_token = module.by_token

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        hidden = _embedded(self, input_ids, token_type_ids)
        mask = additive_mask(attention_mask, hidden)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return _classified(self, self.norm(hidden), input_ids, attention_mask)


class _FusedLayer(nn.Module):
    def __init__(self, layer: Any, project: nn.Module) -> None:
        super().__init__()
        self.heads = int(layer.attention.heads)
        self.attention_norm = layer.attention_norm
        self.project = project
        self.output = layer.attention.output
        self.norm = layer.norm
        self.widen = layer.widen
        self.activation = fusable_activation(layer.activation)
        self.narrow = layer.narrow

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.project(self.attention_norm(hidden))
        mixed = attend(query, key, value, mask, self.heads, mask.shape[-1])
        hidden = hidden + self.output(mixed)
        return hidden + self.narrow(self.activation(self.widen(self.norm(hidden))))  # type: ignore[no-any-return]


def _embedded(network: Any, ids: Tensor, types: Tensor | None) -> Tensor:
    """Return the sum of scaled token vectors and position vectors, (rows x length, width)."""
    words = network.embedding(ids, types)
    vectors: Tensor = words * math.sqrt(words.shape[2]) + network.positions[: ids.shape[1]]
    return vectors.flatten(0, 1)


def _token_ngrams(spec: Mapping[str, Any]) -> TokenNgrams | None:
    """Return the n-grams that are added to a text's mean vector; None where there are none.

    Raises:
        ValueError: the classifier reads each token.
    """
    if "ngram_buckets" not in spec:
        return None
    if spec.get("by_token") is True:
        raise ValueError("n-grams are of whole texts, and by_token is true")
    return TokenNgrams(spec["ngram_buckets"], spec["ngram_width"], int(spec["hidden"]))


def _classified(
    network: Any,
    vectors: Tensor,
    input_ids: Tensor,
    attention_mask: Tensor,
    dropout: nn.Module | None = None,
) -> Tensor:
    """Return the outputs of the rows' mean vectors, or of each token.

    Args:
        network: a `Transformer`, or its inference form.
        vectors: vectors of the tokens, (rows x length, width).
        input_ids: ids of the tokens, (rows, length).
        attention_mask: 1 for tokens, 0 for padding, (rows, length).
        dropout: dropout before the classifier; None for none.
    """
    read = vectors if network.by_token else _mean(vectors, attention_mask)
    if network.ngrams is not None:
        read = read + network.ngrams(input_ids, attention_mask)
    outputs: Tensor = network.classifier(read if dropout is None else dropout(read))
    if not network.by_token:
        return outputs
    return outputs.view(*attention_mask.shape, outputs.shape[-1])


def _mean(vectors: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean (rows, width) of the vectors (rows x length, width) inside a mask."""
    inside = attention_mask.to(vectors.dtype)[:, :, None]
    vectors = vectors.view(*inside.shape[:2], -1)
    return (vectors * inside).sum(dim=1) / inside.sum(dim=1)


def _sinusoids(length: int, width: int) -> Tensor:
    """Return the sinusoidal position vectors (length, width)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    inference_form=inference_form,
)
