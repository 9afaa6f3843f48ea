"""Vocabularies and quantile bins, fitted on the training rows, as SQL expressions of local ids.

Local id 0 of a field is "unknown or missing". Categories get 1, 2, … in the order of their values, the bins of
a numeric field 1, 2, … from low to high, combinations 1, 2, … in the order of their parts' ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np

from bench.core.errors import UserError
from bench.data.sql import fetch, name
from bench.data.tables import Feature


@dataclass
class LocalIds:
    """The local ids of fields over ``table AS source`` joined by ``joins``.

    ``sql`` maps a field to its expression (never NULL), ``sizes`` to its number of local ids, 0 included.
    """

    sql: dict[str, str] = field(default_factory=dict)
    joins: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)


def fit(connection: duckdb.DuckDBPyConnection, features: Sequence[Feature], min_count: int, bins: int) -> LocalIds:
    """Fit every feature but the crosses; the expressions are over ``exposures AS source``.

    A category needs ``min_count`` training rows; a numeric feature gets at most ``bins`` bins.
    """
    rows = _fit_table(connection, "exposures", features, min_count, bins)
    for table in ("users", "items"):
        fitted, key, ids = _fit_table(connection, table, features, min_count, bins), table[:-1], f"ids_of_{table}"
        if not fitted.sql:
            continue
        columns = "".join(f", {sql} AS {name(feature)}" for feature, sql in fitted.sql.items())
        source = f"SELECT source.{key} AS {name('key of ids')}{columns} FROM {table} AS source {' '.join(fitted.joins)}"
        connection.execute(f"CREATE TABLE {ids} AS {source}")
        rows.joins.append(f"LEFT JOIN {ids} ON {ids}.{name('key of ids')} = source.{key}")
        rows.sql |= {feature: f"coalesce({ids}.{name(feature)}, 0)" for feature in fitted.sql}
        rows.sizes |= fitted.sizes
    return rows


def vocabulary_table(feature: str) -> str:
    """The table (value, id) of a categorical feature."""
    return name(f"vocabulary of {feature}")


def cross_keys(ids: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The combination in each row of local ids [n, parts] as one int64 [n]; -1 where any part is unknown.

    Raises:
        UserError: the combinations do not fit into 63 bits.
    """
    if math.prod(sizes) >= 2**63:
        raise UserError(f"a cross must have fewer than 2^63 combinations, but its fields have {sizes}; cross fewer.")
    key = np.zeros(len(ids), dtype=np.int64)
    for part, size in zip(ids.T, sizes, strict=True):
        key *= size
        key += part
    key[(ids == 0).any(axis=1)] = -1
    return key


def fit_cross(keys: np.ndarray, min_count: int) -> np.ndarray:
    """The sorted combinations that at least ``min_count`` of the training ``keys`` have."""
    values, counts = np.unique(keys, return_counts=True)
    return values[(values >= 0) & (counts >= min_count)]


def apply_cross(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Local ids of ``keys``: 1 + the index in the sorted ``values``, 0 where it is none of them."""
    if not len(values):
        return np.zeros(len(keys), dtype=np.int32)
    index = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    return np.where(values[index] == keys, index + 1, 0).astype(np.int32)


def feature_problems(features: Sequence[Feature], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with a feature list for tables with these ``columns``, one line each."""
    names = [feature.name for feature in features]
    plain = {feature.name for feature in features if feature.kind not in ("cross", "dense")}
    problems = [] if features else ["the feature list must have a feature, but is empty"]
    problems += [f"feature {twice!r} must be listed once" for twice in sorted({n for n in names if names.count(n) > 1})]
    for feature in features:
        if (feature.kind == "cross") != (feature.table == "cross"):
            problems.append(f"feature {feature.name!r} must have both kind and table 'cross', or neither")
        elif feature.kind == "dense" and feature.table not in ("users", "items"):
            problems.append(f"dense feature {feature.name!r} must be a column of users or items, not of exposures")
        elif feature.kind == "cross":
            if len(feature.of) < 2 or not plain.issuperset(feature.of):
                problems.append(f"cross {feature.name!r} must be of two or more other features, but is of {feature.of}")
        elif feature.name not in columns.get(feature.table, ()):
            problems.append(f"{feature.table}.parquet must have the column {feature.name!r} of the feature list")
    if "events" in columns and not any(f.name == "item" and f.kind == "categorical" for f in features):
        problems.append("a log with events must have the categorical feature 'item'")
    return problems


def _fit_table(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Feature], min_count: int, bins: int
) -> LocalIds:
    fitted = LocalIds()
    for feature in features:
        if feature.table == table and feature.kind == "categorical":
            _fit_categorical(connection, fitted, feature, min_count)
        elif feature.table == table:
            _fit_numeric(connection, fitted, feature, bins)
    return fitted


