"""The first rows of a log's files, and what each column holds: what a proposed specification is guessed from."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bench.core.errors import UserError
from bench.data.logs.reading import Relation, explained, find, format_of
from bench.data.logs.spec import Files
from bench.data.sql import name, text

#: Rows and files that are looked at.
ROWS, FILES = 200_000, 8
#: Values of a column that are kept with their counts.
_TOP = 40
_INTEGER, _FRACTION = r"^-?\d+$", r"^-?\d*\.\d+([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Profile:
    """A column in some rows: SQL type; rows with a value; number of values; the frequent ones with their counts.

    ``integers``, ``numbers``: every value is one. ``low``, ``high``: of numbers.
    """

    name: str
    kind: str
    rows: int
    filled: int
    distinct: int
    integers: bool
    numbers: bool
    low: float
    high: float
    top: tuple[tuple[str, int], ...]

    @property
    def values(self) -> set[str]:
        """The frequent values."""
        return {value for value, _ in self.top}


class Sample(Relation):
    """The first rows of some files as the table ``sample``; ``whole``: these are all rows.

    Raises:
        UserError: there is no file, one cannot be read, or they have different columns.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, spec: Files, root: Path) -> None:
        super().__init__(connection, spec, root)
        step = max(1, len(self.paths) / FILES)
        chosen = [self.paths[int(i * step)] for i in range(min(len(self.paths), FILES))]
        self.connection = connection
        self.whole = len(chosen) == len(self.paths)
        each = max(1, ROWS // len(chosen))
        for i, path in enumerate(chosen):
            one = Relation(connection, spec.model_copy(update={"files": (glob.escape(str(path.absolute())),)}), root)
            with explained(one):
                into = "INSERT INTO sample" if i else "CREATE TEMP TABLE sample AS"
                connection.execute(f"{into} FROM {one.sql} LIMIT {each}")
                self.whole &= not connection.execute(f"FROM {one.sql} LIMIT 1 OFFSET {each}").fetchall()
        self.sql = "sample"
        self.rows: int = connection.execute("SELECT count(*) FROM sample").fetchall()[0][0]
        if not self.rows:
            raise UserError(f"{self.title} must have rows, but has none; name the files of the log.")

    def profile(self, column: str, where: str = "true") -> Profile:
        """What ``column`` holds in the rows ``where``."""
        values = f"(SELECT CAST({name(column)} AS VARCHAR) AS x FROM sample WHERE {where})"
        counted = self.connection.execute(
            "SELECT count(*), count(x), count(DISTINCT x), "
            f"coalesce(bool_and(regexp_matches(x, '{_INTEGER}')), false), "
            "coalesce(bool_and(isfinite(TRY_CAST(x AS DOUBLE)) IS TRUE), false), min(TRY_CAST(x AS DOUBLE)), "
            f"max(TRY_CAST(x AS DOUBLE)) FROM {values}"
        ).fetchall()[0]
        top = self.connection.execute(
            f"SELECT x, count(*) FROM {values} WHERE x IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_TOP}"
        ).fetchall()
        rows, filled, distinct, integers, numbers, low, high = counted
        kind = self.columns[column]
        return Profile(column, kind, rows, filled, distinct, integers, numbers, low or 0.0, high or 0.0, tuple(top))

    def has_fractions(self, column: str) -> bool:
        """Whether some value is written with a decimal point."""
        query = f"SELECT bool_or(regexp_matches(CAST({name(column)} AS VARCHAR), '{_FRACTION}')) FROM sample"
        return bool(self.connection.execute(query).fetchall()[0][0])

    def separator(self, column: str) -> str | None:
        """What separates the categories in a text column, if its values are lists of fewer categories."""
        shown = f"CAST({name(column)} AS VARCHAR)"
        for separator in ("|", ",", ";"):
            query = (
                f"SELECT count_if(contains({shown}, {text(separator)})) / count({shown}), count(DISTINCT {shown}), "
                f"(SELECT count(DISTINCT part) FROM (SELECT unnest(string_split({shown}, {text(separator)})) AS part "
                f"FROM sample)) FROM sample"
            )
            share, values, parts = self.connection.execute(query).fetchall()[0]
            if share is not None and share >= 0.2 and parts < values:
                return separator
        return None

    def listed(self, column: str) -> bool:
        """Whether the values are lists: of Parquet, or JSON's."""
        if self.format != "json":
            return self.columns[column].endswith("[]")
        query = f"SELECT bool_and({name(column)} LIKE '[%]') FROM sample"
        return bool(self.connection.execute(query).fetchall()[0][0])

    def nested(self, column: str) -> bool:
        """Whether the values are records."""
        if self.columns[column].startswith(("STRUCT", "MAP", "UNION", "JSON")):
            return True
        query = f"SELECT bool_and(CAST({name(column)} AS VARCHAR) LIKE '{{%}}') FROM sample"
        return self.format == "json" and bool(self.connection.execute(query).fetchall()[0][0])

    def only_where(self, column: str, label: str) -> bool:
        """Whether ``column`` differs from its most frequent value only in rows where the label column is 1.

        Not so where that may be chance: fewer than 1 in 1000 times, if it had nothing to do with the label.
        """
        shown, hit = f"coalesce(CAST({name(column)} AS VARCHAR), '')", hit_sql(label)
        usual = f"(SELECT mode({shown}) FROM sample)"
        query = (
            f"SELECT avg(CAST({hit} AS INTEGER)), count_if({shown} <> {usual} AND {hit}), "
            f"count_if({shown} <> {usual} AND NOT {hit}) FROM sample"
        )
        share, inside, outside = self.connection.execute(query).fetchall()[0]
        return not outside and share**inside < 1e-3


def hit_sql(label: str) -> str:
    """SQL: a label column is 1."""
    return f"(coalesce(lower(CAST({name(label)} AS VARCHAR)), '0') IN ('1', '1.0', 'true', 't'))"


def sniffed(connection: duckdb.DuckDBPyConnection, files: Sequence[str], root: Path) -> Files:
    """How the files are written: delimiter and header of CSV, as DuckDB sniffs them in the first one.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    paths = find(files, root)
    if format_of(paths) != "csv":
        return Files(files=tuple(files))
    try:
        found = connection.execute(
            f"SELECT Delimiter, HasHeader, list_transform(Columns, lambda c: c.name) FROM sniff_csv({text(paths[0])})"
        ).fetchall()[0]
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{paths[0]} must be readable CSV, but: {reason}; name the files of the log.") from None
    delimiter, header, names = found
    return Files(files=tuple(files), delimiter=delimiter, header=header, names=() if header else tuple(names))
