"""The import's rules one by one: tables of exposures, splits, side tables, and what cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from logs_by_hand import Row
from raw_logs import DAY, FEATURES, SPLITS, START, TYPES, read, tables

from bench.core.errors import UserError
from bench.data.checks import check_tables
from bench.data.logs.rules import Rules
from bench.data.tables import SPLITS as SPLIT_NAMES

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


def test_labels_of_a_later_split_are_told(tmp_path: Path) -> None:
    events = [acted(1, 1, START + day * DAY, "view") for day in (0, 3, 5)]
    events += [acted(1, 1, START + 3 * DAY - 60, "cart"), acted(1, 1, START + 3 * DAY + 60, "purchase")]
    rules = Rules(shape="events", splits=SPLITS, attribution_hours=100)
    manifest = tables(tmp_path, rules, raw_events=(events, TYPES))
    assert (manifest.counts["cart_of_later_split"], manifest.counts["purchase_of_later_split"]) == (0, 0)
    assert not any("later split" in note for note in manifest.notes)
    late = [event for event in events if event["time"] != START + 3 * DAY]
    late.append(acted(2, 1, START + 3 * DAY, "view"))
    manifest = tables(tmp_path / "late", rules, raw_events=(late, TYPES))
    assert (manifest.counts["cart_of_later_split"], manifest.counts["purchase_of_later_split"]) == (0, 1)
    assert manifest.notes[-1].startswith("1 actions of the days of a later split")


def test_side_tables_that_find_no_exposure_are_refused(tmp_path: Path) -> None:
    views = [acted(user, 1, START + day * DAY, "view") for day in range(6) for user in (1, 2)]
    rules = Rules(shape="events", splits=SPLITS)
    manifest = tables(tmp_path / "a", rules, raw_events=(views, TYPES), raw_users=([{"user": 1}], {"user": "BIGINT"}))
    assert manifest.counts["exposures_without_user_row"] == 6
    with pytest.raises(UserError, match=r"the users must have rows .* user 1 has no row; look at their key"):
        tables(tmp_path / "b", rules, raw_events=(views, TYPES), raw_users=([{"user": 3}], {"user": "BIGINT"}))


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
