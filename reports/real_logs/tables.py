"""What the funnel tables of a log hold: its splits, and where the carts of its purchases lie."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bench.core.errors import UserError
from bench.data.calibration import is_calibrated
from bench.data.describe.carts import carts_of, gather
from bench.data.describe.results import Carts
from bench.data.describe.times import local_seconds
from bench.data.sql import connect, open_tables
from bench.data.tables import SPLITS, Manifest
from reports.study import Study

#: What is counted of a split, as SQL.
COUNTS = {
    "exposures": "count(*)",
    "clicks": "count(*) FILTER (click = 1)",
    "carts": "count(*) FILTER (cart = 1)",
    "wishes": "count(*) FILTER (wish = 1)",
    "purchases": "count(*) FILTER (purchase = 1)",
    "purchases without a cart in their visit": "count(*) FILTER (purchase = 1 AND cart = 0)",
    "users": "count(DISTINCT user)",
    "users who bought": "count(DISTINCT user) FILTER (purchase = 1)",
}


@dataclass(frozen=True)
class Tables:
    """Counts by split and name, and carts of purchases (None where the log cannot tell).

    ``logged``: those of the behaviour log, whether or not an exposure has them; otherwise those of the exposures.
    """

    splits: dict[str, dict[str, int]]
    carts: Carts | None
    logged: bool


def read_tables(study: Study, city: str, manifest: Manifest) -> Tables | None:
    """From the stored funnel tables; None, with a note, where they cannot be read."""
    folder = study.store.out / "data" / "tables" / study.fingerprints[city]
    with tempfile.TemporaryDirectory() as scratch, connect(Path(scratch)) as connection:
        try:
            columns = open_tables(connection, folder)
            if "exposures" not in columns:
                raise UserError("there is no table of exposures")
            logged = "events" in columns
            return Tables(_splits(connection), _carts(connection, manifest, logged), logged)
        except (duckdb.Error, UserError) as error:
            study.note(f"the funnel tables in {folder} cannot be read: {str(error).splitlines()[0]}")
            return None


def _splits(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    query = f"SELECT split, {', '.join(COUNTS.values())} FROM exposures GROUP BY 1"
    found = {split: dict(zip(COUNTS, counts, strict=True)) for split, *counts in connection.execute(query).fetchall()}
    return {split: found[split] for split in SPLITS if split in found}


def _carts(connection: duckdb.DuckDBPyConnection, manifest: Manifest, logged: bool) -> Carts | None:
    if {"cart", "purchase", "visit"} & manifest.lacks.keys():
        return None
    timed = "time" not in manifest.lacks
    gather(connection, logged, is_calibrated(manifest))
    local = local_seconds(connection, manifest, ("exposures", "events") if logged else ("exposures",))
    return carts_of(connection, "logged" if logged else "shown", local, timed)
