"""Taobao display ads: files in the official layout, written by hand, as funnel tables."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from tiny_tables import encoded

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.taobao_ads import TaobaoAds
from bench.data.tables import LABELS, read_manifest, table_path
from bench.training.train import train_cell

HEADERS = {
    "raw_sample": "user,time_stamp,adgroup_id,pid,nonclk,clk",
    "ad_feature": "adgroup_id,cate_id,campaign_id,customer,brand,price",
    "user_profile": "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,"
    "new_user_class_level ",
    "behavior_log": "user,time_stamp,btag,cate,brand",
}
Rows = list[Sequence[Any]]
#: Two ads of one category and brand, one of another brand, one without a brand.
ADS: Rows = [
    (11, 7, 101, 1001, 70, "170.0"),
    (12, 7, 102, 1002, 70, "99.5"),
    (13, 7, 103, 1001, 80, "5.0"),
    (14, 7, 104, 1003, "NULL", "1.0"),
]
SHOE, SOCK = (7 << 32) + 70, (7 << 32) + 80


def at(day: int, clock: str = "12:00:00", month: int = 5) -> int:
    """Epoch seconds of a time in Shanghai in 2017."""
    hour, minute, second = map(int, clock.split(":"))
    return int(datetime(2017, month, day, hour, minute, second, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp())


def shown(user: int, time: int, ad: int, click: int = 0) -> tuple[Any, ...]:
    return (user, time, ad, "430548_1007", 1 - click, click)


NOON = at(6)
#: User 1: a busy visit on the first day, a purchase on the third. User 2: no clicks. User 3: one on every other day.
SAMPLES: Rows = [
    shown(1, NOON, 11, 1),
    shown(1, NOON, 12),
    shown(1, NOON + 60, 13),
    shown(1, NOON + 600, 12, 1),
    shown(1, at(8), 11, 1),
    *(shown(2, at(day), 11) for day in range(6, 14)),
    *(shown(3, at(day, "00:00:00"), 13, day % 2) for day in range(6, 14)),
    shown(3, at(13, "23:59:59"), 13),
    shown(3, at(14, "00:00:00"), 13),  # out of the published days
    shown(3, at(7), 14, 1),  # an ad without a brand
    shown(1, NOON, 11, 1),  # a repeated row
]
BEHAVIOUR: Rows = [
    (1, at(22, month=4), "pv", 7, 70),
    (1, NOON - 1, "cart", 7, 70),  # before the click
    (1, NOON + 300, "fav", 7, 70),  # after the first click
    (1, NOON + 600, "cart", 7, 70),  # in the second of the second click
    (1, NOON + 2400, "buy", 7, 70),  # 30 minutes after the second click
    (1, NOON + 2401, "cart", 7, 70),  # a second too late
    (1, NOON + 100, "buy", 7, 80),  # its ad was not clicked
    (1, NOON + 100, "buy", 7, "NULL"),
    (1, NOON + 100, "pv", 9, 90),  # no ad shows it
    (1, at(8, "12:10:00"), "buy", 7, 70),
    (9, NOON, "buy", 7, 70),  # a user without an exposure
    (1, at(21, "23:59:59", month=4), "buy", 7, 70),  # out of the published days
    (1, -1, "pv", 7, 70),
    (3, at(7, "00:10:00"), "cart", 7, 80),  # the cart of the next purchase
    (3, at(9, "00:10:00"), "buy", 7, 80),
]
PROFILES: Rows = [(1, 0, 5, 2, 5, "", 3, 0, 3), (3, 1, 2, 1, 3, 2, 3, 1, "")]


def write_log(folder: Path, **rows: Rows) -> Path:
    """The four files; ``rows`` replace those of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"raw_sample": SAMPLES, "ad_feature": ADS, "user_profile": PROFILES, "behavior_log": BEHAVIOUR} | rows
    for file, header in HEADERS.items():
        lines = [header, *(",".join(map(str, row)) for row in given[file])]
        (folder / f"{file}.csv").write_text("\n".join(lines) + "\n")
    return folder


def source_of(folder: Path) -> TaobaoAds:
    return TaobaoAds(SourceOptions(data_dir=folder))


