"""REES46 shops: monthly files in the official layout, written by hand, as funnel tables."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from log_files import delimited, goes_the_whole_road, labels, table, written

from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.source import SourceOptions
from bench.data.sources.rees46 import REES46
from bench.data.tables import read_manifest

HEADER = ["event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"]
MIDNIGHT = 1_569_888_000  # 2019-10-01 UTC
Row = tuple[Any, ...]


def event(
    clock: str, kind: str, product: int = 1, *, day: int = 1, price: str = "9.50", user: int = 500, session: str = "s1"
) -> Row:
    """An event of October 2019."""
    code = "electronics.smartphone" if product == 1 else ""
    time = f"2019-10-{day:02d} {clock} UTC"
    return (time, kind, product, 2053013555631882655, code, "acme", price, user, session)


#: One busy visitor, whose last session spans midnight and has a part without an id; nine others.
OCTOBER = [
    event("10:00:00", "view"),
    event("10:00:30", "view", price="8.00"),  # seen again: one exposure, with the first price
    event("10:01:00", "cart"),
    event("10:02:00", "remove_from_cart"),
    event("10:03:00", "view", 2),
    event("10:04:00", "purchase", 3),  # never viewed
    event("23:59:59", "view", 3, session="s2"),
    event("00:00:01", "purchase", 3, day=2, session="s2"),
    event("12:00:00", "view", 2, day=3, session=""),
    event("13:00:00", "cart", 1, day=3, session="s3"),  # viewed in another session only
]
LATER = [event("08:00:00", "view", day=day, user=500 + day, session=f"t{day}") for day in range(4, 13)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "2019-Oct.csv").write_text(delimited(HEADER, *OCTOBER))
    (folder / "2019-Nov.csv.gz").write_bytes(gzip.compress(delimited(HEADER, *LATER[::-1]).encode()))
    return folder


def test_views_are_exposures_and_actions_count_in_their_session(log: Path, tmp_path: Path) -> None:
    tables = written(REES46(SourceOptions(data_dir=log)), tmp_path / "tables")
    busy = [row for row in table(tables, "exposures") if row["user"] == "500"]
    assert sorted(labels(busy, "item", "time")) == [
        ("1", MIDNIGHT + 36_000, 1, 1, 0, 0),
        ("2", MIDNIGHT + 36_180, 1, 0, 0, 0),
        ("2", MIDNIGHT + 2 * 86_400 + 43_200, 1, 0, 0, 0),
        ("3", MIDNIGHT + 86_399, 1, 0, 0, 1),
    ]
    assert len({row["visit"] for row in busy}) == 3
    first = next(row for row in busy if row["item"] == "1")
    shown = ("price", "brand", "category_code", "category_id", "hour", "weekday")
    assert [first[key] for key in shown] == [9.5, "acme", "electronics.smartphone", "2053013555631882655", 10, 1]
    assert next(row for row in busy if row["item"] == "2")["category_code"] is None
    events = [(e["time"] - MIDNIGHT, e["action"], e["item"]) for e in table(tables, "events") if e["user"] == "500"]
    assert {e for e in events if e[1] != "click"} == {
        (36_060, "cart", "1"),
        (36_240, "purchase", "3"),
        (86_401, "purchase", "3"),
        (2 * 86_400 + 46_800, "cart", "1"),
    }
    manifest = read_manifest(tables)
    assert set(manifest.lacks) == {"wish", "search"}
    assert any("CTR is 1" in note for note in manifest.notes)
    assert [manifest.counts[key] for key in ("exposures", "cart_late", "purchase_early")] == [13, 1, 1]
    assert {row["split"] for row in table(tables, "exposures") if row["time"] >= MIDNIGHT + 10 * 86_400} == {"test"}


def test_the_whole_road(log: Path, tmp_path: Path) -> None:
    assert goes_the_whole_road(written(REES46(SourceOptions(data_dir=log)), tmp_path / "tables"))


def test_equal_rows_give_equal_tables(log: Path, tmp_path: Path) -> None:
    source = REES46(SourceOptions(data_dir=log))
    first, fingerprint = read_manifest(written(source, tmp_path / "a")), source.fingerprint("shop")
    assert first.fingerprint == fingerprint
    (log / "2019-Oct.csv").write_text(delimited(HEADER, *OCTOBER[::-1]))
    assert read_manifest(written(source, tmp_path / "b")).checksums == first.checksums
    assert source.fingerprint("shop") != fingerprint


def test_a_file_is_read_once_though_it_is_there_packed_too(log: Path, tmp_path: Path) -> None:
    expected = read_manifest(written(REES46(SourceOptions(data_dir=log)), tmp_path / "tables")).counts
    for path in log.glob("*.csv"):
        (log / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_manifest(written(REES46(SourceOptions(data_dir=log)), tmp_path / "again")).counts == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (event("10:00:00", "wish"), r"2019-Oct\.csv line 2: column 'event_type' must be one of .* but is 'wish'"),
        (event("25:00:00", "view"), r"line 2: column 'event_time' must be a time .* is '2019-10-01 25:00:00 UTC'"),
        (event("10:00:00", "view", price="dear"), r"line 2: column 'price' must be a number, but is 'dear'"),
    ],
)
def test_a_broken_row_is_named(log: Path, tmp_path: Path, row: Row, message: str) -> None:
    (log / "2019-Oct.csv").write_text(delimited(HEADER, row, *OCTOBER))
    with pytest.raises(UserError, match=message):
        written(REES46(SourceOptions(data_dir=log)), tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


def test_missing_files_and_cities_are_named(log: Path, tmp_path: Path) -> None:
    assert SOURCES.get("rees46") is REES46
    with pytest.raises(UserError, match="unknown city"):
        REES46(SourceOptions(data_dir=log)).fingerprint("store")
    with pytest.raises(UserError, match="got no folder"):
        REES46(SourceOptions()).fingerprint("shop")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"rees46 must find \*\.csv"):
        REES46(SourceOptions(data_dir=tmp_path / "empty")).fingerprint("shop")
