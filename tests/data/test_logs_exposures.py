"""A table of exposures beside a behaviour log: every row, number and count against loops over rows."""

from __future__ import annotations

import random
import zoneinfo
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.checks import check_tables
from bench.data.logs import stage
from bench.data.logs.funnel import Log, write_funnel
from bench.data.logs.rules import Rules, Splits
from bench.data.sql import connect
from bench.data.tables import LABELS, Feature, Manifest

Row = dict[str, Any]

DAY = 86_400
START = 1_711_584_000  # 2024-03-28; Berlin's clocks change on the 31st
CODES = ("view", "click", "cart", "wish", "purchase", "browse")
FEATURES = ("user", "item", "position", "brand", "tags", "hour", "weekday")
TYPES: dict[str, pa.DataType] = {
    "user": pa.int64(), "item": pa.int64(), "time": pa.int64(), "visit": pa.string(), "position": pa.int32(),
    "domain": pa.string(), "action": pa.string(), "brand": pa.string(), "tags": pa.list_(pa.string()),
    "split": pa.string(), **dict.fromkeys(LABELS, pa.uint8()),
}  # fmt: skip


def random_log(seed: int, given: Sequence[str], visit: bool) -> tuple[list[Row], list[Row]]:
    """Exposures and events of a few users and items, with ties, repeated and incomplete rows, and unknown visits."""
    rng = random.Random(seed)

    def row(**columns: Any) -> Row:
        clock = rng.choice([0, 3600, 7200, 43_200, 79_200, 82_800]) + rng.choice([0, 0, 60, 1799, 1800, 1801])
        found = {"user": rng.randrange(4), "item": rng.randrange(3), "time": START + rng.randrange(6) * DAY + clock}
        found |= {"visit": rng.choice([None, "a", "b"])} if visit else {}
        return {**found, "domain": rng.choice([None, "recommendation", "search"]), **columns}

    exposures = [
        row(
            position=rng.choice([None, 0, 5]),
            brand=rng.choice([None, "x", "y"]),
            tags=rng.choice([None, [], ["a"], ["a", None, "b"]]),
            **{label: rng.choice([None, 0, 0, 1]) for label in given},
        )
        for _ in range(60)
    ]
    events = [row(action=rng.choice(CODES[2:] if seed % 3 else CODES)) for _ in range(80)]
    for rows in (exposures, events):
        for each in rng.sample(rows, 12):
            copies = [{**each, "brand": "z", "tags": ["z"]} if "brand" in each else dict(each)]
            rows += [*copies, {**each, rng.choice(["user", "item", "time"]): None}][: rng.randrange(3)]
        rng.shuffle(rows)
    return exposures, events


