"""Factorized embedding: the word embedding becomes a narrow one and a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bmc.compress.share.lowrank import rank_for
from bmc.errors import SettingError, UsageError
from bmc.inference.replacing import replace_layers
from bmc.model import Model, Record, Work
from bmc.structure.word_table import word_table


class Factors(nn.Sequential):
    """A narrow table (rows x rank) and a linear layer (rank x width): used like one table."""

    def __init__(self, rows: int, rank: int, width: int, padding_idx: int | None) -> None:
        table = nn.Embedding(rows, rank, padding_idx=padding_idx)
        super().__init__(table, nn.Linear(rank, width, bias=False))

    @property
    def num_embeddings(self) -> int:
        """Rows of the table, as `nn.Embedding` names them."""
        table: Any = self[0]
        return int(table.num_embeddings)

    @property
    def padding_idx(self) -> int | None:
        """The row of padding, whose vector is not trained."""
        table: Any = self[0]
        return table.padding_idx  # type: ignore[no-any-return]


@dataclass(frozen=True)
class FactorizedEmbedding:
    """Replace the word embedding W (V x H) by A B, A (V x E) and B (E x H) from the SVD of W.

    Embeddings of positions and token types stay as they are. An embedding that is factorized
    already gets a lower rank. Nothing is done where the pair would have no fewer parameters.

    Args:
        rank: E; 0 takes the smallest that keeps `energy`.
        energy: share of the squared singular values to keep, in (0, 1].
        multiple: a rank found by energy is rounded up to a multiple of this.

    Raises:
        SettingError: a setting is out of range.

    Source: Lan et al. 2020, "ALBERT", section 3.1.
    """

    rank: int = 0
    energy: float = 0.9
    multiple: int = 8

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise SettingError(f"rank is {self.rank}; it must be 0 (by energy) or more")
        if not 0 < self.energy <= 1:
            raise SettingError(f"energy is {self.energy}; it must lie in (0, 1]")
        if self.multiple < 1:
            raise SettingError(f"multiple is {self.multiple}; it must be at least 1")

    def apply(self, model: Model, work: Work) -> Record:
        """Factorize the embedding and return its rank."""
        path, table = word_table(model, "embedding")
        outer = path.rpartition(".")[0]
        around = model.module.get_submodule(outer)
        weight, size = table.weight.detach(), table.weight.numel()
        if isinstance(around, Factors):
            path, second = outer, _linear_of(around)
            weight, size = weight @ second.detach().T, size + second.numel()
        # The squared singular values, and the right singular vectors, of a tall table.
        exact = weight.double()
        squares, vectors = torch.linalg.eigh(exact.T @ exact)
        values, basis = squares.flip(0).clamp(min=0).sqrt(), vectors.flip(1)
        rank = self.rank or rank_for(values, self.energy, self.multiple)
        most = (size - 1) // sum(weight.shape)
        if self.rank > most:
            raise SettingError(
                f"rank is {self.rank}; a table of {weight.shape[0]} x {weight.shape[1]} with "
                f"{size} parameters gets smaller at {most} at most"
            )
        if rank > most:
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
        """Replace the word embedding by one of the recorded rank and a linear layer."""
        if not record:
            return
        path, rank = record.get("embedding"), record.get("rank")
        words = model.module.get_submodule(path) if isinstance(path, str) else None
        table = words[0] if isinstance(words, Factors) else words
        if type(table) is not nn.Embedding:
            raise SettingError(f"{path!r:.80} is no table of words that could be factorized")
        width = _linear_of(words).shape[0] if isinstance(words, Factors) else table.embedding_dim
        if type(rank) is not int or not 0 < rank < width:
            raise SettingError(f"rank {rank!r:.40} of {path}; it must lie in 1..{width - 1}")
        factors = Factors(table.num_embeddings, rank, width, table.padding_idx)
        replace_layers(model.module, {words or table: factors})


def _linear_of(factors: Factors) -> Tensor:
    """Return the second factor's weight (width, rank)."""
    linear = factors[1]
    if type(linear) is not nn.Linear:
        raise UsageError(
            "the table's second factor was changed by another step; factorize it before that step"
        )
    return linear.weight


STEP = FactorizedEmbedding
