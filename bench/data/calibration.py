"""Sample Calibration Q (ESMC Eq. 14): carts of earlier visits, moved to the purchases that they led to.

A bad-case purchase is a training exposure with a purchase, but without a cart of that user and item in its visit.
It takes the label ``cart = 1`` from the latest unconsumed cart of the same user and item in an earlier visit, one
to one. The carts come from the whole behaviour log, of the recommendation domain or of both (global, Eq. 19):

- every training exposure with ``cart = 1`` is a cart, at the time of the exposure;
- so is a visit with a cart in ``events`` where no exposure has it: from before the first exposure, or from search.
  It counts once, at its first time. Events from the first validation or test exposure on are left out.

A cart of a visit that also bought the item is consumed. So is the latest one before a purchase that is only in
``events`` and has no cart in its visit. Rows are ordered by time, then those of events by visit, then exposures by
id. Events without a visit are a visit of their own per second.

That is bracket matching per (user, item) in that order: a cart left in its visit opens, a purchase without one
closes the latest open one, or nothing where none is open. With S the running sum of +1 and -1 and M the running
minimum of S before the row (at most 0), the depth is S - M, and a close belongs to the open before it on the same
level. So window functions do it, out of core.
"""

from __future__ import annotations

import duckdb
from pydantic import BaseModel, ConfigDict

from bench.data.tables import DOMAINS, Manifest

#: Whose carts are matched: those of recommendation, or of both domains.
CART_DOMAINS: tuple[str, ...] = ("recommendation", "global")
DAY = 86400

#: Tables of what was carted or bought: through exposures, and in the log of events; and the bad cases.
_GATHER = """
CREATE OR REPLACE TEMP TABLE shown AS
SELECT exposure, user, item, visit, time, split = 'train' AS train, cart = 1 AS cart, purchase = 1 AS purchase,
       {domain} AS domain
FROM exposures
WHERE cart = 1 OR purchase = 1;

CREATE OR REPLACE TEMP TABLE logged AS
SELECT user, item, visit, time, action = 'cart' AS cart, domain
FROM ({events})
WHERE action IN ('cart', 'purchase');

CREATE OR REPLACE TEMP TABLE bad AS
FROM (FROM shown WHERE train AND purchase)
ANTI JOIN (FROM shown WHERE cart) USING (user, item, visit)
ANTI JOIN (FROM logged WHERE cart) USING (user, item, visit);

CREATE OR REPLACE TEMP TABLE training AS
SELECT coalesce(min(time), 'infinity'::DOUBLE) AS stop FROM exposures WHERE split <> 'train';
"""

