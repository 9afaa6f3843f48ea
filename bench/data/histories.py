"""Behaviour histories: for every visit, its user's earlier events as one slice of the event arrays."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.data.encoded import ArrayFile, EncodedField
from bench.data.sql import choice, fetch, stream
from bench.data.tables import ACTIONS, DOMAINS, Feature
from bench.data.vocabulary import lookup

#: Events that are looked at together: the slices of a hundred million events fit into memory.
_EVENTS_AT_ONCE = 1 << 22


def write_histories(
    connection: duckdb.DuckDBPyConnection, out: Path, users: int, item: tuple[Feature, EncodedField] | None
) -> int:
    """Write the arrays of visits and events from ``visits``, ``members`` and ``events``; returns the number of events.

    ``item`` is what gives the events their ids; None where there are no events. Events of users without exposures
    are left out. The history of a visit stops before its first exposure, or before its own first event where that is
    earlier; other events of that very second are left out too.

    Raises:
        UserError: an event has an unknown action or domain, or no time.
    """
    count = int(fetch(connection, "SELECT count(*) AS n FROM events SEMI JOIN members USING (user)")["n"][0])
    joins, local = lookup(item[0], "events.item") if item else ([], "0")
    offset = item[1].offset if item else 0
    query = f"""
        SELECT members.u, CAST(events.time AS BIGINT) AS time, CAST({local} AS INTEGER) AS item,
               CAST({choice(ACTIONS, "action")} * {len(DOMAINS)} + {choice(DOMAINS, "domain")} AS UTINYINT)
               AS "action and domain"
        FROM events JOIN members USING (user) {" ".join(joins)}
        ORDER BY 1, 2, events.visit, 4, 3"""
    owned = np.zeros(users, dtype=np.int64)
    with ExitStack() as stack:
        items, kinds, times = (
            stack.enter_context(ArrayFile(out, array, (count,))) for array in ("event_item", "event_kind", "event_time")
        )
        for batch in stream(connection, query):
            first, last = batch["u"][0], batch["u"][-1]
            owned[first : last + 1] += np.bincount(batch["u"] - first, minlength=last - first + 1)
            times.append(batch["time"])
            kinds.append(batch["action and domain"])
            items.append(batch["item"] + offset)

    visits = fetch(
        connection,
        """WITH own AS (
               SELECT visits.v, min(events.time) AS first FROM events JOIN visits USING (visit)
               WHERE events.time < visits.start GROUP BY 1
           )
           SELECT u, start, CAST(coalesce(first, start) AS BIGINT) AS cut
           FROM visits LEFT JOIN own USING (v) ORDER BY v""",
    )
    found = _slices(np.load(out / "event_time.npy", mmap_mode="r"), owned, visits["u"], visits["cut"])
    for array, values in zip(("visit_start", "history_start", "history_stop"), (visits["start"], *found), strict=True):
        with ArrayFile(out, array, values.shape) as file:
            file.append(values)
    return count


def _slices(
    times: np.ndarray, owned: NDArray[np.int64], users: np.ndarray, cuts: np.ndarray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """:func:`history_slices`, some users at a time, of events that are ``owned`` by user 0, 1, … so many each."""
    ends = np.r_[0, np.cumsum(owned)]
    order = np.argsort(users, kind="stable")
    start, stop = np.empty(len(users), dtype=np.int64), np.empty(len(users), dtype=np.int64)
    bounds = np.unique(np.r_[0, np.searchsorted(ends, np.arange(0, ends[-1], _EVENTS_AT_ONCE)), len(owned)])
    places = np.searchsorted(users[order], bounds)
    for (low, high), (first, last) in zip(_pairs(bounds), _pairs(places), strict=True):
        chosen, base = order[first:last], ends[low]
        owners = np.repeat(np.arange(high - low), owned[low:high])
        own = users[chosen].astype(np.int64) - low
        slices = history_slices(owners, np.asarray(times[base : ends[high]]), own, cuts[chosen])
        start[chosen], stop[chosen] = slices[0] + base, slices[1] + base
    return start, stop


def _pairs(bounds: NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def history_slices(
    owners: np.ndarray, times: np.ndarray, users: np.ndarray, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For every visit [V] of ``users`` the slice [start, stop) of the events [E] of that owner before ``cuts``.

    The events are sorted by owner and time. All arrays are int64.
    """
    first = int(times.min(initial=0))
    span = int(times.max(initial=0)) - first + 2
    key = owners * span + (times - first)
    offset = np.clip(cuts - first, 0, span - 1)
    return np.searchsorted(owners, users), np.searchsorted(key, users * span + offset)
