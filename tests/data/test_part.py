"""Parts of batches, one for each process."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.order import Stored
from bench.data.part import Part


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_the_parts_of_a_batch_are_the_batch(processes: int) -> None:
    order = np.random.default_rng(0).permutation(100)
    parts = [Part(order, rank, processes) for rank in range(processes)]
    for start, stop in ((0, 32), (32, 64), (90, 100), (50, 50 + processes)):
        found = [part[start:stop] for part in parts]
        assert np.concatenate(found).tolist() == order[start:stop].tolist()
        lengths = {len(rows) for rows in found}
        assert max(lengths) - min(lengths) <= 1
        assert min(lengths) >= 1


def test_a_run_beyond_the_end_is_cut_before_it_is_divided() -> None:
    assert [Part(Stored(10, 20), rank, 2)[6:12].tolist() for rank in range(2)] == [[16, 17], [18, 19]]


def test_fewer_rows_than_processes_are_given_to_all() -> None:
    assert [Part(Stored(10, 20), rank, 3)[8:12].tolist() for rank in range(3)] == [[18, 19]] * 3


def test_it_is_as_long_as_the_order_of_all() -> None:
    assert len(Part(Stored(10, 20), 1, 3)) == 10


def test_places_that_are_not_consecutive_are_refused() -> None:
    with pytest.raises(ValueError, match="consecutive, but step 2"):
        Part(Stored(0, 10), 0, 2)[0:8:2]
