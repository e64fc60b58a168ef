"""Hashed n-grams of a text's tokens: a linear model that is added to what a network reads.

Source: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"; Joulin et al.
2017, "Bag of Tricks for Efficient Text Classification" (word unigrams and bigrams, summed); Cheng
et al. 2016, "Wide & Deep Learning for Recommender Systems" (both parts are trained together).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Below the largest vocabulary, 4,000,000, sums of products stay in int32, in which OpenVINO counts.
_BEFORE, _AFTER = 251, 257


class TokenNgrams(nn.Module):
    """Sum a vector for each token and each pair of neighboring tokens, and project the sum.

    The buckets are computed from token ids in the graph, so a bundle's encoder stays the same. The
    vectors start at zero: before training, nothing is added.

    Args:
        buckets: rows of the table; tokens and pairs of tokens are hashed into them.
        width: number of values in a row.
        outputs: width of the vector that is returned.
    """

    def __init__(self, buckets: int, width: int, outputs: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.table = nn.Embedding(buckets, width)
        self.project = nn.Linear(width, outputs, bias=False)
        nn.init.zeros_(self.table.weight)
        nn.init.normal_(self.project.weight)  # Adam's steps in the table are small: this is large

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return vectors (rows, outputs) for int64 ids and mask (rows, length).

        The sum of a row's vectors is divided by the square root of their number.
        """
        is_token = attention_mask.to(input_ids.dtype)
        ids = input_ids * is_token
        before = torch.cat([ids[:, :1] * 0, ids], dim=1)[:, :-1]
        pairs = before * _BEFORE + ids * _AFTER
        vectors = self.table(torch.cat([ids, pairs], dim=1) % self.buckets)
        weights = torch.cat([is_token, is_token], dim=1).to(vectors.dtype)
        summed = (vectors * weights[:, :, None]).sum(dim=1)
        projected: Tensor = self.project(summed * weights.sum(dim=1, keepdim=True).rsqrt())
        return projected

    def is_untrained(self) -> bool:
        """Tell whether all vectors are zero, so that the buckets of tokens may still change."""
        weight = getattr(self.table, "weight", None)  # a table with a codebook was trained
        return isinstance(weight, Tensor) and not bool(weight.any())


def width_for(outputs: int, are_independent: bool = False) -> int:
    """Return the width of a table's rows: all that a linear model can use, at most 16.

    Args:
        outputs: classes, labels, or 1 in a regression.
        are_independent: whether a row may have several labels; else probabilities of classes sum
            to 1, and one logit follows from the others.
    """
    return min(outputs if are_independent else max(outputs - 1, 1), 16)
