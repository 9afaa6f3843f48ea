"""Batches made on the device that trains: a city's arrays lie there, and nothing but row numbers is sent to it.

The host never waits for the device to learn a shape. Histories always have the same number of places, blocks that of
the city's longest visit (at most ``BLOCK_ROWS``), and blocks are counted on the host, from its own copy of ``visit``;
empty ones make up a multiple of ``BLOCKS``.
Beside these shapes a batch equals that of :class:`~bench.data.batches.BatchMaker`, and so what a model makes of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.config import Action, Calibration
from bench.data.batches import _ACTIONS, AGES, BLOCK_ROWS, Batch, BatchMaker, Histories
from bench.data.encoded import EncodedCity
from bench.data.numbers import Numbers

#: Share of the free memory of a device that a city may take: activations and the largest gradients need the rest.
SHARE = 0.5
#: Batches have a multiple of so many blocks, so that most batches of a training have one shape.
BLOCKS = 32
#: The ages at which the buckets 1 … AGES - 1 begin, in seconds: floor(log2(1 + age / 600)) without rounding.
AGE_EDGES = tuple(600 * (2**bucket - 1) for bucket in range(1, AGES))
#: Arrays that are sent as they are.
_ARRAYS = (
    "ids", "labels", "visit", "visit_start", "history_start", "history_stop", "event_item", "event_kind", "event_time",
)  # fmt: skip
#: Bytes that are read at once on their way to the device.
_CHUNK = 1 << 26


class _Part(NamedTuple):
    """Dense features of one table: the owner of each row, int32 [N] (None: the row itself), and values [owners, D]."""

    owner: Tensor | None
    values: Tensor


class ResidentCity:
    """The arrays that batches are made of, on a device. Build it once, for all makers.

    Args:
        city: encoded arrays.
        numbers: the dense features that are read.
        device: where the arrays shall lie.
    """

    def __init__(self, city: EncodedCity, numbers: Numbers | None, device: torch.device) -> None:
        self.device = device
        arrays = {name: _sent(getattr(city, name), device) for name in _ARRAYS}
        self.ids, self.labels, self.visit = arrays["ids"], arrays["labels"], arrays["visit"]
        self.visit_start = arrays["visit_start"]
        self.start, self.stop = arrays["history_start"], arrays["history_stop"]
        self.item, self.kind, self.time = arrays["event_item"], arrays["event_kind"], arrays["event_time"]
        self.parts: list[_Part] = []
        self.offsets = torch.zeros(0, dtype=torch.int64, device=device)
        if numbers is not None:
            for owner, values, columns in numbers.parts:
                own = _sent(values, device, columns, numbers.mode == "tanh")
                self.parts.append(_Part(None if owner is None else _sent(owner, device), own))
            self.offsets = torch.from_numpy(numbers.offsets).to(device)
        self.edges = torch.tensor(AGE_EDGES, device=device)
        visit = np.asarray(city.visit)
        #: Rows of the longest visit, at most ``BLOCK_ROWS``.
        self.block_rows = next((n for n in range(1, BLOCK_ROWS) if not (visit[n:] == visit[:-n]).any()), BLOCK_ROWS)
        widths = [field.width for field in city.meta.fields]
        names = [field.name for field in city.meta.fields]
        #: The column of ids that is the item, from which padding is taken.
        self.item_column = sum(widths[: names.index("item")]) if "item" in names else 0

    @staticmethod
    def size(city: EncodedCity, numbers: Numbers | None) -> int:
        """Bytes that it takes."""
        size = sum(int(getattr(city, name).nbytes) for name in _ARRAYS)
        for owner, values, columns in numbers.parts if numbers is not None else ():
            size += len(values) * len(columns) * values.itemsize + (0 if owner is None else owner.nbytes)
        return size


def resident(city: EncodedCity, numbers: Numbers | None, device: torch.device) -> ResidentCity | None:
    """The city on a CUDA device; None for other devices, and where it takes more than its share of the free memory."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentCity(city, numbers, device) if ResidentCity.size(city, numbers) <= SHARE * free else None


