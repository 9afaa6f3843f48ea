"""One embedding table for all fields, with gradients and updates on the touched rows only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from bench.nn.fused import FusedTable


class Touched(NamedTuple):
    """Rows of a lookup (int64 [U]) and their values as a leaf tensor ([U, dim]) that takes the gradient.

    ``first`` is None where the rows are distinct. Else (see :attr:`EmbeddingTable.of_fixed_size`) it is the place of
    one of each row's equals, int64 [U], the same for all of them: that one has the gradient of all.
    """

    rows: Tensor
    leaf: Tensor
    first: Tensor | None = None


class Bag(NamedTuple):
    """Columns ``start`` … ``stop - 1`` of ids, which are the values of one field.

    ``missing`` is the id of a place without a value that is known.
    """

    start: int
    stop: int
    missing: int

    def left_by(self, columns: int) -> Bag:
        """The bag when so many columns before it are taken away."""
        return self._replace(start=self.start - columns, stop=self.stop - columns)


def fill(ids: Tensor, bags: Sequence[Bag]) -> Tensor:
    """Ids [B, K] in which the missing places of a bag repeat a known value of that row and bag, where there is one.

    So a lookup touches no row of the table that has no part in the mean.
    """
    if not bags:
        return ids
    filled = ids.clone()
    for start, stop, missing in bags:
        own = filled[:, start:stop]
        # The missing row is the first of its field, so that the greatest id is a known one.
        filled[:, start:stop] = torch.where(own == missing, own.amax(1, keepdim=True), own)
    return filled


def pool(vectors: Tensor, counted: Tensor, bags: Sequence[Bag]) -> Tensor:
    """One vector for every field [B, F, dim] from one for every column [B, K, dim]: of a bag, the mean.

    Args:
        counted: places that count, bool [B, K]; at least one in every row of a bag.
    """
    if not bags:
        return vectors
    parts, after = [], 0
    for start, stop, _ in bags:
        weight = counted[:, start:stop, None].to(vectors.dtype)
        mean = (vectors[:, start:stop] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        parts += [vectors[:, after:start], mean]
        after = stop
    return torch.cat([*parts, vectors[:, after:]], 1)


class EmbeddingTable(nn.Module):
    """Vectors of all fields in one matrix; ids carry their field's offset.

    While training, a lookup copies the distinct rows into a leaf tensor, so that backward writes a gradient of
    [U, dim] instead of [rows, dim]; a :class:`~bench.nn.optimisers.RowOptimizer` then updates these U rows. The
    table itself takes no gradient, and nothing of its size is computed in a step. One lookup a step: put all
    ids of a step into one call; backward raises RuntimeError where a later lookup has replaced this one.

    Where the optimiser made it a :attr:`fused` one, a lookup copies nothing, and backward itself updates the rows.

    Args:
        rows: number of ids.
        dim: width of a vector.
        std: standard deviation of the initial values.
    """

    _local: Tensor

    def __init__(self, rows: int, dim: int, std: float = 0.01) -> None:
        super().__init__()
        self.std = std
        self.weight = nn.Parameter(torch.zeros(rows, dim), requires_grad=False)
        self.register_buffer("_local", torch.zeros(rows, dtype=torch.int64), persistent=False)
        self.touched: Touched | None = None
        self.fused: FusedTable | None = None

    @property
    def rows(self) -> int:
        return self.weight.shape[0]

    @property
    def of_fixed_size(self) -> bool:
        """Whether a lookup copies as many rows as it has ids, not only the distinct ones: on an accelerator the host
        would have to wait to learn how many those are, and the step could not be recorded as a CUDA graph.
        """
        return self.weight.device.type != "cpu"

    @property
    def dim(self) -> int:
        return self.weight.shape[1]

    def reset(self, generator: torch.Generator) -> None:
        """Draw the initial values."""
        self.weight.data.normal_(0.0, self.std, generator=generator)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.fused = None  # it may lie on another device now; the optimiser updates the rows as well
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [*ids.shape, dim] of int64 ids; see :meth:`look_up`."""
        return self.look_up([ids])[0]

    def look_up(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Vectors [*ids.shape, dim] of the int64 ids of each part.

        Raises:
            RuntimeError: the gradient of the lookup before was not consumed by an optimiser.
        """
        if not (self.training and torch.is_grad_enabled()):
            return [self.weight.index_select(0, ids.reshape(-1)).view(*ids.shape, self.dim) for ids in parts]
        if self.touched is not None and self.touched.leaf.grad is not None:
            raise RuntimeError("one lookup a step: the last lookup's gradient was not used by an optimiser")
        flat = torch.cat([ids.reshape(-1) for ids in parts]) if len(parts) > 1 else parts[0].reshape(-1)
        if self.fused is not None:
            found = torch.split(self.fused(flat), [ids.numel() for ids in parts])
            return [vectors.view(*ids.shape, self.dim) for ids, vectors in zip(parts, found, strict=True)]
        rows, local = self._distinct(flat)
        leaf = self.weight.index_select(0, rows).requires_grad_()
        self.touched = Touched(rows, leaf, local if rows is flat else None)
        leaf.register_hook(lambda grad: self._refuse_lost(rows))  # type: ignore[no-untyped-call]
        places = torch.split(local, [ids.numel() for ids in parts])
        return [
            leaf.index_select(0, place).view(*ids.shape, self.dim) for ids, place in zip(parts, places, strict=True)
        ]

    def _refuse_lost(self, rows: Tensor) -> None:
        """Raise where the gradient belongs to a lookup that no optimiser will find."""
        if self.touched is None or self.touched.rows is not rows:
            raise RuntimeError("one lookup a step: the gradient of a lookup came after it was replaced")

    def _distinct(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Distinct ids (in no particular order) and, for each of ``flat``, its position among them; no sorting.

        Every id writes its position into a scratch vector; whoever is found there afterwards represents the id.
        Of fixed size ``flat`` itself is returned, with the positions of the representatives in it.
        """
        position = torch.arange(len(flat), device=flat.device)
        self._local.scatter_(0, flat, position)
        if self.of_fixed_size:
            return flat, self._local.index_select(0, flat)
        rows = flat.masked_select(self._local.index_select(0, flat) == position)
        self._local.scatter_(0, rows, position[: len(rows)])
        return rows, self._local.index_select(0, flat)
