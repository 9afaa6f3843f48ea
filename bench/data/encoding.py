"""Funnel tables to encoded arrays: ids fitted on the training rows, visits contiguous, histories without leaks.

DuckDB does the joins and the sorts, out of core; numpy writes batches into memory-mapped files. Equal tables and
settings give equal bytes.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from bench.core.cell import digest
from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.calibration import MARKS, is_calibrated, mark_rows
from bench.data.dense import write_dense
from bench.data.encoded import DTYPES, ENCODED_VERSION, META, EncodedField, Meta, create
from bench.data.histories import write_histories
from bench.data.intent import mark_intent
from bench.data.sql import choice, connect, fetch, name, open_tables, stream
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
from bench.data.vocabulary import apply_cross, cross_keys, feature_problems, fit, fit_cross

_CHUNK = 1 << 18
_SQL_TYPES = {"int32": "INTEGER", "int64": "BIGINT", "uint8": "UTINYINT", "float32": "FLOAT"}


class EncodingSettings(BaseModel):
    """Knobs of the encoding. No result depends on ``memory_limit`` and ``threads`` (None: all cores), of DuckDB."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_count: PositiveInt = Field(1, description="training rows that a category needs to get an id")
    bins: PositiveInt = Field(16, le=254, description="most quantile bins of a numeric or dense feature")
    window_days: float | None = Field(None, gt=0, description="Sample Calibration: greatest age of a cart in days")
    memory_limit: str = Field("1GB", exclude=True)
    threads: PositiveInt | None = Field(None, exclude=True)


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
        with connect(scratch, settings.memory_limit, settings.threads) as connection:
            meta = _encode(connection, tables, out, manifest, settings)
    except duckdb.OutOfMemoryException:
        raise UserError(
            f"encoding {tables} must fit into {settings.memory_limit} of memory and the free disk of {out}, "
            "but does not; free disk space or take fewer threads."
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
    fields_of_rows = [feature for feature in manifest.features if feature.kind != "dense"]
    has_dense = len(fields_of_rows) < len(manifest.features)
    items = _index_items(connection) if has_dense else 0

    stops = list(itertools.accumulate(counts[split]["rows"] for split in SPLITS))
    splits = {split: (stop - counts[split]["rows"], stop) for split, stop in zip(SPLITS, stops, strict=True)}
    local = fit(connection, fields_of_rows, settings.min_count, settings.bins)
    row_columns = {
        "exposure": "source.exposure",
        "user": "visits.u",
        "visit": "visits.v",
        **({"item": "item_rows.i"} if has_dense else {}),
        **{f"ids/{feature.name}": local.sql.get(feature.name, "0") for feature in fields_of_rows},
        **{f"labels/{label}": sql for label, sql in _LABEL_SQL.items()},
        **{f"truth/{column}": f"truth.{column}" for column in TRUTH if "truth" in columns},
    }
    joins = [
        *local.joins,
        "LEFT JOIN marked ON marked.exposure = source.exposure",
        "LEFT JOIN intended ON intended.exposure = source.exposure",
    ]
    if has_dense:
        joins.append("JOIN item_rows ON item_rows.item = source.item")
    if "truth" in columns:
        joins.append("LEFT JOIN truth ON truth.exposure = source.exposure")
    _write_rows(connection, out, stops[-1], row_columns, joins)
    fields = _finish_ids(out, fields_of_rows, local.sizes, splits["train"][1], settings.min_count)
    item = next((field for field in fields if field.name == "item"), None)
    events = write_histories(connection, out, item if "events" in columns else None)
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
        checksums={path.name: checksum(path) for path in sorted(out.glob("*.npy"))},
    )


_MARK = {mark: f"coalesce(marked.{mark}, false)" for mark in MARKS}
_COPIED = f"(source.cart = 1 OR {_MARK['taken']})"
_GLOBAL = f"(source.cart = 1 OR {_MARK['elsewhere']})"
_GLOBAL_COPIED = f"({_GLOBAL} OR {_MARK['global_taken']})"
_LABEL_SQL = {label: f"source.{label}" for label in LABELS} | {
    "cart_copy": _COPIED,
    "cart_move": f"{_COPIED} AND NOT {_MARK['given']}",
    "global_none": _GLOBAL,
    "global_copy": _GLOBAL_COPIED,
    "global_move": f"{_GLOBAL_COPIED} AND NOT {_MARK['global_given']}",
    "intent": "intended.exposure IS NOT NULL",
}


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
    """Rows and positive labels of every split."""
    names = ("rows", *LABELS)
    sums = ", ".join(f"sum({label})" for label in LABELS)
    found = connection.execute(f"SELECT split, count(*), {sums} FROM exposures GROUP BY split").fetchall()
    counts = {row[0]: dict(zip(names, map(int, row[1:]), strict=True)) for row in found}
    if not counts or not set(counts).issubset(SPLITS):
        raise UserError(f"exposures must lie in the splits {SPLITS}, but lie in {list(counts)}; mend the source.")
    return {split: counts.get(split, dict.fromkeys(names, 0)) for split in SPLITS}


