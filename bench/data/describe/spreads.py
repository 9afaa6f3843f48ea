"""How many visits and exposures users, visits and items have."""

from __future__ import annotations

import duckdb
import numpy as np

from bench.data.describe.results import QUANTILES, Spread
from bench.data.sql import fetch

#: What is counted per owner: SQL over a table of :mod:`bench.data.describe.aggregates` that gives ``n`` per owner.
_COUNTED = {
    ("visits", "user"): "SELECT count(*) AS n FROM per_visit GROUP BY user",
    ("exposures", "visit"): "SELECT n FROM per_visit",
    ("exposures", "user"): "SELECT n FROM per_user",
    ("exposures", "item"): "SELECT n FROM per_item",
}


def spreads(connection: duckdb.DuckDBPyConnection) -> tuple[Spread, ...]:
    """Visits per user; exposures per visit, user and item."""
    found = []
    for (what, per), query in _COUNTED.items():
        table = fetch(connection, f"SELECT n, count(*) AS owners FROM ({query}) GROUP BY 1 ORDER BY 1")
        found.append(spread(what, per, table["n"].astype(np.int64), table["owners"].astype(np.int64)))
    return tuple(found)


def spread(what: str, per: str, n: np.ndarray, owners: np.ndarray) -> Spread:
    """The spread of ``owners[i]`` owners that have ``n[i]`` each, ``n`` ascending and distinct."""
    covered = np.cumsum(owners)
    count, total = int(covered[-1]), int((n * owners).sum())
    # A quantile is the smallest n that so many owners have at most.
    places = np.searchsorted(covered, np.array(QUANTILES) * count)
    points = sorted(
        {step for step in _steps(int(n[-1])) if step > n[0]} | {int(n[place]) for place in (0, *places, -1)}
    )
    with_more = [count - int(covered[np.searchsorted(n, point) - 1]) if point > n[0] else count for point in points]
    return Spread(
        what=what,
        per=per,
        owners=count,
        total=total,
        mean=total / count,
        quantiles={q: int(n[place]) for q, place in zip(QUANTILES, places, strict=True)},
        largest=int(n[-1]),
        top_share=_top(n[::-1], owners[::-1], -(-count // 100)) / total,
        tail=tuple((point, more / count) for point, more in zip(points, with_more, strict=True)),
    )


def _top(n: np.ndarray, owners: np.ndarray, most: int) -> int:
    """What the ``most`` owners with the largest ``n`` (descending) have together."""
    taken = np.minimum(owners, np.maximum(0, most - (np.cumsum(owners) - owners)))
    return int((n * taken).sum())


def _steps(largest: int) -> list[int]:
    """1, 2, 3, 5, 10, 20, … up to ``largest``."""
    steps = [step * 10**power for power in range(len(str(largest))) for step in (1, 2, 3, 5)]
    return [step for step in steps if step <= largest]