class ResidentBatchMaker(BatchMaker):
    """Gathers batches of one city on the device where it lies; the arguments are those of :class:`BatchMaker`."""

    def __init__(
        self,
        city: EncodedCity,
        history: int,
        calibration: Calibration = "none",
        action: Action = "cart",
        numbers: Numbers | None = None,
        *,
        resident: ResidentCity,
    ) -> None:
        super().__init__(city, history, calibration, action, numbers)
        self.resident = resident
        self._columns = torch.tensor(self.columns, device=resident.device)
        self._back = torch.arange(self.history, 0, -1, device=resident.device)

    def make(self, rows: NDArray[np.int64]) -> Batch:
        sent = torch.from_numpy(rows)
        if self.resident.device.type == "cuda":
            sent = sent.pin_memory()
        blocks = -(-self.blocks(rows) // BLOCKS) * BLOCKS
        return self.gather(sent.to(self.resident.device, non_blocking=True), blocks)

    def blocks(self, rows: NDArray[np.int64]) -> int:
        """How many blocks these rows make."""
        visit = self.visit[rows]
        starts = np.flatnonzero(np.r_[True, visit[1:] != visit[:-1]]) if len(rows) else rows
        return int((-(-np.diff(np.r_[starts, len(rows)]) // self.resident.block_rows)).sum())

    def gather(self, rows: Tensor, blocks: int) -> Batch:
        """The batch of row numbers that lie on the device, int64 [B], in so many blocks, of which the last are empty
        where there are more than rows make. The shapes depend on B and ``blocks`` alone.
        """
        city = self.resident
        observed = city.labels.index_select(0, rows)
        labels = observed.index_select(1, self._columns)
        for column in self.also:
            for place in _ACTIONS:
                labels[:, place] = torch.maximum(labels[:, place], observed[:, column])
        ids, dense = city.ids.index_select(0, rows).long(), torch.zeros(len(rows), 0, device=city.device)
        if self.numbers is not None:
            found = torch.cat([_own(part, rows) for part in city.parts], dim=1)
            if self.numbers.mode == "tanh":
                dense = found
            else:
                ids = torch.cat([ids, found + city.offsets], dim=1)
        slots, visits, exists = self._places(city.visit.index_select(0, rows), blocks)
        padding = ids[:1, city.item_column]
        histories = (self._past(visits, exists, padding),)
        return Batch(rows, ids, labels.float(), slots, histories, city.block_rows, dense)

    def _places(self, visit: Tensor, blocks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Slots [B]; the visit of each block, and whether the block has rows, [C]."""
        width, position = self.resident.block_rows, torch.arange(len(visit), device=visit.device)
        first = torch.ones_like(visit, dtype=torch.bool)
        torch.ne(visit[1:], visit[:-1], out=first[1:])
        place = (position - torch.where(first, position, 0).cummax(0).values) % width
        block = (place == 0).cumsum(0) - 1
        # All rows of a block write the same.
        visits = visit.new_zeros(blocks).index_copy_(0, block, visit)
        return block * width + place, visits, torch.arange(blocks, device=visit.device) <= block[-1]

    def _past(self, visits: Tensor, exists: Tensor, padding: Tensor) -> Histories:
        """Histories of L places. Places without an event have the item ``padding`` [1]: one of this batch,
        so that they touch no row of the embedding table of their own.
        """
        city = self.resident
        if not self.history:
            empty = torch.zeros(len(visits), 0, dtype=torch.int64, device=visits.device)
            return Histories(empty, empty, empty.bool())
        stop = city.stop.index_select(0, visits)
        length = torch.where(exists, stop - city.start.index_select(0, visits), 0)
        mask = self._back <= length[:, None]
        index = torch.where(mask, stop[:, None] - self._back, 0)
        age = city.visit_start.index_select(0, visits)[:, None] - _at(city.time, index)
        contexts = _at(city.kind, index).long() * AGES + torch.bucketize(age, city.edges, right=True)
        return Histories(torch.where(mask, _at(city.item, index).long(), padding), contexts, mask)


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.index_select(0, index.view(-1)).view(index.shape)


def _own(part: _Part, rows: Tensor) -> Tensor:
    return part.values.index_select(0, rows if part.owner is None else part.owner.index_select(0, rows))


def _sent(
    array: np.ndarray, device: torch.device, columns: NDArray[np.int64] | None = None, tanh: bool = False
) -> Tensor:
    """An array, or some columns of it, on the device: read in chunks, so that memory of the host does not grow."""
    chunk = max(1, _CHUNK // max(1, array[:1].nbytes))
    shape = array.shape if columns is None else (len(array), len(columns))
    sent = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    for start in range(0, len(array), chunk):
        part = np.array(array[start : start + chunk])
        part = part if columns is None else part[:, columns]
        sent[start : start + chunk] = torch.from_numpy(np.tanh(part) if tanh else part)
    return sent