class Loops:
    """What the docstrings of ``rules`` and ``shard`` say, row by row."""

    def __init__(self, exposures: Sequence[Row], events: Sequence[Row], rules: Rules, given: Sequence[str]) -> None:
        self.rules, self.given = rules, given
        self.zone = zoneinfo.ZoneInfo(rules.time_zone)
        self.counts: Counter[str] = Counter()
        rows = [each for kind, log in (("exposures", exposures), ("events", events)) for each in self.read(kind, log)]
        self.seen = {action for row in rows if (action := row.get("action"))}
        self.rows = self.visited(self.distinct(rows))
        self.shown = [row for row in self.rows if row["code"] == 0]
        self.number()
        self.label()

    def local(self, second: int) -> datetime:
        return datetime.fromtimestamp(second, UTC).astimezone(self.zone)

    def read(self, kind: str, log: Sequence[Row]) -> list[Row]:
        """Complete rows of the days that are read; a view beside a table of exposures is a browse."""
        splits, found = self.rules.splits, []
        self.counts[f"raw_{kind}"] += len(log)
        for row in log:
            if None in (row["user"], row["item"], row["time"]):
                self.counts[f"incomplete_{kind}"] += 1
                continue
            day = self.local(row["time"]).date()
            if (splits.first and day < splits.first) or (splits.last and day > splits.last):
                self.counts["outside_days"] += 1
                continue
            code = 0 if kind == "exposures" else CODES.index(row["action"]) or CODES.index("browse")
            found.append({**dict.fromkeys(("position", "brand", "tags", *self.given)), **row, "code": code})
        return found

    def distinct(self, rows: list[Row]) -> list[Row]:
        visit = ["visit"] if self.rules.visit == "column" else []

        def known(value: Any) -> tuple[Any, ...]:
            """NULL is last; in a list as well."""
            return (
                value is None,
                0 if value is None else list(map(known, value)) if isinstance(value, list) else value,
            )

        def order(row: Row) -> list[tuple[Any, ...]]:
            keys = ["user", *visit, "time", "item", "code", "position", "domain", *self.given, "brand", "tags"]
            return [known(row[key]) for key in keys]

        found: dict[tuple[Any, ...], Row] = {}
        for row in sorted(rows, key=order):
            same = ("user", *visit, "time", "item", "code", "position", "domain", *self.given)
            self.counts["repeated"] += tuple(row[key] for key in same) in found
            found.setdefault(tuple(row[key] for key in same), row)
        return list(found.values())

    def visited(self, rows: list[Row]) -> list[Row]:
        last: Row | None = None
        number = -1
        for row in rows:
            new = last is None or last["user"] != row["user"]
            if last is not None and not new:
                other_day = self.local(last["time"]).date() != self.local(row["time"]).date()
                new = {
                    "gap": row["time"] - last["time"] > self.rules.gap_minutes * 60,
                    "day": other_day,
                    "column": last.get("visit") != row.get("visit") or (row.get("visit") is None and other_day),
                }[self.rules.visit]
            number += new
            row["v"], last = number, row
        self.counts["log_visits"] = number + 1
        return rows

    def number(self) -> None:
        first: dict[int, int] = {}
        start: dict[int, int] = {}
        for exposure, row in enumerate(self.shown):
            row["exposure"] = exposure
            first.setdefault(row["v"], exposure)
            start[row["v"]] = min(row["time"], start.get(row["v"], row["time"]))
            row["place"] = exposure - first[row["v"]] if row["position"] is None else row["position"]
            row["labels"] = {label: row.get(label) or 0 for label in LABELS}
        for row in self.shown:
            row["split"] = self.split(start[row["v"]])

    def split(self, second: int) -> str:
        splits, day = self.rules.splits, self.local(second).date()
        assert splits.valid_from and splits.test_from
        return "train" if day < splits.valid_from else "valid" if day < splits.test_from else "test"

    def label(self) -> None:
        hours = self.rules.attribution_hours
        attributed = [label for label in LABELS if label not in self.given and label in self.seen]
        for act in self.rows:
            if (label := CODES[act["code"]]) not in attributed:
                continue
            mine = [row for row in self.shown if (row["user"], row["item"]) == (act["user"], act["item"])]
            before = [row for row in mine if row["time"] <= act["time"]]
            near = [
                row for row in before
                if (row["v"] == act["v"] if hours is None else act["time"] - row["time"] <= hours * 3600)
            ]  # fmt: skip
            self.counts[f"{label}_actions"] += 1
            self.counts[f"{label}_of_later_split"] += 0
            if near:
                latest = max(row["time"] for row in near)
                taken = next(row for row in near if row["time"] == latest)
                taken["labels"][label] = 1
                self.counts[f"{label}_of_later_split"] += taken["split"] != self.split(act["time"])
            for part, holds in (("late", before), ("early", mine and not before), ("without_exposure", not mine)):
                self.counts[f"{label}_{part}"] += bool(holds) and not near
        for row in self.shown:
            labels = row["labels"]
            self.counts["implied_clicks"] += (implied := max(labels.values()) > labels["click"])
            labels["click"] = labels["click"] or int(implied)
            self.counts["bad_case_purchases"] += labels["purchase"] > labels["cart"]

    def exposures(self) -> list[tuple[Any, ...]]:
        found = []
        for row in self.shown:
            local, domain = self.local(row["time"]), row["domain"] or "recommendation"
            keys = (
                row["exposure"],
                row["user"],
                row["item"],
                row["v"],
                row["time"],
                row["place"],
                row["split"],
                domain,
            )
            found.append((*keys, *row["labels"].values(), local.hour, local.weekday(), row["brand"], row["tags"]))
        return found

    def events(self) -> list[tuple[Any, ...]]:
        """Actions, and the labels of the table that the behaviour log does not have."""
        found = [(row, CODES[row["code"]]) for row in self.rows if row["code"]]
        told = [label for label in self.given if label not in self.seen]
        found += [(row, label) for row in self.shown for label in told if row["labels"][label]]
        rows = [(row["user"], row["item"], row["time"], row["v"], action, row["domain"]) for row, action in found]
        rows = [(*row, domain or "recommendation") for *row, domain in rows]
        return sorted(rows, key=lambda row: (row[0], row[2], row[3], row[1], CODES.index(row[4]), row[5]))

    def counted(self) -> dict[str, int]:
        events = self.events()
        plurals = zip(("clicks", "carts", "wishes", "purchases"), LABELS, strict=True)
        return {
            "incomplete_exposures": 0, "incomplete_events": 0, "outside_days": 0, "repeated": 0, **self.counts,
            **{plural: sum(row["labels"][label] for row in self.shown) for plural, label in plurals},
            "exposures": len(self.shown), "events": len(events),
            "users": len({row["user"] for row in self.shown}), "items": len({row["item"] for row in self.shown}),
            "visits": len({row["v"] for row in self.shown}),
            "search_carts": sum(row[4:] == ("cart", "search") for row in events),
        }  # fmt: skip


