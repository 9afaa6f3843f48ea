"""Tables that everything else is read from: one scan of the exposures each.

``per_hour``: labels by split and local hour. ``per_visit``: user, split, times and exposures of a visit. ``per_user``
and ``per_item``: *outcomes* of the exposures of a user or item, as :func:`outcomes` makes them for any value.
"""

from __future__ import annotations

from typing import Final

import duckdb

from bench.data.calibration import DAY
from bench.data.describe.results import Counts
from bench.data.sql import choice, fetch
from bench.data.tables import LABELS, SPLITS

#: Outcomes of a row, and where they are counted: exposures, clicks and purchases by split.
OUTCOMES: Final = tuple(f"{split}_{what}" for split in SPLITS for what in ("shown", "clicked", "bought"))
_PLURALS = {"click": "clicks", "cart": "carts", "wish": "wishes", "purchase": "purchases"}


def prepare(connection: duckdb.DuckDBPyConnection, local: str) -> None:
    """Make the view ``rows`` (exposures with the number ``outcome``) and the table ``per_hour``.

    Args:
        local: SQL of the local second of an exposure.
    """
    outcome = f"3 * {choice(SPLITS, 'split')} + CASE WHEN purchase = 1 THEN 2 WHEN click = 1 THEN 1 ELSE 0 END"
    connection.execute(f"CREATE TEMP VIEW rows AS SELECT *, CAST({outcome} AS UTINYINT) AS outcome FROM exposures")
    labels = ", ".join(f"count(*) FILTER ({label} = 1) AS {_PLURALS[label]}" for label in LABELS)
    connection.execute(
        f"""CREATE TEMP TABLE per_hour AS
            SELECT split, {local} // 3600 AS hour, count(*) AS exposures, {labels},
                   count(*) FILTER (purchase = 1 AND click = 0) AS purchases_without_click,
                   count(*) FILTER (purchase = 1 AND cart = 0) AS purchases_without_cart,
                   min({local}) AS first, max({local}) AS last
            FROM exposures GROUP BY 1, 2"""
    )


def aggregate_visits(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``per_visit``."""
    connection.execute(
        """CREATE TEMP TABLE per_visit AS
           SELECT visit, min(user) AS user, min(split) AS split, min(time) AS first, max(time) AS last, count(*) AS n
           FROM exposures GROUP BY visit"""
    )


def outcomes(connection: duckdb.DuckDBPyConnection, table: str, value: str) -> None:
    """Make the table ``table`` of the distinct values of ``value`` (SQL, unnested or not) in the exposures.

    Columns: ``value``, ``n`` rows, and ``OUTCOMES``; clicked rows are also shown ones, bought ones also clicked.
    """
    counted = ", ".join(
        f"count(*) FILTER (outcome BETWEEN {index} AND {index // 3 * 3 + 2}) AS {outcome}"
        for index, outcome in enumerate(OUTCOMES)
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT value, count(*) AS n, {counted} "
        f"FROM (SELECT outcome, {value} AS value FROM rows) GROUP BY 1"
    )


def outcomes_of_owners(connection: duckdb.DuckDBPyConnection, table: str, value: str, owners: str) -> None:
    """As :func:`outcomes`, of a column of ``users`` or ``items`` (``owners``); those without a row have NULL."""
    key = owners[:-1]
    sums = ", ".join(f"CAST(sum(per.{column}) AS BIGINT) AS {column}" for column in ("n", *OUTCOMES))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT source.value, {sums} FROM per_{key} AS per "
        f"LEFT JOIN (SELECT {key}, {value} AS value FROM {owners}) AS source ON source.{key} = per.value GROUP BY 1"
    )


def split_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, Counts]:
    """Counts of every split that has rows, and of ``all``."""
    sums = [f"{plural}" for plural in ("exposures", *_PLURALS.values())]
    sums += ["purchases_without_click", "purchases_without_cart"]
    listed = ", ".join(f"CAST(sum({column}) AS BIGINT) AS {column}" for column in sums)
    found: dict[str, Counts] = {}
    for split in (*SPLITS, "all"):
        of_hours, of_visits = ("true", "true") if split == "all" else (f"split = '{split}'",) * 2
        of_owners = "true" if split == "all" else f"{split}_shown > 0"
        row = fetch(connection, f"SELECT {listed} FROM per_hour WHERE {of_hours} HAVING count(*) > 0")
        if not len(row["exposures"]):
            continue
        numbers = {column: int(values[0]) for column, values in row.items()}
        for owner in ("user", "item"):
            numbers[f"{owner}s"] = _count(connection, f"per_{owner} WHERE {of_owners}")
        numbers["visits"] = _count(connection, f"per_visit WHERE {of_visits}")
        found[split] = Counts(**numbers)
    return found


def events_by_kind(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Events by action and domain."""
    query = "SELECT action, domain, count(*) FROM events GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    found: dict[str, dict[str, int]] = {}
    for action, domain, n in connection.execute(query).fetchall():
        found.setdefault(str(action), {})[str(domain)] = n
    return found


def long_visits(connection: duckdb.DuckDBPyConnection) -> int:
    """Visits whose exposures lie more than a day apart."""
    return _count(connection, f"per_visit WHERE last - first > {DAY}")


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0])
