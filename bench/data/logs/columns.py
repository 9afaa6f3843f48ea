"""Columns of a log's files as columns of raw relations, in SQL that stops at the first value that is wrong."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb

from bench.core.errors import UserError
from bench.data.logs.reading import Relation, refuse
from bench.data.logs.spec import Actions, FeatureSpec, Times
from bench.data.sql import name, text

#: Times before and after are none of a log: a wrong unit, most likely.
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1990, 2100))
_SAMPLE = 10_000
#: Share of the sample that tells how times are written; others are then told with their line.
_NEARLY_ALL = 0.9
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
#: A text that ends with an offset from UTC.
_OFFSET = r":\d{2}(\.\d+)?\s?(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"
_NUMBER = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"
_NUMBERS = ("INT", "FLOAT", "DOUBLE", "DECIMAL", "REAL")
_FLOATS = ("FLOAT", "DOUBLE")


def time_sql(
    connection: duckdb.DuckDBPyConnection, relation: Relation, column: str, times: Times, zone: str | None
) -> str:
    """SQL: a column of times as whole seconds since the epoch.

    Raises:
        UserError: the times have no offset and the specification no time zone; or they are of mixed kinds, or none.
    """
    kind, raw = relation.columns[column], name(column)
    shown = f"CAST({raw} AS VARCHAR)"
    checked = functools.partial(_checked, relation, column, shown)
    unit: str = times.unit
    if times.format is not None:
        if times.format.count("%z") == 0:
            _require_zone(relation, column, zone, "their format has no %z")
        parsed = f"epoch(CAST(try_strptime({shown}, {text(times.format)}) AS TIMESTAMPTZ))"
        return checked(parsed, f"be a time of the format {times.format}")
    if unit == "yyyymmdd":
        parsed = f"epoch(CAST(try_strptime({shown}, '%Y%m%d') AS TIMESTAMPTZ))"
        return checked(parsed, "be a day of the form yyyymmdd")
    if kind == "TIMESTAMP WITH TIME ZONE":
        return checked(f"epoch({raw})", "be a time")
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        if kind != "DATE":
            _require_zone(relation, column, zone, f"their type is {kind}")
        return checked(f"epoch(CAST({raw} AS TIMESTAMPTZ))", "be a time")
    sample = f"(SELECT {shown} AS x FROM {relation.sql} WHERE {raw} IS NOT NULL LIMIT {_SAMPLE})"
    if unit == "auto" and (kind.startswith(_NUMBERS) or kind.startswith("U")):
        unit = _magnitude(connection, sample)
    elif unit == "auto":
        query = f"SELECT count(*), coalesce(count_if(regexp_matches(x, '{_NUMBER}')), 0) FROM {sample}"
        rows, numbers = connection.execute(query).fetchall()[0]
        unit = _magnitude(connection, sample) if rows and numbers >= _NEARLY_ALL * rows else "text"
    if unit in _PER_SECOND:
        # A fraction is cut off, not rounded.
        number, cut = f"TRY_CAST({raw} AS BIGINT)", f"TRY_CAST(floor(TRY_CAST({raw} AS DECIMAL(38, 9))) AS BIGINT)"
        if kind in _FLOATS:
            number = f"TRY_CAST(floor({raw}) AS BIGINT)"
        elif "INT" not in kind:
            number = f"CASE WHEN contains({shown}, '.') THEN {cut} ELSE {number} END"
        per = _PER_SECOND[unit]
        return checked(number if per == 1 else f"{number} // {per}", f"be a time in {unit} since 1970")
    query = f"SELECT count(*), coalesce(count_if(regexp_matches(x, '{_OFFSET}')), 0), min(x) FROM {sample}"
    rows, offset, example = connection.execute(query).fetchall()[0]
    if not rows:
        raise UserError(f"{relation.title}: column {column!r} must have times, but is empty; name another one.")
    if offset < _NEARLY_ALL * rows:
        if offset > (1 - _NEARLY_ALL) * rows:
            raise UserError(
                f"{relation.title}: times of {column!r} must all have an offset from UTC or none, but {offset} of the "
                f"first {rows} have one; make them alike."
            )
        _require_zone(relation, column, zone, f"they look like {example!r}")
        parsed = f"CASE WHEN NOT regexp_matches({shown}, '{_OFFSET}') THEN epoch(TRY_CAST({shown} AS TIMESTAMPTZ)) END"
        return checked(parsed, "be a time without an offset, as most are")
    parsed = f"CASE WHEN regexp_matches({shown}, '{_OFFSET}') THEN epoch(TRY_CAST({shown} AS TIMESTAMPTZ)) END"
    return checked(parsed, "be a time with an offset from UTC, as most are")


def id_type(places: Sequence[tuple[Relation, str]]) -> str:
    """BIGINT where all files have integers, else text: ids of several files must be comparable.

    A column of floats counts as integers, which pandas writes so where some are missing.
    """
    integers = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", *_FLOATS)
    return "BIGINT" if all(relation.columns.get(column) in integers for relation, column in places) else "VARCHAR"


def id_sql(relation: Relation, column: str, wanted: str) -> str:
    """SQL: ids as the type ``wanted``, BIGINT or VARCHAR: the float 7.0 is 7."""
    raw = name(column)
    if relation.columns[column] not in _FLOATS:
        return f"CAST({raw} AS {wanted})"
    stop = refuse(relation, column, "be an id: a whole number or a text", f"CAST({raw} AS VARCHAR)")
    whole = f"abs({raw}) < {2**53} AND {raw} = floor({raw})"
    return (
        f"CASE WHEN {raw} IS NULL OR isnan({raw}) THEN NULL WHEN {whole} THEN CAST(CAST({raw} AS BIGINT) AS {wanted}) "
        f"ELSE {stop} END"
    )


def action_sql(relation: Relation, column: str, actions: Actions) -> str:
    """SQL: what a value of the action column means; NULL where it is to be ignored."""
    shown = f"CAST({name(column)} AS VARCHAR)"
    whens = "".join(
        f" WHEN {text(value)} THEN {'NULL' if action == 'ignore' else text(action)}"
        for value, action in actions.meanings.items()
    )
    listed = ", ".join(actions.meanings)
    stop = refuse(relation, column, f"be one of the values under [actions] ({listed}; list others under ignore)", shown)
    return f"CASE {shown}{whens} ELSE {stop} END"


def label_sql(relation: Relation, column: str) -> str:
    """SQL: a label as 0 or 1; missing is 0."""
    shown = f"CAST({name(column)} AS VARCHAR)"
    stop = refuse(relation, column, "be 0 or 1", shown)
    return (
        f"CASE WHEN {shown} IS NULL OR lower({shown}) IN ('0', '0.0', 'false', 'f') THEN 0::UTINYINT "
        f"WHEN lower({shown}) IN ('1', '1.0', 'true', 't') THEN 1::UTINYINT ELSE {stop} END"
    )


def split_sql(relation: Relation, column: str) -> str:
    """SQL: the split of a row."""
    shown = f"CAST({name(column)} AS VARCHAR)"
    rule = refuse(relation, column, "be train, valid or test", shown)
    return f"CASE WHEN {shown} IN ('train', 'valid', 'test') THEN {shown} ELSE {rule} END"


def feature_sql(feature: FeatureSpec, relation: Relation) -> str:
    """SQL: a column as its kind of feature needs it.

    Raises:
        UserError: a ``multi`` feature is neither a list nor has a separator, or another one is a list.
    """
    column = name(feature.column)
    kind = relation.columns[feature.column]
    if kind.endswith("]") and feature.kind != "multi":
        raise UserError(
            f"{relation.title}: column {feature.column!r} of kind {feature.kind} must be one value, but is {kind}; "
            "give its feature the kind multi."
        )
    if feature.kind in ("numeric", "dense"):
        shown = f"CAST({column} AS VARCHAR)"
        infinite = refuse(relation, feature.column, "be a finite number", shown)
        if kind.startswith((*_NUMBERS, "U", "BOOL")):
            return f"CASE WHEN isinf(CAST({column} AS DOUBLE)) THEN {infinite} ELSE CAST({column} AS DOUBLE) END"
        number, no_number = f"TRY_CAST({shown} AS DOUBLE)", refuse(relation, feature.column, "be a number", shown)
        return (
            f"CASE WHEN {number} IS NULL AND {shown} IS NOT NULL THEN {no_number} WHEN isinf({number}) THEN {infinite} "
            f"ELSE {number} END"
        )
    if feature.kind == "multi":
        if kind.endswith("]"):
            return f"CAST({column} AS VARCHAR[])"
        if feature.separator is None:
            raise UserError(
                f"{relation.title}: column {feature.column!r} of kind multi must be a list or have a separator, but is "
                f"{kind}; give its feature a separator."
            )
        return f"list_filter(string_split(CAST({column} AS VARCHAR), {text(feature.separator)}), lambda x: x <> '')"
    return column


def _checked(relation: Relation, column: str, shown: str, seconds: str, rule: str) -> str:
    """SQL: ``seconds`` as whole ones, where they are of a log's years; missing where the column is."""
    number = f"CAST(floor({seconds}) AS BIGINT)"
    stop = refuse(relation, column, f"{rule}, of 1990 to 2099 (see time.unit, time.format)", shown)
    return (
        f"CASE WHEN {shown} IS NULL THEN NULL WHEN {seconds} >= {FIRST} AND {seconds} < {LAST} THEN {number} "
        f"ELSE {stop} END"
    )


def _magnitude(connection: duckdb.DuckDBPyConnection, sample: str) -> str:
    """The unit in which the largest number ``x`` of a sample is a time of our days."""
    largest = connection.execute(f"SELECT max(abs(TRY_CAST(x AS DOUBLE))) FROM {sample}").fetchall()[0][0] or 0.0
    return next((unit for unit, per in _PER_SECOND.items() if largest < LAST * per), "ns")


def _require_zone(relation: Relation, column: str, zone: str | None, found: str) -> None:
    if zone is None:
        raise UserError(
            f"{relation.title}: times of {column!r} must have an offset from UTC or the specification a time_zone, but "
            f'{found}; add time_zone = "UTC" or the zone that they were written in.'
        )