def tables(folder: Path, rules: Rules, features: Sequence[str] = FEATURES, **relations: Sequence[Row]) -> Manifest:
    (folder / "scratch").mkdir(parents=True)
    with connect(folder / "scratch") as connection:
        for relation, rows in relations.items():
            columns = {name: pa.array([row[name] for row in rows], TYPES[name]) for name in rows[0]}
            connection.register("rows", pa.table(columns))
            connection.execute(f"CREATE TABLE {relation} AS FROM rows")
            connection.unregister("rows")
        kinds: Mapping[str, Any] = {"tags": "multi", "position": "numeric"}
        listed = tuple(Feature(name=name, table="exposures", kind=kinds.get(name, "categorical")) for name in features)
        return write_funnel(connection, Log("log", "all", "0" * 32, listed, rules), folder)


def read(folder: Path, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return duckdb.sql(f"SELECT {', '.join(columns)} FROM '{folder / table}.parquet'").fetchall()


WRITTEN = (
    *("exposure", "user", "item", "visit", "time", "position", "split", "domain"),
    *(*LABELS, "hour", "weekday", "brand", "tags"),
)
SPLITS = Splits(valid_from=date(2024, 3, 31), test_from=date(2024, 4, 1))
SOME_DAYS = SPLITS.model_copy(update={"first": date(2024, 3, 29), "last": date(2024, 4, 1)})
CASES = [(visit, hours) for visit in ("gap", "day", "column") for hours in (None, 1.0, 30.0)]


@pytest.mark.parametrize(("visit", "hours"), CASES)
def test_against_loops(tmp_path: Path, visit: str, hours: float | None) -> None:
    for seed in range(4):
        given = (("click",), ("click", "cart"), ("click", "wish", "purchase"))[seed % 3]
        rules = Rules(
            shape="exposures", visit=visit, attribution_hours=hours, splits=SOME_DAYS if seed == 1 else SPLITS,
            time_zone="UTC" if seed == 2 else "Europe/Berlin",
        )  # fmt: skip
        exposures, events = random_log(10 * CASES.index((visit, hours)) + seed, given, visit == "column")  # type: ignore[arg-type]
        folder = tmp_path / str(seed)
        manifest = tables(folder, rules, raw_exposures=exposures, raw_events=events)
        expected = Loops(exposures, events, rules, given)
        assert read(folder, "exposures", WRITTEN) == expected.exposures()
        assert read(folder, "events", ("user", "item", "time", "visit", "action", "domain")) == expected.events()
        assert manifest.counts == expected.counted()
        assert check_tables(folder) == []


def test_bytes_depend_on_the_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one shard and in several, some of which have no user: repeated rows differ in their features."""
    rules = Rules(shape="exposures", splits=SPLITS)
    exposures, events = random_log(7, ("click",), False)
    contents = []
    for size in (stage.SHARD_ROWS, 3):
        monkeypatch.setattr(stage, "SHARD_ROWS", size)
        sums = []
        for order in range(2):
            folder = tmp_path / f"{size}-{order}"
            rng = random.Random(order)
            logs = [rng.sample(rows, len(rows)) for rows in (exposures, events)]
            tables(folder, rules, raw_exposures=logs[0], raw_events=logs[1])
            sums.append({path.name: checksum(path) for path in folder.glob("*.*")})
            assert check_tables(folder) == []
        assert sums[0] == sums[1] and len(sums[0]) == 3
        numbers = ("exposure", "visit")
        rows = read(folder, "exposures", [column for column in WRITTEN if column not in numbers])
        contents.append(
            sorted(map(str, [*rows, *read(folder, "events", ("user", "item", "time", "action", "domain"))]))
        )
    assert contents[0] == contents[1]


def test_views_beside_a_table_of_exposures_are_no_exposures(tmp_path: Path) -> None:
    exposures = [{"user": 1, "item": 1, "time": START + day * DAY, "click": 0} for day in range(6)]
    events = [{"user": 1, "item": 2, "time": START + 60, "action": "view"}]
    rules = Rules(shape="exposures", splits=SPLITS)
    manifest = tables(tmp_path / "a", rules, ("user", "item"), raw_exposures=exposures, raw_events=events)
    assert (manifest.counts["exposures"], manifest.counts["items"]) == (6, 1)
    assert read(tmp_path / "a", "events", ("item", "action")) == [(2, "browse")]
    nothing = [{"user": None, "item": 1, "time": START, "click": 0}]
    clicks = [{**events[0], "action": "click"}]
    with pytest.raises(UserError, match="a table of exposures must have a row with a user"):
        tables(tmp_path / "b", rules, ("user", "item"), raw_exposures=nothing, raw_events=clicks)


def test_splits_that_rows_say_are_of_whole_visits_in_order(tmp_path: Path) -> None:
    def log(*rows: tuple[int, int, str]) -> list[Row]:
        return [
            {"user": user, "item": 1, "time": START + hour * 3600, "click": 1, "split": s} for user, hour, s in rows
        ]

    rules, keys = Rules(shape="exposures"), ("user", "item")
    sound = log((1, 0, "train"), (2, 0, "train"), (1, 5, "valid"), (1, 9, "test"))
    tables(tmp_path / "a", rules, keys, raw_exposures=sound)
    assert check_tables(tmp_path / "a") == []
    mixed = log((1, 0, "train"), (1, 0, "valid"), (2, 9, "test"), (2, 5, "valid"))
    with pytest.raises(UserError, match="must lie in one split, but 1 visits have rows of several"):
        tables(tmp_path / "b", rules, keys, raw_exposures=mixed)
    early = log((1, 0, "train"), (2, 9, "valid"), (1, 5, "test"))
    with pytest.raises(UserError, match="visits of test must start after those of valid"):
        tables(tmp_path / "c", rules, keys, raw_exposures=early)


def test_without_times_a_user_has_a_visit_per_split(tmp_path: Path) -> None:
    rows = [
        {"user": 1, "item": i, "click": 1, "split": split} for i in range(2) for split in ("train", "valid", "test")
    ]
    manifest = tables(tmp_path, Rules(shape="exposures"), ("user", "item"), raw_exposures=rows)
    assert (manifest.counts["visits"], manifest.counts["exposures"]) == (3, 6)
    assert manifest.lacks["time"] == "has no times" and "visit" in manifest.lacks
    assert check_tables(tmp_path) == []
