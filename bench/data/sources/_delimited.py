"""Delimited text of a fixed layout through DuckDB: typed columns, and one line where a file breaks its layout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from bench.core.errors import UserError
from bench.data.sql import text

#: What stands for a missing value, in columns that may miss one.
MISSING: tuple[str, ...] = ("", "NULL")
#: Never in a text file: with it as the delimiter, a line is one column.
_NO_DELIMITER = "\x01"

_LINE = re.compile(r"CSV Error on Line: (\d+)")
_COLUMNS = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)")
_VALUE = re.compile(r"Error when converting column \"(.*?)\"\. Could not convert string \"(.*?)\" to '(.*)'")
_EMPTY = re.compile(r"Error when converting column \"(.*?)\"\. *\n")


def lines(path: Path) -> str:
    """SQL: the lines of a file, one column ``text``; a line that is empty is NULL."""
    return (
        f"read_csv({text(path)}, auto_detect = false, header = false, delim = {text(_NO_DELIMITER)}, quote = '', "
        "escape = '', columns = {'text': 'VARCHAR'})"
    )


def first_line(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """The first line of a file, empty where there is none."""
    with readable(path):
        row = connection.execute(f"SELECT text FROM {lines(path)} LIMIT 1").fetchone()
    return (row[0] or "") if row else ""


def header_of(connection: duckdb.DuckDBPyConnection, path: Path, names: Sequence[str], delimiter: str) -> list[str]:
    """The column names in the first line, without spaces around them: all of ``names``, in any order.

    Raises:
        UserError: they are others.
    """
    found = [name.strip() for name in first_line(connection, path).removeprefix("\ufeff").split(delimiter)]
    if sorted(found) != sorted(names):
        raise UserError(
            f"{path} line 1 must name the columns {', '.join(names)}, but is {delimiter.join(found)[:200]!r}; "
            "take the file of the official layout."
        )
    return found


def typed(
    path: Path, columns: Mapping[str, str], delimiter: str, *, optional: Sequence[str] = (), skip: int = 1
) -> str:
    """SQL: a file with these columns (name to SQL type) in this order, after ``skip`` lines.

    Only ``optional`` columns may miss a value. Read it within :func:`readable`.
    """
    types = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in columns.items())
    required = ", ".join(text(name) for name in columns if name not in optional)
    return (
        f"read_csv({text(path)}, auto_detect = false, header = false, skip = {skip}, delim = {text(delimiter)}, "
        f"quote = '', escape = '', nullstr = [{', '.join(map(text, MISSING))}], force_not_null = [{required}], "
        f"columns = {{{types}}})"
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Statements that read ``path``: what is wrong with the file becomes one line.

    Raises:
        UserError: a line has the wrong number of columns or a value of another type, or the file is no text.
    """
    try:
        yield
    except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.IOException) as error:
        message = str(error)
        line = _LINE.search(message)
        place = f"{path} line {line.group(1)}" if line else f"{path}"
        if value := _VALUE.search(message):
            wanted = f"column {value.group(1)} must be {value.group(3)}, but is {value.group(2)[:100]!r}"
        elif empty := _EMPTY.search(message):
            wanted = f"column {empty.group(1)} must have a value, but has none"
        elif columns := _COLUMNS.search(message):
            wanted = f"must have {columns.group(1)} columns, but has {columns.group(2)}"
        else:
            wanted = f"must be intact text, but: {message.strip().partition(chr(10))[0]}"
        raise UserError(f"{place}: {wanted}; mend or remove the line, or download the file again.") from None
