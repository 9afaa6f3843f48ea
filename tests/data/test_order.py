"""The order of training: all rows once, visits together, and as good as a full shuffle where it is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data.encoded import EncodedCity
from bench.data.order import POOL_ROWS, Order, Pooled, Stored, shuffled_by_visit, training_order

#: A small world: 16 visits of 10 rows a batch, 200 blocks a pool, 4 pools.
ROWS, BATCH, POOL, BLOCK = 160_000, 160, 40_000, 200


@pytest.fixture(scope="module")
def visit() -> NDArray[np.int32]:
    """Visits of 1 to 19 rows, 10 on average."""
    lengths = np.random.default_rng(0).integers(1, 20, ROWS // 5)
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[:ROWS]


def pooled(visit: NDArray[np.int32], first: int = 0, seed: int = 0) -> Pooled:
    return Pooled(visit, first, seed, POOL, BLOCK)


def check_visits(rows: NDArray[np.int64], visit: NDArray[np.int32], first: int) -> None:
    """Every row once, each visit in one run and in stored order, and the visits not as they are stored."""
    assert sorted(rows.tolist()) == list(range(first, first + len(visit)))
    shuffled = visit[rows - first]
    starts = np.flatnonzero(np.r_[True, shuffled[1:] != shuffled[:-1]])
    assert len(starts) == len(np.unique(visit))
    assert (np.diff(rows)[np.diff(shuffled) == 0] == 1).all()
    assert shuffled[starts].tolist() != sorted(shuffled[starts].tolist())


def batches(order: Order, size: int = BATCH) -> list[NDArray[np.int64]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_up_to_a_pool_the_shuffle_is_full(monkeypatch: pytest.MonkeyPatch, visit: NDArray[np.int32]) -> None:
    monkeypatch.setattr("bench.data.order.POOL_ROWS", len(visit))
    full = training_order(visit, 7, 3)
    assert full[:].tolist() == shuffled_by_visit(visit, 7, 3).tolist()
    monkeypatch.setattr("bench.data.order.POOL_ROWS", len(visit) - 1)
    assert isinstance(training_order(visit, 7, 3), Pooled)


def test_pools_give_every_row_once_and_keep_visits_together(visit: NDArray[np.int32]) -> None:
    order = pooled(visit, 1000, seed=4)
    assert len(order) == len(visit)
    parts = batches(order, 333)  # many of them reach over the ends of pools
    assert [len(part) for part in parts[:-1]] == [333] * (len(parts) - 1)
    check_visits(np.concatenate(parts), visit, 1000)
    assert pooled(visit, 1000, seed=4)[:].tolist() == np.concatenate(parts).tolist()
    assert pooled(visit, 1000, seed=4)[99_990:100_020].tolist() == np.concatenate(parts)[99_990:100_020].tolist()
    assert pooled(visit, 1000, seed=5)[:].tolist() != np.concatenate(parts).tolist()


@pytest.mark.parametrize("lengths", [[1], [5000], [1, 3000, 1, 1, 2000, 7], [1] * 900])
def test_visits_longer_than_a_block_or_a_pool_stay_whole(lengths: list[int]) -> None:
    visit = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    order = Pooled(visit, 5, 1, pool_rows=400, block_rows=50)
    rows = np.concatenate(batches(order, 64))
    assert sorted(rows.tolist()) == list(range(5, 5 + len(visit)))
    assert len(np.flatnonzero(np.diff(visit[rows - 5]))) == len(lengths) - 1


def test_a_pool_lies_in_few_places_and_is_all_that_is_held(visit: NDArray[np.int32]) -> None:
    order = pooled(visit)
    for start in range(0, len(visit), POOL):
        rows = np.sort(order[start + 500 : start + POOL - 500])
        assert (np.diff(rows) > 3 * BLOCK / 2).sum() < POOL / BLOCK  # gaps as long as a block
        assert np.ptp(rows) > 0.9 * len(visit)
        assert order._held is not None and len(order._held[1]) < 1.1 * POOL


def test_places_must_be_consecutive(visit: NDArray[np.int32]) -> None:
    with pytest.raises(ValueError, match="step 2 apart"):
        pooled(visit)[0:10:2]
    assert pooled(visit)[3:3].tolist() == []


def spread(order: Order, values: NDArray[np.float64]) -> float:
    """Variance of the means of whole batches."""
    return float(np.var([values[rows].mean() for rows in batches(order)[:-1]]))


@pytest.mark.parametrize(("alike", "least", "most"), [("block", 1.02, 1.08), ("user", 0.97, 1.03)])
def test_means_of_batches_vary_as_in_a_full_shuffle(
    visit: NDArray[np.int32], alike: str, least: float, most: float
) -> None:
    """16 visits a batch and 200 blocks a pool: at most 1 + 16/200 = 1.08 times the variance, where blocks are alike."""
    rng = np.random.default_rng(1)
    size = {"block": BLOCK, "user": 2 * BLOCK // 10}[alike]
    values = rng.normal(size=ROWS // size + 1)[np.arange(ROWS) // size]
    pools, full = (
        np.mean([spread(make(seed), values) for seed in range(20)])
        for make in (lambda seed: pooled(visit, seed=seed), lambda seed: shuffled_by_visit(visit, 0, seed))
    )
    assert least < pools / full < most
    assert spread(Stored(0, ROWS), values) > 3 * full


def test_there_is_no_drift(visit: NDArray[np.int32]) -> None:
    """The place in an epoch does not follow the place in the files; neighbours of a block are 1 / (3 pools) apart."""
    apart, correlation = [], []
    for seed in range(10):
        place = np.empty(ROWS, dtype=np.int64)
        place[pooled(visit, seed=seed)[:]] = np.arange(ROWS)
        correlation.append(np.corrcoef(place, np.arange(ROWS))[0, 1])
        ends = np.flatnonzero(np.diff(visit))
        apart.append(np.abs(place[ends + 1] - place[ends]).mean() / ROWS)
    assert abs(np.mean(correlation)) < 3 / math.sqrt(10 * ROWS / BLOCK)
    across = 10 / BLOCK  # pairs of visits on both sides of the end of a block: anywhere, as in a full shuffle
    assert np.mean(apart) == pytest.approx((1 - across) / 12 + across / 3, rel=0.03)


def test_stored_rows_come_as_they_are_stored() -> None:
    order = Stored(100, 1100)
    assert len(order) == 1000
    assert np.concatenate(batches(order, 300)).tolist() == list(range(100, 1100))
    assert order[990:2000].dtype == np.int64


def test_the_default_pool_holds_the_cities_of_the_paper_at_1_to_1000() -> None:
    assert POOL_ROWS > 1_004_000


def test_shuffling_keeps_visits_together(city: EncodedCity) -> None:
    visit = city.visit[100:1500]
    order = shuffled_by_visit(visit, 100, seed=4)
    assert sorted(order.tolist()) == list(range(100, 1500))
    shuffled = city.visit[order]
    starts = np.flatnonzero(np.r_[True, shuffled[1:] != shuffled[:-1]])
    assert len(starts) == len(np.unique(visit))  # one run per visit
    for rows in np.split(order, starts[1:]):
        assert (np.diff(rows) == 1).all()  # in stored order
    assert shuffled[starts].tolist() != sorted(shuffled[starts].tolist())


def test_shuffling_depends_on_the_seed_only(city: EncodedCity) -> None:
    first, again, other = (shuffled_by_visit(city.visit, 0, seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert shuffled_by_visit(city.visit[:0], 5, 1).tolist() == []


def test_every_order_of_visits_occurs() -> None:
    """Four visits have 24 orders; each should come up about 100 times in 2400."""
    visit = np.array([0, 0, 1, 2, 2, 2, 3], dtype=np.int32)
    found: dict[tuple[int, ...], int] = {}
    for seed in range(2400):
        order = tuple(dict.fromkeys(visit[shuffled_by_visit(visit, 0, seed)].tolist()))
        found[order] = found.get(order, 0) + 1
    assert len(found) == math.factorial(4)
    assert 55 < min(found.values()) <= max(found.values()) < 155
