"""Raw relations as shards of users on disk: complete rows of the days that are read, in one form for both shapes.

All that follows concerns one user at a time, so it is done shard by shard: memory is bounded, time grows with the rows.
A user's shard is DuckDB's hash of the user: in logs of several shards, the numbers of exposures depend on its version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from bench.core.errors import UserError
from bench.data.logs.local_time import day_number, local_sql, offsets
from bench.data.logs.rules import Rules
from bench.data.sql import choice, name, text
from bench.data.tables import ACTIONS, LABELS

#: Rows of a shard, about: what a sort and some joins hold in less than 1 GB.
SHARD_ROWS = 4_000_000
#: Numbers of actions in the shards; 0 is the exposure itself.
CODES: tuple[str, ...] = ("view", *ACTIONS)
#: Columns of raw relations that are no features.
RESERVED: tuple[str, ...] = ("user", "item", "time", "action", "visit", "position", "domain", "split", *LABELS)
RELATIONS: tuple[str, ...] = ("raw_exposures", "raw_events")


class Staged(NamedTuple):
    """Where the shards are and what is in them.

    ``given``: label columns of the raw exposures; ``seen``: rows by action (exposures of a table are ``view``);
    ``changes``: of the time zone's offset, as :func:`~bench.data.logs.local_time.offsets` gives them; ``counts``: rows
    read, left out and why.
    """

    shards: list[Path]
    columns: list[str]
    given: tuple[str, ...]
    seen: dict[str, int]
    timed: bool
    changes: list[tuple[int, int]]
    counts: dict[str, int]

    def local(self, column: str) -> str:
        """SQL: the time in ``column`` as local seconds."""
        return local_sql(column, self.changes)


def stage(connection: duckdb.DuckDBPyConnection, rules: Rules, features: Sequence[str], folder: Path) -> Staged:
    """Write the shards of ``raw_exposures`` and ``raw_events`` below ``folder``.

    Args:
        features: columns of exposures that are kept.

    Raises:
        UserError: a relation that the shape needs is missing, lacks a column, or has no complete row.
        duckdb.Error: a raw relation cannot be read.
    """
    relations = _relations(connection, rules, features)
    given = tuple(label for label in LABELS if label in relations.get("raw_exposures", ()))
    timed = all("time" in columns for columns in relations.values())
    counts: dict[str, int] = {}
    ranges: list[int] = []
    for relation, columns in relations.items():
        known = " AND ".join(f"{column} IS NOT NULL" for column in ("user", "item", "time") if column in columns)
        bounds = "min(time), max(time)" if "time" in columns else "0, 0"
        query = f"SELECT count(*), coalesce(count_if({known}), 0), {bounds} FROM {relation}"
        rows, complete, *found = connection.execute(query).fetchall()[0]
        counts |= {f"raw_{relation[4:]}": rows, f"incomplete_{relation[4:]}": rows - complete}
        ranges += [int(second) for second in found if second is not None]
    if not ranges:
        raise UserError("a log must have a row with a user, an item and a time, but has none; look at its columns.")
    changes = offsets(rules.time_zone, min(ranges), max(ranges))
    local = local_sql("time", changes)
    shards = max(1, math.ceil(sum(counts[f"raw_{relation[4:]}"] for relation in relations) / SHARD_ROWS))
    target = folder / "shards"
    query = " UNION ALL BY NAME ".join(
        f"({_selected(relation, columns, rules, features, local, shards)})" for relation, columns in relations.items()
    )
    connection.execute(f"COPY ({query}) TO {text(target)} (FORMAT parquet, PARTITION_BY (shard), COMPRESSION lz4)")
    paths = sorted(target.glob("shard=*"), key=lambda path: int(path.name.partition("=")[2]))
    read = f"read_parquet({text(target / '*' / '*.parquet')}, hive_partitioning = false)"
    seen = dict.fromkeys(CODES, 0)
    if paths:
        seen |= {
            CODES[code]: n
            for code, n in connection.execute(f"SELECT action, count(*) FROM {read} GROUP BY 1").fetchall()
        }
    complete = sum(n for key, n in counts.items() if key.startswith("raw_"))
    complete -= sum(n for key, n in counts.items() if key.startswith("incomplete_"))
    counts["outside_days"] = complete - sum(seen.values())
    if not seen["view"] and rules.shape == "exposures":
        raise UserError(
            "a table of exposures must have a row with a user, an item and a time in the days that are read, but has "
            "none; look at its columns, or name other days."
        )
    if not seen["view"] and not seen["click"]:
        raise UserError(
            "a log must have views or clicks to stand for exposures in the days that are read, but has none; "
            "name their action, or other days."
        )
    staged = connection.sql(f"FROM {read} LIMIT 0").columns
    return Staged(paths, staged, given, seen, timed, changes, counts)


def shard_sql(shard: Path) -> str:
    """SQL: the rows of a shard."""
    return f"read_parquet({text(shard / '*.parquet')}, hive_partitioning = false)"


def exposures_by_day(connection: duckdb.DuckDBPyConnection, staged: Staged) -> dict[int, int]:
    """Number of views (or of clicks that stand for them) by local day."""
    code = CODES.index(space(staged))
    parts = " UNION ALL ".join(f"SELECT time FROM {shard_sql(shard)} WHERE action = {code}" for shard in staged.shards)
    found = connection.execute(f"SELECT {staged.local('time')} // 86400, count(*) FROM ({parts}) GROUP BY 1 ORDER BY 1")
    return {int(day): int(n) for day, n in found.fetchall()}


def space(staged: Staged) -> str:
    """The action that an exposure is: a view, or a click where the log has no views."""
    return "view" if staged.seen["view"] else "click"


def staged_name(feature: str) -> str:
    """SQL: the column of a feature in the shards, which no column made on the way is called."""
    return name(f"feature {feature}")


def _relations(connection: duckdb.DuckDBPyConnection, rules: Rules, features: Sequence[str]) -> dict[str, list[str]]:
    """Columns of the raw relations that are there."""
    known = {row[0] for row in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()}
    found = {each: connection.sql(f"FROM {each} LIMIT 0").columns for each in RELATIONS if each in known}
    needed = {"raw_exposures": ["user", "item", "click"]} if rules.shape == "exposures" else {}
    if rules.shape == "events" or "raw_events" in found:
        needed["raw_events"] = ["user", "item", "time", "action"]
    needed[f"raw_{rules.shape}"] += [*features, *(["visit"] if rules.visit == "column" else [])]
    for relation, columns in needed.items():
        missing = [column for column in columns if column not in found.get(relation, ())]
        if missing:
            raise UserError(f"{relation} must have the columns {', '.join(columns)}, but lacks {', '.join(missing)}.")
    return {relation: found[relation] for relation in needed}


def _selected(
    relation: str, columns: Sequence[str], rules: Rules, features: Sequence[str], local: str, shards: int
) -> str:
    kept = [c for c in ("visit", "position", "domain") if c in columns and (c != "visit" or rules.visit == "column")]
    events = relation == "raw_events"
    if not events:
        kept += [column for column in ("split", *LABELS) if column in columns]
    code = "0::UTINYINT"
    if events:  # beside a table of exposures, a view is none
        action = "CASE action WHEN 'view' THEN 'browse' ELSE action END" if rules.shape == "exposures" else "action"
        code = f"CAST({choice(CODES, action)} AS UTINYINT)"
    time = "CAST(time AS BIGINT)" if "time" in columns else "0::BIGINT"
    where = ["user IS NOT NULL", "item IS NOT NULL", *(["time IS NOT NULL"] if "time" in columns else [])]
    if "time" in columns:
        splits = rules.splits
        where += [f"{local} >= {day_number(splits.first)} * 86400"] if splits.first else []
        where += [f"{local} < {day_number(splits.last) + 1} * 86400"] if splits.last else []
    listed = "".join(f", {name(column)}" for column in kept)
    if relation == f"raw_{rules.shape}":
        own = [column for column in features if column not in ("user", "item", *kept)]
        listed += "".join(f", {name(column)} AS {staged_name(column)}" for column in own)
    return f"""SELECT user, item, {time} AS time, {code} AS action{listed}, hash(user) % {shards} AS shard
               FROM {relation} WHERE {" AND ".join(where)}"""