def written(log: Path, folder: Path) -> Path:
    folder.mkdir()
    source_of(log).write("taobao", folder)
    return folder


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(table_path(folder, name)).to_pylist()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taobao")
    return written(write_log(folder / "log"), folder / "tables")


def test_it_is_registered() -> None:
    assert SOURCES.get("taobao_ads") is TaobaoAds


def test_actions_count_for_the_latest_click_of_category_and_brand_within_half_an_hour(tables: Path) -> None:
    rows = [row for row in table(tables, "exposures") if row["user"] == 1]
    assert [(r["time"] - NOON, r["ad"], r["item"], *(r[label] for label in LABELS)) for r in rows] == [
        (0, 11, SHOE, 1, 0, 1, 0),
        (0, 12, SHOE, 0, 0, 0, 0),
        (60, 13, SOCK, 0, 0, 0, 0),
        (600, 12, SHOE, 1, 1, 0, 1),
        (2 * 86400, 11, SHOE, 1, 0, 0, 1),
    ]
    visits = [row["visit"] for row in rows]
    assert len(set(visits[:4])) == 1
    assert visits[4] != visits[0]
    counts = read_manifest(tables).counts
    assert (counts["implied_clicks"], counts["carts"], counts["wishes"], counts["purchases"]) == (0, 2, 1, 3)


def test_an_action_lies_in_the_visit_of_its_click(tables: Path) -> None:
    """Half an hour is also the gap that ends a visit."""
    (bought,) = [e["visit"] for e in table(tables, "events") if e["time"] == NOON + 2400]
    (clicked,) = [e["visit"] for e in table(tables, "exposures") if (e["user"], e["time"]) == (1, NOON + 600)]
    assert bought == clicked


def test_features_of_ads_and_users(tables: Path) -> None:
    first = table(tables, "exposures")[0]
    assert (first["campaign"], first["customer"], first["price"], first["pid"], first["hour"]) == (
        101,
        1001,
        170.0,
        "430548_1007",
        12,
    )
    assert table(tables, "items") == [
        {"item": SHOE, "category": 7, "brand": 70},
        {"item": SOCK, "category": 7, "brand": 80},
    ]
    users = {row["user"]: row for row in table(tables, "users")}
    assert (users[1]["pvalue_level"], users[1]["new_user_class_level"], users[1]["cms_group_id"]) == (None, 3, 5)
    assert users[3]["new_user_class_level"] is None
    assert sorted(users) == [1, 3]


def test_the_days_are_those_of_shanghai_and_the_last_is_the_test(tables: Path) -> None:
    rows = [row for row in table(tables, "exposures") if row["user"] != 1]
    splits = {split: sorted({row["time"] for row in rows if row["split"] == split}) for split in ("valid", "test")}
    assert splits == {
        "valid": [at(12, "00:00:00"), at(12)],
        "test": [at(13, "00:00:00"), at(13), at(13, "23:59:59")],
    }


def test_what_is_left_out_is_counted(tables: Path) -> None:
    manifest = read_manifest(tables)
    assert manifest.settings["left_out"] == {
        "exposures_outside_days": 1,
        "exposures_without_brand": 1,
        "behaviour_outside_days": 2,
        "behaviour_of_other_users": 1,
        "behaviour_without_brand": 1,
        "behaviour_of_other_items": 1,
    }
    assert (manifest.counts["exposures"], manifest.counts["repeated"]) == (22, 1)
    assert set(manifest.lacks) == {"search"}
    assert any("30 minutes" in note for note in manifest.notes)
    assert any(note.startswith("1 exposures of ads without a brand") for note in manifest.notes)


def test_events_hold_behaviour_and_clicks(tables: Path) -> None:
    events = [e for e in table(tables, "events") if e["user"] == 1]
    assert [(e["time"] - NOON, e["action"], e["item"]) for e in events if e["time"] <= NOON + 600] == [
        (at(22, month=4) - NOON, "browse", SHOE),
        (-1, "cart", SHOE),
        (0, "click", SHOE),
        (100, "purchase", SOCK),
        (300, "wish", SHOE),
        (600, "click", SHOE),
        (600, "cart", SHOE),
    ]


