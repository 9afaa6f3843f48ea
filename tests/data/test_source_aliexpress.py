from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_tables import encoded

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources.aliexpress import CATEGORIES, FEATURES, WIDTH, AliExpress
from bench.data.tables import FACTS, read_manifest, table_path
from bench.training.train import train_cell


def line(kind: str, search: int, seed: int, label: int | None = None) -> str:
    """A line of a file; category k has the number k + seed mod 3, number k is k/100 + seed/1000."""
    last = WIDTH[kind] - (label is not None)
    values = [
        str(column + seed % 3) if column in CATEGORIES[kind] else f"{column / 100 + seed / 1000:.6f}"
        for column in range(2, last + 1)
    ]
    return ",".join([str(search), *values, *([] if label is None else [str(label)])]) + "\n"


def share(search: int) -> int:
    """The number 0 … 9 that decides the split, from its words."""
    return int(hashlib.md5(str(search).encode()).hexdigest()[:15], 16) % 10


SEARCHES = range(1, 41)


def label_of(search: int, place: int) -> int:
    return search % 3 if place == 0 else 0


def write_log(folder: Path, country: str = "nl") -> AliExpress:
    """Two items of each search in training, one in the test, whose search ids are those of training again."""
    texts = {
        f"{country}_item_train.csv": "".join(
            line("item", n, 10 * n + place, label_of(n, place)) for n in SEARCHES for place in (0, 1)
        ),
        f"{country}_user_train.csv": "".join(line("user", n, n) for n in SEARCHES),
        f"{country}_item_test.csv": "".join(line("item", n, n, n % 3) for n in range(3, 8)),
        f"{country}_user_test.csv": "".join(line("user", n, 500 + n) for n in range(3, 8)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return AliExpress(SourceOptions(data_dir=folder))


def written(source: AliExpress, folder: Path, city: str = "NL") -> dict[str, list[dict[str, Any]]]:
    folder.mkdir()
    source.write(city, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["exposures.parquet", "manifest.json", "users.parquet"]
    return {table: pq.read_table(table_path(folder, table)).to_pylist() for table in ("exposures", "users")}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path / "log")
    return tmp_path / "log"


def edit(path: Path, number: int, old: str, new: str) -> None:
    """One change in a line (from 1) of a file."""
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_text("".join(lines))


def test_it_is_registered() -> None:
    assert SOURCES.get("aliexpress") is AliExpress
    assert AliExpress(SourceOptions()).cities() == ["NL", "ES", "FR", "US", "RU"]
    assert set(AliExpress.lacks) == set(FACTS) - {"click", "purchase"}


def test_a_line_is_an_exposure_and_a_search_its_user(log: Path, tmp_path: Path) -> None:
    tables = written(AliExpress(SourceOptions(data_dir=log)), tmp_path / "tables")
    rows = {(row["user"], row["position"]): row for row in tables["exposures"]}
    assert len(rows) == len(tables["exposures"]) == 85
    second = rows[2 * 2, 1]  # line 4 of training: search 2, seed 21
    assert (second["item"], second["click"], second["purchase"], second["time"]) == (2 * 4, 0, 0, 0)
    assert (second["item_19"], second["item_42"]) == (19, 42)
    assert (second["item_2"], second["item_48"]) == (pytest.approx(0.041), pytest.approx(0.501))
    assert [(rows[2 * n, 0]["click"], rows[2 * n, 0]["purchase"]) for n in (3, 1, 2)] == [(0, 0), (1, 0), (1, 1)]
    users = {row["user"]: row for row in tables["users"]}
    assert sorted(users) == sorted([2 * n for n in SEARCHES] + [2 * n + 1 for n in range(3, 8)])
    assert (users[4]["user_2"], users[4]["user_33"], users[4]["user_9"]) == (4, 35, pytest.approx(0.092))
    assert users[7]["user_9"] == pytest.approx(0.593)  # search 3 of the test is not that of training


def test_splits_and_visits(log: Path, tmp_path: Path) -> None:
    rows = written(AliExpress(SourceOptions(data_dir=log)), tmp_path / "tables")["exposures"]
    valid = {n for n in SEARCHES if share(n) == 0}
    assert 0 < len(valid) < 20
    found = {split: {row["user"] for row in rows if row["split"] == split} for split in ("train", "valid", "test")}
    assert found == {
        "train": {2 * n for n in SEARCHES if n not in valid},
        "valid": {2 * n for n in valid},
        "test": {2 * n + 1 for n in range(3, 8)},
    }
    assert len({(row["user"], row["visit"]) for row in rows}) == len({row["visit"] for row in rows}) == 45


def test_the_manifest_says_what_the_log_is(log: Path, tmp_path: Path) -> None:
    written(AliExpress(SourceOptions(data_dir=log)), tmp_path / "tables")
    manifest = read_manifest(tmp_path / "tables")
    assert (manifest.city, manifest.lacks) == ("NL", AliExpress.lacks)
    assert sum(feature.kind == "categorical" for feature in FEATURES) == 16
    assert sum(feature.kind == "dense" for feature in FEATURES) == 63
    notes = " ".join(manifest.notes)
    assert all(each in notes for each in ("a search stands for its user", "no ids of items", "test files"))


def test_a_model_trains_on_it(log: Path, tmp_path: Path) -> None:
    written(AliExpress(SourceOptions(data_dir=log)), tmp_path / "tables")
    assert check_tables(tmp_path / "tables") == []
    city = encoded(tmp_path / "tables")
    (tmp_path / "cell").mkdir()
    cell = Cell(
        dataset="aliexpress",
        fingerprint=city.meta.fingerprint,
        city="NL",
        model="esmm",
        config=Config(hidden=(8,), embedding_dim=4, batch_size=16).used_by(()),
        seed=0,
    )
    record = train_cell(cell, city, tmp_path / "cell")
    assert record.cost.train_rows == city.meta.counts["train"]["rows"] > 40
    assert len(city.meta.dense) == 63


def test_files_without_a_test_are_split_by_search(log: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for kind in ("item", "user"):
        (log / f"nl_{kind}_train.csv").rename(plain / f"NL_{kind}.csv")
    rows = written(AliExpress(SourceOptions(data_dir=plain)), tmp_path / "tables")["exposures"]
    kinds = {0: "valid", 1: "test", 2: "test"}
    assert {row["user"] // 2: row["split"] for row in rows} == {n: kinds.get(share(n), "train") for n in SEARCHES}
    assert "no test" in " ".join(read_manifest(tmp_path / "tables").notes)


def test_a_header_compression_and_the_unpacked_folder_change_nothing(log: Path, tmp_path: Path) -> None:
    expected = written(AliExpress(SourceOptions(data_dir=log)), tmp_path / "tables")
    inner = tmp_path / "again" / "aliexpress_NL_datasets"
    inner.mkdir(parents=True)
    for path in log.iterdir():
        (inner / path.name).write_bytes(path.read_bytes())
    for name in ("nl_item_train.csv", "nl_user_test.csv"):
        names = ",".join(f"c{column}" for column in range(WIDTH[name.split("_")[1]]))
        (inner / f"{name}.gz").write_bytes(gzip.compress(f"{names}\n{(inner / name).read_text()}".encode()))
        (inner / name).unlink()
    found = written(AliExpress(SourceOptions(data_dir=inner.parent)), tmp_path / "others")
    for row in found["exposures"]:
        row["item"] -= 2 * (row["user"] % 2 == 0)  # an item is the number of its line
    assert found == expected


def test_a_missing_feature_is_no_error(log: Path, tmp_path: Path) -> None:
    edit(log / "nl_item_train.csv", 1, f",{2 / 100 + 10 / 1000:.6f},", ",,")
    rows = written(AliExpress(SourceOptions(data_dir=log)), tmp_path / "tables")["exposures"]
    assert [row["item_2"] is None for row in rows if row["user"] == 2] == [True, False]


@pytest.mark.parametrize(
    ("name", "number", "old", "new", "message"),
    [
        ("nl_item_train.csv", 3, ",2\n", ",3\n", r"item_train\.csv line 3 must have 0, 1 or 2 as its label.*'3'"),
        ("nl_item_test.csv", 2, ",1\n", ",yes\n", r"item_test\.csv line 2: column label must be .*'yes'"),
        ("nl_item_train.csv", 4, "2,", "", r"item_train\.csv line 4: must have 49 columns, but has 48"),
        ("nl_user_train.csv", 2, "\n", ",7\n", r"user_train\.csv line 2: must have 33 columns, but has 34"),
        ("nl_item_test.csv", 1, "3,", "9,", r"item_test\.csv line 1 must have a search id .* in nl_user.*'9'"),
        ("nl_user_test.csv", 2, "4,", "3,", r"item_test\.csv line 2 must have a search id .* in nl_user.*'4'"),
        ("nl_user_train.csv", 40, "40,", "39,", r"item_train\.csv line 79 must have a search id"),
        ("nl_user_train.csv", 3, "\n", "\n3,2" + ",1" * 31 + "\n", r"user_train\.csv must have one line per .* id 3"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(
    log: Path, tmp_path: Path, name: str, number: int, old: str, new: str, message: str
) -> None:
    edit(log / name, number, old, new)
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=message):
        AliExpress(SourceOptions(data_dir=log)).write("NL", tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


def test_a_truncated_archive_is_refused(log: Path, tmp_path: Path) -> None:
    path = log / "nl_item_train.csv"
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-300])
    path.unlink()
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"nl_item_train\.csv\.gz.*(intact|columns).*download"):
        AliExpress(SourceOptions(data_dir=log)).write("NL", tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


def test_an_empty_file_is_named(log: Path, tmp_path: Path) -> None:
    (log / "nl_item_test.csv").write_text("")
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"item_test\.csv must have lines, but is empty"):
        AliExpress(SourceOptions(data_dir=log)).write("NL", tmp_path / "tables")


def test_cities_are_countries_and_a_missing_one_is_named(log: Path) -> None:
    source = AliExpress(SourceOptions(data_dir=log))
    assert source.fingerprint("NL") == source.fingerprint("NL")
    with pytest.raises(UserError, match=r"must find fr_item_train\.csv, .* for the city FR.*not there"):
        source.fingerprint("FR")
    (log / "aliexpress_FR_datasets.zip").touch()
    with pytest.raises(UserError, match=r"packed; unpack it there \(unzip aliexpress_FR_datasets\.zip\)"):
        source.fingerprint("FR")
    (log / "nl_user_test.csv").unlink()
    with pytest.raises(UserError, match=r"must find nl_user_test\.csv \(or"):
        source.fingerprint("NL")
    with pytest.raises(UserError, match="unknown city"):
        source.fingerprint("nl")


def test_the_fingerprint_follows_the_bytes_of_its_country(log: Path) -> None:
    source = write_log(log, "es")
    before = source.fingerprint("NL"), source.fingerprint("ES")
    edit(log / "es_user_test.csv", 1, "3,", "3,1")
    assert source.fingerprint("NL") == before[0] != source.fingerprint("ES")
    assert source.fingerprint("ES") != before[1]