_MATCH = """
WITH visits AS MATERIALIZED (
    SELECT user, item, visit, CASE WHEN visit IS NULL THEN time END AS second, bool_or(cart) AS carted,
           bool_or(NOT cart) AS bought, min(time) FILTER (cart AND {offered}) AS cart_time,
           arg_min(domain, (time, domain)) FILTER (cart AND {offered}) AS cart_domain,
           min(time) FILTER (NOT cart) AS purchase_time
    FROM logged SEMI JOIN bad USING (user, item)
    GROUP BY ALL
), steps AS (
    SELECT exposure, user, item, visit, time, -1 AS step, domain FROM bad
    UNION ALL
    SELECT exposure, user, item, visit, time, 1, domain
    FROM (FROM shown WHERE train AND cart AND {offered}) SEMI JOIN bad USING (user, item)
    ANTI JOIN (FROM shown WHERE purchase) USING (user, item, visit)
    ANTI JOIN (FROM visits WHERE bought) USING (user, item, visit)
    UNION ALL
    SELECT NULL, user, item, visit, cart_time, 1, cart_domain
    FROM (FROM visits WHERE NOT bought AND cart_time < (SELECT stop FROM training))
    ANTI JOIN (FROM shown WHERE cart OR purchase) USING (user, item, visit)
    UNION ALL
    SELECT NULL, user, item, visit, purchase_time, -1, NULL
    FROM (FROM visits WHERE NOT carted AND purchase_time < (SELECT stop FROM training))
    ANTI JOIN (FROM shown WHERE cart OR purchase) USING (user, item, visit)
), ordered AS (
    SELECT *, row_number() OVER (
        PARTITION BY user, item ORDER BY time, exposure NULLS FIRST, visit NULLS FIRST) AS nth
    FROM steps
), sums AS (
    SELECT *, sum(step) OVER (PARTITION BY user, item ORDER BY nth ROWS UNBOUNDED PRECEDING) AS s
    FROM ordered
), levels AS (
    SELECT *, s + CASE WHEN step < 0 THEN 1 ELSE 0 END - least(0, min(s) OVER (
        PARTITION BY user, item ORDER BY nth ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS level
    FROM sums
), pairs AS (
    SELECT exposure AS purchase, step, level >= 1 AND {in_window} AS matched, lag(exposure) OVER same_level AS opened,
           lag(domain) OVER same_level AS opened_domain, lag(visit) OVER same_level AS opened_visit,
           time - lag(time) OVER same_level AS gap
    FROM levels
    WINDOW same_level AS (PARTITION BY user, item, level ORDER BY nth)
)
SELECT purchase, matched, CASE WHEN matched THEN opened END AS cart, CASE WHEN matched THEN opened_domain END AS domain,
       CASE WHEN matched THEN opened_visit END AS visit, CASE WHEN matched THEN gap / {day} END AS days
FROM pairs
WHERE step < 0 AND purchase IS NOT NULL
ORDER BY purchase
"""

_ELSEWHERE = """
CREATE TEMP TABLE carted_elsewhere AS
SELECT exposure, user, item, visit
FROM (FROM exposures WHERE click = 1)
SEMI JOIN (
    FROM (FROM logged WHERE cart) ANTI JOIN (FROM shown WHERE cart) USING (user, item, visit)
) USING (user, item, visit)
"""

_MARKED = """
CREATE TEMP TABLE marked AS
WITH marks AS (
    SELECT purchase AS exposure, 'taken' AS mark FROM matches_of_recommendation WHERE matched
    UNION ALL SELECT cart, 'given' FROM matches_of_recommendation WHERE cart IS NOT NULL
    UNION ALL SELECT purchase, 'global_taken' FROM matches_of_global WHERE matched
    UNION ALL SELECT cart, 'global_given' FROM matches_of_global WHERE cart IS NOT NULL
    UNION ALL SELECT exposure, 'elsewhere' FROM carted_elsewhere
    UNION ALL
    SELECT carted_elsewhere.exposure, 'global_given'
    FROM matches_of_global AS matches JOIN bad ON bad.exposure = matches.purchase
    JOIN carted_elsewhere ON carted_elsewhere.user = bad.user AND carted_elsewhere.item = bad.item
                         AND carted_elsewhere.visit = matches.visit
    WHERE matches.cart IS NULL
)
SELECT exposure, {marks}
FROM marks
GROUP BY exposure
"""

#: What :func:`mark_rows` says of an exposure, each true or false.
MARKS: tuple[str, ...] = ("taken", "given", "global_taken", "global_given", "elsewhere")


