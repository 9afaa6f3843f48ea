"""Funnel tables to encoded arrays: ids fitted on the training rows, visits contiguous, histories without leaks.

DuckDB does the joins and the sorts, out of core; numpy writes batches into memory-mapped files. Equal tables and
settings give equal bytes.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from bench.core.cell import digest
from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.calibration import is_calibrated, mark_rows
from bench.data.dense import number, of_table, write_dense
from bench.data.encoded import ENCODED_VERSION, META, Meta
from bench.data.histories import write_histories
from bench.data.intent import mark_intent
from bench.data.rows import finish_ids, write_rows
from bench.data.sql import choice, connect, fetch, name, open_tables
from bench.data.tables import (
    ACTIONS,
    COLUMNS,
    DOMAINS,
    LABELS,
    SPLITS,
    TRUTH,
    Feature,
    Manifest,
    read_manifest,
    table_path,
)
from bench.data.vocabulary import feature_problems, fit


class EncodingSettings(BaseModel):
    """Knobs of the encoding. No result depends on ``memory_limit`` and ``threads`` (None: all cores), of DuckDB.

    Without a ``memory_limit``, it is 1 GB for each thread, at most 2 GB and half of the machine's memory. Beside it
    the process holds some numbers per visit, one byte per row, and the distinct combinations of crosses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_count: PositiveInt = Field(1, description="training rows that a category needs to get an id")
    bins: PositiveInt = Field(16, le=254, description="most quantile bins of a numeric or dense feature")
    window_days: float | None = Field(None, gt=0, description="Sample Calibration: greatest age of a cart in days")
    memory_limit: str | None = Field(None, exclude=True)
    threads: PositiveInt | None = Field(None, exclude=True)

    def memory(self) -> str:
        """The memory that DuckDB may take before it spills to disk."""
        threads = self.threads or os.cpu_count() or 1
        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2_000_000
        return self.memory_limit or f"{min(1000 * threads, 2000, half)}MB"


def encoding_key(manifest: Manifest, settings: EncodingSettings) -> str:
    """A hash of everything that decides the encoded arrays of these tables."""
    tables = manifest.model_dump(mode="json", include={"version", "dataset", "city", "fingerprint"})
    return digest({"encoding": ENCODED_VERSION, "tables": tables, "settings": settings.model_dump(mode="json")})


def encode(tables: Path, out: Path, settings: EncodingSettings | None = None) -> None:
    """Encode the funnel tables in the folder ``tables`` into the existing empty folder ``out``.

    Raises:
        UserError: a table is missing, damaged, lacks a column, or breaks what its format promises.
    """
    settings = settings or EncodingSettings()
    manifest = read_manifest(tables)
    scratch = out / "scratch"
    scratch.mkdir()
    try:
        with connect(scratch, settings.memory(), settings.threads) as connection:
            meta = _encode(connection, tables, out, manifest, settings)
    except duckdb.OutOfMemoryException:
        raise UserError(
            f"encoding {tables} must fit into {settings.memory()} of memory and the free disk of {out}, "
            "but does not; free disk space or take fewer threads."
        ) from None
    except OSError as error:
        raise UserError(
            f"{out} must take the encoded arrays of {tables}, but: {error.strerror or error}; free disk space."
        ) from None
    except duckdb.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{tables} must hold intact funnel tables, but: {reason}; delete it and run again.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    (out / META).write_text(meta.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _encode(
    connection: duckdb.DuckDBPyConnection, tables: Path, out: Path, manifest: Manifest, settings: EncodingSettings
) -> Meta:
    columns = open_tables(connection, tables)
    _check_columns(tables, columns, manifest.features)
    if "events" not in columns:
        connection.execute(
            "CREATE TABLE events AS SELECT user, item, time, visit, '' AS action, '' AS domain FROM exposures LIMIT 0"
        )
    counts = _split_counts(connection)
    users, visits = _index_visits(connection)
    calibration = mark_rows(connection, settings.window_days, is_calibrated(manifest))
    mark_intent(connection)
    features = [feature for feature in manifest.features if feature.kind != "dense"]
    numbers = of_table(manifest.features, "exposures")
    has_dense = len(features) < len(manifest.features)
    items = _index_items(connection) if has_dense else 0

    stops = list(itertools.accumulate(counts[split]["rows"] for split in SPLITS))
    splits = {split: (stop - counts[split]["rows"], stop) for split, stop in zip(SPLITS, stops, strict=True)}
    local = fit(connection, features, settings.min_count, settings.bins)
    ids = {feature.name: local.sql.get(feature.name, ("0",)) for feature in features}
    row_columns = {
        **{f"ids/{place}/{field}": sql for field, places in ids.items() for place, sql in enumerate(places)},
        **({"item": "item_rows.i"} if has_dense else {}),
        **{f"dense_exposures/{column}": number(f"source.{name(column)}") for column in numbers},
        **{f"truth/{column}": f"truth.{column}" for column in TRUTH if "truth" in columns},
    }
    joins = [
        *local.joins,
        *(["JOIN item_rows ON item_rows.item = source.item"] if has_dense else []),
        *(["LEFT JOIN truth ON truth.exposure = source.exposure"] if "truth" in columns else []),
    ]
    sizes = {
        f"ids/{place}/{field}": local.sizes.get(field, 1)
        for field, places in ids.items()
        for place in range(len(places))
    }
    write_rows(connection, out, stops[-1], row_columns, joins, sizes)
    widths = [len(places) for places in ids.values()]
    fields = finish_ids(out, features, widths, local.sizes, splits["train"][1], settings.min_count)
    item = next(((f, field) for f, field in zip(features, fields, strict=True) if f.name == "item"), None)
    events = write_histories(connection, out, users, item if "events" in columns else None)
    dense = (
        write_dense(connection, out, manifest.features, users, items, splits["train"][1], settings.bins)
        if has_dense
        else []
    )
    return Meta(
        dataset=manifest.dataset,
        city=manifest.city,
        fingerprint=manifest.fingerprint,
        fields=tuple(fields),
        vocabulary=fields[-1].offset + fields[-1].size,
        event_kinds=len(ACTIONS) * len(DOMAINS),
        splits=splits,
        users=users,
        visits=visits,
        events=events,
        counts=counts,
        calibration=calibration,
        has_truth="truth" in columns,
        has_cart=counts["train"]["cart"] > 0,
        lacks=manifest.lacks,
        dense=tuple(dense),
        items=items,
        checksums=_checksums(out, settings.threads or 2),
    )


def _checksums(out: Path, threads: int) -> dict[str, str]:
    """sha256 of every array file."""
    paths = sorted(out.glob("*.npy"))
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip((path.name for path in paths), pool.map(checksum, paths), strict=True))


