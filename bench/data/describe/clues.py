"""Numbers that tell whether a log can be trusted."""

from __future__ import annotations

import duckdb

from bench.data.calibration import DAY
from bench.data.describe.aggregates import long_visits
from bench.data.describe.results import Clues
from bench.data.tables import LABELS

#: Two rows of 20 million share a 64-bit hash by chance with a probability of one in 100,000.
_REPEATED = "SELECT count(*) - count(DISTINCT hash(user, item, time)) FROM exposures"

#: Labelled exposures whose user and item have an event of that kind, and those after the last such event. A click
#: that a cart, wish or purchase implies may have none.
_BEFORE = """
    SELECT count(*), count(*) FILTER (events_of.last < labelled.time)
    FROM (FROM exposures WHERE {label} = 1{own}) AS labelled
    JOIN (SELECT user, item, max(time) AS last FROM events WHERE action = '{label}' GROUP BY 1, 2) AS events_of
    USING (user, item)"""

_UNSEEN = """
    SELECT count(*) FROM (FROM bought WHERE logged) ANTI JOIN (
        SELECT DISTINCT user, item FROM exposures SEMI JOIN bought USING (user, item)) USING (user, item)"""


def clues_of(connection: duckdb.DuckDBPyConnection, has_events: bool, timed: bool, calibrated: bool) -> Clues:
    """From the exposures, the events, and the tables ``per_…`` and ``bought``.

    Where the tables are ``calibrated``, carts of training rows lie in earlier visits, as they should.
    """

    def number(query: str) -> int:
        return int(connection.execute(query).fetchall()[0][0])

    logged = has_events and timed
    last = "(SELECT max(time) FROM exposures)"
    return Clues(
        busiest_user=number("SELECT max(n) FROM per_user"),
        busiest_item=number("SELECT max(n) FROM per_item"),
        repeated=number(_REPEATED) if timed else None,
        before_exposure=_before(connection, calibrated) if logged else {},
        late_events=number(f"SELECT count(*) FROM events WHERE time > {last} + {DAY}") if logged else None,
        long_visits=long_visits(connection) if timed else None,
        unseen_purchases=number(_UNSEEN) if has_events else None,
    )


def _before(connection: duckdb.DuckDBPyConnection, calibrated: bool) -> dict[str, tuple[int, int]]:
    """``before_exposure`` of the labels that have both exposures and events."""
    own = dict.fromkeys(LABELS, "") | {"click": "".join(f" AND {label} = 0" for label in LABELS[1:])}
    if calibrated:
        own["cart"] = " AND split <> 'train'"
    found = {label: connection.execute(_BEFORE.format(label=label, own=own[label])).fetchall()[0] for label in LABELS}
    return {label: (rows, early) for label, (rows, early) in found.items() if rows}