class CalibrationSummary(BaseModel):
    """What Sample Calibration does to the training labels.

    ``matched_without_exposure``: of the matched carts, those that no exposure has as its label; ``changed``: labels
    of exposures that differ from the log, by mode (``copy`` sets the cart of the purchase row, ``move`` also clears
    that of the earlier row, ``none`` changes nothing); ``matched_by_domain``: domains of the matched carts;
    ``median_days``: from cart to purchase, None without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bad_cases: int
    matched: int
    unmatched: int
    matched_without_exposure: int
    matched_by_domain: dict[str, int]
    changed: dict[str, int]
    median_days: float | None


def match_carts(
    connection: duckdb.DuckDBPyConnection, domain: str = "recommendation", window_days: float | None = None
) -> duckdb.DuckDBPyRelation:
    """One row per bad-case purchase in the view ``exposures``; carts also come from the view ``events``, if any.

    Columns: ``purchase`` (exposure id), ``matched``, and of the matched cart ``cart`` (exposure id, NULL where no
    exposure has it as its label), ``domain``, ``visit`` and ``days`` until the purchase. A cart more than
    ``window_days`` older cannot match. With ``domain`` recommendation, only carts of recommendation match; a cart
    of any domain makes its own visit a good case. Exposures without a column ``domain`` are recommendations.
    """
    _gather(connection)
    return connection.sql(_match_query(domain, window_days))


def summarise(connection: duckdb.DuckDBPyConnection, table: str) -> CalibrationSummary:
    """The summary of a table (or view) that holds what :func:`match_carts` gives back."""
    by_domain = ", ".join(f"count(*) FILTER (matched AND domain = '{domain}')" for domain in DOMAINS)
    query = f"SELECT count(*), count(*) FILTER (matched), count(cart), median(days), {by_domain} FROM {table}"
    bad_cases, matched, shown, median, *found = connection.execute(query).fetchall()[0]
    return CalibrationSummary(
        bad_cases=bad_cases,
        matched=matched,
        unmatched=bad_cases - matched,
        matched_without_exposure=matched - shown,
        matched_by_domain=dict(zip(DOMAINS, found, strict=True)),
        changed={"copy": matched, "move": matched + shown, "none": 0},
        median_days=median,
    )


def mark_rows(
    connection: duckdb.DuckDBPyConnection, window_days: float | None = None, calibrated: bool = False
) -> dict[str, CalibrationSummary]:
    """Make the table ``marked``: every exposure whose cart label some mode changes, with the columns ``MARKS``.

    ``taken``: a purchase that takes a cart; ``given``: an exposure whose cart was taken; ``global_taken`` and
    ``global_given``: the same of the global domain; ``elsewhere``: a click whose visit has a cart of the item, but
    not through an exposure. ``calibrated``: the exposures are, so that nothing is marked.
    Returns the summary of each domain.
    """
    _gather(connection)
    if calibrated:
        connection.execute("DELETE FROM bad; DELETE FROM logged")
    for domain in CART_DOMAINS:
        connection.execute(f"CREATE TEMP TABLE matches_of_{domain} AS {_match_query(domain, window_days)}")
    connection.execute(_ELSEWHERE)
    marks = ", ".join(f"bool_or(mark = '{mark}') AS {mark}" for mark in MARKS)
    connection.execute(_MARKED.format(marks=marks))
    return {domain: summarise(connection, f"matches_of_{domain}") for domain in CART_DOMAINS}


def is_calibrated(manifest: Manifest) -> bool:
    """Whether the cart labels of these tables were calibrated, and are to be taken as they are."""
    return "calibration" in manifest.settings


def _gather(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables that the other statements read."""
    columns = "user, item, visit, time, action, domain"
    found = connection.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'events'").fetchall()
    events = f"SELECT {columns} FROM events"
    nothing = "SELECT user, item, visit, time, '' AS action, '' AS domain FROM exposures LIMIT 0"
    domains = "domain" in connection.sql("FROM exposures LIMIT 0").columns
    connection.execute(
        _GATHER.format(domain="domain" if domains else "'recommendation'", events=events if found[0][0] else nothing)
    )


def _match_query(domain: str, window_days: float | None) -> str:
    """:data:`_MATCH` for one domain."""
    return _MATCH.format(
        offered="true" if domain == "global" else "domain = 'recommendation'",
        in_window="true" if window_days is None else f"time - lag(time) OVER same_level <= {window_days * DAY}",
        day=f"{DAY}.0",
    )
