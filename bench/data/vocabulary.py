"""Vocabularies and quantile bins, fitted on the training rows, as SQL expressions of local ids.

Local id 0 of a field is "unknown or missing". Categories get 1, 2, … in the order of their values, the bins of
a numeric field 1, 2, … from low to high, combinations 1, 2, … in the order of their parts' ids. Of a list column, each
of the first places has an id of its own, from one vocabulary; a place behind the end has 0.

With ``buckets`` nothing is fitted: the local id is 1 + h mod buckets, h being the first 15 hexadecimal digits of the
MD5 of the value's text (UTF-8; an integer in decimal digits), so that it is the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np

from bench.core.errors import UserError
from bench.data.sql import fetch, name
from bench.data.tables import Feature

#: SQL: a column of numbers of training exposures, named as no feature is.
_TRAINED = name("training exposures of a row")


@dataclass
class LocalIds:
    """The local ids of fields over ``table AS source`` joined by ``joins``.

    ``sql`` maps a field to the expressions (never NULL) of its columns, ``sizes`` to its number of local ids, 0
    included.
    """

    sql: dict[str, tuple[str, ...]] = field(default_factory=dict)
    joins: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)


def fit(connection: duckdb.DuckDBPyConnection, features: Sequence[Feature], min_count: int, bins: int) -> LocalIds:
    """Fit every feature but the crosses; the expressions are over ``exposures AS source``.

    A category needs ``min_count`` training rows, where its feature does not say another number; a numeric feature
    gets at most ``bins`` bins.

    Raises:
        UserError: a multi-valued feature is no list column.
    """
    rows = _fit_table(connection, "exposures", features, min_count, bins)
    for table in ("users", "items"):
        fitted, key, ids = _fit_table(connection, table, features, min_count, bins), table[:-1], f"ids_of_{table}"
        if not fitted.sql:
            continue
        places = {f: [name(f"{place} of {f}") for place in range(len(sql))] for f, sql in fitted.sql.items()}
        columns = "".join(
            f", {sql} AS {place}" for f in places for sql, place in zip(fitted.sql[f], places[f], strict=True)
        )
        source = f"SELECT source.{key} AS {name('key of ids')}{columns} FROM {table} AS source {' '.join(fitted.joins)}"
        connection.execute(f"CREATE TEMP TABLE {ids} AS {source}")
        rows.joins.append(f"LEFT JOIN {ids} ON {ids}.{name('key of ids')} = source.{key}")
        rows.sql |= {f: tuple(f"coalesce({ids}.{place}, 0)" for place in places[f]) for f in places}
        rows.sizes |= fitted.sizes
    return rows


def lookup(feature: Feature, value: str) -> tuple[list[str], str]:
    """Joins and the expression of the local id of ``value`` (SQL) among the categories of a feature, fitted before."""
    if feature.buckets:
        return [], bucket(value, feature.buckets)
    vocabulary = _vocabulary(feature)
    return [f"LEFT JOIN {vocabulary} ON {vocabulary}.value = {value}"], f"coalesce({vocabulary}.id, 0)"


def bucket(value: str, buckets: int) -> str:
    """SQL: the local id of ``value`` (SQL) among ``buckets`` by its hash."""
    return f"coalesce(1 + CAST('0x' || md5(CAST({value} AS VARCHAR))[:15] AS BIGINT) % {buckets}, 0)"


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


def fit_cross(parts: Iterable[np.ndarray], min_count: int) -> np.ndarray:
    """The sorted combinations that at least ``min_count`` of the training keys, which come in parts, have."""
    values, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for keys in parts:
        found, times = np.unique(keys[keys >= 0], return_counts=True)
        values, place = np.unique(np.concatenate((values, found)), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate((counts, times)))
    return values[counts >= min_count]


def apply_cross(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Local ids of ``keys``: 1 + the index in the sorted ``values``, 0 where it is none of them."""
    if not len(values):
        return np.zeros(len(keys), dtype=np.int32)
    index = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    return np.where(values[index] == keys, index + 1, 0).astype(np.int32)


