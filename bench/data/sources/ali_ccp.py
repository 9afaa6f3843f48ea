"""Ali-CCP (Ma et al., SIGIR 2018; Tianchi 408): clicks and purchases of Taobao's recommendations as funnel tables.

How the log is read:

- A line of ``sample_skeleton`` is an exposure: sample id, click, purchase, index of its common features, number of
  features, features. The line of ``common_features`` with that index (index, number, features) has those of its
  user. :mod:`bench.data.sources._ali_ccp_fields` says which fields are read.
- The user is field 101, the item field 205. Samples without either are left out; ``incomplete_exposures`` of the
  manifest's counts says how many.
- Samples with a purchase and no click are left out, as is the convention; ``dropped_purchases`` of the manifest's
  settings says how many.
- Samples that share common features are one visit here. They share one context of one user, but no time is known, so
  that this is no visit that another one follows.
- The test is the test files. Validation is the training samples whose index of common features has an MD5 whose first
  15 hexadecimal digits are a multiple of 10, about 10 % of them. Users are in both.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import duckdb

from bench.core.errors import UserError
from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules
from bench.data.source import Source
from bench.data.sources._ali_ccp_fields import FEATURES, MOST, WELL_FORMED, common_columns, sample_columns
from bench.data.sources._alibaba import AGAIN, PARTS, VALID_EVERY, digit, refuse_packed, store
from bench.data.sources._delimited import readable, typed
from bench.data.sources._files import find_file, fingerprint_of
from bench.data.sql import connect, text

READER_VERSION = 1
_CITY = "taobao"
_COMMON = {"context": "VARCHAR", "n": "INTEGER", "features": "VARCHAR"}
_SAMPLE = {"sample": "VARCHAR", "click": "UTINYINT", "purchase": "UTINYINT", **_COMMON}

_EXPOSURES = f"""
    CREATE VIEW raw_exposures AS
    SELECT coalesce(own_user, user) AS user, item, part || ' ' || context AS visit, click, purchase,
           CASE WHEN part = 'test' THEN 'test' WHEN {digit("context")} = 0 THEN 'valid' ELSE 'train' END AS split,
           samples.* EXCLUDE (part, context, own_user, item, click, purchase),
           contexts.* EXCLUDE (part, context, user)
    FROM samples JOIN contexts USING (part, context)
    WHERE click >= purchase"""


class AliCCP(Source):
    """Taobao's recommendations; one city, ``taobao``. ``--data-dir``: the folder with the four unpacked files."""

    name: ClassVar[str] = "ali_ccp"
    summary: ClassVar[str] = (
        "Ali-CCP, Taobao's clicks and purchases (Tianchi 408): sample_skeleton_{train,test}.csv, "
        "common_features_{train,test}.csv"
    )
    lacks: ClassVar[Mapping[str, str]] = {
        "time": "has no times",
        "cart": "has no carts",
        "wish": "has no wishes",
        "visit": "has no times, so that no visit follows another",
        "search": "has recommendations only",
    }

    def cities(self) -> list[str]:
        return [_CITY]

    def fingerprint(self, city: str) -> str:
        return fingerprint_of(self.name, READER_VERSION, self.require(city), self._files().values())

    def write(self, city: str, folder: Path) -> None:
        fingerprint, files = self.fingerprint(city), self._files()
        scratch = folder / "scratch"
        scratch.mkdir()
        try:
            with connect(scratch) as connection:
                for part in PARTS:
                    _read(connection, files[f"common_features_{part}"], part, scratch / f"contexts_{part}.parquet")
                    _read(connection, files[f"sample_skeleton_{part}"], part, scratch / f"samples_{part}.parquet")
                for view in ("contexts", "samples"):
                    found = text(scratch / f"{view}_*.parquet")
                    connection.execute(f"CREATE VIEW {view} AS FROM read_parquet({found})")
                for part in PARTS:
                    _check(connection, files[f"common_features_{part}"], files[f"sample_skeleton_{part}"], part)
                connection.execute(_EXPOSURES)
                dropped = connection.execute("SELECT count(*) FROM samples WHERE purchase > click").fetchall()[0][0]
                write_funnel(connection, self._log(fingerprint, dropped), folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _log(self, fingerprint: str, dropped: int) -> Log:
        return Log(
            dataset=self.label,
            city=_CITY,
            fingerprint=fingerprint,
            features=FEATURES,
            rules=Rules(shape="exposures", visit="column"),
            lacks=self.lacks,
            notes=(
                "A visit is the samples that share common features: one context of one user, at no known time.",
                f"Samples with a purchase and no click are left out, as is the convention: {dropped}.",
                "The test is the log's test files; validation is about one in ten common feature indexes of its "
                "training files, by hash, so that users are in all splits.",
                f"Of what a user dealt with, the {MOST} values with the greatest weights are read.",
            ),
            settings={"reader": READER_VERSION, "valid_every": VALID_EVERY, "dropped_purchases": dropped},
        )

    def _files(self) -> dict[str, Path]:
        """The four files by their names without endings.

        Raises:
            UserError: one is missing, or still packed.
        """
        return {
            f"{kind}_{part}": self._file(kind, part)
            for kind in ("common_features", "sample_skeleton")
            for part in PARTS
        }

    def _file(self, kind: str, part: str) -> Path:
        name = f"{kind}_{part}.csv"
        try:
            return find_file(self.name, self.options.data_dir, [name, f"sample_{part}/{name}"])
        except UserError:
            archives = (f"sample_{part}*.tar*", f"sample_{part}*.tgz")
            refuse_packed(self.name, self.options.data_dir, name, archives, "tar -xf")
            raise


def _rows(path: Path) -> str:
    """SQL: the lines of a file as columns."""
    return typed(path, _COMMON if path.name.startswith("common") else _SAMPLE, ",", skip=0)


def _read(connection: duckdb.DuckDBPyConnection, path: Path, part: str, target: Path) -> None:
    """Write the columns of a file to Parquet.

    Raises:
        UserError: it is empty, or a line has other columns, or features of another form.
    """
    common = path.name.startswith("common")
    columns = f"context, {common_columns() if common else f'click, purchase, {sample_columns()}'}"
    try:
        store(connection, path, f"SELECT {text(part)} AS part, {columns} FROM {_rows(path)}", target)
    except UserError:
        # The line, where a feature and not the file's layout is at fault.
        _refuse_features(connection, path, f"NOT regexp_full_match(features, {text(WELL_FORMED)})")
        raise


def _refuse_row(
    connection: duckdb.DuckDBPyConnection, path: Path, bad: str, wanted: str, shown: str, remedy: str
) -> None:
    """Name the first line of a file whose row is ``bad`` (SQL), and the value of ``shown`` (SQL) in it, if any."""
    query = (
        f"SELECT line, shown FROM (SELECT row_number() OVER () AS line, CAST({shown} AS VARCHAR) AS shown, "
        f"{bad} AS bad FROM {_rows(path)}) WHERE bad ORDER BY line LIMIT 1"
    )
    with readable(path):
        found = connection.execute(query).fetchone()
    if found:
        raise UserError(f"{path} line {found[0]} must {wanted}, but has {found[1][:100]!r}; {remedy}.")


def _refuse_features(connection: duckdb.DuckDBPyConnection, path: Path, bad: str) -> None:
    """Name the first line whose features are bad, if any."""
    key = "101 (user)" if path.name.startswith("common") else "205 (item)"
    wanted = rf"have features 'field \x02 integer id \x03 weight' separated by \x01, field {key} among them"
    _refuse_row(connection, path, bad, wanted, "features", AGAIN)


def _check(connection: duckdb.DuckDBPyConnection, common: Path, sample: Path, part: str) -> None:
    """Look at the rows of one part.

    Raises:
        UserError: a label is not 0 or 1, an index of common features is missing or occurs twice, or no line has a user
            or an item.
    """
    of_part = f"WHERE part = {text(part)}"
    known = f"(SELECT context FROM contexts {of_part})"

    def refuse(view: str, bad: str, wanted: str, shown: str, remedy: str) -> None:
        path = common if view == "contexts" else sample
        if connection.execute(f"SELECT 1 FROM {view} {of_part} AND {bad} LIMIT 1").fetchall():
            _refuse_row(connection, path, bad, wanted, shown, remedy)

    for label in ("click", "purchase"):
        refuse("samples", f"{label} > 1", f"have 0 or 1 as its {label}", label, AGAIN)
    twice = f"(SELECT context FROM contexts {of_part} GROUP BY 1 HAVING count(*) > 1)"
    refuse("contexts", f"context IN {twice}", "have an index of its own", "context", "keep one of the lines with it")
    refuse(
        "samples",
        f"context NOT IN {known}",
        f"have an index of common features that is in {common.name}",
        "context",
        "take both files from one download",
    )
    users, own, items = connection.execute(
        f"SELECT (SELECT count(user) FROM contexts {of_part}), count(own_user), count(item) FROM samples {of_part}"
    ).fetchall()[0]
    if not items:
        _refuse_features(connection, sample, "true")
    if not users and not own:
        _refuse_features(connection, common, "true")
