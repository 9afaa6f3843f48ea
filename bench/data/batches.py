"""Batches: slices of the encoded arrays gathered at once, with the histories that their rows share.

The rows of a visit share one history. Consecutive rows of the same visit form blocks of at most ``BLOCK_ROWS``
rows; each of the C blocks of a batch has one history. Blocks with histories of a like length lie together, so that
short ones are not padded to the longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bench.core.config import Action, Calibration
from bench.data.encoded import LABEL_COLUMNS, EncodedCity
from bench.data.numbers import Numbers
from bench.data.order import Order
from bench.data.tables import ACTIONS, DOMAINS

BLOCK_ROWS = 8
KINDS = len(ACTIONS) * len(DOMAINS)
#: Age buckets of an event at the visit's start: floor(log2(1 + age / 10 minutes)), the last one open.
AGES = 16
#: Contexts of an event: kind × age.
CONTEXTS = KINDS * AGES
#: The column of ``labels.npy`` that holds the carts, by mode of Sample Calibration.
CARTS: dict[Calibration, str] = {"none": "cart", "copy": "cart_copy", "move": "cart_move"}
#: Places of the deterministic action in :class:`Labels`, of this domain and of both.
_ACTIONS = (1, 3)
_NO_NUMBERS = np.zeros((0, 0), dtype=np.float32)


class Labels(NamedTuple):
    """What B rows are learned from, as 0/1, each [B].

    ``cart`` is the deterministic action that the cell takes (knob ``action``), by default a cart; ``global_cart`` is
    the same with carts of both domains (ESMC Eq. 19).
    """

    click: Tensor
    cart: Tensor
    purchase: Tensor
    global_cart: Tensor


class Histories(NamedTuple):
    """The histories of some blocks, of up to L events, right-aligned: the newest event last."""

    events: Tensor
    """Items as rows of the embedding table, int64 [blocks, L]."""
    contexts: Tensor
    """kind * AGES + age bucket of each event, int64 [blocks, L]."""
    mask: Tensor
    """True for events that exist, bool [blocks, L]."""


class Batch(NamedTuple):
    """B rows in C blocks of at most R rows, with K columns of ids and D numbers."""

    rows: Tensor
    """Encoded row numbers, int64 [B]."""
    ids: Tensor
    """Rows of the embedding table, int64 [B, K]: one column for each field, several for a multi-valued one."""
    labels: Tensor
    """The columns of :class:`Labels`, float32 [B, 4]."""
    slots: Tensor
    """Place of each row among the blocks: block * R + place in the block, int64 [B]."""
    histories: tuple[Histories, ...]
    """Those of the first blocks, of the next ones, …: of all C blocks together."""
    block_rows: int
    """R."""
    dense: Tensor
    """Normalised numbers in (-1, 1), float32 [B, D]."""


def label_columns(calibration: Calibration, action: Action) -> tuple[list[int], list[int]]:
    """Columns of ``labels.npy`` for :class:`Labels`, and those that count as its two actions as well."""
    names = action.split("_")
    first = "wish" if names[0] == "wish" else CARTS[calibration]
    columns = ("click", first, "purchase", "wish" if first == "wish" else f"global_{calibration}")
    return [LABEL_COLUMNS.index(name) for name in columns], [LABEL_COLUMNS.index(name) for name in names[1:]]


class BatchMaker:
    """Gathers batches of one city.

    Args:
        city: encoded arrays.
        history: events of a history that are read at most; 0 for none.
        calibration: mode of Sample Calibration whose cart labels are read.
        action: what makes up the deterministic action.
        numbers: which dense features are read, and how; none by default.
        cuts: numbers of events, rising. Blocks whose histories have at most so many, and more than the one before, lie
            together, and the rest behind them. None by default: all lie together.
    """

    def __init__(
        self,
        city: EncodedCity,
        history: int,
        calibration: Calibration = "none",
        action: Action = "cart",
        numbers: Numbers | None = None,
        cuts: Sequence[int] = (),
    ) -> None:
        # np.asarray drops the memmap subclass, whose indexing is slower; the pages stay on disk.
        self.ids, self.visit = np.asarray(city.ids), np.asarray(city.visit)
        self.labels = np.asarray(city.labels)
        self.columns, self.also = label_columns(calibration, action)
        self.numbers = numbers
        self.visit_start = np.asarray(city.visit_start)
        self.start, self.stop = np.asarray(city.history_start), np.asarray(city.history_stop)
        self.item, self.kind = np.asarray(city.event_item), np.asarray(city.event_kind)
        self.time = np.asarray(city.event_time)
        self.history = history if len(self.item) else 0
        self.cuts = np.array([cut for cut in cuts if cut < self.history], dtype=np.int64)

    def make(self, rows: NDArray[np.int64]) -> Batch:
        """The batch of these encoded row numbers, in this order."""
        observed = self.labels[rows]
        labels = observed[:, self.columns].astype(np.float32)
        for column in self.also:
            for place in _ACTIONS:
                np.maximum(labels[:, place], observed[:, column], out=labels[:, place])
        ids, dense = self.ids[rows].astype(np.int64), _NO_NUMBERS
        if self.numbers is not None:
            bins, dense = self.numbers.of(rows)
            ids = np.concatenate((ids, bins), axis=1)
        slots, visits, width = self._blocks(self.visit[rows])
        slots, histories = self._histories(slots, visits, width)
        return Batch(
            torch.from_numpy(rows),
            torch.from_numpy(ids),
            torch.from_numpy(labels),
            torch.from_numpy(slots),
            histories,
            width,
            torch.from_numpy(dense) if len(dense) else torch.zeros(len(rows), 0),
        )

    def _blocks(self, visit: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
        """Slots [B], the visit of each block [C], and R."""
        position = np.arange(len(visit))
        first = np.empty(len(visit), dtype=bool)
        first[:1] = True
        np.not_equal(visit[1:], visit[:-1], out=first[1:])
        run = np.cumsum(first) - 1
        within = position - position[first][run]
        width = min(BLOCK_ROWS, int(within.max(initial=0)) + 1)
        opens = within % width == 0
        return (np.cumsum(opens) - 1) * width + within % width, visit[opens], width

    def _histories(
        self, slots: NDArray[np.int64], visits: NDArray[np.int32], width: int
    ) -> tuple[NDArray[np.int64], tuple[Histories, ...]]:
        """Slots [B] once blocks with histories of a like length lie together, and the histories."""
        stop = self.stop[visits]
        length = np.minimum(stop - self.start[visits], self.history)
        starts = self.visit_start[visits]
        if not len(self.cuts) or not len(visits):
            return slots, (self._events(stop, length, starts),)
        group = np.searchsorted(self.cuts, length)
        order = np.argsort(group, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        ends = np.cumsum(np.bincount(group))[:-1]
        parts = zip(*(np.split(values[order], ends) for values in (stop, length, starts)), strict=True)
        slots = place[slots // width] * width + slots % width
        return slots, tuple(self._events(*part) for part in parts if len(part[0]))

    def _events(self, stop: NDArray[np.int64], length: NDArray[np.int64], starts: NDArray[np.int64]) -> Histories:
        """The ``length`` events before ``stop`` of visits that began at ``starts``, each [blocks]."""
        longest = int(length.max(initial=0))
        if longest == 0:
            empty = torch.zeros(len(stop), 0, dtype=torch.int64)
            return Histories(empty, empty, empty.bool())
        back = np.arange(longest, 0, -1)
        mask = back <= length[:, None]
        # Padding repeats an event of this batch, so that it touches no row of the embedding table of its own.
        index = np.where(mask, stop[:, None] - back, stop[length.argmax()] - 1)
        age = np.maximum(starts[:, None] - self.time[index], 0)
        bucket = np.minimum(np.log2(1.0 + age / 600.0).astype(np.int64), AGES - 1)
        contexts = self.kind[index] * np.int64(AGES) + bucket
        return Histories(*map(torch.from_numpy, (self.item[index].astype(np.int64), contexts, mask)))


class Batches(Dataset[Batch]):
    """The batches of some rows in a given order, by number."""

    def __init__(self, maker: BatchMaker, order: Order, size: int) -> None:
        self.maker, self.order, self.size = maker, order, size

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def rows_in(self, index: int) -> int:
        """Rows of a batch, with those that other processes read."""
        return min(self.size, len(self.order) - index * self.size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.maker.make(self.order[index * self.size : (index + 1) * self.size])

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))
