"""The inference form of an encoder whose layers are those of BERT: see `_bert_inference`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from bmc.inference.attention import additive_mask, fusable_activation
from bmc.inference.sharing import tied_parameters
from bmc.models._encoder_embeddings import Embeddings
from bmc.models._encoder_inference import LayerParts, fused_layers
from bmc.models.sentences import VectorHead, makes_vectors


class InferenceForm(nn.Module):
    """An encoder with a classifier of its first token, rewritten for inference.

    Args:
        embeddings: its embeddings.
        layers: its layers, from hidden states (rows x length, width) and mask; the last one returns
            the first tokens alone.
        head: computes logits (rows, classes) of first tokens (rows, width).
    """

    def __init__(self, embeddings: Embeddings, layers: nn.ModuleList, head: Head) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.layers = layers
        self.head = head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits (rows, classes) for int64 ids, mask and types (rows, length)."""
        hidden, _ = _encoded(self, input_ids, attention_mask, token_type_ids)
        return self.head(hidden)  # type: ignore[no-any-return]


class VectorForm(nn.Module):
    """An encoder of sentences, rewritten for inference.

    Args:
        embeddings: its embeddings.
        layers: its layers, from hidden states (rows x length, width) and mask, all of them for
            every token.
        head: makes vectors (rows, width) of the tokens' vectors.
    """

    def __init__(self, embeddings: Embeddings, layers: nn.ModuleList, head: VectorHead) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.layers = layers
        self.head = head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return vectors (rows, width) for int64 ids, mask and types (rows, length)."""
        hidden, _ = _encoded(self, input_ids, attention_mask, token_type_ids)
        return self.head(by_row(hidden, attention_mask), attention_mask)  # type: ignore[no-any-return]


class TaggerForm(nn.Module):
    """An encoder with a classifier of every token, rewritten for inference.

    Args:
        embeddings: its embeddings.
        layers: its layers, from hidden states (rows x length, width) and mask, all of them for
            every token.
        classifier: computes logits (rows x length, tags) of the tokens' vectors.
    """

    def __init__(
        self, embeddings: Embeddings, layers: nn.ModuleList, classifier: nn.Module
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.layers = layers
        self.classifier = classifier

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits (rows, length, tags) for int64 ids, mask and types (rows, length)."""
        hidden, mask = _encoded(self, input_ids, attention_mask, token_type_ids)
        logits: Tensor = self.classifier(hidden)
        return logits.view(mask.shape[0], mask.shape[-1], logits.shape[-1])


def tags_words(module: nn.Module) -> bool:
    """Tell whether a module is a token classifier of transformers."""
    return type(module).__name__.endswith("ForTokenClassification")


def reads_every_token(module: nn.Module) -> bool:
    """Tell whether a module reads the vectors of all tokens, not of the first alone."""
    return makes_vectors(module) or tags_words(module)


def by_row(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return vectors (rows, length, width) of vectors (rows x length, width)."""
    rows, length = attention_mask.shape
    return hidden.view(rows, length, hidden.shape[-1])


def bert_like(
    module: Any, embeddings: Embeddings, layers: Sequence[LayerParts], head: Head
) -> nn.Module:
    """Return the inference form of a classifier of texts whose attention is that of BERT.

    Args:
        module: the classifier; it is not changed.
        embeddings: its embeddings.
        layers: the parts of its layers, in order.
        head: its head.
    """
    fused = fused_layers(layers, tied_parameters(module), mask_by_query=False)
    return InferenceForm(embeddings, fused, head)


def bert_like_of_every_token(
    module: Any, embeddings: Embeddings, layers: Sequence[LayerParts]
) -> nn.Module:
    """Return the inference form of a token classifier, or of an encoder of sentences.

    Args:
        module: a module that reads every token, and whose attention is that of BERT; it is not
            changed.
        embeddings: its embeddings.
        layers: the parts of its layers, in order.
    """
    tied = tied_parameters(module)
    fused = fused_layers(layers, tied, mask_by_query=False, every_token=True)
    return form_of_every_token(module, embeddings, fused)


def form_of_every_token(module: Any, embeddings: Embeddings, layers: nn.ModuleList) -> nn.Module:
    """Return the inference form of a module that reads every token, given its fused layers."""
    if makes_vectors(module):
        return VectorForm(embeddings, layers, module.head)
    return TaggerForm(embeddings, layers, module.classifier)


class Head(nn.Module):
    """A linear layer, an activation, and the output layer.

    Args:
        dense: the linear layer.
        activation: the activation.
        classifier: the output layer.
    """

    def __init__(
        self, dense: nn.Module, activation: Callable[[Tensor], Tensor], classifier: nn.Module
    ) -> None:
        super().__init__()
        self.dense = dense
        self.activation: Any = fusable_activation(activation)
        self.classifier = classifier

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits (rows, classes) of vectors (rows, width)."""
        return self.classifier(self.activation(self.dense(hidden)))  # type: ignore[no-any-return]


def _encoded(
    form: InferenceForm | VectorForm | TaggerForm,
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the last layer's hidden states (tokens, width), and the mask that layers add."""
    hidden = form.embeddings(input_ids, token_type_ids).flatten(0, 1)
    mask = additive_mask(attention_mask, hidden)
    for layer in form.layers:
        hidden = layer(hidden, mask)
    return hidden, mask
