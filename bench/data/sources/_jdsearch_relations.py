"""The files of JDsearch as raw relations; :mod:`bench.data.sources.jdsearch` says by which rules."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import duckdb

from bench.core.errors import UserError
from bench.data.sources._delimited import first_line, lines, readable, typed

#: The time of every search, in seconds: 2000-01-01 00:00 UTC, since the files name none.
SEARCH_TIME = 946_684_800
#: Columns of a search in the order of the file.
_COLUMNS = (
    "query",
    "candidate_wid_list",
    "candidate_label_list",
    "history_qry_list",
    "history_wid_list",
    "history_type_list",
    "history_time_list",
)
_LEVELS = tuple(f"category_{level}" for level in range(1, 5))
#: What is read of a product.
PRODUCT_FEATURES = ("brand", *_LEVELS, "shop")
#: Columns of a product in the order of the file.
_PRODUCT = {
    "wid": "BIGINT",
    "name": "VARCHAR",
    "brand": "BIGINT",
    "brand_name": "VARCHAR",
    **{name: kind for level in _LEVELS for name, kind in ((level, "BIGINT"), (f"{level}_name", "VARCHAR"))},
    "shop": "BIGINT",
}
_ACTIONS = {"CLICK": "click", "CART": "cart", "ORD": "purchase", "FLW": "wish"}
_ACTION = "CASE type " + " ".join(f"WHEN '{kind}' THEN '{action}'" for kind, action in _ACTIONS.items()) + " END"


def _list(column: str) -> str:
    part = f"parts[{_COLUMNS.index(column) + 1}]"
    return f"CASE WHEN {part} = '' THEN [] ELSE string_split({part}, '_') END AS {column}"


#: The terms of a query are separated by character 24.
_SEARCHES = f"""
    CREATE TABLE searches AS
    SELECT search, string_split(parts[1], chr(24)) AS query, {", ".join(map(_list, _COLUMNS[1:]))}
    FROM numbered"""
_CANDIDATES = """
    CREATE TABLE candidates AS
    SELECT *, TRY_CAST(item AS BIGINT) AS id, TRY_CAST(label AS DOUBLE) AS step
    FROM (SELECT search, generate_subscripts(candidate_wid_list, 1) AS nth, unnest(candidate_wid_list) AS item,
                 unnest(candidate_label_list) AS label
          FROM searches)"""
_HISTORY = """
    CREATE TABLE history AS
    SELECT *, TRY_CAST(item AS BIGINT) AS id, TRY_CAST(gap AS BIGINT) AS seconds
    FROM (SELECT search, generate_subscripts(history_wid_list, 1) AS nth, unnest(history_qry_list) AS query,
                 unnest(history_wid_list) AS item, unnest(history_type_list) AS type,
                 unnest(history_time_list[2:]) AS gap
          FROM searches)"""
_RELATIONS = (
    f"""CREATE TABLE raw_exposures AS
        SELECT search AS user, id AS item, {SEARCH_TIME} AS time, search AS visit, 'search' AS domain,
               CAST(row_number() OVER (PARTITION BY search ORDER BY md5(concat(search, '/', id)), step) AS INTEGER)
                   AS position,
               CASE WHEN search % 10 < 7 THEN 'train' WHEN search % 10 = 7 THEN 'valid' ELSE 'test' END AS split,
               CAST(step >= 1 AS UTINYINT) AS click, CAST(step >= 2 AS UTINYINT) AS cart, 0::UTINYINT AS wish,
               CAST(step >= 3 AS UTINYINT) AS purchase
        FROM candidates""",
    f"""CREATE TABLE raw_events AS
        SELECT search AS user, id AS item, {_ACTION} AS action,
               {SEARCH_TIME} - CAST(sum(seconds) OVER (PARTITION BY search ORDER BY nth DESC) AS BIGINT) AS time,
               CASE query WHEN '-1' THEN 'recommendation' ELSE 'search' END AS domain
        FROM history""",
    "CREATE VIEW raw_users AS SELECT search AS user, query FROM searches",
)


class _Rule(NamedTuple):
    """SQL of the rows that break it, what must be, and SQL of what is."""

    bad: str
    wanted: str
    found: str


def _length(column: str, of: str, more: int = 0) -> _Rule:
    bad = f"len({column}) <> len({of}) + {more} AND len({column}) + len({of}) > 0"
    count = "one entry more than" if more else "as many entries as"
    found = f"'has ' || len({column}) || ' beside ' || len({of})"
    return _Rule(bad, f"column {column} must have {count} {of}", found)


def _entry(column: str, bad: str, entry: str, wanted: str) -> _Rule:
    return _Rule(bad, f"column {column} must hold {wanted}", f"'entry ' || nth || ' is ' || {entry}")


_LAYOUT = _Rule(
    f"len(parts) <> {len(_COLUMNS)}", f"must have {len(_COLUMNS)} columns separated by tabs", "'has ' || len(parts)"
)
_LENGTHS = (
    _length("candidate_label_list", "candidate_wid_list"),
    _length("history_qry_list", "history_wid_list"),
    _length("history_type_list", "history_wid_list"),
    _length("history_time_list", "history_wid_list", 1),
)
_OF_CANDIDATES = (
    _entry("candidate_wid_list", "id IS NULL", "item", "whole numbers"),
    _entry("candidate_label_list", "step IS NULL OR step NOT IN (0, 1, 2, 3)", "label", "0, 1, 2 or 3"),
)
_OF_HISTORY = (
    _entry("history_wid_list", "id IS NULL", "item", "whole numbers"),
    _entry("history_type_list", f"({_ACTION}) IS NULL", "type", " or ".join(_ACTIONS)),
    _entry("history_time_list", "seconds IS NULL OR seconds < 0", "gap", "seconds from 0 on"),
)


def make_relations(connection: duckdb.DuckDBPyConnection, searches: Path, products: Path | None = None) -> None:
    """Make ``raw_exposures``, ``raw_events``, ``raw_users`` and, with ``products``, ``raw_items``.

    Raises:
        UserError: a file breaks its layout.
    """
    header = int(first_line(connection, searches).startswith(f"{_COLUMNS[0]}\t"))

    def check(table: str, *rules: _Rule) -> None:
        for rule in rules:
            _refuse(connection, table, rule, searches, header)

    with readable(searches):
        connection.execute(
            f"""CREATE TABLE numbered AS
                SELECT row_number() OVER () - {header} AS search, string_split(coalesce(text, ''), chr(9)) AS parts
                FROM {lines(searches)}"""
        )
    connection.execute("DELETE FROM numbered WHERE search < 1")
    check("numbered", _LAYOUT)
    connection.execute(_SEARCHES)
    connection.execute("DROP TABLE numbered")
    check("searches", *_LENGTHS)
    connection.execute(_CANDIDATES)
    check("candidates", *_OF_CANDIDATES)
    connection.execute(_HISTORY)
    check("history", *_OF_HISTORY)
    for statement in _RELATIONS:
        connection.execute(statement)
    if products:
        _make_items(connection, products)


def _refuse(connection: duckdb.DuckDBPyConnection, table: str, rule: _Rule, path: Path, header: int) -> None:
    """Refuse a file of which a row of ``table`` breaks ``rule``.

    Raises:
        UserError: one does; the first such search is named.
    """
    query = f"SELECT search, {rule.found} FROM {table} WHERE {rule.bad} ORDER BY ALL LIMIT 1"
    for search, found in connection.execute(query).fetchall():
        raise UserError(
            f"{path} line {search + header}: {rule.wanted}, but {found}; mend or remove the line, "
            "or download the file again."
        )


def _make_items(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make ``raw_items`` of the candidates that the file of products has.

    Raises:
        UserError: the file breaks its layout.
    """
    header = int(first_line(connection, path).startswith("wid\t"))
    optional = [column for column in _PRODUCT if column != "wid"]
    with readable(path):
        connection.execute(
            f"""CREATE TABLE raw_items AS
                SELECT wid AS item, {", ".join(PRODUCT_FEATURES)}
                FROM {typed(path, _PRODUCT, chr(9), optional=optional, skip=header)}
                WHERE wid IN (SELECT item FROM raw_exposures)"""
        )
