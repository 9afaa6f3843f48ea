"""The Google Merchandise Store: a Google Analytics 360 export as funnel tables.

How a visit is read (``fullVisitorId``, ``visitId``; lines that share both, as at midnight, are one visit):

- Products are joined on ``v2ProductName``: up to the cart a hit carries the parent SKU, later the variant's.
- An exposure is a distinct (visit, product) impression, with the list, position, price and time of the first.
- A label is 1 where the action comes at or after the exposure, in its visit. A click is an ``isClick`` row; the
  detail view that follows it is none of its own. A cart is action 3, a purchase action 6, once per (transaction,
  SKU) and then once per (transaction, product), since a purchase is sent in about two hits. There are no wishes.
- Where an exposure is carted or bought without a recorded click (a quick view, another page), it counts as
  clicked: the funnel is nested. ``implied_clicks`` in the manifest counts them.
- A list "Search Results", or a search word on the page, is the search domain, everything else recommendation. An
  action without a list takes that of the last click or view of the product in the visit, else of the last
  impression, else recommendation.
- Splits are by UTC day of the visit's start: days until 70 % of the visits with exposures, then 10 %, then the
  rest. Times are seconds; hour and weekday (0 is Monday) are UTC.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import duckdb

from bench.core.cell import digest
from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.source import Source
from bench.data.sources._ga360_export import READER_VERSION, VISIT_FEATURES, export_files, flatten
from bench.data.sql import connect, text
from bench.data.tables import LABELS, SPLITS, TABLES_VERSION, Feature, Manifest, table_path, write_manifest

_CITY = "store"
#: Share of the visits at which validation and test begin.
_VALID_FROM, _TEST_FROM = 0.7, 0.8
_ACTIONS = ("click", "cart", "purchase")

_FEATURES = (
    *(Feature(name=name, table="exposures") for name in ("user", "item", "list", "shelf", "hour", "weekday")),
    *(Feature(name=name, table="exposures") for name in VISIT_FEATURES),
    *(Feature(name=name, table="exposures", kind="numeric") for name in ("position", "price", "visit_number")),
)

_VISITS = f"""
    CREATE TABLE visits AS
    SELECT row_number() OVER (ORDER BY min(start), user, visit_id) - 1 AS visit, user, visit_id, min(start) AS start,
           {", ".join(f"arg_min({name}, start) AS {name}" for name in ("visit_number", *VISIT_FEATURES))}
    FROM raw_visits
    GROUP BY user, visit_id"""

_ACTS = """
    CREATE TABLE acts AS
    SELECT visit, raw_rows.* EXCLUDE (user, visit_id), CASE WHEN coalesce(
               search,
               last_value(CASE WHEN action IN ('click', 'view') THEN search END IGNORE NULLS) OVER way,
               last_value(search IGNORE NULLS) OVER way,
               false) THEN 'search' ELSE 'recommendation' END AS domain
    FROM raw_rows JOIN visits USING (user, visit_id)
    WINDOW way AS (PARTITION BY visit, item ORDER BY ms, line)"""

_PURCHASE_LINES = """
    CREATE TABLE purchase_lines AS
    SELECT DISTINCT ON (visit, transaction, sku) *
    FROM acts WHERE action = 'purchase'
    ORDER BY ms, line"""

_EXPOSURES = f"""
    CREATE TABLE exposures AS
    WITH shown AS (
        SELECT DISTINCT ON (visit, item) * FROM acts WHERE action = 'impression' ORDER BY ms, line
    ), done AS (
        SELECT visit, item, {", ".join(f"max(ms) FILTER (action = '{a}') AS last_{a}" for a in _ACTIONS)}
        FROM acts GROUP BY visit, item
    ), days AS (
        SELECT start // 86400 AS day, count(*) AS n
        FROM visits WHERE visit IN (SELECT visit FROM shown) GROUP BY 1
    ), splits AS (
        SELECT day, CASE WHEN before < {_VALID_FROM} THEN 'train' WHEN before < {_TEST_FROM} THEN 'valid'
                         ELSE 'test' END AS split
        FROM (SELECT day, (sum(n) OVER (ORDER BY day) - n) / sum(n) OVER () AS before FROM days)
    )
    SELECT row_number() OVER (ORDER BY start, visit, ms, line) - 1 AS exposure, user, item, visit, ms // 1000 AS time,
           position, split, domain,
           {", ".join(f"CAST(coalesce(last_{a} >= ms, false) AS UTINYINT) AS logged_{a}" for a in _ACTIONS)},
           greatest(logged_click, logged_cart, logged_purchase) AS click, logged_cart AS cart,
           CAST(0 AS UTINYINT) AS wish, logged_purchase AS purchase,
           list, shelf, price, visit_number, {", ".join(VISIT_FEATURES)},
           CAST(ms // 3600000 % 24 AS UTINYINT) AS hour, CAST((ms // 86400000 + 3) % 7 AS UTINYINT) AS weekday
    FROM shown JOIN done USING (visit, item) JOIN visits USING (visit) JOIN splits ON splits.day = start // 86400"""

_EVENTS = """
    CREATE TABLE events AS
    SELECT user, item, ms // 1000 AS time, visit, action, domain
    FROM (
        SELECT visit, item, ms, line, action, domain FROM acts WHERE action IN ('click', 'cart')
        UNION ALL
        SELECT DISTINCT ON (visit, transaction, item) visit, item, ms, line, action, domain
        FROM purchase_lines ORDER BY ms, line
    ) JOIN visits USING (visit)"""

_COUNTS = {
    "log_visits": "SELECT count(*) FROM visits",
    "log_users": "SELECT count(DISTINCT user) FROM visits",
    "log_impressions": "SELECT count(*) FROM acts WHERE action = 'impression'",
    "log_clicks": "SELECT count(*) FROM acts WHERE action = 'click'",
    "log_views": "SELECT count(*) FROM acts WHERE action = 'view'",
    "log_carts": "SELECT count(*) FROM acts WHERE action = 'cart'",
    "log_purchase_lines": "SELECT count(*) FROM purchase_lines",
    "log_transactions": "SELECT count(DISTINCT transaction) FROM purchase_lines",
    "events": "SELECT count(*) FROM events",
    "search_carts": "SELECT count(*) FROM events WHERE action = 'cart' AND domain = 'search'",
    "users": "SELECT count(DISTINCT user) FROM exposures",
    "items": "SELECT count(DISTINCT item) FROM exposures",
    "visits": "SELECT count(DISTINCT visit) FROM exposures",
    "exposures": "SELECT count(*) FROM exposures",
    "search_exposures": "SELECT count(*) FROM exposures WHERE domain = 'search'",
    "implied_clicks": "SELECT count(*) FROM exposures WHERE click > logged_click",
    "bad_case_purchases": "SELECT count(*) FROM exposures WHERE purchase = 1 AND cart = 0",
    **{
        f"{label}{'es' if label == 'wish' else 's'}": f"SELECT count(*) FROM exposures WHERE {label} = 1"
        for label in LABELS
    },
}


_TABLES = {
    "exposures": "SELECT * EXCLUDE (logged_click, logged_cart, logged_purchase) FROM exposures ORDER BY exposure",
    "events": "FROM events ORDER BY visit, time, action, domain, item",
    "users": "SELECT DISTINCT user FROM exposures ORDER BY user",
    "items": "SELECT item, arg_min(price, exposure) AS price FROM exposures GROUP BY item ORDER BY item",
}


class GA360(Source):
    """The Google Merchandise Store; one city, ``store``. ``--data-dir``: the export, a folder or a file."""

    name: ClassVar[str] = "ga360"
    summary: ClassVar[str] = "Google Merchandise Store, a Google Analytics 360 export (nested JSON lines)"
    lacks: ClassVar[Mapping[str, str]] = {"wish": "has no wishes"}

    def cities(self) -> list[str]:
        return [_CITY]

    def fingerprint(self, city: str) -> str:
        self.require(city)
        files = {path.name: checksum(path) for path in export_files(self.options.data_dir)}
        return digest({"reader": READER_VERSION, "tables": TABLES_VERSION, "files": files})

    def write(self, city: str, folder: Path) -> None:
        fingerprint = self.fingerprint(city)
        scratch = folder / "scratch"
        scratch.mkdir()
        try:
            flatten(export_files(self.options.data_dir), scratch / "visits.parquet", scratch / "rows.parquet")
            with connect(scratch) as connection:
                for view, file in (("raw_visits", "visits.parquet"), ("raw_rows", "rows.parquet")):
                    connection.execute(f"CREATE VIEW {view} AS FROM read_parquet({text(scratch / file)})")
                for step in (_VISITS, _ACTS, _PURCHASE_LINES, _EXPOSURES, _EVENTS):
                    connection.execute(step)
                manifest = self._manifest(connection, fingerprint)
                for table, query in _TABLES.items():
                    target = text(table_path(folder, table))
                    connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        write_manifest(folder, manifest)

    def _manifest(self, connection: duckdb.DuckDBPyConnection, fingerprint: str) -> Manifest:
        counts = {name: int(connection.execute(query).fetchall()[0][0]) for name, query in _COUNTS.items()}
        if not counts["exposures"]:
            raise UserError(
                f"{self.options.data_dir} must hold product impressions, but none of its {counts['log_visits']} visits "
                "has one; export ga_sessions with hits.product."
            )
        ranges = connection.execute("SELECT split, min(time), max(time) FROM exposures GROUP BY split").fetchall()
        split_range = {split: (first, last) for split, first, last in ranges}
        return Manifest(
            dataset=self.label,
            city=_CITY,
            fingerprint=fingerprint,
            origin="log",
            features=_FEATURES,
            counts=counts,
            time_range=(min(first for first, _ in split_range.values()), max(last for _, last in split_range.values())),
            split_range={split: split_range[split] for split in SPLITS if split in split_range},
            settings={
                "reader": READER_VERSION,
                "valid_from": _VALID_FROM,
                "test_from": _TEST_FROM,
                "click": "isClick, or implied by a cart or purchase of the exposure",
            },
            lacks=dict(self.lacks),
            notes=(
                f"{counts['implied_clicks']:,} of the {counts['clicks']:,} clicks were not recorded: a cart or "
                "purchase of the exposure implies them.",
            ),
        )
