"""The Taobao log of CIKM 2019: files in the published layout, written by hand, and the sample where it lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb
import pytest
from log_files import delimited, goes_the_whole_road, labels, table, written
from tiny_tables import encoded

from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.cikm19_taobao import CIKM19Taobao
from bench.data.tables import read_manifest

SHARED = Path(os.environ.get("ESM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cikm19_taobao"
MIDNIGHT = 1_560_096_000  # 2019-06-10 00:00 in Shanghai
DAY = 86_400
CLICK, WISH, CART, BUY = 1, 2, 3, 4
EDGES = [
    (1, 71, CLICK, 20190610),
    (1, 71, CLICK, 20190610),  # repeated
    (1, 71, CART, 20190610),
    (1, 72, WISH, 20190610),  # without a click that day
    (1, 71, CLICK, 20190612),
    (1, 71, BUY, 20190612),  # its cart lies in an earlier visit
    (1, 72, CLICK, 20190612),
    (1, 72, BUY, 20190613),
    *((user, 71 + user % 2, CLICK, 20190608 + user) for user in range(2, 12)),
    *((user, 71 + user % 2, BUY, 20190608 + user) for user in range(3, 12, 2)),
]
ITEMS = [(71, 33, 50002833, 0, 21.8), (72, 33, 50002835, 9, 145)]
USERS = [(user, user % 2, 5, -1, 10, 15203.1 * user, "1,6,4" if user > 1 else "-1") for user in range(1, 12)]


def write_log(folder: Path, **files: list[Any]) -> CIKM19Taobao:
    folder.mkdir(exist_ok=True)
    named = {"ecomm_edge_train": EDGES, "ecomm_item_feature": ITEMS, "ecomm_user_feature": USERS} | files
    for name, rows in named.items():
        (folder / f"{name}.txt").write_text(delimited(*rows, delimiter="\t"))
    return CIKM19Taobao(SourceOptions(data_dir=folder))


def test_clicks_of_a_day_are_exposures(tmp_path: Path) -> None:
    tables = written(write_log(tmp_path / "log"), tmp_path / "tables")
    rows = [row for row in table(tables, "exposures") if row["user"] == "1"]
    assert labels(rows, "item", "time", "weekday") == [
        ("71", MIDNIGHT, 0, 1, 1, 0, 0),
        ("71", MIDNIGHT + 2 * DAY, 2, 1, 0, 0, 1),
        ("72", MIDNIGHT + 2 * DAY, 2, 1, 0, 0, 0),
    ]
    assert rows[0]["visit"] != rows[1]["visit"] == rows[2]["visit"]
    manifest = read_manifest(tables)
    assert (manifest.counts["repeated"], manifest.counts["bad_case_purchases"]) == (1, 6)
    assert (manifest.counts["wish_early"], manifest.counts["purchase_late"]) == (1, 1)
    assert "hour" not in {feature.name for feature in manifest.features}
    assert manifest.lacks.keys() == {"search", "wish"}
    splits = {split: [(s - MIDNIGHT) // DAY for s in ends] for split, ends in manifest.split_range.items()}
    assert splits == {"train": [0, 6], "valid": [7, 7], "test": [8, 9]}


def test_features_of_users_and_items(tmp_path: Path) -> None:
    tables = written(write_log(tmp_path / "log"), tmp_path / "tables")
    first = {"gender": "1", "age_level": "5", "education": "-1", "career": "10", "income": 15203.1, "stages": ["-1"]}
    users = {row["user"]: row for row in table(tables, "users")}
    assert users["1"] == {"user": "1"} | first
    assert users["2"]["stages"] == ["1", "6", "4"]
    assert table(tables, "items") == [
        {"item": "71", "top_category": "33", "category": "50002833", "brand": "0", "price": 21.8},
        {"item": "72", "top_category": "33", "category": "50002835", "brand": "9", "price": 145.0},
    ]


def test_the_whole_road(tmp_path: Path) -> None:
    assert goes_the_whole_road(written(write_log(tmp_path / "log"), tmp_path / "tables"), "esmc")


@pytest.mark.parametrize(
    ("file", "rows", "message"),
    [
        ("ecomm_edge_train", [*EDGES, (1, 71, 5, 20190610)], rf"line {len(EDGES) + 1}: column 'type' must .* is '5'"),
        ("ecomm_edge_train", [(1, 71, 1, 20191310)], r"line 1: column 'day' must be a day of the form yyyymmdd"),
        ("ecomm_item_feature", [*ITEMS, ITEMS[1]], r"one row per item, but item 72 has 2"),
        ("ecomm_user_feature", [(1, 0, 5, -1, 10, "much", "1")], r"line 1: column 'income' must be a number"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, rows: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        written(write_log(tmp_path / "log", **{file: rows}), tmp_path / "tables")
    assert not (tmp_path / "tables" / "manifest.json").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert SOURCES.get("cikm19_taobao") is CIKM19Taobao
    source = write_log(tmp_path / "log")
    (tmp_path / "log" / "ecomm_user_feature.txt").unlink()
    with pytest.raises(UserError, match=r"cikm19_taobao must find ecomm_user_feature\.txt .* not there"):
        source.fingerprint("taobao")


@pytest.mark.skipif(not SHARED.exists(), reason=f"the cikm19_taobao sample is not in {SHARED}; set ESM_SHARED_DATA")
def test_the_published_sample(tmp_path: Path) -> None:
    """Labels are counted from the file by days: which of them hold a click, a cart, a purchase of an item."""
    tables = written(CIKM19Taobao(SourceOptions(data_dir=SHARED)), tmp_path / "tables")
    manifest = read_manifest(tables)
    names = "{'user': 'VARCHAR', 'item': 'VARCHAR', 'type': 'INTEGER', 'day': 'VARCHAR'}"
    path = SHARED / "ecomm_edge_train.txt.gz"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE VIEW edges AS FROM read_csv('{path}', delim = '\t', header = false, columns = {names})"
        )
        rows = dict(connection.execute("SELECT type, count(*) FROM edges GROUP BY 1").fetchall())
        distinct = dict(
            connection.execute("SELECT type, count(*) FROM (SELECT DISTINCT * FROM edges) GROUP BY 1").fetchall()
        )
        labelled = connection.execute("""
            WITH days AS (
                SELECT bool_or(type = 2) AS wish, bool_or(type = 3) AS cart, bool_or(type = 4) AS purchase
                FROM edges GROUP BY user, item, day HAVING bool_or(type = 1)
            )
            SELECT count(*), count_if(cart), count_if(wish), count_if(purchase), count_if(purchase AND NOT cart)
            FROM days
        """).fetchone()
    assert rows == {CLICK: 57_917, WISH: 5_529, CART: 15_066, BUY: 6_701}
    counts = manifest.counts
    assert counts["raw_events"] == sum(rows.values()) == 85_213
    assert counts["repeated"] == sum(rows.values()) - sum(distinct.values())
    found = [counts[key] for key in ("exposures", "carts", "wishes", "purchases", "bad_case_purchases")]
    assert found == list(labelled or ())
    assert [counts[f"{label}_actions"] for label in ("wish", "cart", "purchase")] == [distinct[i] for i in (2, 3, 4)]
    assert counts["clicks"] == counts["exposures"] == distinct[CLICK]
    assert check_tables(tables) == []
    meta = encoded(tables).meta
    assert sum(meta.counts[split]["purchase"] for split in meta.splits) == counts["purchases"]
