"""Factorized embedding: the word embedding becomes a narrow embedding and a linear layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bmc.choices import Between, about
from bmc.compress.share.lowrank import rank_for
from bmc.errors import SettingError, UsageError
from bmc.inference.folding import fold_max_norm
from bmc.inference.replacing import replace_layers
from bmc.model import Model, Record, Work
from bmc.structure.word_table import word_table


class Factors(nn.Sequential):
    """An embedding of two layers: a narrow embedding (rows x rank) and a linear (rank x width)."""

    def __init__(self, rows: int, rank: int, width: int, padding_idx: int | None) -> None:
        table = nn.Embedding(rows, rank, padding_idx=padding_idx)
        super().__init__(table, nn.Linear(rank, width, bias=False))

    @property
    def num_embeddings(self) -> int:
        """Number of rows, as in `nn.Embedding`."""
        table: Any = self[0]
        return int(table.num_embeddings)

    @property
    def padding_idx(self) -> int | None:
        """Index of the padding row, whose vector is not trained; as in `nn.Embedding`."""
        table: Any = self[0]
        return table.padding_idx  # type: ignore[no-any-return]


@dataclass(frozen=True)
class FactorizedEmbedding:
    """Replace the word embedding W (V x H) by A B, A (V x E) and B (E x H), from the SVD of W.

    Embeddings of positions and token types stay as they are. An embedding that an earlier step
    factorized gets a lower rank. The embedding stays if A and B would not have fewer parameters.

    Args:
        rank: the rank E; 0 takes the smallest rank that keeps `energy`.
        energy: share of the squared singular values to keep, in (0, 1].
        multiple: number that a rank chosen by `energy` is rounded up to a multiple of.

    Raises:
        SettingError: a setting is out of range.

    Source: Lan et al. 2020, "ALBERT", section 3.1.
    """

    rank: int = 0
    energy: float = field(default=0.9, metadata=about(search=Between(0.5, 0.98)))
    multiple: int = 8

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise SettingError(
                f"rank is {self.rank}; it must be at least 1, or 0 to choose it by energy"
            )
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1]")
        if self.multiple < 1:
            raise SettingError(f"multiple is {self.multiple}; it must be at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Factorize the embedding and return its rank."""
        path, table = word_table(model, "embedding")
        fold_max_norm(table)
        parent_path = path.rpartition(".")[0]
        parent = model.module.get_submodule(parent_path)
        weight, size = table.weight.detach(), table.weight.numel()
        if isinstance(parent, Factors):
            path, second_factor = parent_path, _linear_weight(parent)
            weight, size = weight @ second_factor.detach().T, size + second_factor.numel()
        # For V much larger than H, the eigenvectors of W^T W cost less than the SVD of W.
        weight64 = weight.double()
        squares, vectors = torch.linalg.eigh(weight64.T @ weight64)
        values, basis = squares.flip(0).clamp(min=0).sqrt(), vectors.flip(1)
        rank = self.rank or rank_for(values, self.energy, self.multiple)
        max_rank = (size - 1) // sum(weight.shape)
        if self.rank > max_rank:
            raise SettingError(
                f"rank is {self.rank}; an embedding of {weight.shape[0]} x {weight.shape[1]} with "
                f"{size} parameters gets smaller with a rank of {max_rank} at most"
            )
        if rank > max_rank:
            return {}
        record = {"embedding": path, "rank": rank}
        FactorizedEmbedding.rebuild(model, record)
        basis = basis[:, :rank].to(weight.dtype)
        with torch.no_grad():
            model.module.get_parameter(f"{path}.0.weight").copy_(weight @ basis)
            model.module.get_parameter(f"{path}.1.weight").copy_(basis)
        return record

    @staticmethod
    def rebuild(model: Model, record: Record) -> None:
        """Replace the word embedding by a pair of layers of the recorded rank."""
        if not record:
            return
        path, rank = record.get("embedding"), record.get("rank")
        embedding = model.module.get_submodule(path) if isinstance(path, str) else None
        table = embedding[0] if isinstance(embedding, Factors) else embedding
        if type(table) is not nn.Embedding:
            raise SettingError(f"{path!r:.80} is not a word embedding that can be factorized")
        width = table.embedding_dim
        if isinstance(embedding, Factors):
            width = _linear_weight(embedding).shape[0]
        if type(rank) is not int or not 0 < rank < width:
            raise SettingError(
                f"the recorded rank of {path} is {rank!r:.40}; it must lie in 1..{width - 1}"
            )
        factors = Factors(table.num_embeddings, rank, width, table.padding_idx)
        replace_layers(model.module, {embedding or table: factors})


def _linear_weight(factors: Factors) -> Tensor:
    """Return the weight of the linear layer, (width, rank).

    Raises:
        UsageError: another step replaced the linear layer.
    """
    linear = factors[1]
    if type(linear) is not nn.Linear:
        raise UsageError(
            "the second factor of the word embedding was changed by another step; factorize the "
            "embedding before that step"
        )
    return linear.weight


STEP = FactorizedEmbedding