def _check_columns(tables: Path, columns: Mapping[str, Sequence[str]], features: Sequence[Feature]) -> None:
    for table in ("exposures", *columns):
        missing = [column for column in COLUMNS[table] if column not in columns.get(table, ())]
        if missing:
            raise UserError(
                f"{table_path(tables, table)} must have the columns {', '.join(COLUMNS[table])}, but lacks "
                f"{', '.join(missing)}; delete {tables} and run again."
            )
    for problem in feature_problems(features, columns):
        raise UserError(f"{problem}; mend the source and delete {tables}.")


def _split_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Rows and positive labels of every split.

    Raises:
        UserError: a split is unknown, or the exposures are not numbered from 0 on.
    """
    names = ("rows", *LABELS)
    sums = ", ".join(f"sum({label})" for label in LABELS)
    found = connection.execute(
        f"SELECT split, count(*), {sums}, min(exposure), max(exposure) FROM exposures GROUP BY split"
    ).fetchall()
    counts = {row[0]: dict(zip(names, map(int, row[1:-2]), strict=True)) for row in found}
    if not counts or not set(counts).issubset(SPLITS):
        raise UserError(f"exposures must lie in the splits {SPLITS}, but lie in {list(counts)}; mend the source.")
    rows = sum(count["rows"] for count in counts.values())
    first, last = min(row[-2] for row in found), max(row[-1] for row in found)
    if (first, last) != (0, rows - 1):
        raise UserError(f"exposure must be 0 … {rows - 1} in {rows} rows, but is {first} … {last}; mend the source.")
    return {split: counts.get(split, dict.fromkeys(names, 0)) for split in SPLITS}


def _index_visits(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Make the tables ``members`` (user, dense u) and ``visits`` (visit, u, start in s, dense v); returns their sizes.

    Raises:
        UserError: a visit lies in two splits or has two users, or one or the other is not known.
    """
    split = choice(SPLITS, "split")
    connection.execute(
        f"""CREATE TEMP TABLE found AS
            SELECT visit, min(user) AS user, min(time) AS start, min({split}) AS split,
                   max({split}) <> min({split}) OR max(user) <> min(user) OR count(user) < count(*) AS wrong
            FROM exposures GROUP BY visit"""
    )
    if fetch(connection, "SELECT count(*) AS n FROM found WHERE wrong OR visit IS NULL")["n"][0]:
        raise UserError("a visit must lie in one split and have one user, but some do not; mend the source.")
    connection.execute(
        """CREATE TEMP TABLE members AS
           SELECT user, CAST(row_number() OVER (ORDER BY user) - 1 AS INTEGER) AS u
           FROM (SELECT DISTINCT user FROM found);
           CREATE TEMP TABLE visits AS
           SELECT visit, u, CAST(start AS BIGINT) AS start,
                  CAST(row_number() OVER (ORDER BY split, u, start, visit) - 1 AS INTEGER) AS v
           FROM found JOIN members USING (user);
           DROP TABLE found"""
    )
    counts = fetch(connection, "SELECT count(*) AS n FROM members UNION ALL SELECT count(*) FROM visits")["n"]
    return int(counts[0]), int(counts[1])


def _index_items(connection: duckdb.DuckDBPyConnection) -> int:
    """Make the table ``item_rows`` (item, dense i) of the exposed items; returns their number."""
    connection.execute(
        """CREATE TEMP TABLE item_rows AS
           SELECT item, row_number() OVER (ORDER BY item) - 1 AS i FROM (SELECT DISTINCT item FROM exposures)"""
    )
    return int(fetch(connection, "SELECT count(*) AS n FROM item_rows")["n"][0])
