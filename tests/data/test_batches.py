"""Batches against a loop over rows, visits and events."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.batches import (
    AGES,
    BLOCK_ROWS,
    CONTEXTS,
    KINDS,
    Batch,
    Batches,
    BatchMaker,
    Histories,
    Labels,
)
from bench.data.encoded import LABEL_COLUMNS, EncodedCity
from bench.data.order import shuffled_by_visit
from bench.data.tables import ACTIONS, DOMAINS

BuildCity = Callable[..., EncodedCity]


def history_of(city: EncodedCity, row: int, longest: int) -> list[tuple[int, int]]:
    """(item, context) of the newest ``longest`` events of a row's visit, oldest first."""
    visit = int(city.visit[row])
    pairs = []
    for event in range(int(city.history_start[visit]), int(city.history_stop[visit])):
        age = int(city.visit_start[visit]) - int(city.event_time[event])
        bucket = min(math.floor(math.log2(1 + max(age, 0) / 600)), AGES - 1)
        pairs.append((int(city.event_item[event]), int(city.event_kind[event]) * AGES + bucket))
    return pairs[-longest:] if longest else []


def slots_of(visits: list[int]) -> tuple[list[int], int]:
    """Runs of one visit, cut into blocks of R rows; R is the longest run, at most BLOCK_ROWS."""
    runs: list[list[int]] = []
    for index, visit in enumerate(visits):
        if index == 0 or visit != visits[index - 1]:
            runs.append([])
        runs[-1].append(index)
    width = min(BLOCK_ROWS, max(len(run) for run in runs))
    slots, block = [], -1
    for run in runs:
        for place, _ in enumerate(run):
            block += place % width == 0
            slots.append(block * width + place % width)
    return slots, width


def check(batch: Batch, city: EncodedCity, rows: np.ndarray, history: int, mode: str = "none") -> None:
    assert batch.rows.tolist() == rows.tolist()
    assert batch.ids.tolist() == city.ids[rows].tolist()
    names = ("click", "cart" if mode == "none" else f"cart_{mode}", "purchase", f"global_{mode}")
    columns = [LABEL_COLUMNS.index(name) for name in names]
    assert batch.labels.tolist() == city.labels[rows][:, columns].tolist()
    slots, width = slots_of(city.visit[rows].tolist())
    assert batch.slots.tolist() == slots
    assert batch.block_rows == width
    blocks = slots[-1] // width + 1
    expected = [history_of(city, int(row), history) for row in rows]
    longest = max(len(events) for events in expected)
    assert (
        batch.histories[0].events.shape
        == batch.histories[0].contexts.shape
        == batch.histories[0].mask.shape
        == (blocks, longest)
    )
    for events, slot in zip(expected, slots, strict=True):
        block = slot // width
        pad = longest - len(events)
        assert batch.histories[0].mask[block].tolist() == [False] * pad + [True] * len(events)  # the newest event last
        found = zip(
            batch.histories[0].events[block, pad:].tolist(),
            batch.histories[0].contexts[block, pad:].tolist(),
            strict=True,
        )
        assert list(found) == events


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("history", [0, 1, 7, 500])
def test_a_batch_equals_a_loop(build_city: BuildCity, seed: int, history: int) -> None:
    city = build_city(rows=600, seed=seed)
    maker = BatchMaker(city, history)
    rng = np.random.default_rng(seed)
    first = int(rng.integers(0, 300))
    for rows in (
        np.arange(first, first + 150),  # cuts a visit at either end, mostly
        shuffled_by_visit(city.visit, 0, seed)[:150],
        rng.permutation(600)[:40],  # rows of visits in no order
    ):
        check(maker.make(rows), city, rows, history)


def test_a_visit_that_two_batches_share_has_its_history_in_both(city: EncodedCity) -> None:
    visit = int(np.flatnonzero((np.bincount(city.visit) >= 4) & (city.history_stop > city.history_start))[0])
    rows = np.flatnonzero(city.visit == visit)
    maker = BatchMaker(city, 20)
    left, right = maker.make(rows[:2]), maker.make(rows[2:])
    assert (
        left.histories[0].events.tolist()
        == right.histories[0].events.tolist()
        == maker.make(rows).histories[0].events[:1].tolist()
    )
    check(left, city, rows[:2], 20)
    check(right, city, rows[2:], 20)


