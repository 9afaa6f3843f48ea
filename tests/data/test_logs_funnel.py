"""The import's rules: SQL over shards against loops over rows, and equal bytes for equal rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from logs_by_hand import LABELS, Row, by_hand, split_of

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.checks import check_tables
from bench.data.logs import stage
from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules, Splits
from bench.data.sql import connect
from bench.data.tables import SPLITS as SPLIT_NAMES
from bench.data.tables import Feature, Manifest

DAY = 86_400
START = 1_711_584_000  # 2024-03-28: Berlin's clocks change on the 31st
SPLITS = Splits(valid_from=date(2024, 3, 31), test_from=date(2024, 4, 2))
FEATURES = tuple(Feature(name=name, table="exposures") for name in ("user", "item", "brand", "hour"))
TYPES = {
    "user": "BIGINT",
    "item": "BIGINT",
    "time": "BIGINT",
    "action": "VARCHAR",
    "visit": "VARCHAR",
    "brand": "VARCHAR",
}
GAP, BERLIN = "gap", "Europe/Berlin"


def make(
    seed: int, rows: int = 150, actions: Sequence[str] = ("view", "click", "cart", "wish", "purchase")
) -> list[Row]:
    """A small log with repeated rows, gaps, midnights, unknown visits and incomplete rows."""
    rng = random.Random(seed)
    found: list[Row] = []
    for _ in range(rows):
        time = (
            START
            + rng.randrange(6) * DAY
            + rng.choice([0, 3600, 82_800, 43_200])
            + rng.choice([0, 1, 1799, 1800, 1801, 60])
        )
        row = {
            "user": rng.randrange(5), "item": rng.randrange(4), "time": time,
            "action": rng.choice([actions[0], *actions]), "visit": rng.choice([None, "a", "b"]),
            "brand": rng.choice([None, "x", "y"]),
        }  # fmt: skip
        found.append(row)
        if rng.random() < 0.15:
            found.append({**row, "brand": rng.choice(["x", "z"])})
        if rng.random() < 0.05:
            found.append({**row, rng.choice(["user", "item", "time"]): None})
    rng.shuffle(found)
    return found


def put(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: Sequence[Row], types: dict[str, str] = TYPES
) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    connection.execute(f"CREATE TABLE {relation} ({columns})")
    if rows:
        marks = ", ".join("?" for _ in types)
        connection.executemany(
            f"INSERT INTO {relation} VALUES ({marks})", [[row[name] for name in types] for row in rows]
        )


def tables(
    folder: Path,
    rules: Rules,
    features: Sequence[Feature] = FEATURES,
    **relations: tuple[Sequence[Row], dict[str, str]],
) -> Manifest:
    """Funnel tables of raw relations in ``folder``."""
    (folder / "scratch").mkdir(parents=True)
    with connect(folder / "scratch") as connection:
        for relation, (rows, types) in relations.items():
            put(connection, relation, rows, types)
        return write_funnel(connection, Log("log", "all", "0" * 32, tuple(features), rules), folder)


def read(folder: Path, table: str) -> list[Row]:
    found = duckdb.sql(f"FROM '{folder / table}.parquet'")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


RULES = [
    Rules(shape="events", visit=visit, time_zone=zone, attribution_hours=hours, splits=SPLITS)
    for visit in ("gap", "day", "column")
    for zone in ("UTC", BERLIN)
    for hours in (None, 30.0)
]

ACTIONS = [
    ("view", "click", "cart", "wish", "purchase"),
    ("view", "cart", "purchase"),
    ("click", "cart", "purchase", "browse"),
]


@pytest.mark.parametrize("rules", RULES, ids=lambda r: f"{r.visit}-{r.time_zone}-{r.attribution_hours}")
@pytest.mark.parametrize("actions", ACTIONS, ids=("all", "views", "clicks"))
def test_against_loops(tmp_path: Path, rules: Rules, actions: Sequence[str]) -> None:
    events = make(10 * RULES.index(rules) + len(actions), actions=actions)
    manifest = tables(tmp_path, rules, raw_events=(events, TYPES))
    exposures, behaviour, counts = by_hand(events, rules)

    def told(rows: Sequence[Row], *columns: str) -> list[tuple[Any, ...]]:
        return sorted(tuple(str(row[column]) for column in columns) for row in rows)

    columns = ("user", "item", "time", "brand", *LABELS)
    found = read(tmp_path, "exposures")
    assert told(found, *columns) == told(exposures, *columns)
    assert told(read(tmp_path, "events"), "user", "item", "time", "action") == told(
        behaviour, "user", "item", "time", "action"
    )
    assert {key: manifest.counts[key] for key in counts} == dict(counts)
    assert [row["exposure"] for row in found] == list(range(len(found)))
    # The same rows make up a visit, and lie in the split of its first exposure.
    groups: dict[int, set[tuple[Any, ...]]] = {}
    for row in found:
        groups.setdefault(row["visit"], set()).add((row["user"], row["item"], row["time"]))
    expected: dict[int, list[Row]] = {}
    for row in exposures:
        expected.setdefault(row["v"], []).append(row)
    assert sorted(map(sorted, groups.values())) == sorted(
        sorted((row["user"], row["item"], row["time"]) for row in rows) for rows in expected.values()
    )
    starts = {visit: min(time for _, _, time in rows) for visit, rows in groups.items()}
    assert all(row["split"] == split_of(starts[row["visit"]], rules) for row in found)
    assert check_tables(tmp_path) == []


@pytest.mark.parametrize("name", ["place", "v", "opens", "repeated", "clicked", "shard", "start", "first", "code", "t"])
def test_features_may_have_any_name(tmp_path: Path, name: str) -> None:
    rules, events = RULES[0], make(7)
    types = TYPES | {name: "DOUBLE"}
    plain = tables(tmp_path / "plain", rules, raw_events=(events, TYPES))
    named = [{**row, name: row["time"]} for row in events]
    feature = Feature(name=name, table="exposures", kind="numeric")
    assert tables(tmp_path / "named", rules, (*FEATURES, feature), raw_events=(named, types)).counts == plain.counts
    found = read(tmp_path / "named", "exposures")
    assert all(row.pop(name) == row["time"] for row in found)
    assert sorted(map(str, found)) == sorted(map(str, read(tmp_path / "plain", "exposures")))


def test_the_hour_is_local(tmp_path: Path) -> None:
    times = [START, 1_711_846_799, 1_711_846_800, START + 5 * DAY]  # before and after the clocks change
    events = [{**make(0)[0], "user": 1, "item": i, "time": time, "action": "view"} for i, time in enumerate(times)]
    tables(tmp_path, Rules(shape="events", time_zone=BERLIN, splits=SPLITS), raw_events=(events, TYPES))
    assert [(row["hour"], row["weekday"]) for row in read(tmp_path, "exposures")] == [(1, 3), (1, 6), (3, 6), (2, 1)]


@pytest.mark.parametrize("types", [TYPES, TYPES | {"user": "VARCHAR", "item": "VARCHAR"}], ids=("integers", "texts"))
def test_bytes_depend_on_the_rows_only(tmp_path: Path, types: dict[str, str]) -> None:
    rules = Rules(shape="events", splits=SPLITS)
    events = make(5)
    shuffled = random.Random(1).sample(events, len(events))
    for name, rows in (("a", events), ("b", shuffled)):
        tables(tmp_path / name, rules, raw_events=(rows, types))
    sums = [{p.name: checksum(p) for p in (tmp_path / name).glob("*.*")} for name in "ab"]
    assert sums[0] == sums[1] and len(sums[0]) == 3


@pytest.mark.parametrize("types", [TYPES, TYPES | {"user": "VARCHAR"}], ids=("integers", "texts"))
def test_shards_change_numbers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: dict[str, str]) -> None:
    rules, events = Rules(shape="events", splits=SPLITS), make(6)
    whole = tables(tmp_path / "whole", rules, raw_events=(events, types))
    monkeypatch.setattr(stage, "SHARD_ROWS", 20)
    parts = tables(tmp_path / "parts", rules, raw_events=(events, types))
    assert parts.counts == whole.counts
    assert check_tables(tmp_path / "parts") == []
    for table in ("exposures", "events"):
        rows = [read(tmp_path / name, table) for name in ("whole", "parts")]
        for each in rows:
            for row in each:
                row.pop("exposure", None)
                row.pop("visit")
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1]))
    assert [row["exposure"] for row in read(tmp_path / "parts", "exposures")] == list(range(parts.counts["exposures"]))


SHOWN = {
    "user": "BIGINT",
    "item": "BIGINT",
    "time": "BIGINT",
    "position": "INTEGER",
    "click": "UTINYINT",
    "brand": "VARCHAR",
}


def shown(user: int, item: int, time: int, position: int, click: int) -> Row:
    return {"user": user, "item": item, "time": time, "position": position, "click": click, "brand": None}


def acted(user: int, item: int, time: int, action: str) -> Row:
    return {"user": user, "item": item, "time": time, "action": action, "visit": None, "brand": None}


def table_of_exposures() -> tuple[list[Row], list[Row]]:
    """An item twice in one visit, an action before it, one late, one of the next day, and the days of all splits."""
    exposures = [
        shown(1, 7, START, 0, 1), shown(1, 7, START + 60, 1, 0), shown(1, 8, START + 60, 2, 0),
        shown(1, 7, START + DAY, 0, 0), shown(2, 7, START + 3 * DAY, 0, 1), shown(2, 7, START + 5 * DAY, 0, 0),
        shown(2, 7, START + 5 * DAY, 0, 0),  # repeated
    ]  # fmt: skip
    events = [
        acted(1, 7, START + 30, "cart"), acted(1, 7, START + 90, "cart"), acted(1, 8, START + 10, "cart"),
        acted(1, 8, START + 20 * 3600, "purchase"), acted(1, 9, START, "purchase"),
        acted(1, 7, START + DAY + 5, "purchase"), acted(2, 7, START + 5 * DAY + 1, "browse"),
    ]  # fmt: skip
    return exposures, events


def test_a_table_of_exposures_beside_a_behaviour_log(tmp_path: Path) -> None:
    exposures, events = table_of_exposures()
    rules = Rules(shape="exposures", splits=SPLITS)
    features = [feature for feature in FEATURES if feature.name != "brand"]
    manifest = tables(tmp_path, rules, features, raw_exposures=(exposures, SHOWN), raw_events=(events, TYPES))
    found = read(tmp_path, "exposures")
    assert [(r["user"], r["item"], r["position"], r["click"], r["cart"], r["purchase"]) for r in found] == [
        (1, 7, 0, 1, 1, 0), (1, 7, 1, 1, 1, 0), (1, 8, 2, 0, 0, 0),
        (1, 7, 0, 1, 0, 1), (2, 7, 0, 1, 0, 0), (2, 7, 0, 0, 0, 0),
    ]  # fmt: skip
    wanted = {
        "repeated": 1, "implied_clicks": 2, "cart_early": 1, "purchase_late": 1, "purchase_without_exposure": 1,
        "bad_case_purchases": 1, "clicks": 4, "events": 7 + 4,
    }  # fmt: skip
    assert {key: manifest.counts[key] for key in wanted} == wanted
    assert manifest.lacks.keys() == {"wish", "search"}
    assert check_tables(tmp_path) == []


def test_labels_become_events_where_there_is_no_behaviour_log(tmp_path: Path) -> None:
    exposures, _ = table_of_exposures()
    tables(tmp_path, Rules(shape="exposures", splits=SPLITS), FEATURES, raw_exposures=(exposures, SHOWN))
    found = [(r["user"], r["item"], r["time"], r["action"]) for r in read(tmp_path, "events")]
    assert found == [(1, 7, START, "click"), (2, 7, START + 3 * DAY, "click")]


def test_a_log_without_times_needs_splits(tmp_path: Path) -> None:
    types = {"user": "BIGINT", "item": "BIGINT", "click": "UTINYINT", "split": "VARCHAR"}
    rows = [{"user": i, "item": i, "click": 1, "split": split} for i, split in enumerate(SPLIT_NAMES)]
    features = [feature for feature in FEATURES if feature.name in ("user", "item")]
    tables(tmp_path / "a", Rules(shape="exposures"), features, raw_exposures=(rows * 2, types))
    assert [row["time"] for row in read(tmp_path / "a", "exposures")] == [0] * 6
    assert not (tmp_path / "a" / "events.parquet").exists()
    del types["split"]
    with pytest.raises(UserError, match="must say the split"):
        tables(tmp_path / "b", Rules(shape="exposures"), features, raw_exposures=(rows, types))


@pytest.mark.parametrize(
    ("days", "starts"),
    [
        ([10] * 10, (7, 8)),
        ([1, 1, 1], (1, 2)),
        ([1, 1, 98], (1, 2)),
        ([98, 1, 1], (1, 2)),
        ([50, 20, 10, 10, 10], (2, 3)),
    ],
)
def test_shares_become_whole_days(tmp_path: Path, days: Sequence[int], starts: tuple[int, int]) -> None:
    events = [
        {**acted(user, 1, START + day * DAY, "view")} for day, n in enumerate(days) for user in range(n)
    ]  # fmt: skip
    manifest = tables(tmp_path, Rules(shape="events"), raw_events=(events, TYPES))
    valid, test = (START + start * DAY for start in starts)
    assert (manifest.split_range["valid"][0], manifest.split_range["test"][0]) == (valid, test)


def test_days_outside_are_left_out(tmp_path: Path) -> None:
    events = [acted(1, 1, START + day * DAY, "view") for day in range(7)]
    splits = SPLITS.model_copy(update={"first": date(2024, 3, 29), "last": date(2024, 4, 2)})
    manifest = tables(tmp_path, Rules(shape="events", splits=splits), raw_events=(events, TYPES))
    assert (manifest.counts["outside_days"], manifest.counts["exposures"]) == (2, 5)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    rules = Rules(shape="events", splits=SPLITS)
    views = [acted(1, 1, START + day * DAY, "view") for day in range(6)]
    cases: list[tuple[str, list[Row], dict[str, str], str]] = [
        ("a", [], TYPES, "must have a row with a user"),
        ("b", [acted(1, 1, START, "cart")], TYPES, "must have views or clicks"),
        ("c", views[:3], TYPES, "every split must have exposures, but valid has none: .* 2024-03-28 to 2024-03-30"),
        ("d", views, {key: kind for key, kind in TYPES.items() if key != "action"}, "lacks action"),
    ]
    for name, rows, types, message in cases:
        with pytest.raises(UserError, match=message):
            tables(tmp_path / name, rules, raw_events=(rows, types))
    with pytest.raises(UserError, match="one row per user, but user 1 has 2"):
        side = ([{"user": 1}, {"user": 1}], {"user": "BIGINT"})
        tables(tmp_path / "e", rules, raw_events=(views, TYPES), raw_users=side)
