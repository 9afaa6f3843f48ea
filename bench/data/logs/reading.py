"""Files of a log as DuckDB relations: Parquet, CSV and JSON lines, plain or compressed; what is wrong by file and line.

Columns of CSV and JSON lines are read as texts, so that 007 is not 7; those of Parquet have the types of the files: the
wider one where they differ (a text, where one file has numbers and another texts). An empty text is missing.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bench.core.errors import UserError
from bench.data.logs.spec import Files
from bench.data.sql import name, text

_FORMATS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_FORMATS |= {".parquet": "parquet", ".pq": "parquet"}
_COMPRESSED = (".gz", ".zst")
#: Marks the errors that :func:`refuse` raises inside a query.
_MARK = "bench-refuses"
_SEPARATOR = "\x1f"


class Relation:
    """The files of one table.

    ``columns``: SQL type by column; ``sql``: the rows, for FROM.

    Raises:
        UserError: there are no such files, they are of several formats, or one cannot be read or has other columns.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, spec: Files, root: Path, lists: Sequence[str] = ()
    ) -> None:
        """``lists``: columns of JSON lines that are lists."""
        self.spec = spec
        self.paths = find(spec.files, root)
        self.format = spec.format or format_of(self.paths)
        paths = "[" + ", ".join(text(path) for path in self.paths) + "]"
        with explained(self):
            if self.format == "parquet":
                self.sql = f"read_parquet({paths}, union_by_name = true)"
                self.columns = _types(connection, self.sql)
                for path in self.paths[1:]:
                    found = _types(connection, f"read_parquet({text(path)})")
                    _same_columns(path, sorted(found), self.paths[0], sorted(self.columns))
            elif self.format == "csv":
                header = list(spec.names) if not spec.header else _header(self.paths[0], spec.delimiter)
                for path in self.paths[1:] if spec.header else ():
                    _same_columns(path, _header(path, spec.delimiter), self.paths[0], header)
                self.columns = dict.fromkeys(header, "VARCHAR")
                options = f"auto_detect = false, header = {spec.header}, delim = {text(spec.delimiter)}"
                quotes = "quote = '\"', escape = '\"', nullstr = ''"
                self.sql = f"read_csv({paths}, {options}, {quotes}, columns = {_struct(self.columns)})"
            else:
                sniffed = _types(connection, f"read_json({paths}, format = 'newline_delimited', sample_size = 20480)")
                if list(sniffed) in (["json"], []):
                    raise UserError(
                        f"{self.title} must have a JSON object per line, but has none; write its rows as JSON lines."
                    )
                self.columns = {column: "VARCHAR[]" if column in lists else "VARCHAR" for column in sniffed}
                self.sql = f"read_json({paths}, format = 'newline_delimited', columns = {_struct(self.columns)})"
        texts = [name(column) for column, kind in self.columns.items() if kind == "VARCHAR"]
        if self.format != "csv" and texts:  # CSV is read so
            replaced = ", ".join(f"nullif({column}, '') AS {column}" for column in texts)
            self.sql = f"(SELECT * REPLACE ({replaced}) FROM {self.sql})"

    @property
    def title(self) -> str:
        """The first file, and how many more there are."""
        more = len(self.paths) - 1
        return f"{self.paths[0]}{f' (and {more} more)' if more else ''}"

    def require(self, columns: Sequence[str]) -> None:
        """
        Raises:
            UserError: a column is not there.
        """
        for column in columns:
            if column not in self.columns:
                raise UserError(
                    f"{self.title} must have the column {column!r} that the specification names, but has "
                    f"{', '.join(self.columns)}; mend the specification."
                )

    def place(self, connection: duckdb.DuckDBPyConnection, column: str, value: str) -> str:
        """The first file and line (or row) where ``column`` has ``value`` (empty: or none), in words."""
        if self.format == "parquet":
            for path in self.paths:
                rows = connection.execute(
                    f"SELECT min(file_row_number) FROM read_parquet({text(path)}, file_row_number = true) "
                    f"WHERE coalesce(CAST({name(column)} AS VARCHAR), '') = ?",
                    [value],
                ).fetchall()
                if rows[0][0] is not None:
                    return f"{path} row {rows[0][0]} (from 0)"
            return self.title
        for path in self.paths:
            with _opened(path) as lines:
                for number, row in _rows(lines, self, list(self.columns)):
                    if (row.get(column) or "") == value:
                        return f"{path} line {number}"
        return self.title


