"""ModernBERT's inference form: the same outputs in fewer, larger operations.

    rotation    the cosines and sines of all positions are constants; those of queries are scaled
    mask        computed once for global and once for local attention, not in every layer
    last layer  computed only for the first token, where the classifier reads this token alone
    rows and tokens share an axis outside of the attentions
Other modules are called unchanged, and a module that several layers share is exported once.

Source: Warner et al. 2024, "Smarter, Better, Faster, Longer" (ModernBERT).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bmc.inference.attention import MASKED, additive_mask, attend, first_tokens, fusable_activation
from bmc.models._encoder_embeddings import Embeddings
from bmc.models._encoder_form import by_row, reads_every_token
from bmc.models.sentences import makes_vectors

_FULL = "full_attention"


class InferenceForm(nn.Module):
    """A ModernBERT with a head, rewritten for inference.

    Args:
        module: a classifier of texts or of tokens, or an encoder of sentences; it is not changed.
        longest: largest number of tokens of a row.
    """

    def __init__(self, module: Any, longest: int) -> None:
        super().__init__()
        base, config = module.model, module.config
        self.embeddings = Embeddings(base.embeddings.tok_embeddings, None, base.embeddings.norm)
        self.rotations = nn.ModuleDict(
            {kind: _Rotation(base, kind, longest) for kind in base.rotary_emb.layer_types}
        )
        self.window = int(config.sliding_window)
        self.every_token = reads_every_token(module)
        self.makes_vectors = makes_vectors(module)
        self.takes_mean = config.classifier_pooling == "mean" and not self.every_token
        self.layers = nn.ModuleList([_Layer(layer) for layer in base.layers])
        self.norm = base.final_norm
        if self.makes_vectors:
            self.head = module.head
            return
        self.dense, self.head_norm = module.head.dense, module.head.norm
        self.activation = fusable_activation(module.head.act)
        self.classifier = module.classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (rows, classes) or (rows, length, tags), or vectors (rows, width).

        Args:
            input_ids: token ids, int64 (rows, length).
            attention_mask: 1 for tokens and 0 for padding, int64 (rows, length).
        """
        rows, length = input_ids.shape
        hidden = self.embeddings(input_ids, None).flatten(0, 1)
        mask = additive_mask(attention_mask, hidden)
        masks = {_FULL: mask, "sliding_attention": mask + self._outside(length, hidden)}
        for number, layer in enumerate(self.layers, start=1):
            rotation = self.rotations[layer.kind]  # type: ignore[index]
            first = number == len(self.layers) and not (self.takes_mean or self.every_token)
            hidden = layer(hidden, masks[layer.kind], rotation, first)  # type: ignore[index]
        hidden = self.norm(hidden)
        if self.makes_vectors:
            return self.head(by_row(hidden, attention_mask), attention_mask)  # type: ignore[no-any-return]
        if self.takes_mean:
            kept = attention_mask[:, :, None].to(hidden.dtype)
            hidden = (hidden.unflatten(0, (rows, length)) * kept).sum(1) / kept.sum(1)
        logits: Tensor = self.classifier(self.head_norm(self.activation(self.dense(hidden))))
        return by_row(logits, attention_mask) if self.every_token else logits

    def _outside(self, length: int, hidden: Tensor) -> Tensor:
        """Return what hides tokens outside of the window, (length, length)."""
        positions = torch.arange(length, device=hidden.device)
        is_outside = (positions[:, None] - positions[None, :]).abs() > self.window
        return is_outside.to(hidden.dtype) * MASKED


class _Rotation(nn.Module):
    """Cosines and sines of all positions, for queries (scaled) and for keys."""

    def __init__(self, base: Any, kind: str, longest: int) -> None:
        super().__init__()
        inner = base.layers[0].attn
        probe = torch.zeros(1, 1, 1)
        cos, sin = base.rotary_emb(probe, torch.arange(longest)[None], kind)
        scale = float(inner.head_dim) ** -0.5
        half = sin.shape[-1] // 2
        sign = torch.cat([-torch.ones(half), torch.ones(half)])  # of the halves that are swapped
        tables = torch.stack([cos[0] * scale, sin[0] * sign * scale, cos[0], sin[0] * sign])
        self.tables = nn.Parameter(tables.detach().clone(), requires_grad=False)

    def forward(self, units: Tensor, is_key: bool, length: int) -> Tensor:
        """Rotate units (rows, length, heads, width) of queries or keys."""
        start = 2 if is_key else 0
        cos, sin = self.tables[start, :length, None], self.tables[start + 1, :length, None]
        first, second = units.chunk(2, dim=-1)
        return units * cos + torch.cat([second, first], dim=-1) * sin


class _Layer(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.kind = str(layer.attention_type)
        self.attention_norm = layer.attn_norm
        self.project = layer.attn.Wqkv
        self.head_width = int(layer.attn.head_dim)
        self.output = layer.attn.Wo
        self.norm = layer.mlp_norm
        self.widen, self.narrow = layer.mlp.Wi, layer.mlp.Wo
        self.activation = fusable_activation(layer.mlp.act)

    def forward(self, hidden: Tensor, mask: Tensor, rotation: nn.Module, first: bool) -> Tensor:
        """Return the hidden states (rows x length, width), or of the first tokens alone."""
        rows, length = mask.shape[0], mask.shape[-1]
        units = self.project(self.attention_norm(hidden))
        units = units.view(rows, length, 3, -1, self.head_width)
        query, key, value = units.unbind(2)
        queries = length
        if first:
            query, queries = query[:, :1], 1
            hidden = first_tokens(hidden, mask)
            mask = mask[:, :, :1]
        query, key = rotation(query, False, queries), rotation(key, True, length)
        heads = value.shape[2]
        query, key, value = (part.flatten(0, 1).flatten(1) for part in (query, key, value))
        hidden = hidden + self.output(attend(query, key, value, mask, heads, queries))
        widened, gate = self.widen(self.norm(hidden)).chunk(2, dim=-1)
        return hidden + self.narrow(self.activation(widened) * gate)  # type: ignore[no-any-return]
