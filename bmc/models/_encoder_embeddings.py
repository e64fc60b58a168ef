"""Embeddings of the encoders' inference forms: tables cut to the largest length, and summed.

A table of positions has no rows for texts that are longer than the model's. Where all tokens have
type 0, the vector of that type is added to the positions once, in one table. A table with a
codebook keeps its codebook and all rows, and sums are computed in the graph: a stored sum would
lose the codebook.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Embeddings(nn.Module):
    """The sum of word, type and position vectors, and a norm.

    Args:
        words: table of words.
        positions: module that returns position vectors (length, width) or (rows, length, width);
            None where attentions compute positions.
        norm: norm of the sum.
        types: table of token types; None where they are not an input.
        project: layer from the tables' width to that of the layers; None where they are equal.
    """

    def __init__(
        self,
        words: nn.Module,
        positions: nn.Module | None,
        norm: nn.Module,
        types: nn.Module | None = None,
        project: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.words = words
        if types is not None:
            self.types = types
        if positions is not None:
            self.positions = positions
        self.norm = norm
        if project is not None:
            self.project = project

    def forward(self, ids: Tensor, types: Tensor | None) -> Tensor:
        """Return vectors (rows, length, width) of int64 ids and types (rows, length)."""
        summed = self.words(ids)
        if hasattr(self, "types"):
            summed = summed + self.types(types)
        if hasattr(self, "positions"):
            summed = summed + self.positions(ids)
        hidden: Tensor = self.norm(summed)
        return self.project(hidden) if hasattr(self, "project") else hidden


class FirstPositions(nn.Module):
    """Position vectors of tokens that are numbered from 0, (length, width).

    Args:
        positions: table of positions.
        longest: largest number of tokens of a row.
        types: table of token types whose row 0 is added; None where nothing is added.
    """

    def __init__(self, positions: Any, longest: int, types: Any = None) -> None:
        super().__init__()
        tables = [table for table in (positions, types) if table is not None]
        if all(isinstance(table.weight, nn.Parameter) for table in tables):
            rows = positions.weight[:longest]
            rows = rows if types is None else rows + types.weight[0]
            self.table = nn.Parameter(rows.detach().clone(), requires_grad=False)
        elif types is None:
            self.table = positions
        else:
            self.positions, self.types = _Rows(positions, longest), _Rows(types, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of the positions of a batch."""
        if hasattr(self, "table"):
            rows: Any = self.table if isinstance(self.table, Tensor) else self.table.weight
        else:
            rows = self.positions() + self.types()[:1]
        return rows[: ids.shape[1]]  # type: ignore[no-any-return]


class CountedPositions(nn.Module):
    """Position vectors of tokens that are counted from the padding id on, (rows, length, width).

    A token's position is its number among the tokens that are not padding. A padding token has the
    padding's position also inside a text, since a text may contain "<pad>".

    Args:
        positions: table of positions.
        padding: id of the padding, which is also its position.
        longest: largest number of tokens of a row.
        types: table of token types whose row 0 is added; None where nothing is added.
    """

    def __init__(self, positions: Any, padding: int, longest: int, types: Any = None) -> None:
        super().__init__()
        self.padding = padding
        self.table: nn.Module | nn.Parameter = positions
        self.start = padding
        self.types = types
        tables = [table for table in (positions, types) if table is not None]
        if all(isinstance(table.weight, nn.Parameter) for table in tables):
            rows = positions.weight[padding : padding + 1 + longest].detach().clone()
            rows = rows if types is None else rows + types.weight[0].detach()
            self.table, self.start, self.types = nn.Parameter(rows), 0, None

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of the positions of a batch."""
        rows: Any = self.table if isinstance(self.table, Tensor) else self.table.weight
        tokens = (ids != self.padding).long()
        vectors: Tensor = rows[tokens.cumsum(1) * tokens + self.start]
        return vectors if self.types is None else vectors + self.types.weight[0]


class _Rows(nn.Module):
    """The first rows of a table; a table with a codebook keeps its codebook and all rows."""

    def __init__(self, table: Any, count: int) -> None:
        super().__init__()
        has_weight = isinstance(table.weight, nn.Parameter)
        rows = nn.Parameter(table.weight[:count].detach().clone()) if has_weight else table
        self.table: nn.Parameter | nn.Module = rows

    def forward(self) -> Tensor:
        return self.table if isinstance(self.table, Tensor) else self.table.weight  # type: ignore[return-value]
