"""Two estimators with nothing in common: an input of its own for each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.config import Config
from bench.core.seeding import derive
from bench.data.batches import Batch, Histories, Labels
from bench.modeling.inputs import FunnelInputs, InputShape


class SeparateInputs(nn.Module):
    """[B, 2 W]: the input of the CTR estimator, then that of the CVR estimator, with tables of their own.

    While training, the CVR half reads clicked rows only and is zero elsewhere: the rows of its table that no click
    has touched stay as they are, in an optimiser with momentum too.
    """

    def __init__(self, config: Config, shape: InputShape) -> None:
        super().__init__()
        self.ctr, self.cvr = FunnelInputs(config, shape), FunnelInputs(config, shape)
        self.width = 2 * self.ctr.width

    def reset(self, seed: int) -> None:
        """The CTR estimator's starts as the input of all models."""
        self.ctr.reset(seed)
        self.cvr.reset(derive(seed, "cvr"))

    def forward(self, batch: Batch) -> Tensor:
        return self.assemble(batch, self.look_up(batch))

    def look_up(self, batch: Batch) -> tuple[Tensor, ...]:
        """As of :class:`FunnelInputs`, for the CTR estimator and then for the rows that the CVR estimator reads."""
        read, _ = self._read(batch)
        return *self.ctr.look_up(batch), *(() if read is None else self.cvr.look_up(read))

    def assemble(self, batch: Batch, found: tuple[Tensor, ...]) -> Tensor:
        """[B, 2 W]."""
        read, rows = self._read(batch)
        half = len(found) if read is None else len(found) // 2
        first = self.ctr.assemble(batch, found[:half])
        if read is None:
            return torch.cat([first, torch.zeros_like(first)], 1)
        second = self.cvr.assemble(read, found[half:])
        if rows is not None:
            row = rows.new_zeros(len(first)).index_copy_(0, rows, torch.arange(len(rows), device=rows.device))
            clicked = Labels(*batch.labels.unbind(1)).click > 0
            second = torch.where(clicked.unsqueeze(1), second.index_select(0, row), 0.0)
        return torch.cat([first, second], 1)

    def _read(self, batch: Batch) -> tuple[Batch | None, Tensor | None]:
        """The batch that the CVR estimator reads, None for nothing, and its rows, None for all."""
        if not self.training:
            return batch, None
        clicked = Labels(*batch.labels.unbind(1)).click.nonzero().flatten()
        return (some_rows(batch, clicked), clicked) if len(clicked) else (None, clicked)


def some_rows(batch: Batch, rows: Tensor) -> Batch:
    """The batch of some of its rows, int64 [N], at least one, with the histories of their blocks alone."""
    slots = batch.slots[rows]
    blocks, place = torch.unique(slots // batch.block_rows, return_inverse=True)
    histories, first = [], 0
    for own in batch.histories:
        inside = blocks[(blocks >= first) & (blocks < first + len(own.mask))] - first
        histories += [_some_blocks(own, inside)] if len(inside) else []
        first += len(own.mask)
    by_row = {name: getattr(batch, name)[rows] for name in ("rows", "ids", "labels", "dense")}
    slots = place * batch.block_rows + slots % batch.block_rows
    return batch._replace(slots=slots, histories=tuple(histories), **by_row)


def _some_blocks(histories: Histories, blocks: Tensor) -> Histories:
    """Those of some blocks, int64 [N], at least one, without places that are empty in all of them."""
    mask, events = histories.mask[blocks], histories.events[blocks]
    length = mask.sum(1)
    first = mask.shape[1] - int(length.max())
    if events.shape[1]:  # padding repeats an event of these blocks, as in a batch
        events = torch.where(mask, events, events[length.argmax(), -1])
    return Histories(events[:, first:], histories.contexts[blocks][:, first:], mask[:, first:])
