"""The part of every batch that one of several processes reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.data.order import Order


class Part:
    """An order that gives, of every run of rows that is asked for, the part of one process.

    The parts of all processes, in the order of their ranks, are the run; they differ by at most one row. A run of fewer
    rows than processes is given to all of them whole, so that no part is empty.

    Args:
        order: of all rows.
        rank: the place of the process, from 0 on.
        processes: how many there are.
    """

    def __init__(self, order: Order, rank: int, processes: int) -> None:
        self._order, self._rank, self._processes = order, rank, processes

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, places: slice) -> NDArray[np.int64]:
        start, stop, step = places.indices(len(self))
        if step != 1:
            raise ValueError(f"places must be consecutive, but step {step} apart.")
        rows = stop - start
        if rows < self._processes:
            return self._order[places]
        first, last = (start + rows * rank // self._processes for rank in (self._rank, self._rank + 1))
        return self._order[first:last]
