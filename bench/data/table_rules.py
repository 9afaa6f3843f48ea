"""What the columns and rows of funnel tables must be, each rule with what to do where it is broken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from bench.data.sql import choice, name, text
from bench.data.tables import ACTIONS, COLUMNS, DOMAINS, LABELS, SPLITS, TRUTH, Feature, Manifest

#: Column types (SQL) of the tables that can be read.
Types = dict[str, dict[str, str]]


class Rule(NamedTuple):
    """A column, SQL that is true of a bad row, what the column must be there, and what to do about it."""

    column: str
    bad: str
    wanted: str
    remedy: str


#: The first second of the year 2100: a later one is no second since the epoch.
LATEST = 4_102_444_800

_INTEGERS = frozenset(f"{u}{size}" for u in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT"))
_NUMBERS = _INTEGERS | {"FLOAT", "DOUBLE"}
_TYPES: dict[str, frozenset[str]] = {
    **dict.fromkeys(("exposure", "time", *LABELS), _INTEGERS),
    **dict.fromkeys(("position", *TRUTH), _NUMBERS),
}
_CASTS = {"time": "store seconds since the epoch (UTC)", **dict.fromkeys(LABELS, "store 0 and 1")}
#: The column that a table has one row for.
_KEYS = {"exposures": "exposure", "users": "user", "items": "item", "truth": "exposure"}


def column_problems(table: str, types: Types, manifest: Manifest) -> list[str]:
    """Missing columns of a table, and columns of the wrong type."""
    columns, exposures = types[table], types.get("exposures", {})
    problems = []
    for column in COLUMNS[table]:
        if column not in columns:
            problems.append(f"{table}.parquet: {column} must be a column, but is missing; add it")
            continue
        allowed, remedy = _TYPES.get(column), _CASTS.get(column, "cast it")
        if table != "exposures" and column in ("user", "item", "visit") and column in exposures:
            allowed, remedy = frozenset((exposures[column],)), "cast it to the type that it has in exposures"
        if allowed and columns[column] not in allowed:
            problems.append(_type_problem(table, column, " or ".join(sorted(allowed)), columns[column], remedy))
    for feature in manifest.features:
        if feature.table == table and feature.name in columns:
            problems += _feature_type_problem(feature, columns[feature.name])
    return problems


def _feature_type_problem(feature: Feature, found: str) -> Iterator[str]:
    """Numbers must be numbers, lists lists, and nothing else a list."""
    listed = found.endswith("]")
    if feature.kind in ("numeric", "dense") and found not in _NUMBERS:
        wanted, remedy = " or ".join(sorted(_NUMBERS)), "cast it, or give the feature the kind 'categorical'"
    elif feature.kind == "multi" and not listed:
        wanted, remedy = "a list", "split it into a list, or give the feature the kind 'categorical'"
    elif feature.kind == "categorical" and listed:
        wanted, remedy = "one value", "give the feature the kind 'multi'"
    else:
        return
    yield _type_problem(feature.table, feature.name, wanted, found, remedy)


def _type_problem(table: str, column: str, wanted: str, found: str, remedy: str) -> str:
    return f"{table}.parquet: {column} must be {wanted}, but is {found}; {remedy}"


def row_rules(table: str, types: Types, manifest: Manifest) -> Iterator[Rule]:
    """What the rows of a table must satisfy; its columns, and those of ``exposures``, are as they must be."""
    nullable = {"visit"} if table == "events" else set()
    for column in COLUMNS[table]:
        if column not in nullable:
            yield Rule(column, f"{name(column)} IS NULL", "be known", "fill it in, or leave the row out")
    if key := _KEYS.get(table):
        twice = f"{key} IN (SELECT {key} FROM {table} GROUP BY 1 HAVING count(*) > 1)"
        remedy = "number the rows 0, 1, …" if table == "exposures" else "keep one of them"
        yield Rule(key, twice, "occur once", remedy)
    if "time" in COLUMNS[table]:
        yield from _time_rules(table, manifest)
    if table == "exposures":
        yield from _exposure_rules(types, manifest)
    if "domain" in types[table]:
        wanted = f"be one of {', '.join(DOMAINS)}"
        yield Rule("domain", f"domain IS NULL OR {choice(DOMAINS, 'domain')} IS NULL", wanted, "rename it")
    if table == "events":
        wanted = f"be one of {', '.join(ACTIONS)}"
        yield Rule("action", f"{choice(ACTIONS, 'action')} IS NULL", wanted, "rename it, or leave the row out")
        both = "SELECT visit, user FROM events UNION ALL SELECT visit, user FROM exposures"
        several = f"SELECT visit FROM ({both}) GROUP BY 1 HAVING min(user) <> max(user)"
        remedy = "number visits over all users, the same in both tables"
        yield Rule("visit", f"visit IN ({several})", "have one user, here and in exposures", remedy)
    if table == "truth":
        for column in TRUTH:
            bad = f"isnan({column}) OR {column} NOT BETWEEN 0 AND 1"
            yield Rule(column, bad, "be a probability", "mend the simulation")
        bad = "exposure NOT IN (SELECT exposure FROM exposures)"
        yield Rule("exposure", bad, "be one of the exposures", "leave the row out")
    for feature in manifest.features:
        kind = types[table].get(feature.name)
        if feature.table == table and feature.kind in ("numeric", "dense") and kind in ("FLOAT", "DOUBLE"):
            remedy = "store NULL where it is not known"
            yield Rule(feature.name, f"isinf({name(feature.name)})", "be finite or missing", remedy)


def _time_rules(table: str, manifest: Manifest) -> Iterator[Rule]:
    if "time" in manifest.lacks:
        yield Rule("time", "time <> 0", "be 0, since the manifest says that the log lacks it", "take it out of lacks")
        return
    wanted = "be seconds since the epoch, before the year 2100"
    yield Rule("time", f"time >= {LATEST}", wanted, "divide milliseconds by 1000")
    if table == "exposures":
        first, last = manifest.time_range
        ranges = "".join(f" WHEN {text(s)} THEN time BETWEEN {a} AND {b}" for s, (a, b) in manifest.split_range.items())
        inside = f"CASE split{ranges} ELSE time BETWEEN {first} AND {last} END" if ranges else f"time >= {first}"
        outside = f"time < {LATEST} AND NOT ({inside} AND time <= {last})"
        wanted = "lie in the manifest's range of its split"
        yield Rule("time", outside, wanted, "mend time_range and split_range of the manifest, or leave the row out")


def _exposure_rules(types: Types, manifest: Manifest) -> Iterator[Rule]:
    for label in LABELS:
        yield Rule(label, f"{label} NOT IN (0, 1)", "be 0 or 1", "store 0 and 1, also where nothing happened")
        if label in manifest.lacks:
            wanted = "be 0, since the manifest says that the log lacks it"
            yield Rule(label, f"{label} = 1", wanted, "take it out of lacks")
    for label in LABELS[1:]:
        remedy = "set its click to 1, or leave the action to the events"
        yield Rule(label, f"{label} = 1 AND click = 0", "be 0 without a click", remedy)
    outside = "exposure NOT BETWEEN 0 AND (SELECT count(*) - 1 FROM exposures)"
    yield Rule("exposure", outside, "be 0 … number of rows - 1", "number the rows 0, 1, …")
    remedy = "name the split of every row so"
    yield Rule("split", f"{choice(SPLITS, 'split')} IS NULL", f"be one of {', '.join(SPLITS)}", remedy)
    for column in ("split", "user"):
        several = f"SELECT visit FROM exposures GROUP BY 1 HAVING min({column}) <> max({column})"
        remedy = "split by visits" if column == "split" else "number visits over all users"
        yield Rule("visit", f"visit IN ({several})", f"have one {column}", remedy)
    starts = "SELECT visit, split, min(time) AS start FROM exposures GROUP BY ALL"
    for earlier, later in itertools.pairwise(SPLITS):
        last = f"SELECT max(start) FROM ({starts}) WHERE split = '{earlier}'"
        early = f"SELECT visit FROM ({starts}) WHERE split = '{later}' AND start < ({last})"
        bad = f"split = '{later}' AND visit IN ({early})"
        yield Rule("split", bad, f"be later than every visit of {earlier}", "split by time")
    if "truth" in types and "exposure" in types["truth"]:
        bad = "exposure NOT IN (SELECT exposure FROM truth WHERE exposure IS NOT NULL)"
        yield Rule("exposure", bad, "have a row in truth", "add it, or leave truth out")
