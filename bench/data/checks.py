"""Checks of funnel tables: everything that their format promises, one line per problem."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.encoded import Meta
from bench.data.sql import connect, name, text
from bench.data.table_rules import Rule, Types, column_problems, row_rules
from bench.data.tables import LABELS, MANIFEST, SPLITS, TABLES, Manifest, read_manifest, table_path
from bench.data.vocabulary import feature_problems

#: Characters of a value that a bad row is shown with.
_WIDTH = 60
#: Counts of the manifest that the tables tell, as SQL over exposures.
_COUNTED = {
    "exposures": "count(*)",
    **{f"{label}{'es' if label == 'wish' else 's'}": f"count(*) FILTER ({label} = 1)" for label in LABELS},
}


@dataclass(frozen=True)
class Problem:
    """One line that says what is wrong and what to do, and some of the bad rows."""

    line: str
    rows: tuple[str, ...] = ()


def require_positives(meta: Meta) -> None:
    """Check that models can be trained and measured on a city.

    Raises:
        UserError: a split is empty, or the training split has no click or no purchase.
    """
    title = f"{meta.dataset}/{meta.city}"
    for split in SPLITS:
        if not meta.counts[split]["rows"]:
            raise UserError(f"{title} must have {split} rows, but has none; take a longer log or another city.")
    for label in ("click", "purchase"):
        if not meta.counts["train"][label]:
            rows = meta.counts["train"]["rows"]
            raise UserError(
                f"{title} must have a {label} in its {rows} training rows, but has none; "
                "take a larger scale, a longer log or another city."
            )


def require_columns(folder: Path) -> Manifest:
    """The manifest of funnel tables whose files can be read and have the columns and types that they must have.

    Looks at no row.

    Raises:
        UserError: the first thing that is wrong.
    """
    manifest = read_manifest(folder)
    with duckdb.connect() as connection:
        problems: list[str] = []
        types = _open(connection, folder, problems)
        wanted = dict.fromkeys(["exposures.parquet", *manifest.checksums])
        problems += [_missing(file) for file in wanted if not (folder / file).exists()]
        problems += _schema_problems(types, manifest)
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise UserError(f"{folder}: {problems[0]}{more}; `bench data check` lists all that is wrong.")
    return manifest


def check_tables(folder: Path) -> list[str]:
    """What is wrong with the funnel tables in ``folder``: one line per problem, none where all is well.

    A line names folder, file and column, where rows are wrong how many and the first one (from 0), and what to do.
    Reads every row; rows are only looked at in tables whose columns are right. Tables without a split are sound,
    though no model can be trained on them.
    """
    return [problem.line for problem in find_problems(folder, splits=False)]


def find_problems(folder: Path, more: int = 0, *, splits: bool = True) -> list[Problem]:
    """As :func:`check_tables`, with the first ``more`` bad rows of every problem, and ``splits`` that have no row."""
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        return [Problem(f"{folder}: {error}")]
    lines = _file_problems(folder, manifest)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, connect(Path(scratch)) as connection:
        # Filters are not to trust the files' statistics, which leave NaN out.
        connection.execute("SET disabled_optimizers = 'statistics_propagation,filter_pushdown'")
        types = _open(connection, folder, lines)
        lines += _schema_problems(types, manifest)
        problems = [Problem(line) for line in lines]
        sound = [table for table in types if not column_problems(table, types, manifest)]
        for table in sound if "exposures" in sound else []:
            try:
                problems += _row_problems(connection, table, {each: types[each] for each in sound}, manifest, more)
                if table == "exposures":
                    problems += _wrong_counts(connection, manifest)
                    problems += _empty_splits(connection) if splits else ()
            except duckdb.Error as error:
                problems.append(Problem(_unreadable(table, error)))
    return [Problem(f"{folder}: {problem.line}", problem.rows) for problem in problems]


def _file_problems(folder: Path, manifest: Manifest) -> list[str]:
    problems = []
    for table in TABLES:
        path = table_path(folder, table)
        expected = manifest.checksums.get(path.name)
        if not path.exists() and (expected or table == "exposures"):
            problems.append(_missing(path.name))
        elif path.exists() and checksum(path) != expected:
            problems.append(
                f"{path.name} must have the checksum of the manifest, but was changed or is damaged; make the tables "
                "again, or write the manifest again if the change is wanted"
            )
    return problems


def _open(connection: duckdb.DuckDBPyConnection, folder: Path, problems: list[str]) -> Types:
    """Make views of the tables with their row numbers; what cannot be read goes to ``problems``."""
    types: Types = {}
    for table in TABLES:
        path = table_path(folder, table)
        if not path.exists():
            continue
        try:
            connection.execute(f"CREATE VIEW {table} AS FROM read_parquet({text(path)}, file_row_number = true)")
            relation = connection.sql(f"SELECT * EXCLUDE file_row_number FROM {table} LIMIT 0")
            types[table] = dict(zip(relation.columns, map(str, relation.types), strict=True))
        except duckdb.Error as error:
            problems.append(_unreadable(table, error))
    return types


def _missing(file: str) -> str:
    return f"{file} must exist, but is missing; make the tables again"


def _unreadable(table: str, error: duckdb.Error) -> str:
    reason = str(error).strip().splitlines()[0]
    return f"{table}.parquet must be readable Parquet, but: {reason}; make the tables again"


def _schema_problems(types: Types, manifest: Manifest) -> list[str]:
    """What is wrong with the feature list and the columns."""
    problems = feature_problems(manifest.features, {table: list(columns) for table, columns in types.items()})
    return problems + [line for table in types for line in column_problems(table, types, manifest)]


def _row_problems(
    connection: duckdb.DuckDBPyConnection, table: str, types: Types, manifest: Manifest, more: int
) -> Iterator[Problem]:
    rules = list(row_rules(table, types, manifest))
    for rule, (rows, first) in zip(rules, _bad_rows(connection, table, rules), strict=True):
        if rows:
            line = f"{rule.column} must {rule.wanted}, but {rows} rows differ, the first is row {first}; {rule.remedy}"
            shown = _shown(connection, table, rule, list(types[table]), more)
            yield Problem(f"{table}.parquet: {line}", shown)


def _bad_rows(connection: duckdb.DuckDBPyConnection, table: str, rules: Sequence[Rule]) -> list[tuple[int, int | None]]:
    """How many rows break each rule, and the first of them; rules that look at no other row in one scan."""
    first = "min(file_row_number)"
    plain = [rule.bad for rule in rules if "SELECT" not in rule.bad]
    sums = ", ".join(f"count(*) FILTER ({bad}), {first} FILTER ({bad})" for bad in plain)
    values = connection.execute(f"SELECT {sums} FROM {table}").fetchall()[0]
    found = dict(zip(plain, zip(values[::2], values[1::2], strict=True), strict=True))
    for rule in rules:
        if rule.bad not in found:
            query = f"SELECT count(*), {first} FROM {table} WHERE {rule.bad}"
            found[rule.bad] = connection.execute(query).fetchall()[0]
    return [found[rule.bad] for rule in rules]


def _shown(
    connection: duckdb.DuckDBPyConnection, table: str, rule: Rule, columns: Sequence[str], more: int
) -> tuple[str, ...]:
    """The first bad rows: the column in question, then whose row it is."""
    keys = ("exposure", "user", "item", "visit", "time", "split", "click", "action")
    kept = [rule.column, *(key for key in keys if key in columns and key != rule.column)]
    listed = ", ".join(map(name, kept))
    query = f"SELECT file_row_number, {listed} FROM {table} WHERE {rule.bad} ORDER BY 1 LIMIT {more}"
    rows = connection.execute(query).fetchall() if more else []
    return tuple(
        f"row {row}: " + ", ".join(f"{key} {_value(value)}" for key, value in zip(kept, values, strict=True))
        for row, *values in rows
    )


def _value(value: object) -> str:
    shown = "NULL" if value is None else str(value)
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 1]}…"


def _wrong_counts(connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> Iterator[Problem]:
    """Counts of the manifest that differ from the rows."""
    queries = {count: query for count, query in _COUNTED.items() if count in manifest.counts}
    if not queries:
        return
    found = connection.execute(f"SELECT {', '.join(queries.values())} FROM exposures").fetchall()[0]
    for count, rows in zip(queries, found, strict=True):
        if rows != manifest.counts[count]:
            yield Problem(
                f"{MANIFEST}: counts.{count} must be {rows}, as exposures.parquet has, but is "
                f"{manifest.counts[count]}; write the manifest again"
            )


def _empty_splits(connection: duckdb.DuckDBPyConnection) -> Iterator[Problem]:
    splits = {split for (split,) in connection.execute("SELECT DISTINCT split FROM exposures").fetchall()}
    if missing := [split for split in SPLITS if split not in splits]:
        yield Problem(
            f"exposures.parquet: split must have rows of {', '.join(SPLITS)}, but none is {' or '.join(missing)}; take "
            "a longer log, or other days for the splits"
        )
