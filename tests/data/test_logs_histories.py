"""Histories of an imported log: what came before a visit, and nothing that a later event says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
from test_logs_reading import as_csv, imported
from tiny_tables import encoded

from bench.data.encoded import EncodedCity

START = 1_772_409_600  # 2026-03-02
Event = tuple[str, str, int, str]
HEADER = ("user_id", "product", "when", "event")


def log() -> list[Event]:
    """Two visits a day of three users, with carts in the first and purchases of them in the second."""
    return [
        (user, f"p{(day + i) % 3}", START + 86_400 * day + 20_000 * visit + 60 * i + shift, action)
        for day in range(6)
        for user in ("a", "b", "c")
        for visit in range(2)
        for i in range(2)
        for shift, action in ((0, "view"), (5, ("cart", "purchase")[visit]))
    ]


def histories(root: Path, events: list[Event]) -> list[tuple[int, list[Any]]]:
    """Start of its visit and history (time, kind, item), by exposure."""
    root.mkdir()
    as_csv(root / "log.csv", events, header=HEADER)
    imported(root, features=[])
    city: EncodedCity = encoded(root / "tables0")
    found = []
    for row in city.exposure.argsort():
        visit = city.visit[row]
        seen = slice(city.history_start[visit], city.history_stop[visit])
        columns = (city.event_time[seen], city.event_kind[seen], city.event_item[seen])
        found.append((int(city.visit_start[visit]), list(zip(*(column.tolist() for column in columns), strict=True))))
    return found


def test_a_planted_later_event_never_enters_a_history(tmp_path: Path) -> None:
    before = histories(tmp_path / "plain", log())
    planted = START + 4 * 86_400 + 50_000  # in a visit of its own, after those of the fifth day
    after = histories(tmp_path / "planted", [*log(), ("b", "p1", planted, "purchase")])
    assert len(before) == len(after) == 72
    assert sum(event[0] == planted for _, history in after for event in history) == 4  # on the sixth day
    for (start, one), (_, other) in zip(before, after, strict=True):
        assert all(time < start for time, _, _ in other)
        assert one == [event for event in other if event[0] != planted]


def test_a_visit_does_not_see_itself(tmp_path: Path) -> None:
    """All of the user's events before the visit: views that count as clicks, carts and purchases."""
    for start, history in histories(tmp_path / "log", log()):
        owner = [time for user, _, time, _ in log() if user == "a" and time < start]
        assert [time for time, _, _ in history] == sorted(owner)
    found = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/log/tables0/events.parquet'").fetchall()
    assert found == [(len(log()),)]