def _index_visits(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Make the table ``visits`` (visit, user, start in s, dense v and u); returns the numbers of users and visits."""
    connection.execute(
        f"""CREATE TABLE visits AS
            WITH found AS (SELECT split, user, visit, min(time) AS start FROM exposures GROUP BY ALL)
            SELECT visit, user, CAST(start AS BIGINT) AS start,
                   row_number() OVER (ORDER BY {choice(SPLITS, "split")}, user, start, visit) - 1 AS v,
                   dense_rank() OVER (ORDER BY user) - 1 AS u
            FROM found"""
    )
    counts = fetch(connection, "SELECT max(u) + 1 AS users, count(*) AS n, count(DISTINCT visit) AS ids FROM visits")
    if counts["ids"] != counts["n"]:
        raise UserError("a visit must lie in one split and have one user, but some do not; mend the source.")
    return int(counts["users"][0]), int(counts["n"][0])


def _index_items(connection: duckdb.DuckDBPyConnection) -> int:
    """Make the table ``item_rows`` (item, dense i) of the exposed items; returns their number."""
    connection.execute(
        """CREATE TABLE item_rows AS
           SELECT item, row_number() OVER (ORDER BY item) - 1 AS i FROM (SELECT DISTINCT item FROM exposures)"""
    )
    return int(fetch(connection, "SELECT count(*) AS n FROM item_rows")["n"][0])


def _write_rows(
    connection: duckdb.DuckDBPyConnection, out: Path, rows: int, columns: Mapping[str, str], joins: Sequence[str]
) -> None:
    """Write the arrays of rows in their order.

    ``columns`` maps ``array`` (1-d) or ``array/column`` (2-d, in this order) to SQL over ``exposures AS source``,
    ``visits`` and ``joins``.
    """
    groups: dict[str, list[str]] = {}
    for column in columns:
        groups.setdefault(column.partition("/")[0], []).append(column)
    arrays = {
        array: create(out, array, (rows,) if members == [array] else (rows, len(members)))
        for array, members in groups.items()
    }
    selected = ", ".join(
        f"CAST({columns[member]} AS {_SQL_TYPES[DTYPES[array]]}) AS {name(member)}"
        for array, members in groups.items()
        for member in members
    )
    query = f"""SELECT {selected} FROM exposures AS source JOIN visits ON visits.visit = source.visit {" ".join(joins)}
                ORDER BY visits.v, source.position, source.exposure"""
    stop = 0
    for batch in stream(connection, query):
        start, stop = stop, stop + len(batch["exposure"])
        if stop > rows:
            break
        for array, members in groups.items():
            values = [batch[member] for member in members]
            arrays[array][start:stop] = values[0] if members == [array] else np.stack(values, axis=1)
    if stop != rows:
        raise UserError(
            "visits, users, items and truth must have one row per id, but joining them changes the number of "
            "exposures; mend the source."
        )


def _finish_ids(
    out: Path, features: Sequence[Feature], sizes: Mapping[str, int], train: int, min_count: int
) -> list[EncodedField]:
    """Fit and fill the crosses in ``ids``, add the offsets of all fields; ``train``: number of training rows."""
    ids = np.load(out / "ids.npy", mmap_mode="r+")
    index = {feature.name: i for i, feature in enumerate(features)}
    crosses = {
        feature.name: ([index[part] for part in feature.of], [sizes[part] for part in feature.of])
        for feature in features
        if feature.kind == "cross"
    }
    values = {cross: fit_cross(cross_keys(ids[:train, parts], n), min_count) for cross, (parts, n) in crosses.items()}
    all_sizes = [len(values[f.name]) + 1 if f.name in values else sizes[f.name] for f in features]
    offsets = [0, *itertools.accumulate(all_sizes)][:-1]
    for start in range(0, len(ids), _CHUNK):
        chunk = np.array(ids[start : start + _CHUNK])
        for cross, (parts, n) in crosses.items():
            chunk[:, index[cross]] = apply_cross(cross_keys(chunk[:, parts], n), values[cross])
        ids[start : start + _CHUNK] = chunk + np.array(offsets, dtype=np.int32)
    ids.flush()
    return [
        EncodedField(name=feature.name, size=size, offset=offset, ordered=feature.kind == "numeric")
        for feature, size, offset in zip(features, all_sizes, offsets, strict=True)
    ]
