"""How fast a log is made ready for training: ``python benchmarks/importing.py [ROWS [ROWS ...]]``.

An event log in the layout of a shop (view, cart, purchase; Parquet) of each number of rows is imported (visits by 30
minutes of inactivity), calibrated and encoded with DuckDB and numpy, on all cores, in a process of its own whose peak
memory is that of the operating system's count. Equal rows/s at every size is linear growth.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import duckdb
from machine import line
from rich.console import Console
from rich.table import Table

from bench.data.encoding import EncodingSettings, encode
from bench.data.logs.importing import import_log
from bench.data.logs.spec import Spec

#: The aims: rows per second from raw file to arrays, and resident memory.
ROWS_PER_SECOND, GIGABYTES = 300_000, 8.0

SPEC = Spec.model_validate(
    {
        "name": "shop",
        "shape": "events",
        "files": ["log.parquet"],
        "columns": {"user": "user_id", "item": "product_id", "time": "event_time", "action": "event_type"},
        "actions": {"view": ["view"], "cart": ["cart"], "purchase": ["purchase"]},
        "features": [
            {"column": "category_id"},
            {"column": "brand"},
            {"column": "price", "kind": "numeric"},
        ],
    }
)

#: Visits of one to eleven views; 6 % of the views are carted and half of the carts bought, some in the next visit.
_LOG = """
COPY (
    WITH visits AS (
        SELECT i AS visit, CAST(hash(i, 1) % {users} AS BIGINT) AS user, 1 + hash(i, 3) % 11 AS views,
               1569888000 + CAST(hash(i, 2) % (31 * 86400) AS BIGINT) AS start
        FROM range({visits}) AS numbers(i)
    ), views AS (
        SELECT user, start + k * 45 + CAST(hash(visit, k) % 40 AS BIGINT) AS time, hash(visit, k, 7) AS h,
               CAST(floor(pow(hash(visit, k, 8) % 100003 / 100003.0, 3) * 200000) AS BIGINT) AS item
        FROM visits, range(11) AS numbers(k) WHERE k < views
    ), events AS (
        SELECT user, item, time, 'view' AS action FROM views
        UNION ALL
        SELECT user, item, time + 5, 'cart' FROM views WHERE h % 100 < 6
        UNION ALL
        SELECT user, item, time + CASE WHEN h % 4 = 0 THEN 86400 ELSE 9 END, 'purchase' FROM views WHERE h % 100 < 3
    )
    SELECT 500000000 + user AS user_id, 1000000 + item AS product_id, time AS event_time, action AS event_type,
           item % 1000 AS category_id, 'brand' || item % 5000 AS brand, item * 7 % 50000 / 100.0 AS price
    FROM events ORDER BY time
) TO '{path}' (FORMAT parquet)"""


class Measured(NamedTuple):
    """Rows of the log, exposures, seconds of both steps, and peak resident memory in GB."""

    rows: int
    exposures: int
    importing: float
    encoding: float
    memory: float


def measure(folder: Path, rows: int) -> Measured:
    """Import and encode a log of about ``rows`` rows."""
    visits = max(100, round(rows / 6.54))
    with duckdb.connect(config={"temp_directory": str(folder / "spill"), "memory_limit": "4GB"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(_LOG.format(users=max(10, rows // 25), visits=visits, path=folder / "log.parquet"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (folder,))


def _run(folder: Path) -> Measured:
    tables, arrays = folder / "tables", folder / "arrays"
    tables.mkdir()
    arrays.mkdir()
    start = time.perf_counter()
    manifest = import_log(SPEC, tables, root=folder)
    middle = time.perf_counter()
    encode(tables, arrays, EncodingSettings())
    stop = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    counts = manifest.counts
    return Measured(counts["raw_events"], counts["exposures"], middle - start, stop - middle, memory)


def main(*sizes: int) -> None:
    found = []
    for rows in sizes or (2_000_000, 20_000_000):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(Path(folder), rows))
    printed = Table(
        "event rows", "exposures", "import, s", "encode, s", "rows/s", f"of {ROWS_PER_SECOND:,}", "s per row to first",
        "peak memory, GB", f"of {GIGABYTES:g}",
    )  # fmt: skip
    for each in found:
        seconds = each.importing + each.encoding
        speed = each.rows / seconds
        first = found[0].rows / (found[0].importing + found[0].encoding)
        printed.add_row(
            f"{each.rows:,}", f"{each.exposures:,}", f"{each.importing:.1f}", f"{each.encoding:.1f}", f"{speed:,.0f}",
            f"{speed / ROWS_PER_SECOND:.2f} ×", f"{first / speed:.2f} ×", f"{each.memory:.1f}",
            f"{each.memory / GIGABYTES:.2f} ×",
        )  # fmt: skip
    console = Console(width=120)
    console.print(printed)
    console.print("Checksum of the raw file, visits, labels, Parquet tables, Sample Calibration, vocabularies, arrays.")
    console.print(line("duckdb", "numpy", "pyarrow"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
