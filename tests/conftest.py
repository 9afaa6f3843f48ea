"""Fixtures for all tests: an encoded city made in memory, whose labels can be learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data.calibration import CalibrationSummary
from bench.data.encoded import EncodedCity, EncodedField, Meta


def make_city(rows: int = 4000, fields: int = 6, size: int = 20, users: int = 100, seed: int = 0) -> EncodedCity:
    """Random ids; click, cart and purchase depend on the first fields; histories of random length up to 119.

    Some purchases have no cart; calibration gives the training rows among them one, and ``cart_move``
    takes as many carts elsewhere. The global domain has more carts, at random. Exposure ids are in no order.
    Wishes, intent and dense features are left out.
    """
    rng = np.random.default_rng(seed)
    visits = rows // 8
    visit = np.sort(rng.integers(0, visits, rows)).astype(np.int32)
    visit = np.unique(visit, return_inverse=True)[1].astype(np.int32)
    visits = int(visit[-1]) + 1
    local = rng.integers(1, size, (rows, fields))
    ids = (local + np.arange(fields) * size).astype(np.int32)
    taste = rng.normal(size=(fields, size))
    score = taste[np.arange(fields), local]
    p_click = 1 / (1 + np.exp(-(1.5 * score[:, 0] + score[:, 1] - 0.5)))
    p_cart = 1 / (1 + np.exp(-(1.5 * score[:, 2])))
    p_buy, p_late = 0.7, 0.05
    click = rng.random(rows) < p_click
    cart = click & (rng.random(rows) < p_cart)
    purchase = cart & (rng.random(rows) < p_buy)
    late = click & ~cart & (rng.random(rows) < p_late)
    bought = purchase | late
    length = rng.integers(0, 120, visits)
    stop = np.cumsum(length)
    events = int(stop[-1])
    cut = [int(np.searchsorted(visit, int(visits * share))) for share in (0.7, 0.8)]
    splits = {"train": (0, cut[0]), "valid": (cut[0], cut[1]), "test": (cut[1], rows)}
    calibrated = late & (np.arange(rows) < cut[0])
    taken = np.zeros(rows, dtype=bool)
    taken[rng.permutation(np.flatnonzero(cart[: cut[0]] & ~bought[: cut[0]]))[: calibrated.sum()]] = True
    copied = cart | calibrated
    searched = click & ~bought & (rng.random(rows) < 0.1)
    columns = [click, cart, np.zeros(rows), bought, copied, copied & ~taken]
    columns += [cart | searched, copied | searched, copied & ~taken | searched, np.zeros(rows)]
    labels = np.stack(columns, 1).astype(np.uint8)
    matched = int(calibrated.sum())
    summary = CalibrationSummary.model_construct(
        bad_cases=matched, matched=matched, changed={"copy": matched, "move": 2 * matched, "none": 0}
    )
    meta = Meta.model_construct(
        dataset="toy",
        city="1",
        fingerprint="toy",
        fields=tuple(
            EncodedField(name="item" if index == 0 else f"field{index}", size=size, offset=index * size)
            for index in range(fields)
        ),
        vocabulary=fields * size,
        event_kinds=10,
        splits=splits,
        users=users,
        visits=visits,
        events=events,
        counts={},
        calibration={"recommendation": summary, "global": summary},
        has_truth=True,
        has_cart=True,
        checksums={},
    )
    visit_start = np.sort(rng.integers(1_700_000_000, 1_701_000_000, visits)).astype(np.int64)
    owner = np.repeat(np.arange(visits), length)
    event_time = visit_start[owner] - rng.integers(1, 1_000_000, events)
    event_time = event_time[np.lexsort((event_time, owner))]  # oldest first within each history
    return EncodedCity(
        folder=Path(),
        meta=meta,
        ids=ids,
        labels=labels,
        exposure=rng.permutation(rows).astype(np.int64),
        user=(visit % users).astype(np.int32),
        visit=visit,
        truth=np.stack([p_click, p_cart, p_cart * p_buy + (1 - p_cart) * p_late], 1).astype(np.float32),
        visit_start=visit_start,
        history_start=(stop - length).astype(np.int64),
        history_stop=stop.astype(np.int64),
        event_item=rng.integers(0, size, events).astype(np.int32),
        event_kind=rng.integers(0, 10, events).astype(np.uint8),
        event_time=event_time,
    )


@pytest.fixture(scope="session")
def build_city() -> Callable[..., EncodedCity]:
    """:func:`make_city`, for tests that want another size or seed."""
    return make_city


@pytest.fixture
def city() -> EncodedCity:
    return make_city()
