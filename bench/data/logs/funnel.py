"""Funnel tables from the raw relations of a log: staged by user, read shard by shard, written with their manifest."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.errors import UserError
from bench.data.logs.local_time import day_number, day_of
from bench.data.logs.rules import Rules
from bench.data.logs.shard import CLICKED, Plan, read_shard
from bench.data.logs.stage import Staged, exposures_by_day, shard_sql, space, stage
from bench.data.sql import text
from bench.data.tables import LABELS, SPLITS, Feature, Manifest, table_path, write_manifest

#: Raise it when the same log gives other tables.
IMPORT_VERSION = 1
_ROW_GROUP = 1 << 19
_TABLES = {"exposures": f"SELECT * EXCLUDE ({CLICKED}) FROM exposed", "events": "FROM behaved"}
_PLURALS = {"click": "clicks", "cart": "carts", "wish": "wishes", "purchase": "purchases"}

#: Told of a stage, and of the rows that are done and those in all.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Log:
    """What funnel tables say of a log. ``features`` may use ``hour`` and ``weekday``, which are made here."""

    dataset: str
    city: str
    fingerprint: str
    features: tuple[Feature, ...]
    rules: Rules
    lacks: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_funnel(
    connection: duckdb.DuckDBPyConnection, log: Log, folder: Path, report: Report = lambda stage, done, total: None
) -> Manifest:
    """Write the funnel tables of a log and their manifest into the existing ``folder``.

    The connection has the views or tables ``raw_exposures`` or ``raw_events`` (both where a behaviour log lies beside a
    table of exposures), and ``raw_users`` and ``raw_items`` where there are features of them. Columns:

    - ``user``, ``item`` (of one type everywhere), ``time`` (seconds since the epoch; absent where a log has none),
      ``visit`` (with the rule ``column``), ``position`` and ``domain`` (optional), and features of exposures;
    - raw exposures also ``click``, and ``cart``, ``wish``, ``purchase`` where it has them (0/1), and perhaps ``split``;
    - raw events also ``action``: view, click, cart, wish, purchase or browse; beside a table of exposures, a view is a
      browse.

    :mod:`bench.data.logs.shard` says what is made of them. Equal rows give equal bytes, whatever their order.

    Raises:
        UserError: the relations lack something, a split is empty, or a user or item has several rows of features.
        duckdb.Error: a raw relation cannot be read.
    """
    features = tuple(feature.name for feature in log.features if feature.table == "exposures")
    needed = tuple(feature for feature in features if feature not in ("hour", "weekday", "position"))
    report("reading", 0, 0)
    staging = folder / "staging"
    staging.mkdir()
    try:
        staged = stage(connection, log.rules, needed, staging)
        plan = Plan(log.rules, staged, needed, _split_days(connection, staged, log.rules))
        counts = Counter(staged.counts)
        rows = sum(staged.seen.values())
        done = 0
        tables = {table: query for table, query in _TABLES.items() if table != "events" or plan.has_events}
        with ExitStack() as stack:
            writers: dict[str, pq.ParquetWriter] = {}
            for shard in staged.shards:
                found = read_shard(connection, shard_sql(shard), plan, counts["exposures"], counts["log_visits"])
                counts.update(found)
                connection.execute("INSERT INTO shown_items SELECT DISTINCT item FROM exposed") if done else (
                    connection.execute("CREATE TEMP TABLE shown_items AS SELECT DISTINCT item FROM exposed")
                )
                for table, query in tables.items():
                    content = connection.sql(query).to_arrow_table()
                    if table not in writers:
                        writers[table] = stack.enter_context(_writer(folder, table, content.schema))
                    writers[table].write_table(content, row_group_size=_ROW_GROUP)
                done += sum(pq.read_metadata(path).num_rows for path in shard.glob("*.parquet"))
                report("visits and labels", done, rows)
        counts["items"] = connection.execute("SELECT count(DISTINCT item) FROM shown_items").fetchall()[0][0]
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    for table in ("users", "items"):
        counts.update(_write_side_table(connection, folder, table))
    manifest = _manifest(connection, folder, log, plan, counts)
    report("checksums", 0, 0)
    write_manifest(folder, manifest)
    return manifest


def _writer(folder: Path, table: str, schema: pa.Schema) -> pq.ParquetWriter:
    repeated = [each.name for each in schema if each.name in ("split", "domain", "action") or each.type == pa.string()]
    return pq.ParquetWriter(table_path(folder, table), schema, compression="zstd", use_dictionary=repeated)


def _write_side_table(connection: duckdb.DuckDBPyConnection, folder: Path, table: str) -> dict[str, int]:
    """Write ``raw_users`` or ``raw_items``, if there, in the order of their ids; counts the exposures that find none.

    Raises:
        UserError: an id has several rows, or no exposure finds one.
    """
    key, relation = table[:-1], f"raw_{table}"
    if not connection.execute("SELECT 1 FROM information_schema.tables WHERE table_name = ?", [relation]).fetchall():
        return {}
    known = f"FROM {relation} WHERE {key} IS NOT NULL"
    twice = connection.execute(
        f"SELECT {key}, count(*) {known} GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 1"
    ).fetchall()
    if twice:
        raise UserError(
            f"the {table} must have one row per {key}, but {key} {twice[0][0]} has {twice[0][1]}; keep one."
        )
    target = text(table_path(folder, table))
    connection.execute(f"COPY ({known} ORDER BY {key}) TO {target} (FORMAT parquet)")
    exposures = f"read_parquet({text(table_path(folder, 'exposures'))})"
    query = f"SELECT count(*), min({key}), (SELECT count(*) FROM {exposures}) FROM {exposures}"
    found = f"(SELECT {key} FROM read_parquet({target}))"
    lost, example, rows = connection.execute(f"{query} ANTI JOIN {found} USING ({key})").fetchall()[0]
    if lost == rows:
        raise UserError(
            f"the {table} must have rows of {table} that have exposures, but have none: {key} {example!r} has no row; "
            "look at their key and how it is written."
        )
    return {f"exposures_without_{key}_row": lost}


def _split_days(connection: duckdb.DuckDBPyConnection, staged: Staged, rules: Rules) -> tuple[int, int] | None:
    """First days of validation and test; None where the rows say their split.

    Raises:
        UserError: there are too few days.
    """
    if "split" in staged.columns:
        return None
    if not staged.timed:
        raise UserError("a log without times must say the split of its rows, but has no column split; name one.")
    splits = rules.splits
    if splits.valid_from is not None and splits.test_from is not None:
        return day_number(splits.valid_from), day_number(splits.test_from)
    days = exposures_by_day(connection, staged)
    if len(days) < len(SPLITS):
        raise UserError(
            f"a log must have exposures on {len(SPLITS)} days or more for training, validation and test, but has them "
            f"on {len(days)}; take a longer log."
        )
    covered = list(itertools.accumulate(days.values(), initial=0))
    valid, test = (
        next((i for i, n in enumerate(covered) if n >= (1 - share) * covered[-1]), len(days))
        for share in (splits.valid_share + splits.test_share, splits.test_share)
    )
    # A day that holds more than its share moves the others: each split has one.
    test = min(max(test, 2), len(days) - 1)
    listed = list(days)
    return listed[min(max(valid, 1), test - 1)], listed[test]


def _manifest(
    connection: duckdb.DuckDBPyConnection, folder: Path, log: Log, plan: Plan, counts: Mapping[str, int]
) -> Manifest:
    exposures = f"read_parquet({text(table_path(folder, 'exposures'))})"
    ranges = connection.execute(f"SELECT split, min(time), max(time), count(*) FROM {exposures} GROUP BY 1").fetchall()
    found = {split: (first, last) for split, first, last, _ in ranges}
    if missing := [split for split in SPLITS if split not in found]:
        span = f"{_day(min(r[0] for r in found.values()), plan)} to {_day(max(r[1] for r in found.values()), plan)}"
        raise UserError(
            f"every split must have exposures, but {missing[0]} has none: the exposures are of {span}; set splits that "
            "lie in these days."
        )
    if "split" in plan.staged.columns:
        _refuse_mixed_splits(connection, exposures)
    lacks = dict(log.lacks)
    for label in LABELS:
        if not counts.get(_PLURALS[label], 0):
            lacks.setdefault(label, f"has no {_PLURALS[label]}")
    if not plan.staged.timed:
        lacks.setdefault("time", "has no times")
        lacks.setdefault("visit", "has no times, so that no visit follows another")
    if "domain" not in plan.staged.columns:
        lacks.setdefault("search", "does not tell carts of a search from others")
    return Manifest(
        dataset=log.dataset,
        city=log.city,
        fingerprint=log.fingerprint,
        origin="log",
        features=log.features,
        counts=dict(counts),
        time_range=(min(first for first, _ in found.values()), max(last for _, last in found.values())),
        split_range={split: found[split] for split in SPLITS},
        settings={
            "importer": IMPORT_VERSION,
            "rules": log.rules.model_dump(mode="json"),
            "time_zone": log.rules.time_zone,
            **log.settings,
        },
        lacks=lacks,
        notes=(*_notes(plan, counts), *log.notes),
    )


def _refuse_mixed_splits(connection: duckdb.DuckDBPyConnection, exposures: str) -> None:
    """Splits that rows say themselves must be of whole visits, one after the other.

    Raises:
        UserError: they are not.
    """
    visits = f"(SELECT min(split) AS split, max(split) AS other, min(time) AS start FROM {exposures} GROUP BY visit)"
    query = f"SELECT split, count_if(split <> other), min(start), max(start) FROM {visits} GROUP BY split"
    found = {split: rest for split, *rest in connection.execute(query).fetchall()}
    if mixed := sum(several for several, *_ in found.values()):
        raise UserError(f"a visit must lie in one split, but {mixed} visits have rows of several; split by visits.")
    for earlier, later in itertools.pairwise(SPLITS):
        if found[later][1] < found[earlier][2]:
            raise UserError(
                f"visits of {later} must start after those of {earlier}, but some start before; split by time."
            )


def _day(second: int, plan: Plan) -> str:
    changes = plan.staged.changes
    offset = next((offset for start, offset in reversed(changes) if second >= start), changes[0][1])
    return day_of((second + offset) // 86_400).isoformat()


def _notes(plan: Plan, counts: Mapping[str, int]) -> tuple[str, ...]:
    """What stands for an exposure, which action counts for which, and which look ahead."""
    notes = []
    if plan.rules.shape == "events":
        what = "view" if space(plan.staged) == "view" else "click"
        notes.append(
            f"The log has no exposures: the exposure space is its {what}s, one row per item and visit."
            + (" Every one counts as clicked, so CTR is 1 and CVR is CTCVR." if plan.clicked else "")
        )
    if plan.attributed:
        window = plan.rules.attribution_hours
        where = "in its visit" if window is None else f"of any visit within {window:g} hours"
        notes.append(
            f"{', '.join(plan.attributed).capitalize()} labels: an action counts for the latest exposure of its user "
            f"and item before it {where}."
        )
    if later := sum(counts.get(f"{label}_of_later_split", 0) for label in plan.attributed):
        notes.append(f"{later:,} actions of the days of a later split gave a label to an exposure of an earlier one.")
    return tuple(notes)
