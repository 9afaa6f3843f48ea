"""AliExpress (Li et al., CIKM 2020; Tianchi 74690): clicks and purchases of its search in five countries.

How the log is read:

- A line of an item file is an exposure: search id, 47 features, label (0 none, 1 click, 2 click and purchase). The line
  of the user file with that search id has 32 features of its user and query.
- A country has ``nl_item_train.csv``, ``nl_item_test.csv``, ``nl_user_train.csv``, ``nl_user_test.csv``, split by time
  by its publisher; search ids start anew in each part. The test is the test files; validation is the searches of the
  training files whose id has an MD5 whose first 15 hexadecimal digits are a multiple of 10, about 10 %. Where there
  are only ``nl_item.csv`` and ``nl_user.csv``, remainders 1 and 2 are the test.
- Columns have no names: ``user_N`` and ``item_N`` are column N of their file. ``CATEGORIES`` are numbers of categories,
  as in the public preparation of MTReclib. The other 63 are numbers, most of them between 0 and 1: dense features, of
  which models read the ``numeric_top`` most important ones as numbers or in bins, those of users and items alike.
- There are no ids of users and items. A search stands for its user and is its one visit; every line of an item file is
  an item of its own. In the tables, search n of training is user 2n and of the test user 2n + 1, and so are lines.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import duckdb

from bench.core.errors import UserError
from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules
from bench.data.source import Source
from bench.data.sources._alibaba import AGAIN, PARTS, VALID_EVERY, digit, refuse_packed, store
from bench.data.sources._delimited import first_line, typed
from bench.data.sources._files import data_folder, fingerprint_of
from bench.data.sql import connect, text
from bench.data.tables import Feature

READER_VERSION = 1
CITIES: tuple[str, ...] = ("NL", "ES", "FR", "US", "RU")
KINDS: tuple[str, ...] = ("item", "user")
#: Number of columns of a file; the first is the search id, the last of an item file the label.
WIDTH: Mapping[str, int] = {"item": 49, "user": 33}
#: Columns that are categories.
CATEGORIES: Mapping[str, tuple[int, ...]] = {
    "item": (19, 34, 35, 36, 40, 41, 42),
    "user": (*range(2, 9), 32, 33),
}

_LAST = {kind: WIDTH[kind] if kind == "item" else WIDTH[kind] + 1 for kind in KINDS}
_TABLE = {"item": "exposures", "user": "users"}

FEATURES: tuple[Feature, ...] = tuple(
    Feature.model_validate(
        {
            "name": f"{kind}_{column}",
            "table": _TABLE[kind],
            "kind": "categorical" if column in CATEGORIES[kind] else "dense",
        }
    )
    for kind in ("user", "item")
    for column in range(2, _LAST[kind])
)


class AliExpress(Source):
    """AliExpress search; a city is a country. ``--data-dir``: the folder with the unpacked files of the countries."""

    name: ClassVar[str] = "aliexpress"
    summary: ClassVar[str] = (
        "AliExpress search in five countries (Tianchi 74690): nl_item_{train,test}.csv, nl_user_{train,test}.csv, …"
    )
    lacks: ClassVar[Mapping[str, str]] = {
        "time": "has no times",
        "cart": "has no carts",
        "wish": "has no wishes",
        "visit": "has no users, so that no search follows another",
        "search": "is all search, without carts",
    }

    def cities(self) -> list[str]:
        return list(CITIES)

    def fingerprint(self, city: str) -> str:
        return fingerprint_of(self.name, READER_VERSION, city, self._files(city).values())

    def write(self, city: str, folder: Path) -> None:
        fingerprint, files = self.fingerprint(city), self._files(city)
        scratch = folder / "scratch"
        scratch.mkdir()
        try:
            with connect(scratch) as connection:
                for (kind, part), path in files.items():
                    _read(connection, path, kind, part, scratch)
                for kind in KINDS:
                    found = text(scratch / f"{kind}_*.parquet")
                    connection.execute(f"CREATE VIEW {kind}_rows AS FROM read_parquet({found})")
                by_files = ("item", "test") in files
                connection.execute("CREATE TABLE raw_users AS SELECT DISTINCT * FROM user_rows")
                for part in PARTS if by_files else PARTS[:1]:
                    _check(connection, files, part)
                connection.execute(_exposures(by_files))
                write_funnel(connection, self._log(city, fingerprint, by_files), folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _log(self, city: str, fingerprint: str, by_files: bool) -> Log:
        splits = (
            "The test is the log's test files, later in time; validation is about one in ten searches of its training "
            "files, by hash."
            if by_files
            else "The files have no test: of ten searches, by hash, about two are the test and one is validation."
        )
        return Log(
            dataset=self.label,
            city=city,
            fingerprint=fingerprint,
            features=FEATURES,
            rules=Rules(shape="exposures", visit="column"),
            lacks=self.lacks,
            notes=(
                "The log has no ids of users: a search stands for its user, so that GAUC is over searches.",
                "The log has no ids of items: every row is an item of its own.",
                splits,
                "Features have no names: user_N and item_N are column N of the user and item files.",
            ),
            settings={"reader": READER_VERSION, "valid_every": VALID_EVERY, "test_by_files": by_files},
        )

    def _files(self, city: str) -> dict[tuple[str, str], Path]:
        """The files of a country by kind and part; the part is ``train`` where the files are not split.

        Raises:
            UserError: the country is unknown, a file is missing, or still packed.
        """
        code = self.require(city).lower()
        folder = data_folder(self.name, self.options.data_dir)
        pattern = re.compile(rf"(?:.*_)?{code}_(item|user)(?:_(train|test))?\.csv(?:\.gz|\.zst)?", re.IGNORECASE)
        found: dict[tuple[str, str], Path] = {}
        for path in (*sorted(folder.glob("*")), *sorted(folder.glob("*/*"))):
            if (match := pattern.fullmatch(path.name)) and path.is_file():
                found.setdefault((match[1].lower(), (match[2] or "").lower()), path)
        parts = PARTS if any(part for _, part in found) else ("",)
        wanted = {(kind, part): f"{code}_{kind}{'_' * bool(part)}{part}.csv" for kind in KINDS for part in parts}
        if missing := [name for key, name in wanted.items() if key not in found]:
            named = missing[0] if found else ", ".join(f"{code}_{kind}_{part}.csv" for kind in KINDS for part in PARTS)
            refuse_packed(self.name, folder, named, (f"*{city}_*.zip", f"*{code}_*.zip"), "unzip")
            raise UserError(
                f"{self.name} must find {named} (or .gz, .zst) in {folder} for the city {city}, but it is not there; "
                "put the files of the official layout there, or take another city."
            )
        return {(kind, part or PARTS[0]): found[kind, part] for kind, part in wanted}


def _types(kind: str) -> dict[str, str]:
    """Names and types of the columns of a file."""
    named = {
        f"{kind}_{column}": "INTEGER" if column in CATEGORIES[kind] else "FLOAT" for column in range(2, _LAST[kind])
    }
    return {"search": "BIGINT", **named, **({"label": "INTEGER"} if kind == "item" else {})}


def _rows(path: Path, kind: str, skip: int) -> str:
    """SQL: the lines of a file as columns; features may be missing."""
    types = _types(kind)
    return typed(path, types, ",", optional=[c for c in types if c not in ("search", "label")], skip=skip)


def _header_lines(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """1 where the first line names the columns, else 0."""
    values = first_line(connection, path).removeprefix("\ufeff").split(",")
    return int(all(re.match(r"\s*\"?[A-Za-z_]", value) for value in values))


def _read(connection: duckdb.DuckDBPyConnection, path: Path, kind: str, part: str, scratch: Path) -> None:
    """Write a file to Parquet with the ids of the funnel tables.

    Raises:
        UserError: it is empty, or a line has other columns.
    """
    skip, odd = _header_lines(connection, path), PARTS.index(part)
    ids = f"2 * search + {odd} AS user"
    if kind == "item":
        ids = f"{text(part)} AS part, search, {ids}, 2 * (row_number() OVER () + {skip}) + {odd} AS item"
    query = f"SELECT {ids}, * EXCLUDE search FROM {_rows(path, kind, skip)}"
    store(connection, path, query, scratch / f"{kind}_{part}.parquet")


def _check(connection: duckdb.DuckDBPyConnection, files: Mapping[tuple[str, str], Path], part: str) -> None:
    """Look at the rows of one part.

    Raises:
        UserError: a label is not 0, 1 or 2, a search is not in the user file, or is there with several features.
    """
    path, users = files["item", part], files["user", part]
    for bad, wanted, shown, remedy in (
        ("label NOT IN (0, 1, 2)", "have 0, 1 or 2 as its label in the last column", "label", AGAIN),
        (
            "user NOT IN (SELECT user FROM raw_users)",
            f"have a search id that is in {users.name}",
            "search",
            "take both files from one download",
        ),
    ):
        query = f"SELECT min(item), arg_min({shown}, item) FROM item_rows WHERE part = {text(part)} AND {bad}"
        item, value = connection.execute(query).fetchall()[0]
        if item is not None:
            raise UserError(f"{path} line {item // 2} must {wanted}, but has {str(value)!r}; {remedy}.")
    mine = f"user % 2 = {PARTS.index(part)}"
    twice = connection.execute(
        f"SELECT user, count(*) FROM raw_users WHERE {mine} GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    ).fetchall()
    if twice:
        raise UserError(
            f"{users} must have one line per search, but has {twice[0][1]} different ones of search id "
            f"{twice[0][0] // 2}; keep one."
        )


def _exposures(by_files: bool) -> str:
    """SQL: the view of exposures."""
    test = "part = 'test'" if by_files else f"{digit('search')} IN (1, 2)"
    return f"""
        CREATE VIEW raw_exposures AS
        SELECT * EXCLUDE (part, search, label), user AS visit, CAST(label >= 1 AS UTINYINT) AS click,
               CAST(label = 2 AS UTINYINT) AS purchase,
               CASE WHEN {test} THEN 'test' WHEN {digit("search")} = 0 THEN 'valid' ELSE 'train' END AS split
        FROM item_rows"""
