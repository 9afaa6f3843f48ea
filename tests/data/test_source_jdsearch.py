"""JDsearch: files in the official layout, written by hand, as funnel tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_tables import encoded

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.jdsearch import JDSearch
from bench.data.tables import LABELS, read_manifest, table_path
from bench.training.train import train_cell

HEADER = (
    "query\tcandidate_wid_list\tcandidate_label_list\thistory_qry_list\thistory_wid_list\thistory_type_list\t"
    "history_time_list"
)
PRODUCT_HEADER = (
    "wid\tname\tbrand_id\tbrand_name\tcate_id_1\tcate_name_1\tcate_id_2\tcate_name_2\tcate_id_3\tcate_name_3\t"
    "cate_id_4\tcate_name_4\tshop_id"
)
#: Every search stands at 2000-01-01 00:00 UTC.
START = 946_684_800


def search(
    candidates: Sequence[int],
    labels: Sequence[int],
    history: Sequence[tuple[str, int, str]] = (),
    gaps: Sequence[int] = (0,),
    query: Sequence[int] = (12, 32),
) -> str:
    """One line; ``history`` has the query ("-1": none), product and type of every action."""
    parts = [[*column] for column in zip(*history, strict=True)] or [[], [], []]
    lists = [candidates, [f"{label}.0" for label in labels], *parts, gaps]
    return "\t".join(["\x18".join(map(str, query)), *("_".join(map(str, each)) for each in lists)])


#: The authors' example, and a follow: 889 was bought 21 s before the search, 256 clicked 9 s, 345 carted 5 s before.
FIRST = search(
    [456, 457, 789, 790],
    [3, 2, 1, 0],
    [("323\x18328", 889, "ORD"), ("-1", 256, "CLICK"), ("12\x1854", 345, "CART"), ("-1", 345, "FLW")],
    [0, 12, 4, 2, 3],
)
#: Searches 2 to 20, so that every last digit occurs twice.
OTHERS = [search([456 + n, 789], [n % 4, 0], [("-1", 456, "CLICK")], [0, n], (12, n)) for n in range(2, 21)]
LOG = [FIRST, *OTHERS]
PRODUCTS = [
    "456\t1\x182\t5\t3\t10\t4\t20\t4\t30\t4\t40\t4\t7",
    '789\t1"\t6\t3\t10\t4\t20\t4\t30\t4\t41\t4\t',
    "999\t1\t5\t3\t10\t4\t20\t4\t30\t4\t40\t4\t7",
]


def write_log(folder: Path, lines: Sequence[str] = LOG, name: str = "release_data.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def written(log: Path, folder: Path) -> Path:
    folder.mkdir()
    JDSearch(SourceOptions(data_dir=log)).write("jd", folder)
    return folder


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(table_path(folder, name)).to_pylist()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jdsearch")
    log = write_log(folder / "log")
    write_log(log, PRODUCTS, "product_data.txt")
    return written(log, folder / "tables")


def test_it_is_registered() -> None:
    assert SOURCES.get("jdsearch") is JDSearch


def test_a_label_is_the_deepest_step(tables: Path) -> None:
    rows = [row for row in table(tables, "exposures") if row["user"] == 1]
    assert {r["item"]: tuple(r[label] for label in LABELS) for r in rows} == {
        456: (1, 1, 0, 1),
        457: (1, 1, 0, 0),
        789: (1, 0, 0, 0),
        790: (0, 0, 0, 0),
    }
    assert {(r["visit"], r["time"], r["domain"]) for r in rows} == {(rows[0]["visit"], START, "search")}
    counts = read_manifest(tables).counts
    assert (counts["exposures"], counts["visits"], counts["users"], counts["implied_clicks"]) == (42, 20, 20, 0)
    assert counts["bad_case_purchases"] == 0


def test_the_order_in_the_file_tells_nothing(tmp_path: Path) -> None:
    """The files list what was clicked first; places and rows don't depend on it."""
    items = list(range(100, 140))
    first = [search(items, [1] * 5 + [0] * 35), *OTHERS]
    last = [search(items[::-1], [0] * 35 + [1] * 5), *OTHERS]
    places = []
    for name, lines in (("a", first), ("b", last)):
        rows = table(written(write_log(tmp_path / f"log {name}", lines), tmp_path / name), "exposures")
        places.append({row["item"]: row["position"] for row in rows if row["user"] == 1})
    assert places[0] == places[1]
    assert sorted(places[0].values()) == list(range(1, 41))
    assert sorted(items, key=lambda item: places[0][item]) not in (items, items[::-1])
    assert read_manifest(tmp_path / "a").checksums == read_manifest(tmp_path / "b").checksums


def test_the_history_lies_before_the_search(tables: Path) -> None:
    events = [e for e in table(tables, "events") if e["user"] == 1]
    assert [(e["time"] - START, e["item"], e["action"], e["domain"]) for e in events] == [
        (-21, 889, "purchase", "search"),
        (-9, 256, "click", "recommendation"),
        (-5, 345, "cart", "search"),
        (-3, 345, "wish", "recommendation"),
    ]


