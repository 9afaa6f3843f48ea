from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_tables import encoded

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import UserError
from bench.core.registry import SOURCES
from bench.data.checks import check_tables
from bench.data.source import SourceOptions
from bench.data.sources._ali_ccp_fields import WELL_FORMED
from bench.data.sources.ali_ccp import AliCCP
from bench.data.tables import FACTS, read_manifest, table_path
from bench.training.train import train_cell

Value = tuple[str, int, float]


def features(*values: Value) -> str:
    return "\x01".join(f"{field}\x02{number}\x03{weight}" for field, number, weight in values)


def common(index: str, user: int, *more: Value) -> str:
    values: list[Value] = [("101", user, 1.0), ("121", 900 + user % 3, 1.0), ("122", 7, 1.0), *more]
    return f"{index},{len(values)},{features(*values)}\n"


def sample(number: int, click: int, purchase: int, index: str, item: int, *more: Value) -> str:
    values: list[Value] = [("301", 9351665, 1.0), ("205", item, 1.0), ("206", 4000 + item % 2, 1.0), *more]
    return f"{number},{click},{purchase},{index},{len(values)},{features(*values)}\n"


def held_out(index: str) -> bool:
    """The rule of the validation split, from its words."""
    return int(hashlib.md5(index.encode()).hexdigest()[:15], 16) % 10 == 0


INDEXES = [f"{number:016x}" for number in range(40)]
VALID = [index for index in INDEXES if held_out(index)]
TRAIN = [index for index in INDEXES if not held_out(index)]
#: A context with every list, and a sample with every combination.
RICH = common(
    TRAIN[0],
    1,
    ("127", 3, 1.0),
    *(("109_14", 100 + n, 1.0 + n) for n in range(10)),
    ("109_14", 90, 5.0),
    ("127_14", 55, 0.5),
    ("127_14", 54, 0.5),
)
BOUGHT = sample(
    1,
    1,
    1,
    TRAIN[0],
    11,
    ("210", 30, 1.0),
    ("210", 20, 1.0),
    ("216", 8, 1.0),
    ("508", 4000, 2.30259),
    ("853", 30, 0.69315),
    ("853", 20, 1.5),
)