def test_two_ads_of_one_item_in_one_second_are_two_exposures(tmp_path: Path) -> None:
    """A cart counts for one of the clicked ones, whatever the order of the lines."""
    rows = [shown(1, NOON, 12, 1), shown(1, NOON, 11, 1), *(shown(2, at(day), 11) for day in (12, 13))]
    for name, samples in (("a", rows), ("b", rows[::-1])):
        log = write_log(tmp_path / f"log {name}", raw_sample=samples, behavior_log=[(1, NOON + 1, "cart", 7, 70)])
        found = table(written(log, tmp_path / name), "exposures")
        assert [(r["ad"], r["click"], r["cart"]) for r in found if r["user"] == 1] == [(11, 1, 0), (12, 1, 1)]


def test_the_whole_road(tmp_path: Path, tables: Path) -> None:
    assert check_tables(tables) == []
    city = encoded(tables)
    assert city.meta.counts["train"] == {"rows": 17, "click": 6, "cart": 2, "wish": 1, "purchase": 3}
    calibration = city.meta.calibration["recommendation"]
    assert (calibration.bad_cases, calibration.matched, calibration.median_days) == (2, 1, 2.0)
    config = Config(hidden=(4,), embedding_dim=4, batch_size=8, epochs=1)
    cell = Cell(dataset="taobao_ads", fingerprint="f", city="taobao", model="esmc", config=config, seed=0)
    assert train_cell(cell, city, tmp_path).metrics


def test_equal_files_give_equal_tables_and_fingerprints(tmp_path: Path, tables: Path) -> None:
    log = write_log(tmp_path / "log")
    packed = log / "behavior_log.csv"
    first = source_of(log).fingerprint("taobao")
    assert read_manifest(written(log, tmp_path / "again")) == read_manifest(tables)
    (log / "behavior_log.csv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    again = read_manifest(written(log, tmp_path / "packed"))
    assert again.checksums == read_manifest(tables).checksums
    write_log(log, behavior_log=BEHAVIOUR[:-1])
    assert source_of(log).fingerprint("taobao") != first


@pytest.mark.parametrize(
    ("file", "rows", "message"),
    [
        ("behavior_log", [(1, NOON, "pv", 7, 70), (1, NOON, "view", 7, 70)], r"line 3: column btag .* is 'view'"),
        ("behavior_log", [(1, "noon", "pv", 7, 70)], r"line 2: column time_stamp must be BIGINT, but is 'noon'"),
        ("behavior_log", [(1, NOON, "pv", 7)], r"line 2: must have 5 columns, but has 4"),
        ("behavior_log", [(1, NOON, "pv", 7, 70, 1)], r"line 2: must have 5 columns, but has 6"),
        ("behavior_log", [("", NOON, "pv", 7, 70)], r"line 2: column user must have a value"),
        (
            "raw_sample",
            [shown(1, NOON, 11), (1, NOON, 11, "p", 0, 2)],
            r"line 3: column clk must be BOOLEAN, but is '2'",
        ),
        ("raw_sample", [shown(1, NOON, 11), (1, NOON, 11, "p", 1, 1)], r"line 3: columns nonclk and clk"),
        ("raw_sample", [shown(1, NOON, 11), shown(1, NOON, 99)], r"line 3: column adgroup_id .* 99 is none"),
        ("ad_feature", [*ADS, ADS[1]], r"one line per adgroup_id, but 12 has 2"),
        ("user_profile", [PROFILES[0], PROFILES[0]], r"one row per user, but user 1 has 2"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, file: str, rows: Rows, message: str) -> None:
    log = write_log(tmp_path / "log", **{file: rows})
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=message):
        source_of(log).write("taobao", tmp_path / "tables")
    assert not (tmp_path / "tables" / "manifest.json").exists()


def test_another_header_is_named(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log") / "raw_sample.csv"
    path.write_text(path.read_text().replace("adgroup_id", "ad"))
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"raw_sample\.csv line 1 must name the columns user, time_stamp, adgroup_id"):
        source_of(path.parent).write("taobao", tmp_path / "tables")


def test_a_missing_file_and_an_unknown_city_are_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log")
    with pytest.raises(UserError, match="unknown city"):
        source_of(log).fingerprint("store")
    (log / "ad_feature.csv").unlink()
    with pytest.raises(UserError, match=r"ad_feature\.csv .* not there"):
        source_of(log).fingerprint("taobao")
