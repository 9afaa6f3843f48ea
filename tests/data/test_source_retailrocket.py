"""RetailRocket: events.csv in the official layout, written by hand, as funnel tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from log_files import delimited, goes_the_whole_road, labels, table, written

from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.source import SourceOptions
from bench.data.sources.retailrocket import RetailRocket
from bench.data.tables import read_manifest

HEADER = ("timestamp", "visitorid", "event", "itemid", "transactionid")
START = 1_430_622_000  # 2015-05-03 03:00 UTC
Row = tuple[Any, ...]


def event(minute: float, kind: str, item: int = 100, *, visitor: int = 1, transaction: int | str = "") -> Row:
    """An event; the log has milliseconds."""
    return (int((START + 60 * minute) * 1000) + 999, visitor, kind, item, transaction)


DAY = 24 * 60
LOG = [
    event(0, "view"),
    event(1, "addtocart"),
    event(31, "transaction", transaction=7),  # 30 minutes later: the same visit
    event(61.1, "view"),  # 30.1 minutes later: another one
    event(62, "view", 200),
    event(63, "transaction", 300, transaction=8),  # never viewed
    event(0, "view", 200, visitor=2),
    *(event(day * DAY, "view", visitor=10 + day) for day in range(1, 10)),
]


@pytest.fixture
def source(tmp_path: Path) -> RetailRocket:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "events.csv").write_text(delimited(HEADER, *LOG[::-1]))
    return RetailRocket(SourceOptions(data_dir=folder))


def test_visits_end_after_thirty_minutes(source: RetailRocket, tmp_path: Path) -> None:
    tables = written(source, tmp_path / "tables")
    rows = [row for row in table(tables, "exposures") if row["user"] in ("1", "2")]
    assert labels(rows, "user", "item", "time") == [
        ("1", "100", START, 1, 1, 0, 1),
        ("1", "100", START + 3666, 1, 0, 0, 0),
        ("1", "200", START + 3720, 1, 0, 0, 0),
        ("2", "200", START, 1, 0, 0, 0),
    ]
    visits = [row["visit"] for row in rows]
    assert visits[1] == visits[2]
    assert len(set(visits)) == 3
    assert (rows[0]["hour"], rows[0]["weekday"]) == (3, 6)  # a Sunday
    events = [(e["time"] - START, e["action"], e["item"]) for e in table(tables, "events") if e["action"] != "click"]
    assert events == [(60, "cart", "100"), (1860, "purchase", "100"), (3780, "purchase", "300")]
    manifest = read_manifest(tables)
    assert (manifest.counts["purchase_actions"], manifest.counts["purchase_without_exposure"]) == (2, 1)
    assert {feature.name for feature in manifest.features} == {"user", "item", "hour", "weekday"}
    assert set(manifest.lacks) == {"wish", "search"}


def test_the_whole_road(source: RetailRocket, tmp_path: Path) -> None:
    assert goes_the_whole_road(written(source, tmp_path / "tables"))


def test_a_broken_row_and_a_missing_file_are_named(source: RetailRocket, tmp_path: Path) -> None:
    assert SOURCES.get("retailrocket") is RetailRocket
    path = tmp_path / "log" / "events.csv"
    path.write_text(delimited(HEADER, *LOG, event(0, "click")))
    with pytest.raises(UserError, match=rf"events\.csv line {len(LOG) + 2}: column 'event' must be .* is 'click'"):
        written(source, tmp_path / "tables")
    path.write_text(delimited(HEADER[:-2], *(row[:-2] for row in LOG)))
    with pytest.raises(UserError, match=r"must have the column 'itemid'"):
        written(source, tmp_path / "again")
    path.unlink()
    with pytest.raises(UserError, match=r"retailrocket must find events\.csv .* not there"):
        source.fingerprint("shop")