def test_splits_are_by_the_number_of_the_search(tables: Path) -> None:
    splits = {row["user"]: row["split"] for row in table(tables, "exposures")}
    assert [n for n in splits if splits[n] == "valid"] == [7, 17]
    assert [n for n in splits if splits[n] == "test"] == [8, 9, 18, 19]
    assert sum(split == "train" for split in splits.values()) == 14


def test_queries_and_products_are_features(tables: Path) -> None:
    assert table(tables, "users")[:2] == [{"user": 1, "query": ["12", "32"]}, {"user": 2, "query": ["12", "2"]}]
    levels = {"category_1": 10, "category_2": 20, "category_3": 30}
    assert table(tables, "items") == [
        {"item": 456, "brand": 5, **levels, "category_4": 40, "shop": 7},
        {"item": 789, "brand": 6, **levels, "category_4": 41, "shop": None},
    ]


def test_what_the_log_lacks_is_said(tables: Path) -> None:
    manifest = read_manifest(tables)
    assert set(manifest.lacks) == {"visit", "wish", "search"}
    assert "user" not in [feature.name for feature in manifest.features]
    assert any("deepest step" in note for note in manifest.notes)


def test_the_whole_road(tmp_path: Path, tables: Path) -> None:
    assert check_tables(tables) == []
    city = encoded(tables)
    assert city.meta.counts["train"]["rows"] == 30
    assert city.meta.events == 23
    assert np.all(city.history_stop - city.history_start >= 1)
    assert "query" in [field.name for field in city.meta.fields]
    config = Config(hidden=(4,), embedding_dim=4, batch_size=8, epochs=1)
    cell = Cell(dataset="jdsearch", fingerprint="f", city="jd", model="esm2", config=config, seed=0)
    assert train_cell(cell, city, tmp_path).metrics


def test_a_header_and_later_file_names_change_nothing(tmp_path: Path, tables: Path) -> None:
    log = write_log(tmp_path / "log", [HEADER, *LOG], "user_behavior_data.txt")
    write_log(log, [PRODUCT_HEADER, *PRODUCTS], "product_meta_data.txt")
    assert read_manifest(written(log, tmp_path / "tables")).checksums == read_manifest(tables).checksums


def test_products_are_optional(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log")
    manifest = read_manifest(written(log, tmp_path / "tables"))
    assert [feature.name for feature in manifest.features] == ["item", "query"]
    assert check_tables(tmp_path / "tables") == []
    first = JDSearch(SourceOptions(data_dir=log)).fingerprint("jd")
    write_log(log, PRODUCTS, "product_data.txt")
    assert JDSearch(SourceOptions(data_dir=log)).fingerprint("jd") != first


def test_a_search_may_have_no_history(tmp_path: Path) -> None:
    lines = [search([1], [1], gaps=()), search([1], [1], gaps=(0,)), *OTHERS]
    rows = table(written(write_log(tmp_path / "log", lines), tmp_path / "tables"), "events")
    assert min(row["user"] for row in rows) == 3


@pytest.mark.parametrize("header", [(), (HEADER,)])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t2\t0.0", r"must have 7 columns separated by tabs, but has 3"),
        ("", r"must have 7 columns separated by tabs, but has 1"),
        (
            search([1, 2], [0]),
            r"candidate_label_list must have as many entries as candidate_wid_list, but has 1 beside 2",
        ),
        (
            search([1], [0], [("-1", 5, "CLICK")], [0]),
            r"history_time_list must have one entry more than history_wid_list",
        ),
        ("1\t2\t0.0\t-1_-1\t3\tCART\t0_1", r"history_qry_list must have as many entries as history_wid_list"),
        ("1\t2\t0.0\t-1\t3\tCART_ORD\t0_1", r"history_type_list must have as many entries as history_wid_list"),
        (search([1, 2], [0, 4]), r"candidate_label_list must hold 0, 1, 2 or 3, but entry 2 is 4\.0"),
        ("1\tx\t0.0\t\t\t\t0", r"candidate_wid_list must hold whole numbers, but entry 1 is x"),
        (search([1], [0], [("-1", 5, "VIEW")], [0, 1]), r"history_type_list must hold .*, but entry 1 is VIEW"),
        ("1\t2\t0.0\t-1\t3\tCART\t0_soon", r"history_time_list must hold seconds from 0 on, but entry 1 is soon"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, header: tuple[str, ...], line: str, message: str) -> None:
    log = write_log(tmp_path / "log", [*header, FIRST, line, FIRST])
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=rf"release_data\.txt line {2 + len(header)}: .*{message}.*; mend"):
        JDSearch(SourceOptions(data_dir=log)).write("jd", tmp_path / "tables")


def test_a_broken_product_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log")
    write_log(log, [PRODUCTS[0], PRODUCTS[1].replace("\t41\t", "\tfour\t")], "product_data.txt")
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"product_data\.txt line 2: column category_4 must be BIGINT, but is 'four'"):
        JDSearch(SourceOptions(data_dir=log)).write("jd", tmp_path / "tables")


def test_a_missing_file_and_an_unknown_city_are_named(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    source = JDSearch(SourceOptions(data_dir=tmp_path / "log"))
    with pytest.raises(UserError, match="unknown city"):
        source.fingerprint("1")
    with pytest.raises(UserError, match=r"user_behavior_data\.txt or release_data\.txt .* not there"):
        source.fingerprint("jd")