def write_log(folder: Path, **changed: str) -> AliCCP:
    """Two exposures of every index, of which the first is clicked in half of them; ``changed``: files' texts."""
    rest = [index for index in INDEXES if index != TRAIN[0]]
    clicked = [sample(2 + n, 1, n % 4 // 2, index, 10 + n % 5) for n, index in enumerate(rest) if n % 2]
    others = [sample(60 + n, 0, 0, index, 10 + n % 7) for n, index in enumerate(INDEXES)]
    texts = {
        "common_features_train.csv": RICH + "".join(common(index, 2 + n // 3) for n, index in enumerate(rest)),
        "sample_skeleton_train.csv": BOUGHT + "".join(clicked + others),
        # The same index as in training, but another user: indexes are those of their part.
        "common_features_test.csv": common(TRAIN[0], 77) + common("f" * 16, 1),
        "sample_skeleton_test.csv": sample(1, 1, 0, TRAIN[0], 11)
        + sample(2, 0, 1, TRAIN[0], 12)
        + sample(3, 1, 1, "f" * 16, 13)
        + sample(4, 0, 0, "f" * 16, 13),
    }
    folder.mkdir(exist_ok=True)
    for name, text in {**texts, **changed}.items():
        (folder / name).write_bytes(text.encode())
    return AliCCP(SourceOptions(data_dir=folder))


def written(source: AliCCP, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    source.write("taobao", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["exposures.parquet", "manifest.json"]
    return pq.read_table(table_path(folder, "exposures")).to_pylist()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_log(tmp_path / "log")
    return tmp_path / "log"


def edit(log: Path, name: str, line: int, old: str, new: str) -> AliCCP:
    """The log with one change in a line (from 1) of a file."""
    lines = (log / name).read_bytes().decode().splitlines(keepends=True) if (log / name).exists() else []
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    (log / name).write_bytes("".join(lines).encode())
    return AliCCP(SourceOptions(data_dir=log))


def test_it_is_registered() -> None:
    assert SOURCES.get("ali_ccp") is AliCCP
    assert AliCCP(SourceOptions()).cities() == ["taobao"]
    assert set(AliCCP.lacks) == set(FACTS) - {"click", "purchase"}


def test_a_sample_is_an_exposure_with_the_features_of_its_context(log: Path, tmp_path: Path) -> None:
    rows = written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "tables")
    [bought] = [row for row in rows if row["user"] == 1 and row["split"] == "train" and row["click"]]
    assert (bought["item"], bought["click"], bought["cart"], bought["purchase"], bought["time"]) == (11, 1, 0, 1, 0)
    assert (bought["category"], bought["shop"], bought["brand"], bought["place"]) == (4001, None, 8, 9351665)
    assert (bought["profile"], bought["profile_group"], bought["consumption_2"], bought["gender"]) == (901, 7, 3, None)
    assert bought["past_categories"] == [109, 108, 107, 106, 105, 90, 104, 103]  # 90 and 104 weigh the same
    assert (bought["past_brands"], bought["past_shops"]) == ([54, 55], [])
    assert (bought["intentions"], bought["intention_habits"]) == ([20, 30], [20, 30])
    assert (bought["category_habit"], bought["shop_habit"]) == (4000, None)
    assert bought["category_habit_weight"] == pytest.approx(2.30259)
    assert (bought["intention_habits_weight"], bought["shop_habit_weight"]) == (1.5, None)


def test_splits_and_visits(log: Path, tmp_path: Path) -> None:
    rows = written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "tables")
    rest = [index for index in INDEXES if index != TRAIN[0]]
    user_of = {index: 2 + n // 3 for n, index in enumerate(rest)} | {TRAIN[0]: 1}
    visits = {split: {(r["user"], r["visit"]) for r in rows if r["split"] == split} for split in ("train", "valid")}
    assert 0 < len(VALID) < len(INDEXES) / 2
    assert sorted(user for user, _ in visits["valid"]) == sorted(user_of[index] for index in VALID)
    assert sorted(user for user, _ in visits["train"]) == sorted(user_of[index] for index in TRAIN)
    tested = [row for row in rows if row["split"] == "test"]
    assert [(row["user"], row["item"], row["click"], row["purchase"]) for row in tested] == [
        (1, 13, 0, 0),
        (1, 13, 1, 1),
        (77, 11, 1, 0),
    ]
    assert not {row["visit"] for row in tested} & {visit for found in visits.values() for _, visit in found}


def test_a_purchase_without_a_click_is_left_out_and_counted(log: Path, tmp_path: Path) -> None:
    rows = written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "tables")
    manifest = read_manifest(tmp_path / "tables")
    assert not [row for row in rows if row["item"] == 12 and row["split"] == "test"]
    assert manifest.settings["dropped_purchases"] == 1
    assert any("no click are left out" in note and "1." in note for note in manifest.notes)
    assert manifest.counts["implied_clicks"] == 0
    assert manifest.counts["exposures"] == len(rows) == 1 + 19 + 40 + 3
    assert manifest.lacks == AliCCP.lacks


def test_a_model_trains_on_it(log: Path, tmp_path: Path) -> None:
    written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "tables")
    assert check_tables(tmp_path / "tables") == []
    city = encoded(tmp_path / "tables")
    config = Config(hidden=(8,), embedding_dim=4, batch_size=16)
    (tmp_path / "cell").mkdir()
    cell = Cell(
        dataset="ali_ccp",
        fingerprint=city.meta.fingerprint,
        city="taobao",
        model="esmm",
        config=config.used_by(()),
        seed=0,
    )
    record = train_cell(cell, city, tmp_path / "cell")
    assert record.cost.train_rows == city.meta.counts["train"]["rows"] > 40


def test_a_user_may_be_in_the_sample_and_a_sample_without_item_is_incomplete(log: Path, tmp_path: Path) -> None:
    edit(log, "common_features_test.csv", 1, "101\x0277\x031.0\x01", "")
    edit(log, "sample_skeleton_test.csv", 1, "205\x0211\x03", "101\x0278\x031.0\x01205\x0211\x03")
    edit(log, "sample_skeleton_test.csv", 4, "205\x0213", "204\x0213")
    rows = written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "tables")
    assert [(row["user"], row["item"]) for row in rows if row["split"] == "test"] == [(1, 13), (78, 11)]
    assert read_manifest(tmp_path / "tables").counts["incomplete_exposures"] == 1


def test_packed_files_give_the_same_tables(log: Path, tmp_path: Path) -> None:
    plain = written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "tables")
    for name in ("common_features_train.csv", "sample_skeleton_test.csv"):
        (log / f"{name}.gz").write_bytes(gzip.compress((log / name).read_bytes()))
        (log / name).unlink()
    path = log / "common_features_test.csv"
    with pa.CompressedOutputStream(f"{path}.zst", "zstd") as stream:
        stream.write(path.read_bytes())
    path.unlink()
    assert written(AliCCP(SourceOptions(data_dir=log)), tmp_path / "again") == plain


def test_the_fingerprint_follows_the_bytes_of_all_files(log: Path) -> None:
    found = {AliCCP(SourceOptions(data_dir=log)).fingerprint("taobao") for _ in range(2)}
    for name in ("common_features_train.csv", "sample_skeleton_test.csv"):
        (log / name).write_bytes((log / name).read_bytes() + b"\n")
        found.add(AliCCP(SourceOptions(data_dir=log)).fingerprint("taobao"))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("name", "line", "old", "new", "message"),
    [
        ("sample_skeleton_train.csv", 3, ",1,", ",2,", r"train\.csv line 3 must have 0 or 1 as its click.*'2'"),
        ("sample_skeleton_test.csv", 2, "0,1,", "0,x,", r"skeleton_test\.csv line 2: column purchase must be .*'x'"),
        ("sample_skeleton_train.csv", 5, ",1,", ",", r"skeleton_train\.csv line 5: must have 6 columns, but has 5"),
        ("common_features_train.csv", 2, ",3,", ",", r"features_train\.csv line 2: must have 3 columns, but has 2"),
        ("sample_skeleton_test.csv", 1, TRAIN[0], "nowhere", r"test\.csv line 1 must .* in common_.*'nowhere'"),
        ("common_features_train.csv", 3, "000000000000", "x", r"train\.csv line \d+ must .* in common_features"),
        ("common_features_test.csv", 2, "f" * 16, TRAIN[0], r"features_test\.csv line 1 must have an index of its own"),
        ("sample_skeleton_train.csv", 4, "206\x024", "206\x02z", r"line 4 must have features 'field \\x02 integer id"),
        ("common_features_train.csv", 1, "109_14\x02101\x03", "109_14\x02101", r"train\.csv line 1 must have features"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(
    log: Path, tmp_path: Path, name: str, line: int, old: str, new: str, message: str
) -> None:
    source = edit(log, name, line, old, new)
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=message):
        source.write("taobao", tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


@pytest.mark.parametrize(("name", "field"), [("common_features_test", "101 (user)"), ("sample_skeleton_test", "205")])
def test_other_separators_are_named(log: Path, tmp_path: Path, name: str, field: str) -> None:
    path = log / f"{name}.csv"
    path.write_text(path.read_text().replace("\x01", "^A").replace("\x02", "^B").replace("\x03", "^C"))
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=rf"{name}\.csv line 1 must have features") as caught:
        AliCCP(SourceOptions(data_dir=log)).write("taobao", tmp_path / "tables")
    assert field in str(caught.value)


def test_the_form_of_features_is_that_of_the_log() -> None:
    texts = [features(("109_14", 5, 1.0), ("205", 7, 2.30259)), "205\x0271.0", "205\x02x\x031.0", "205\x027\x03\x01"]
    query = "SELECT list_transform(?, lambda each: regexp_full_match(each, ?))"
    assert duckdb.execute(query, [texts, WELL_FORMED]).fetchall() == [([True, False, False, False],)]


def test_a_truncated_archive_is_refused(log: Path, tmp_path: Path) -> None:
    path = log / "sample_skeleton_train.csv"
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-300])
    path.unlink()
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"skeleton_train\.csv\.gz.*(intact|columns).*download"):
        AliCCP(SourceOptions(data_dir=log)).write("taobao", tmp_path / "tables")
    assert list((tmp_path / "tables").iterdir()) == []


def test_an_empty_file_is_named(log: Path, tmp_path: Path) -> None:
    (log / "sample_skeleton_test.csv").write_text("")
    (tmp_path / "tables").mkdir()
    with pytest.raises(UserError, match=r"skeleton_test\.csv must have lines, but is empty"):
        AliCCP(SourceOptions(data_dir=log)).write("taobao", tmp_path / "tables")


def test_a_missing_file_is_named_and_a_packed_one_to_be_unpacked(log: Path) -> None:
    (log / "sample_skeleton_test.csv").unlink()
    with pytest.raises(UserError, match=r"must find sample_skeleton_test\.csv .*not there"):
        AliCCP(SourceOptions(data_dir=log)).fingerprint("taobao")
    (log / "sample_test.tar.gz").touch()
    with pytest.raises(
        UserError, match=r"sample_skeleton_test\.csv.*packed; unpack it there \(tar -xf sample_test\.tar"
    ):
        AliCCP(SourceOptions(data_dir=log)).fingerprint("taobao")
    with pytest.raises(UserError, match="--data-dir"):
        AliCCP(SourceOptions()).fingerprint("taobao")