def find(patterns: Sequence[str], root: Path) -> list[Path]:
    """Files that match paths or globs relative to ``root``, sorted.

    Raises:
        UserError: a pattern matches nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern)
        start = Path(path.anchor) if path.is_absolute() else root
        relative = str(path.relative_to(path.anchor)) if path.is_absolute() else pattern
        try:
            matches = [each for each in start.glob(relative) if each.is_file()]
        except (ValueError, IndexError):  # no pattern at all
            matches = []
        if not matches:
            raise UserError(f"files must match {pattern!r} in {root}, but there are none; mend the path.")
        found.update(matches)
    return sorted(found)


def refuse(relation: Relation, column: str, rule: str, value: str) -> str:
    """SQL that stops the query, since ``value`` (SQL of a text) of a column of ``relation`` breaks ``rule``."""
    parts = text(_SEPARATOR.join((_MARK, relation.title, column, rule, "")))
    return f"error({parts} || coalesce({value}, ''))"


@contextmanager
def explained(*relations: Relation, connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[None]:
    """Turns what DuckDB says of broken files into one line with file, line or row, column and remedy.

    Raises:
        UserError: instead of duckdb.Error.
    """
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise UserError(
            f"the import must fit into its memory and the free disk, but: {_first_line(error)}; give it more."
        ) from None
    except duckdb.Error as error:
        message = str(error)
        if _MARK in message:
            _, place, column, rule, value = message[message.index(_MARK) :].split(_SEPARATOR, 4)
            value = value.split("\n\nLINE ")[0]
            there = next((each for each in relations if each.title == place and column in each.columns), None)
            if there is not None and connection is not None:
                place = there.place(connection, column, value)
            found = repr(value) if value else "missing"
            raise UserError(
                f"{place}: column {column!r} must {rule}, but is {found}; mend the row or the specification."
            ) from None
        line = re.search(r"[Ll]ine:? (\d+)", message.split("\n\nLINE ")[0])
        path = next((str(p) for each in relations for p in each.paths if str(p) in message), None)
        where = path or (relations[0].title if relations else "the files")
        raise UserError(
            f"{where}{f' line {line[1]}' if line else ''} must be readable, but: {_first_line(error)}; "
            "mend or leave out that file."
        ) from None


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:300]


def _types(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    relation = connection.sql(f"FROM {sql} LIMIT 0")
    return dict(zip(relation.columns, map(str, relation.types), strict=True))


def _struct(columns: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name(column)}: {text(kind)}" for column, kind in columns.items()) + "}"


def format_of(paths: Sequence[Path]) -> str:
    """The one format (csv, json, parquet) that the endings of files tell.

    Raises:
        UserError: an ending tells none, or they tell several.
    """
    kinds = set()
    for path in paths:
        ending = Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix
        if ending not in _FORMATS:
            raise UserError(
                f"the format of {path} must be told by its ending ({', '.join(_FORMATS)}, plain or with "
                f"{', '.join(_COMPRESSED)}), but is not; set format in the specification."
            )
        kinds.add(_FORMATS[ending])
    if len(kinds) > 1:
        raise UserError(f"files of a log must have one format, but have {', '.join(sorted(kinds))}; import them apart.")
    return kinds.pop()


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOWrapper]:
    with pa.input_stream(str(path), compression="detect") as stream:
        yield io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")


def _header(path: Path, delimiter: str) -> list[str]:
    try:
        with _opened(path) as lines:
            found: list[str] = next(_cells(lines, delimiter), [])
    except (OSError, csv.Error, EOFError) as error:
        raise UserError(f"{path} must be readable, but: {error}; mend or leave out that file.") from None
    if not found:
        raise UserError(
            f"{path} line 1 must be a header with a name per column, but is empty; mend it, or set header = false."
        )
    _refuse_twins(path, found)
    return found


def _refuse_twins(path: Path, names: Sequence[str]) -> None:
    """Two columns of one name, upper and lower case apart, as SQL has it."""
    lower = [each.lower() for each in names]
    if twins := [each for each in names if lower.count(each.lower()) > 1]:
        also = f" ({twins[1]!r}: case does not count)" if twins[1] != twins[0] else ""
        raise UserError(
            f"{path} line 1 must be a header with a name per column, but names {twins[0]!r} twice{also}; mend it, or "
            "set header = false."
        )


def _cells(lines: Iterable[str], delimiter: str) -> Any:
    """A CSV reader, also of a delimiter of several characters."""
    if len(delimiter) == 1:
        return csv.reader(lines, delimiter=delimiter)
    return csv.reader((line.replace(delimiter, _SEPARATOR) for line in lines), delimiter=_SEPARATOR)


def _same_columns(path: Path, found: Sequence[str], first: Path, wanted: Sequence[str]) -> None:
    if list(found) != list(wanted):
        raise UserError(
            f"all files of a log must have the same columns, but {path} has {', '.join(found)} and {first} has "
            f"{', '.join(wanted)}; import them apart."
        )


def _rows(lines: io.TextIOWrapper, relation: Relation, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with the number of the line that they end on."""
    if relation.format == "json":
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                yield number, {key: _as_read(value) for key, value in row.items()}
        return
    reader = _cells(lines, relation.spec.delimiter)
    if relation.spec.header:
        next(reader, None)
    for row in reader:
        yield reader.line_num, dict(zip(columns, row, strict=False))


def _as_read(value: Any) -> str | None:
    """A value of JSON as DuckDB reads it into a text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
