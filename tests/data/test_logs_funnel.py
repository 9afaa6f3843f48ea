"""The import's rules: SQL over shards against loops over rows, and equal bytes for equal rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from logs_by_hand import LABELS, Row, by_hand, split_of
from raw_logs import BERLIN, DAY, FEATURES, SPLITS, START, TYPES, read, tables

from bench.core.publish import checksum
from bench.data.checks import check_tables
from bench.data.logs import stage
from bench.data.logs.rules import Rules
from bench.data.tables import Feature


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