@pytest.mark.parametrize("length", [BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS - 1])
def test_a_long_visit_takes_several_blocks_with_one_history(city: EncodedCity, length: int) -> None:
    long = replace(city, visit=np.r_[np.zeros(length), np.ones(4000 - length)].astype(np.int32))
    rows = np.arange(length + 3)
    batch = BatchMaker(long, 20).make(rows)
    check(batch, long, rows, 20)
    assert len(batch.histories[0].events) == -(-length // BLOCK_ROWS) + 1


@pytest.mark.parametrize("cuts", [(3,), (1, 2, 9), (0, 20), (5, 500)])
@pytest.mark.parametrize(
    "rows", [np.arange(40, 190), np.array([7]), np.arange(0), np.random.default_rng(0).permutation(600)[:40]]
)
def test_histories_of_a_like_length_lie_together(
    build_city: BuildCity, cuts: tuple[int, ...], rows: np.ndarray
) -> None:
    """Cut or not, each row finds the same history; each group has those between two cuts, and is as wide as needed."""
    city = build_city(rows=600)
    start = city.history_start.copy()
    start[::3] = city.history_stop[::3]
    city = replace(city, history_start=start)
    plain, batch = BatchMaker(city, 100).make(rows), BatchMaker(city, 100, cuts=cuts).make(rows)
    for name in ("rows", "ids", "labels", "dense", "block_rows"):
        assert np.array_equal(getattr(batch, name), getattr(plain, name)), name
    assert torch.equal(batch.slots % batch.block_rows, plain.slots % plain.block_rows)
    found = {}
    bounds = [(low, high) for low, high in itertools.pairwise((-1, *cuts, 1000))]
    for own in batch.histories:
        lengths = own.mask.sum(1)
        assert own.events.shape == own.contexts.shape == own.mask.shape
        assert own.mask.shape[1] == max(lengths, default=0)
        assert any(((low < lengths) & (lengths <= high)).all() for low, high in bounds)
        assert set(own.events[~own.mask].tolist()) <= set(own.events[own.mask].tolist())
        found |= {len(found) + place: history for place, history in enumerate(_listed(own))}
    assert len(found) == len(plain.histories[0].mask)
    assert len(batch.histories) <= len(cuts) + 1
    wanted = _listed(plain.histories[0])
    for slot, own_slot in zip(plain.slots.tolist(), batch.slots.tolist(), strict=True):
        assert found[own_slot // batch.block_rows] == wanted[slot // plain.block_rows]


def _listed(histories: Histories) -> list[list[tuple[int, int]]]:
    """(event, context) of each block."""
    return [
        list(zip(events[mask].tolist(), contexts[mask].tolist(), strict=True))
        for events, contexts, mask in zip(*histories, strict=True)
    ]


def test_single_rows_make_blocks_of_one_row(city: EncodedCity) -> None:
    rows = np.unique(city.visit, return_index=True)[1][:30]
    batch = BatchMaker(city, 20).make(rows)
    check(batch, city, rows, 20)
    assert batch.block_rows == 1
    assert batch.slots.tolist() == list(range(30))


def test_no_history_gives_no_event_columns(city: EncodedCity) -> None:
    without = replace(city, history_start=city.history_stop)
    none = np.zeros(0, dtype=np.int64)
    empty = replace(without, event_item=none, event_kind=none, event_time=none, history_stop=0 * city.history_stop)
    rows = np.arange(50)
    for batch in (
        BatchMaker(without, 20).make(rows),
        BatchMaker(city, 0).make(rows),
        BatchMaker(replace(empty, history_start=empty.history_stop), 20).make(rows),
    ):
        assert (
            batch.histories[0].events.shape
            == batch.histories[0].contexts.shape
            == batch.histories[0].mask.shape
            == (int(batch.slots[-1]) // 8 + 1, 0)
        )
        assert batch.histories[0].events.dtype == batch.histories[0].contexts.dtype == batch.rows.dtype
        assert batch.histories[0].mask.dtype.is_floating_point is False


def test_types(city: EncodedCity) -> None:
    batch = BatchMaker(city, 20).make(np.arange(50))
    values = batch._asdict() | batch.histories[0]._asdict()
    kinds = {name: str(value.dtype) for name, value in values.items() if isinstance(value, Tensor)}
    integers = dict.fromkeys(("rows", "ids", "slots", "events", "contexts"), "torch.int64")
    assert kinds == integers | {"labels": "torch.float32", "dense": "torch.float32", "mask": "torch.bool"}


def test_age_buckets_by_hand(city: EncodedCity) -> None:
    """floor(log2(1 + age / 10 min)): 0 … 10 min, … 30 min, … 70 min, …; the last bucket is open, below 0 is 0."""
    ages = {-5: 0, 0: 0, 599: 0, 600: 1, 1799: 1, 1800: 2, 4199: 2, 4200: 3, 86_400: 7, 600 * (2**15 - 1): 15}
    ages |= {600 * (2**15 - 1) - 1: 14, 10**12: 15}
    seconds = sorted(ages, reverse=True)
    time = int(city.visit_start[0]) - np.array(seconds)
    count = len(seconds)
    toy = replace(
        city,
        history_start=0 * city.history_start,
        history_stop=0 * city.history_stop + count,
        event_item=np.arange(count, dtype=np.int32),
        event_kind=np.full(count, 3, dtype=np.uint8),
        event_time=time,
    )
    batch = BatchMaker(toy, 100).make(np.arange(2))
    assert batch.histories[0].contexts[0].tolist() == [3 * AGES + ages[age] for age in seconds]


def test_contexts_have_room_for_every_kind_and_age() -> None:
    assert KINDS == len(ACTIONS) * len(DOMAINS) == 10
    assert CONTEXTS == KINDS * AGES


@pytest.mark.parametrize("history", [5, 500])
def test_a_planted_later_event_never_appears(build_city: BuildCity, history: int) -> None:
    """One event array per user: behind the history of each visit lie events of its future, all of item 999."""
    base = build_city(rows=400)
    visits = base.meta.visits
    rng = np.random.default_rng(0)
    past, future = rng.integers(0, 30, visits), rng.integers(1, 10, visits)
    stop = np.cumsum(past + future) - future
    item = np.full(int((past + future).sum()), 999, dtype=np.int32)
    for start, end in zip(stop - past, stop, strict=True):
        item[start:end] = 7
    planted = replace(
        base,
        history_start=stop - past,
        history_stop=stop,
        event_item=item,
        event_kind=np.zeros(len(item), dtype=np.uint8),
        event_time=np.zeros(len(item), dtype=np.int64),
    )
    for batch in Batches(BatchMaker(planted, history), np.arange(400), 64):
        assert not (batch.histories[0].events == 999).any()  # not even in the padding
        assert batch.histories[0].mask.any()


def test_padding_repeats_an_event_of_the_batch(city: EncodedCity) -> None:
    """So that padding adds no row to those that a step touches."""
    batch = BatchMaker(city, 100).make(np.arange(200))
    assert not batch.histories[0].mask.all()
    assert set(batch.histories[0].events[~batch.histories[0].mask].tolist()) <= set(
        batch.histories[0].events[batch.histories[0].mask].tolist()
    )


@pytest.mark.parametrize("calibration", ["none", "copy", "move"])
def test_the_cart_labels_follow_the_calibration(city: EncodedCity, calibration: str) -> None:
    rows = np.arange(500)
    check(BatchMaker(city, 5, calibration).make(rows), city, rows, 5, calibration)
    carts = city.labels[rows][:, [1, 4, 5, 6, 7, 8]]
    assert len(np.unique(carts, axis=1).T) == 6  # all differ, so that a wrong one would show
    assert Labels._fields == ("click", "cart", "purchase", "global_cart")


def test_batches_are_slices_of_the_order(city: EncodedCity) -> None:
    order = np.random.default_rng(0).permutation(1000)
    batches = Batches(BatchMaker(city, 5), order, 300)
    assert len(batches) == 4
    assert [len(batch.rows) for batch in batches] == [300, 300, 300, 100]
    assert np.concatenate([batch.rows for batch in batches]).tolist() == order.tolist()
    assert batches[1].rows.tolist() == order[300:600].tolist()
    for index in (4, -1):
        with pytest.raises(IndexError):
            batches[index]
    assert len(Batches(BatchMaker(city, 5), order[:0], 300)) == 0
