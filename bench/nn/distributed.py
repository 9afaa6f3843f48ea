"""What the processes of a data parallel training exchange, so that the step of each is that of one process.

Every process has all parameters and a part of each global batch. They join what their parts come to before the loss is
computed, so that it is that of the global batch on every process, whatever it is a mean over. Dense gradients are
averaged by DDP, those of embedding tables here: of a table no more than the touched rows travels. Every process then
takes the same step, so that parameters and optimiser state stay equal. A lone process exchanges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.nn.embedding import EmbeddingTable, Touched


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The place of this process among them, from 0 on."""
    return dist.get_rank() if processes() > 1 else 0


def parts_of(rows: Tensor) -> list[int] | None:
    """How many rows of the global batch each process has, by rank; None where this one has all of them.

    All read the whole batch where it has fewer rows than there are processes; see :class:`bench.data.part.Part`.

    Args:
        rows: the row numbers of this process's part, int64 [n], at least one.
    """
    if processes() == 1:
        return None
    lengths, first = _told(torch.cat([rows.new_full((1,), len(rows)), rows[:1]])).unbind(1)
    found: list[int] = lengths.tolist()
    return None if bool((first == first[0]).all()) else found


def gather(values: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """``values`` [n, …] of all processes, by rank; their n are ``lengths``."""
    longest = max(lengths)
    sent = values.new_zeros((longest, *values.shape[1:]))
    sent[: len(values)] = values
    found = [torch.empty_like(sent) for _ in lengths]
    dist.all_gather(found, sent)
    return [part[:length] for part, length in zip(found, lengths, strict=True)]


def join(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """``values`` [n, …] of all processes one below the other, in the order of the ranks; gradients flow back."""
    joined: Tensor = _Join.apply(values, lengths)  # type: ignore[no-untyped-call]
    return joined


class _Join(torch.autograd.Function):
    """Each process has the gradient of the whole loss. The mean over processes that follows would leave the share of
    one part divided by their number, so it is multiplied by it here; what enters the loss on every process, such as a
    constraint on parameters, is right as it is.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, lengths: Sequence[int]) -> Tensor:
        ctx.lengths = lengths
        return torch.cat(gather(values, lengths))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.split(grad, ctx.lengths)[rank()] * len(ctx.lengths), None


def mean_of_rows(
    table: EmbeddingTable, touched: Touched | None, grad: Tensor | None
) -> tuple[Touched | None, Tensor | None]:
    """The rows of a table that any process touched, and the mean over the processes of their gradients [U, dim].

    Where a process did not touch a row, its gradient is 0. The order of summation is that of the ranks, so that the
    result is the same on all of them.

    Args:
        touched: what this process looked up last, None for nothing.
        grad: its gradient; None where it was not used.
    """
    if touched is None or grad is None:
        rows, grad = torch.zeros(0, dtype=torch.int64, device=table.weight.device), table.weight.new_zeros(0, table.dim)
    else:
        rows = touched.rows
    lengths: list[int] = _told(rows.new_full((1,), len(rows))).view(-1).tolist()
    if not any(lengths):
        return None, None
    joined = torch.cat(gather(rows, lengths))
    distinct, places = table._distinct(joined)
    mean = grad.new_zeros(len(distinct), table.dim)
    for place, part in zip(torch.split(places, lengths), gather(grad, lengths), strict=True):
        mean.index_add_(0, place, part)
    first = places if distinct is joined else None
    return Touched(distinct, table.weight.index_select(0, distinct), first), mean.div_(len(lengths))


def _told(numbers: Tensor) -> Tensor:
    """``numbers`` [n] of every process, [processes, n]."""
    found = [torch.empty_like(numbers) for _ in range(processes())]
    dist.all_gather(found, numbers)
    return torch.stack(found)
