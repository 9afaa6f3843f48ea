"""DuckDB over funnel tables: one view per Parquet file, quoting, and results as numpy batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from bench.core.errors import UserError
from bench.data.tables import TABLES, table_path


def name(identifier: str) -> str:
    """``identifier`` quoted for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str | Path) -> str:
    """``value`` as an SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def choice(values: tuple[str, ...], column: str) -> str:
    """SQL: the position of ``column`` in ``values``, from 0; NULL where it is none of them."""
    return f"CASE {column} " + " ".join(f"WHEN {text(value)} THEN {i}" for i, value in enumerate(values)) + " END"


def connect(scratch: Path, memory_limit: str = "1GB", threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A database file in ``scratch`` that spills to ``scratch`` beyond ``memory_limit``."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "temp_directory": str(scratch / "spill"),
        "autoinstall_known_extensions": False,
    }
    if threads is not None:
        config["threads"] = threads
    connection = duckdb.connect(str(scratch / "work.duckdb"), config=config)
    connection.execute("SET enable_progress_bar = false")
    return connection


def open_tables(connection: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, list[str]]:
    """Make a view of every table that lies in ``folder``; returns the column names of each.

    Raises:
        duckdb.Error: a file is not Parquet, or is truncated.
    """
    columns = {}
    for table in TABLES:
        path = table_path(folder, table)
        if path.exists():
            connection.execute(f"CREATE VIEW {table} AS FROM read_parquet({text(path)})")
            columns[table] = connection.sql(f"FROM {table} LIMIT 0").columns
    return columns


def stream(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, np.ndarray]]:
    """The result of ``query`` in batches: column name to 1-d array.

    Raises:
        UserError: a value is NULL.
    """
    with pa.RecordBatchReader.from_stream(connection.sql(query)) as reader:
        for batch in reader:
            for column, array in zip(batch.schema.names, batch.columns, strict=True):
                if array.null_count:
                    raise UserError(
                        f"funnel tables must have a known {column} in every row, but {array.null_count} rows have not; "
                        "mend the source and run again."
                    )
            yield {column: batch[column].to_numpy(zero_copy_only=False) for column in batch.schema.names}


def fetch(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, np.ndarray]:
    """The whole result of ``query``: column name to 1-d array."""
    table = connection.sql(query).to_arrow_table()
    return {column: table[column].to_numpy() for column in table.column_names}