def feature_problems(features: Sequence[Feature], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with a feature list for tables with these ``columns``, one line each."""
    names = [feature.name for feature in features]
    plain = {feature.name for feature in features if feature.kind not in ("cross", "dense", "multi")}
    multi = {feature.name for feature in features if feature.kind == "multi"}
    problems = [] if features else ["the feature list must have a feature, but is empty"]
    problems += [f"feature {twice!r} must be listed once" for twice in sorted({n for n in names if names.count(n) > 1})]
    for feature in features:
        if (feature.kind == "cross") != (feature.table == "cross"):
            problems.append(f"feature {feature.name!r} must have both kind and table 'cross', or neither")
        elif feature.kind == "cross" and multi.intersection(feature.of):
            part = min(multi.intersection(feature.of))
            problems.append(f"cross {feature.name!r} must be of single-valued features, but {part!r} is multi-valued")
        elif feature.kind == "cross":
            if len(feature.of) < 2 or not plain.issuperset(feature.of):
                problems.append(f"cross {feature.name!r} must be of two or more other features, but is of {feature.of}")
        elif feature.name not in columns.get(feature.table, ()):
            problems.append(f"{feature.table}.parquet must have the column {feature.name!r} of the feature list")
        if feature.buckets and feature.kind not in ("categorical", "multi"):
            problems.append(f"{feature.kind} feature {feature.name!r} must have no buckets: only categories are hashed")
        if feature.buckets and feature.min_count:
            problems.append(f"feature {feature.name!r} must have buckets or min_count, but has both")
        if feature.min_count and feature.kind in ("numeric", "dense"):
            problems.append(f"{feature.kind} feature {feature.name!r} must have no min_count: it has no categories")
    if "events" in columns and not any(f.name == "item" and f.kind == "categorical" for f in features):
        problems.append("a log with events must have the categorical feature 'item'")
    return problems


def _fit_table(
    connection: duckdb.DuckDBPyConnection, table: str, features: Sequence[Feature], min_count: int, bins: int
) -> LocalIds:
    fitted = LocalIds()
    for feature in features:
        if feature.table != table:
            continue
        if feature.kind == "categorical":
            _fit_categorical(connection, fitted, feature, min_count)
        elif feature.kind == "multi":
            _fit_multi(connection, fitted, feature, min_count)
        else:
            _fit_numeric(connection, fitted, feature, bins)
    return fitted


def _fit_categorical(connection: duckdb.DuckDBPyConnection, fitted: LocalIds, feature: Feature, min_count: int) -> None:
    value = f"source.{name(feature.name)}"
    counted = f"SELECT {value} AS value, sum({_TRAINED}) AS n FROM {_train(feature.table)} GROUP BY 1"
    fitted.sizes[feature.name] = _fit_values(connection, feature, counted, min_count)
    joins, sql = lookup(feature, value)
    fitted.joins += joins
    fitted.sql[feature.name] = (sql,)


def _fit_multi(connection: duckdb.DuckDBPyConnection, fitted: LocalIds, feature: Feature, min_count: int) -> None:
    """The ids of the first places of a list; a row counts once for a category, however often its list has it."""
    column = f"source.{name(feature.name)}"
    kind = connection.sql(f"SELECT {column} FROM {feature.table} AS source LIMIT 0").types[0]
    if kind.id != "list":
        raise UserError(
            f"{feature.table}.parquet: {feature.name} must be a list, as multi-valued features are, but is {kind}; "
            "mend the source, or make it a categorical feature."
        )
    read = f"{column}[:{feature.most}]"
    values = f"SELECT unnest(list_distinct({read})) AS value, {_TRAINED} FROM {_train(feature.table)}"
    counted = f"SELECT value, sum({_TRAINED}) AS n FROM ({values}) GROUP BY 1"
    fitted.sizes[feature.name] = _fit_values(connection, feature, counted, min_count)
    lists = name(f"lists of {feature.name}")
    joins, sql = lookup(feature, "places.value")
    connection.execute(
        f"""CREATE TEMP TABLE {lists} AS
            WITH found AS (SELECT value, row_number() OVER () AS n
                           FROM (SELECT DISTINCT {read} AS value FROM {feature.table} AS source)),
            places AS (SELECT n, unnest(value) AS value, generate_subscripts(value, 1) AS place FROM found),
            ids AS (SELECT n, list({sql} ORDER BY place) AS ids FROM places {" ".join(joins)} GROUP BY n)
            SELECT value, ids FROM found JOIN ids USING (n)"""
    )
    fitted.joins.append(f"LEFT JOIN {lists} ON {lists}.value = {read}")
    fitted.sql[feature.name] = tuple(f"coalesce({lists}.ids[{place}], 0)" for place in range(1, feature.most + 1))


def _fit_values(connection: duckdb.DuckDBPyConnection, feature: Feature, counted: str, min_count: int) -> int:
    """Give ids to the values of ``counted`` (SQL: value, n) that are frequent enough; the number of local ids."""
    if feature.buckets:
        return 1 + feature.buckets
    connection.execute(
        f"""CREATE TEMP TABLE {_vocabulary(feature)} AS
            SELECT value, CAST(row_number() OVER (ORDER BY value) AS INTEGER) AS id
            FROM ({counted}) WHERE value IS NOT NULL AND n >= {feature.min_count or min_count}"""
    )
    return 1 + int(fetch(connection, f"SELECT count(*) AS n FROM {_vocabulary(feature)}")["n"][0])


def _vocabulary(feature: Feature) -> str:
    """The table (value, id) of a feature's categories."""
    return name(f"vocabulary of {feature.name}")


def _fit_numeric(connection: duckdb.DuckDBPyConnection, fitted: LocalIds, feature: Feature, bins: int) -> None:
    """Bin k holds edge(k-1) < x <= edge(k); the edges are the distinct k/bins quantiles of the training rows."""
    # DuckDB trusts the column's Parquet statistics, which leave NaN out: isnan is right in a projection only.
    number = f"CAST(source.{name(feature.name)} AS DOUBLE)"
    value = f"CASE WHEN isnan({number}) THEN NULL ELSE {number} END"
    found = fetch(
        connection,
        f"""SELECT {value} AS value, CAST(sum({_TRAINED}) AS DOUBLE) AS n FROM {_train(feature.table)}
            GROUP BY 1 ORDER BY 1""",
    )
    known = ~np.isnan(found["value"])
    edges = quantile_edges(found["value"][known], found["n"][known], bins)
    whens = "".join(f" WHEN {value} <= '{edge!r}'::DOUBLE THEN {k}" for k, edge in enumerate(edges, start=1))
    fitted.sizes[feature.name] = len(edges) + 2
    fitted.sql[feature.name] = (f"CASE WHEN {value} IS NULL THEN 0{whens} ELSE {len(edges) + 1} END",)


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
    """SQL: the rows of ``table AS source`` with the number of training exposures of each."""
    if table == "exposures":
        return f"(SELECT *, 1 AS {_TRAINED} FROM exposures WHERE split = 'train') AS source"
    key = table[:-1]
    counts = f"SELECT {key}, count(*) AS {_TRAINED} FROM exposures WHERE split = 'train' GROUP BY 1"
    return f"{table} AS source JOIN ({counts}) USING ({key})"
