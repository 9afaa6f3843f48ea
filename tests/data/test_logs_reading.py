"""Files of every format become the same tables, and each mistake is one line with its place and remedy."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from bench.core.errors import UserError
from bench.core.publish import checksum
from bench.data.checks import check_tables
from bench.data.logs.importing import fingerprint_of, import_log
from bench.data.logs.spec import Spec
from bench.data.tables import Manifest

START = 1_772_409_600  # 2026-03-02
HEADER = ("user_id", "product", "when", "event", "price", "tags")
FORMAT = "%d/%m/%Y %H.%M.%S"
Line = tuple[Any, ...]


def lines(
    write: Callable[[int], Any] = lambda second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}",
) -> list[Line]:
    """Views of two users on six days, and what they lead to."""
    found: list[Line] = []
    for day in range(6):
        for user in ("007", "7"):
            for item in range(3):
                time = START + day * 86_400 + 600 * item
                found.append((user, item, write(time), "view", 1.5 * item, "red|blue"[: 3 + item]))
                if (day + item) % 2:
                    found.append((user, item, write(time + 9), "cart", 1.5 * item, ""))
                    found.append((user, item, write(time + 19), "purchase", 1.5 * item, ""))
    return found


def as_csv(path: Path, rows: Sequence[Line], delimiter: str = ",", header: Sequence[str] | None = HEADER) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([*([header] if header else []), *rows])


BASE: dict[str, Any] = {
    "name": "shop",
    "shape": "events",
    "files": ["log.csv"],
    "columns": {"user": "user_id", "item": "product", "time": "when", "action": "event"},
    "actions": {"view": ["view"], "cart": ["cart"], "purchase": ["purchase"]},
    "features": [{"column": "price", "kind": "numeric"}, {"column": "tags", "kind": "multi", "separator": "|"}],
}


def imported(root: Path, **changes: Any) -> Manifest:
    """The manifest of an import of ``root`` into a new folder below it."""
    folder = root / f"tables{len(list(root.glob('tables*')))}"
    folder.mkdir()
    return import_log(Spec.model_validate(BASE | changes), folder, root=root, fingerprint="0" * 32)


def refused(root: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        imported(root, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def last_tables(root: Path) -> dict[str, str]:
    folder = max(root.glob("tables*"), key=lambda path: int(path.name.removeprefix("tables")))
    assert check_tables(folder) == []
    assert not (folder / "scratch").exists() and not (folder / "staging").exists()
    return {path.name: checksum(path) for path in folder.glob("*.parquet")}


def test_formats_give_the_same_tables(tmp_path: Path) -> None:
    rows = lines()
    as_csv(tmp_path / "log.csv", rows)
    counts = imported(tmp_path).counts
    assert (counts["exposures"], counts["carts"], counts["purchases"], counts["users"]) == (36, 18, 18, 2)
    sums = last_tables(tmp_path)
    text = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text))
    with pa.output_stream(str(tmp_path / "log.csv.zst"), compression="zstd") as file:
        file.write(text)
    as_csv(tmp_path / "log.tsv", rows, delimiter="\t", header=None)
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + text)
    (tmp_path / "windows.csv").write_bytes(text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    as_csv(tmp_path / "part1.csv", rows[::2])
    as_csv(tmp_path / "part2.csv", rows[1::2])
    records = [dict(zip(HEADER, row, strict=True)) for row in rows]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for change in (
        {"files": ["log.csv.gz"]},
        {"files": ["log.csv.zst"]},
        {"files": ["bom.csv"]},
        {"files": ["windows.csv"]},
        {"files": ["part*.csv"]},
        {"files": ["log.tsv"], "delimiter": "\t", "header": False, "names": HEADER},
        {"files": ["log.jsonl"]},
    ):
        assert imported(tmp_path, **change).counts == counts, change
        assert last_tables(tmp_path) == sums, change


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines())
    query = """SELECT CAST(user_id AS INT) AS user_id, product, "when"::TIMESTAMPTZ AS "when", event, price,
               string_split(tags, '|') AS tags"""
    duckdb.sql(f"COPY ({query} FROM '{tmp_path}/log.csv') TO '{tmp_path}/log.parquet' (FORMAT parquet)")
    features = [{"column": "price", "kind": "numeric"}, {"column": "tags", "kind": "multi"}]
    counts = imported(tmp_path, files=["log.parquet"], features=features).counts
    assert counts["users"] == 1  # 007 is 7 among integers
    found = duckdb.sql(f"FROM '{tmp_path}/tables0/exposures.parquet' ORDER BY exposure LIMIT 1").fetchall()[0]
    assert found[1:3] == (7, 0)
    assert last_tables(tmp_path)


@pytest.mark.parametrize(
    ("write", "changes"),
    [
        (lambda t: t, {}),
        (lambda t: t * 1000 + 7, {}),
        (lambda t: t * 1_000_000, {}),
        (lambda t: t * 1_000_000_000, {"time": {"unit": "ns"}}),
        (lambda t: f"{datetime.fromtimestamp(t + 3600, UTC):%Y-%m-%d %H:%M:%S}", {"time_zone": "Europe/Berlin"}),
        (lambda t: f"{datetime.fromtimestamp(t + 7200, UTC):%Y-%m-%d %H:%M:%S}+02:00", {}),
        (lambda t: f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S} UTC", {}),
        (lambda t: datetime.fromtimestamp(t, UTC).strftime(FORMAT), {"time": {"format": FORMAT}, "time_zone": "UTC"}),
    ],
)  # fmt: skip
def test_times_of_many_kinds(tmp_path: Path, write: Callable[[int], Any], changes: dict[str, Any]) -> None:
    as_csv(tmp_path / "log.csv", lines(write))
    assert imported(tmp_path, **changes).time_range == (START, START + 5 * 86_400 + 1200)


def test_days_are_local_midnights(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines(lambda t: f"{datetime.fromtimestamp(t, UTC):%Y%m%d}"))
    changes = {"time": {"unit": "yyyymmdd"}, "time_zone": "Asia/Shanghai", "visits": {"by": "day"}}
    manifest = imported(tmp_path, **changes)
    assert manifest.time_range[0] == START - 8 * 3600
    assert "hour" not in {feature.name for feature in manifest.features}


def edited(root: Path, number: int, column: int, value: str) -> None:
    """log.csv with another value in line ``number``."""
    rows = lines()
    row = list(rows[number - 2])
    row[column] = value
    as_csv(root / "log.csv", [*rows[: number - 2], tuple(row), *rows[number - 1 :]])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (2, "soon", "column 'when' must be a time with an offset"),
        (2, "1926-03-02T00:00:00Z", "of 1990 to 2099"),
        (3, "like", "column 'event' must be one of the values under [actions] (view, cart, purchase; list others"),
        (4, "cheap", "column 'price' must be a number, but is 'cheap'"),
    ],
)
def test_a_wrong_value_is_told_with_its_line(tmp_path: Path, column: int, value: str, message: str) -> None:
    edited(tmp_path, 30, column, value)
    said = refused(tmp_path)
    assert message in said and repr(value) in said and f"{tmp_path}/log.csv line 30" in said
    duckdb.sql(f"COPY (FROM read_csv('{tmp_path}/log.csv', all_varchar = true)) TO '{tmp_path}/log.parquet'")
    assert f"{tmp_path}/log.parquet row 28 (from 0)" in refused(tmp_path, files=["log.parquet"])


def test_labels_and_splits_of_a_table_of_exposures(tmp_path: Path) -> None:
    header = ("u", "i", "click", "bought", "part")
    rows = [("1", "a", 1, "true", "train"), ("1", "b", 0, "", "valid"), ("2", "a", 1, 0, "test")]
    changes: dict[str, Any] = {
        "shape": "exposures", "columns": {"user": "u", "item": "i"}, "actions": None, "features": [],
        "labels": {"click": "click", "purchase": "bought"}, "splits": {"column": "part"},
    }  # fmt: skip
    as_csv(tmp_path / "log.csv", rows, header=header)
    manifest = imported(tmp_path, **changes)
    assert (manifest.counts["clicks"], manifest.counts["purchases"]) == (2, 1)
    as_csv(tmp_path / "log.csv", [*rows, ("2", "b", 2, 0, "test")], header=header)
    assert "line 5: column 'click' must be 0 or 1, but is '2'" in refused(tmp_path, **changes)
    as_csv(tmp_path / "log.csv", [*rows, ("2", "b", 1, 0, "dev")], header=header)
    assert "line 5: column 'part' must be train, valid or test, but is 'dev'" in refused(tmp_path, **changes)


def test_broken_files_are_told(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines())
    text = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "short.csv.gz").write_bytes(gzip.compress(text)[:-40])
    rows = text.decode().splitlines()
    (tmp_path / "narrow.csv").write_text("\n".join([*rows[:20], "1,2", *rows[20:]]) + "\n")
    (tmp_path / "open.jsonl").write_text('{"user_id": 1}\n{"user_id": 2\n')
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1" + b"x" * 50)
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "twice.csv").write_text("user_id,user_id\n1,2\n")
    as_csv(tmp_path / "other.csv", lines(), header=(*HEADER[:-1], "words"))
    (tmp_path / "log.xyz").write_bytes(text)
    for file, message in {
        "short.csv.gz": "short.csv.gz must be readable",
        "narrow.csv": "narrow.csv line 21 must be readable, but: .*Expected Number of Columns: 6 Found: 2",
        "open.jsonl": "open.jsonl line [23] must be readable",
        "damaged.parquet": "damaged.parquet must be readable",
        "empty.csv": "empty.csv line 1 must be a header .* but is empty",
        "twice.csv": "twice.csv line 1 must be a header .* names 'user_id' twice",
        "o*.csv": "must have the column 'tags' .*words",
        "log.xyz": "must be told by its ending",
        "none*.csv": "files must match 'none.*but there are none",
    }.items():
        with pytest.raises(UserError, match=message):
            imported(tmp_path, files=[file])
    assert "same columns, but" in refused(tmp_path, files=["log.csv", "other.csv"])
    assert "one format, but have csv, json" in refused(tmp_path, files=["log.csv", "open.jsonl"])


def test_traps_of_time(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines(lambda t: f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S}"))
    assert "must have an offset from UTC or the specification a time_zone" in refused(tmp_path)
    as_csv(
        tmp_path / "log.csv",
        lines(lambda t: f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M:%S}{'Z' if t % 20 else ''}"),
    )
    assert "must all have an offset from UTC or none" in refused(tmp_path, time_zone="UTC")
    as_csv(tmp_path / "log.csv", lines(lambda t: t * 1000))
    assert "be a time in s since 1970, of 1990 to 2099" in refused(tmp_path, time={"unit": "s"})


def test_features_of_users_and_items(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines())
    as_csv(tmp_path / "users.csv", [("7", "f"), ("007", "m"), ("8", "f")], header=("id", "gender"))
    side = {"files": ["users.csv"], "key": "id", "features": [{"column": "gender"}]}
    imported(tmp_path, users=side)
    assert duckdb.sql(f"FROM '{tmp_path}/tables0/users.parquet'").fetchall() == [("007", "m"), ("7", "f"), ("8", "f")]
    as_csv(tmp_path / "users.csv", [("7", "f"), ("7", "m")], header=("id", "gender"))
    assert "the users must have one row per user, but user 7 has 2" in refused(tmp_path, users=side)


def test_the_fingerprint_is_of_files_and_specification(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines())
    spec = Spec.model_validate(BASE)
    first = fingerprint_of(spec, tmp_path)
    assert fingerprint_of(spec, tmp_path) == first
    assert fingerprint_of(Spec.model_validate(BASE | {"time_zone": "UTC"}), tmp_path) != first
    features = [{"column": "price", "kind": "numeric"}, {"column": "tags", "min_count": 2}]
    assert fingerprint_of(Spec.model_validate(BASE | {"features": features}), tmp_path) != first
    edited(tmp_path, 30, 4, "9.5")
    assert fingerprint_of(spec, tmp_path) != first


def test_visits_of_exposures_need_those_of_the_behaviour_log() -> None:
    columns = {"user": "u", "item": "i", "time": "t"}
    beside = {"files": ["b.csv"], "columns": columns | {"action": "a"}, "actions": {"cart": ["cart"]}}
    spec = BASE | {
        "shape": "exposures", "actions": None, "labels": {"click": "c"}, "behaviour": beside,
        "columns": columns | {"visit": "v"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="must have a visit column in \\[behaviour\\] too"):
        Spec.model_validate(spec)
    assert Spec.model_validate(spec | {"attribution": {"hours": 2}}).rules().attribution_hours == 2


def test_a_behaviour_log_beside_exposures_gives_the_labels(tmp_path: Path) -> None:
    as_csv(
        tmp_path / "shown.csv", [("1", "a", START + 86_400 * day, 1) for day in range(4)], header=("u", "i", "t", "c")
    )
    acts = [("1", "a", (START + 86_400 * day + 60) * 1000, "atc") for day in (0, 3)]
    as_csv(tmp_path / "acts.csv", acts, header=("u", "i", "ms", "what"))
    columns = {"user": "u", "item": "i"}
    beside = {
        "files": ["acts.csv"],
        "columns": columns | {"time": "ms", "action": "what"},
        "actions": {"cart": ["atc"]},
    }
    manifest = imported(
        tmp_path, shape="exposures", files=["shown.csv"], columns=columns | {"time": "t"}, actions=None, features=[],
        labels={"click": "c"}, behaviour=beside,
    )  # fmt: skip
    assert (manifest.counts["carts"], manifest.counts["clicks"], manifest.counts["events"]) == (2, 4, 6)
    assert last_tables(tmp_path)


def test_an_empty_text_is_missing_in_every_format(tmp_path: Path) -> None:
    rows = lines()
    rows += [("", 1, rows[0][2], "view", 1, ""), ("7", "", rows[0][2], "view", 1, ""), ("7", 1, "", "view", 1, "")]
    as_csv(tmp_path / "log.csv", rows)
    records = [dict(zip(HEADER, row, strict=True)) for row in rows]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    columns = "'user_id': 'VARCHAR', 'product': 'VARCHAR', 'when': 'VARCHAR', 'event': 'VARCHAR'"
    query = f"SELECT *, 1.5 AS price, '' AS tags FROM read_json('{tmp_path}/log.jsonl', columns = {{{columns}}})"
    duckdb.sql(f"COPY ({query}) TO '{tmp_path}/log.parquet' (FORMAT parquet)")
    found = [imported(tmp_path, files=[f"log.{ending}"]).counts for ending in ("csv", "jsonl", "parquet")]
    assert [(counts["incomplete_events"], counts["users"]) for counts in found] == [(3, 2)] * 3


def test_no_pattern_at_all(tmp_path: Path) -> None:
    assert "files must match '/'" in refused(tmp_path, files=["/"])
