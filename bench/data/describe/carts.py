"""Purchases and the carts before them: in their visit, in an earlier one, or nowhere.

A purchase is one of a user, item and visit. It counts as shown where an exposure has it as its label, as logged where
the behaviour log has it; its time is that of the log, else of the exposure. Carts are those of the log, and labels of
exposures whose visit has none of the item in the log. Events without a visit are in no visit. Where tables are
calibrated, the labels of training rows are not the log's, and no carts.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import numpy as np

from bench.data.calibration import DAY
from bench.data.describe.results import GAP_EDGES, QUANTILES, Carts, Gaps
from bench.data.sql import fetch

#: The greatest number of days from cart to purchase that is counted on its own.
MOST_DAYS = 30

_BOUGHT = """
CREATE OR REPLACE TEMP TABLE bought AS
WITH logged AS (
    SELECT user, item, visit, CASE WHEN visit IS NULL THEN time END AS second, time, action FROM ({events})
    WHERE action IN ('cart', 'purchase')
), shown AS (
    SELECT user, item, visit, time, {cart} AS cart, purchase FROM exposures WHERE cart = 1 OR purchase = 1
), purchases AS (
    SELECT user, item, visit, second, coalesce(min(time) FILTER (is_event), min(time)) AS time,
           bool_or(NOT is_event) AS shown, bool_or(is_event) AS logged
    FROM (
        SELECT user, item, visit, second, time, true AS is_event FROM logged WHERE action = 'purchase'
        UNION ALL SELECT user, item, visit, NULL, time, false FROM shown WHERE purchase = 1
    )
    GROUP BY ALL
), carts AS MATERIALIZED (
    SELECT user, item, visit, time FROM logged SEMI JOIN purchases USING (user, item) WHERE action = 'cart'
    UNION ALL
    SELECT user, item, visit, time FROM (FROM shown WHERE cart = 1) SEMI JOIN purchases USING (user, item)
    ANTI JOIN (FROM logged WHERE action = 'cart') USING (user, item, visit)
), moments AS (
    SELECT user, item, time FROM carts GROUP BY ALL
), carted AS (
    SELECT DISTINCT user, item, visit, true AS carted FROM carts WHERE visit IS NOT NULL
)
SELECT purchases.user, purchases.item, purchases.time, shown, logged, coalesce(carted, false) AS same_visit,
       moments.time AS cart_time
FROM purchases
ASOF LEFT JOIN moments
ON purchases.user = moments.user AND purchases.item = moments.item AND purchases.time >= moments.time
LEFT JOIN carted
ON carted.user = purchases.user AND carted.item = purchases.item AND carted.visit = purchases.visit
"""
_NO_EVENTS = "SELECT user, item, visit, time, '' AS action FROM exposures LIMIT 0"


def gather(connection: duckdb.DuckDBPyConnection, has_events: bool, calibrated: bool) -> None:
    """Make the table ``bought``, a row per purchase."""
    events = "SELECT user, item, visit, time, action FROM events" if has_events else _NO_EVENTS
    cart = "CASE WHEN split <> 'train' THEN cart ELSE 0 END" if has_events and calibrated else "cart"
    connection.execute(_BOUGHT.format(events=events, cart=cart))


def carts_of(
    connection: duckdb.DuckDBPyConnection, which: str, local: Callable[[str], str], timed: bool
) -> Carts | None:
    """What is told of the purchases that are ``which`` (shown or logged); None without any.

    Args:
        local: gives SQL of the local second of a column.
        timed: whether the log has times.
    """
    rows = f"(FROM bought WHERE {which})"
    query = "SELECT count(*), count(*) FILTER (same_visit), count(*) FILTER (NOT same_visit AND cart_time IS NOT NULL)"
    purchases, same_visit, earlier = connection.execute(f"{query} FROM {rows}").fetchall()[0]
    if not purchases:
        return None
    if not timed:
        return Carts(
            purchases=purchases, same_visit=same_visit, earlier=None, earlier_day=None,
            days=None, same_gaps=None, earlier_gaps=None,
        )  # fmt: skip
    day = f"{local('time')} // {DAY} - {local('cart_time')} // {DAY}"
    found = fetch(
        connection,
        f"SELECT least({day}, {MOST_DAYS}) AS day, count(*) AS n FROM {rows} WHERE cart_time IS NOT NULL "
        "GROUP BY 1 ORDER BY 1",
    )
    days = {int(n_days): int(n) for n_days, n in zip(found["day"], found["n"], strict=True)}
    return Carts(
        purchases=purchases,
        same_visit=same_visit,
        earlier=earlier,
        earlier_day=sum(n for n_days, n in days.items() if n_days),
        days=days,
        same_gaps=_gaps(connection, f"{rows} WHERE same_visit AND cart_time IS NOT NULL"),
        earlier_gaps=_gaps(connection, f"{rows} WHERE NOT same_visit AND cart_time IS NOT NULL"),
    )


def _gaps(connection: duckdb.DuckDBPyConnection, rows: str) -> Gaps | None:
    found = fetch(connection, f"SELECT time - cart_time AS gap, count(*) AS n FROM {rows} GROUP BY 1 ORDER BY 1")
    gap, n = found["gap"].astype(np.int64), found["n"].astype(np.int64)
    if not len(gap):
        return None
    covered = np.cumsum(n)
    places = np.searchsorted(covered, np.array(QUANTILES) * covered[-1])
    bins = np.bincount(np.searchsorted(GAP_EDGES, gap, side="right"), weights=n, minlength=len(GAP_EDGES) + 1)
    return Gaps(
        purchases=int(covered[-1]),
        quantiles={q: float(gap[place]) for q, place in zip(QUANTILES, places, strict=True)},
        bins=tuple(int(count) for count in bins),
    )
