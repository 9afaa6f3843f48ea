"""Histories: what a visit may know of its user, planted events included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from tiny_tables import encoded, rows, write_tables

from bench.data.histories import history_slices
from bench.data.tables import ACTIONS, DOMAINS


def test_history_holds_only_what_came_before_the_visit(tmp_path: Path) -> None:
    """Planted: events in the visit (before and after its first exposure), at its very second, and later ones."""
    tables = write_tables(
        tmp_path / "tables",
        exposures=rows(
            "user item visit time split", (1, 5, 0, 100, "train"), (1, 6, 1, 200, "train"), (2, 5, 2, 50, "train")
        ),
        events=rows(
            "user item time visit action domain",
            (1, 5, 99, None, "click", "recommendation"),  # before visit 0: seen by both visits of user 1
            (1, 6, 100, None, "click", "search"),  # the second in which visit 0 starts: seen by visit 1 only
            (1, 5, 101, 0, "cart", "recommendation"),  # in visit 0: seen by visit 1 only
            (1, 77, 180, 7, "purchase", "search"),  # an item without exposures: seen by visit 1, as unknown
            (1, 5, 190, 1, "click", "search"),  # in visit 1, before its first exposure: seen by none
            (1, 5, 195, 8, "click", "search"),  # later than the first event of visit 1: seen by none
            (1, 6, 250, 1, "purchase", "recommendation"),  # later: seen by none
            (2, 5, 50, 2, "click", "recommendation"),
            (3, 5, 10, 9, "click", "recommendation"),  # a user without exposures
        ),
    )
    city = encoded(tables)
    seen = [slice(a, b) for a, b in zip(city.history_start, city.history_stop, strict=True)]
    assert [city.event_time[s].tolist() for s in seen] == [[99], [99, 100, 101, 180], []]
    item = city.meta.fields[1]
    assert (city.event_item[seen[1]] - item.offset).tolist() == [1, 2, 1, 0]
    assert [(ACTIONS[kind // 2], DOMAINS[kind % 2]) for kind in city.event_kind[seen[1]]] == [
        ("click", "recommendation"),
        ("click", "search"),
        ("cart", "recommendation"),
        ("purchase", "search"),
    ]
    assert city.meta.events == 8


def test_events_outside_of_visits_are_history(tmp_path: Path) -> None:
    """A log whose events have no visit at all: what came before the first exposure of a visit."""
    tables = write_tables(
        tmp_path / "tables",
        exposures=rows("user item visit time", (1, 5, 0, 100), (1, 5, 1, 200), (2, 5, 2, 100)),
        events={
            "user": [1, 1, 1, 2],
            "item": [5, 6, 5, 5],
            "time": [150, 99, 100, 100],
            "visit": pa.array([None] * 4, pa.int64()),
            "action": ["click"] * 4,
            "domain": ["search"] * 4,
        },
    )
    city = encoded(tables)
    assert city.event_time.tolist() == [99, 100, 150, 100]
    assert city.history_start.tolist() == [0, 0, 3]
    assert city.history_stop.tolist() == [1, 3, 3]


def test_a_log_without_times_has_the_history_that_lies_before_it(tmp_path: Path) -> None:
    """All exposures at 0 (as a log that lacks "time"), events at seconds before that."""
    tables = write_tables(
        tmp_path / "tables",
        exposures=rows("user item visit time split click", (1, 5, 0, 0, "train", 1), (2, 6, 1, 0, "test", 0)),
        events=rows(
            "user item time visit action domain",
            (1, 5, -30, None, "cart", "search"),
            (1, 5, -90, None, "click", "search"),
            (1, 5, 0, 0, "click", "search"),
            (2, 5, -10, None, "click", "search"),
        ),
    )
    city = encoded(tables)
    assert city.event_time.tolist() == [-90, -30, 0, -10]
    assert city.visit_start.tolist() == [0, 0]
    assert list(zip(city.history_start.tolist(), city.history_stop.tolist(), strict=True)) == [(0, 2), (3, 4)]


def test_history_slices_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    owners = np.sort(rng.integers(0, 20, 500))
    times = rng.integers(1_000, 1_050, 500)
    order = np.lexsort((times, owners))
    owners, times = owners[order], times[order]
    users, cuts = rng.integers(0, 22, 300), rng.integers(900, 1_200, 300)
    start, stop = history_slices(owners, times, users, cuts)
    for a, b, user, cut in zip(start, stop, users, cuts, strict=True):
        wanted = np.flatnonzero((owners == user) & (times < cut))
        assert np.arange(a, b).tolist() == wanted.tolist()
