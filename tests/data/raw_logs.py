"""Raw relations of a small log as funnel tables, and these as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
from logs_by_hand import Row

from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules, Splits
from bench.data.sql import connect
from bench.data.tables import Feature, Manifest

DAY = 86_400
START = 1_711_584_000  # 2024-03-28: Berlin's clocks change on the 31st
SPLITS = Splits(valid_from=date(2024, 3, 31), test_from=date(2024, 4, 2))
FEATURES = tuple(Feature(name=name, table="exposures") for name in ("user", "item", "brand", "hour"))
TYPES = {
    "user": "BIGINT",
    "item": "BIGINT",
    "time": "BIGINT",
    "action": "VARCHAR",
    "visit": "VARCHAR",
    "brand": "VARCHAR",
}
BERLIN = "Europe/Berlin"


def put(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: Sequence[Row], types: dict[str, str] = TYPES
) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    connection.execute(f"CREATE TABLE {relation} ({columns})")
    if rows:
        marks = ", ".join("?" for _ in types)
        connection.executemany(
            f"INSERT INTO {relation} VALUES ({marks})", [[row[name] for name in types] for row in rows]
        )


def tables(
    folder: Path,
    rules: Rules,
    features: Sequence[Feature] = FEATURES,
    **relations: tuple[Sequence[Row], dict[str, str]],
) -> Manifest:
    """Funnel tables of raw relations in ``folder``."""
    (folder / "scratch").mkdir(parents=True)
    with connect(folder / "scratch") as connection:
        for relation, (rows, types) in relations.items():
            put(connection, relation, rows, types)
        return write_funnel(connection, Log("log", "all", "0" * 32, tuple(features), rules), folder)


def read(folder: Path, table: str) -> list[Row]:
    found = duckdb.sql(f"FROM '{folder / table}.parquet'")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