def _fit_categorical(connection: duckdb.DuckDBPyConnection, fitted: LocalIds, feature: Feature, min_count: int) -> None:
    table, value = vocabulary_table(feature.name), f"source.{name(feature.name)}"
    connection.execute(
        f"""CREATE TABLE {table} AS
            SELECT value, CAST(row_number() OVER (ORDER BY value) AS INTEGER) AS id
            FROM (SELECT {value} AS value, sum(train_rows) AS n FROM {_train(feature.table)} GROUP BY 1)
            WHERE value IS NOT NULL AND n >= {min_count}"""
    )
    fitted.sizes[feature.name] = 1 + int(fetch(connection, f"SELECT count(*) AS n FROM {table}")["n"][0])
    fitted.joins.append(f"LEFT JOIN {table} ON {table}.value = {value}")
    fitted.sql[feature.name] = f"coalesce({table}.id, 0)"


def _fit_numeric(connection: duckdb.DuckDBPyConnection, fitted: LocalIds, feature: Feature, bins: int) -> None:
    """Bin k holds edge(k-1) < x <= edge(k); the edges are the distinct k/bins quantiles of the training rows."""
    # DuckDB trusts the column's Parquet statistics, which leave NaN out: isnan is right in a projection only.
    number = f"CAST(source.{name(feature.name)} AS DOUBLE)"
    value = f"CASE WHEN isnan({number}) THEN NULL ELSE {number} END"
    found = fetch(
        connection,
        f"""SELECT {value} AS value, CAST(sum(train_rows) AS DOUBLE) AS n FROM {_train(feature.table)}
            GROUP BY 1 ORDER BY 1""",
    )
    known = ~np.isnan(found["value"])
    edges = quantile_edges(found["value"][known], found["n"][known], bins)
    whens = "".join(f" WHEN {value} <= {edge!r}::DOUBLE THEN {k}" for k, edge in enumerate(edges, start=1))
    fitted.sizes[feature.name] = len(edges) + 2
    fitted.sql[feature.name] = f"CASE WHEN {value} IS NULL THEN 0{whens} ELSE {len(edges) + 1} END"


def quantile_edges(values: np.ndarray, counts: np.ndarray, bins: int) -> list[float]:
    """Upper edges of all bins but the last, from sorted distinct ``values`` and how often each occurs.

    The edge of k/bins is the smallest value that covers that share. Equal edges are one, and an edge at the
    greatest value, which would leave the last bin empty, is dropped.
    """
    if not len(values):
        return []
    covered = np.cumsum(counts)
    edges = np.unique(values[np.searchsorted(covered, covered[-1] * np.arange(1, bins) / bins)])
    return [float(edge) for edge in edges if edge < values[-1]]


def _train(table: str) -> str:
    """SQL: the rows of ``table AS source`` with ``train_rows``, how many training exposures each has."""
    if table == "exposures":
        return "(SELECT *, 1 AS train_rows FROM exposures WHERE split = 'train') AS source"
    key = table[:-1]
    counts = f"SELECT {key}, count(*) AS train_rows FROM exposures WHERE split = 'train' GROUP BY 1"
    return f"{table} AS source JOIN ({counts}) USING ({key})"
