from __future__ import annotations

import gzip
import json
import lzma
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_tables import encoded

from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.ga360 import GA360
from bench.data.tables import LABELS, read_manifest, table_path

SHARED = Path(os.environ.get("ESM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ga360"
DAY = 86400


def product(name: str, sku: str = "S1", shown_in: str = "(not set)", **more: Any) -> dict[str, Any]:
    return {"v2ProductName": name, "productSKU": sku, "productListName": shown_in, "productPrice": 12_500_000} | more


def shown(name: str, position: int = 1, shown_in: str = "Category", **more: Any) -> dict[str, Any]:
    place = {"productListPosition": position, "v2ProductCategory": "Home/Bags/"}
    return product(name, "S1", shown_in, isImpression=True, **place, **more)


def hit(ms: int, *products: dict[str, Any], action: str = "0", **more: Any) -> dict[str, Any]:
    return {"time": ms, "eCommerceAction": {"action_type": action}, "product": list(products), "page": {}} | more


def visit(user: str, visit_id: int, start: int, *hits: dict[str, Any]) -> dict[str, Any]:
    return {
        "fullVisitorId": user,
        "visitId": visit_id,
        "visitStartTime": start,
        "visitNumber": 2,
        "channelGrouping": "Direct",
        "trafficSource": {"source": "(direct)", "medium": "(none)"},
        "device": {"deviceCategory": "mobile", "browser": "Chrome", "operatingSystem": "Android"},
        "geoNetwork": {"country": "(not set)", "subContinent": "Western Europe"},
        "hits": list(hits),
    }


def purchase(ms: int, transaction: str, *products: dict[str, Any]) -> dict[str, Any]:
    return hit(ms, *products, action="6", transaction={"transactionId": transaction})


#: Each first impression is on one of ten days, so that days 0-6 are training, 7 validation, 8 and 9 test.
BUSY = visit(
    "u1",
    100,
    0,
    hit(0, product("late", "P4"), action="3"),  # a cart before the exposure is no label of it
    hit(1000, shown("bag", 3), shown("mug", 4), shown("late", 5)),
    hit(2000, shown("bag", 1, "Related Products"), shown("pen", 2, "Search Results")),  # bag: shown before
    hit(2500, product("bag", "P1", "Category", isClick=True), action="1"),
    hit(2600, product("bag", "P1", "Category"), shown("hat", 9, "Related Products"), action="2"),
    hit(3999, product("bag", "P1"), action="3"),
    hit(4000, product("pen", "P2", "Search Results", isClick=True), action="1"),
    hit(4100, product("pen", "P2"), action="3"),
    hit(4200, product("pen", "P2"), action="4"),  # removed: no action of ours
    hit(5000, product("mug", "P3"), action="3"),  # no click: a click is implied
    purchase(9000, "T1", product("bag", "V1"), product("bag", "V2"), product("pen", "V3")),
    purchase(9100, "T1", product("bag", "V1"), product("bag", "V2"), product("pen", "V3")),
)
LOG = [BUSY] + [visit(f"visitor {day}", 100 + day, day * DAY, hit(0, shown("bag"))) for day in range(1, 10)]


def write_log(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(source: GA360, folder: Path) -> dict[str, list[dict[str, Any]]]:
    folder.mkdir()
    source.write("store", folder)
    tables = ("exposures", "events", "users", "items")
    assert sorted(p.name for p in folder.iterdir()) == sorted([*(f"{t}.parquet" for t in tables), "manifest.json"])
    return {table: pq.read_table(table_path(folder, table)).to_pylist() for table in tables}


@pytest.fixture
def source(tmp_path: Path) -> GA360:
    return GA360(SourceOptions(data_dir=write_log(tmp_path / "log" / "a.jsonl", LOG).parent))


def test_it_is_registered() -> None:
    assert SOURCES.get("ga360") is GA360


def test_exposures_and_labels(source: GA360, tmp_path: Path) -> None:
    exposures = read(source, tmp_path / "tables")["exposures"]
    busy = [row for row in exposures if row["visit"] == 0]
    found = {row["item"]: (row["time"], row["position"], row["list"], row["domain"]) for row in busy}
    assert found == {
        "bag": (1, 3, "Category", "recommendation"),
        "mug": (1, 4, "Category", "recommendation"),
        "late": (1, 5, "Category", "recommendation"),
        "pen": (2, 2, "Search Results", "search"),
        "hat": (2, 9, "Related Products", "recommendation"),
    }
    assert {row["item"]: tuple(row[label] for label in LABELS) for row in busy} == {
        "bag": (1, 1, 0, 1),
        "mug": (1, 1, 0, 0),
        "late": (0, 0, 0, 0),
        "pen": (1, 1, 0, 1),
        "hat": (0, 0, 0, 0),
    }
    assert [row["exposure"] for row in exposures] == list(range(14))
    first = exposures[0]
    assert (first["user"], first["price"], first["shelf"], first["visit_number"]) == ("u1", 12.5, "Home/Bags/", 2)
    assert (first["device"], first["medium"], first["country"], first["region"]) == (
        "mobile",
        None,
        None,
        "Western Europe",
    )
    assert (first["hour"], first["weekday"]) == (0, 3)  # 1970-01-01 was a Thursday


def test_events(source: GA360, tmp_path: Path) -> None:
    events = read(source, tmp_path / "tables")["events"]
    assert [(e["time"], e["action"], e["item"], e["domain"]) for e in events] == [
        (0, "cart", "late", "recommendation"),
        (2, "click", "bag", "recommendation"),
        (3, "cart", "bag", "recommendation"),
        (4, "cart", "pen", "search"),
        (4, "click", "pen", "search"),
        (5, "cart", "mug", "recommendation"),
        (9, "purchase", "bag", "recommendation"),
        (9, "purchase", "pen", "search"),
    ]
    assert {(e["user"], e["visit"]) for e in events} == {("u1", 0)}


def test_the_manifest_says_what_the_log_lacks_and_what_was_implied(source: GA360, tmp_path: Path) -> None:
    read(source, tmp_path / "tables")
    manifest = read_manifest(tmp_path / "tables")
    assert manifest.lacks == {"wish": "has no wishes"} == source.lacks
    (note,) = manifest.notes
    assert note.startswith("1 of the 3 clicks were not recorded: ")
    assert encoded(tmp_path / "tables").meta.lacks == manifest.lacks


def test_counts_and_splits(source: GA360, tmp_path: Path) -> None:
    exposures = read(source, tmp_path / "tables")["exposures"]
    counts = read_manifest(tmp_path / "tables").counts
    assert (counts["log_purchase_lines"], counts["log_transactions"]) == (3, 1)
    assert (counts["implied_clicks"], counts["clicks"], counts["carts"], counts["purchases"]) == (1, 3, 3, 2)
    assert (counts["search_exposures"], counts["search_carts"]) == (1, 1)
    assert (counts["log_impressions"], counts["exposures"], counts["visits"], counts["users"]) == (15, 14, 10, 10)
    days = {
        split: sorted({r["time"] // DAY for r in exposures if r["split"] == split})
        for split in ("train", "valid", "test")
    }
    assert days == {"train": [0, 1, 2, 3, 4, 5, 6], "valid": [7], "test": [8, 9]}


def test_tables_pass_the_checks_and_can_be_encoded(source: GA360, tmp_path: Path) -> None:
    read(source, tmp_path / "tables")
    assert check_tables(tmp_path / "tables") == []
    assert encoded(tmp_path / "tables").meta.counts["train"]["purchase"] == 2


def test_lines_of_one_visit_are_joined(tmp_path: Path) -> None:
    """A visit across midnight is two lines; integers may be strings, as BigQuery exports them."""
    clicked = hit(10, product("bag", isClick=True), action="1")
    clicked["time"] = "10"
    later = visit("u1", 100, 86400, clicked) | {"visitId": "100", "visitStartTime": "86400"}
    log = write_log(tmp_path / "log.jsonl", [visit("u1", 100, 86390, hit(0, shown("bag"))), later])
    exposures = read(GA360(SourceOptions(data_dir=log)), tmp_path / "tables")["exposures"]
    assert [(row["visit"], row["click"], row["split"]) for row in exposures] == [(0, 1, "train")]


def test_a_search_word_on_the_page_is_the_search_domain(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", [visit("u1", 1, 0, hit(0, shown("bag"), page={"searchKeyword": "bag"}))])
    exposures = read(GA360(SourceOptions(data_dir=log)), tmp_path / "tables")["exposures"]
    assert [row["domain"] for row in exposures] == ["search"]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz"])
def test_compressed_logs_give_the_same_tables(source: GA360, tmp_path: Path, suffix: str) -> None:
    data = (tmp_path / "log" / "a.jsonl").read_bytes()
    packed = tmp_path / f"packed{suffix}"
    packed.write_bytes((gzip if suffix.endswith("gz") else lzma).compress(data))
    again = GA360(SourceOptions(data_dir=packed))
    assert read(again, tmp_path / "again") == read(source, tmp_path / "tables")


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz"])
def test_a_truncated_log_is_refused(source: GA360, tmp_path: Path, suffix: str) -> None:
    data = (tmp_path / "log" / "a.jsonl").read_bytes()
    packed = tmp_path / f"packed{suffix}"
    packed.write_bytes((gzip if suffix.endswith("gz") else lzma).compress(data)[:-15])
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"packed.*must be an intact export"):
        GA360(SourceOptions(data_dir=packed)).write("store", tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


def test_the_fingerprint_follows_the_bytes(source: GA360, tmp_path: Path) -> None:
    first = source.fingerprint("store")
    assert first == source.fingerprint("store")
    write_log(tmp_path / "log" / "a.jsonl", LOG[:-1])
    assert source.fingerprint("store") != first


def test_equal_logs_give_equal_checksums(source: GA360, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        read(source, tmp_path / folder)
    assert read_manifest(tmp_path / "a") == read_manifest(tmp_path / "b")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"fullVisitorId": "1", "visitId": 1, "visitStartTime": 1}', "KeyError: 'hits'"),
        ('{"fullVisitorId": "1", "visitId": "x", "visitStartTime": 1, "hits": []}', "ValueError"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    log = write_log(tmp_path / "log.jsonl", LOG[:1])
    log.write_text(log.read_text() + "\n" + line + "\n")
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=rf"log\.jsonl line 3 must be one visit.*{reason}.*remove the line"):
        GA360(SourceOptions(data_dir=log)).write("store", tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


@pytest.mark.parametrize(
    ("data_dir", "message"),
    [(None, "got no folder"), ("absent", "does not exist"), ("empty", r"has no \.jsonl")],
)
def test_a_missing_log_is_named(tmp_path: Path, data_dir: str | None, message: str) -> None:
    (tmp_path / "empty").mkdir()
    source = GA360(SourceOptions(data_dir=tmp_path / data_dir if data_dir else None))
    with pytest.raises(UserError, match=message):
        source.fingerprint("store")


def test_a_log_without_impressions_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", [visit("u1", 1, 0, hit(0, product("bag"), action="3"))])
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match="must hold product impressions"):
        GA360(SourceOptions(data_dir=log)).write("store", tmp_path / "tables")


def test_an_unknown_city_is_refused(source: GA360) -> None:
    with pytest.raises(UserError, match="unknown city"):
        source.fingerprint("1")


@pytest.mark.skipif(not SHARED.exists(), reason=f"the ga360 sample is not in {SHARED}; set ESM_SHARED_DATA")
def test_the_sample_of_the_real_export(tmp_path: Path) -> None:
    """2,738 visits, 2016-08 to 2017-08; the figures were counted independently of this reader."""
    read(GA360(SourceOptions(data_dir=SHARED)), tmp_path / "tables")
    counts = read_manifest(tmp_path / "tables").counts
    expected = {
        "log_visits": 2_738,
        "log_users": 2_685,
        "log_impressions": 81_187,
        "exposures": 58_822,
        "log_clicks": 2_495,
        "log_views": 1_999,
        "log_carts": 560,
        "carts": 364,
        "log_purchase_lines": 109,
        "log_transactions": 67,
        "purchases": 37,
    }
    assert {name: counts[name] for name in expected} == expected
    assert counts["clicks"] - counts["implied_clicks"] == 1_389
    assert check_tables(tmp_path / "tables") == []
    meta = encoded(tmp_path / "tables").meta
    assert meta.has_cart
    assert sum(meta.counts[split]["purchase"] for split in meta.splits) == 37
