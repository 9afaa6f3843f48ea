"""Files that mislead: ids of several types, cut and rounded times, empty files, values in the wrong file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_logs_reading import BASE, HEADER, START, as_csv, imported, last_tables, lines, refused

from bench.data.checks import check_tables
from bench.data.logs.importing import fingerprint_of
from bench.data.logs.spec import Spec


def as_parquet(path: Path, **columns: Any) -> None:
    """The lines as a Parquet file, with other values in some columns."""
    path.parent.mkdir(exist_ok=True)
    table = {name: [line[i] for line in lines()] for i, name in enumerate(HEADER)}
    pq.write_table(pa.table(table | columns), path)


def users(root: Path, table: str = "exposures") -> set[Any]:
    folder = max(root.glob("tables*"), key=lambda path: int(path.name.removeprefix("tables")))
    assert check_tables(folder) == []
    return {user for (user,) in duckdb.sql(f"SELECT DISTINCT user FROM '{folder / table}.parquet'").fetchall()}


def test_numbers_and_texts_as_ids_in_two_files(tmp_path: Path) -> None:
    as_parquet(tmp_path / "p/1.parquet", user_id=[int(line[0]) for line in lines()])
    as_parquet(tmp_path / "p/2.parquet")
    imported(tmp_path, files=["p/*.parquet"])
    assert users(tmp_path) == {"7", "007"}
    as_parquet(tmp_path / "p/1.parquet", user_id=pa.array([7] * len(lines()), pa.int32()))
    as_parquet(tmp_path / "p/2.parquet", user_id=pa.array([2**40] * len(lines()), pa.int64()))
    imported(tmp_path, files=["p/*.parquet"])
    assert users(tmp_path) == {7, 2**40}


def test_ids_that_pandas_made_floats(tmp_path: Path) -> None:
    """7.0 is 7, beside texts as well; a missing one is left out."""
    ids = [None, float("nan"), *(7.0 for _ in lines()[2:])]
    as_parquet(tmp_path / "log.parquet", user_id=pa.array(ids, pa.float64()))
    counts = imported(tmp_path, files=["log.parquet"]).counts
    assert users(tmp_path) == {7} and counts["incomplete_events"] == 2
    as_csv(tmp_path / "users.csv", [("7", "f"), ("", "m"), ("", "f")], header=("id", "gender"))
    side = {"files": ["users.csv"], "key": "id", "features": [{"column": "gender"}]}
    imported(tmp_path, files=["log.parquet"], users=side)
    assert users(tmp_path) == users(tmp_path, "users") == {"7"}
    as_parquet(tmp_path / "log.parquet", user_id=[*(7.0 for _ in lines()[1:]), 7.5])
    said = refused(tmp_path, files=["log.parquet"])
    assert f"row {len(lines()) - 1} (from 0): column 'user_id' must be an id: a whole number or a text" in said


def test_fractions_of_a_second_are_cut_off(tmp_path: Path) -> None:
    seconds = [line[2] + 0.7 for line in lines(lambda t: t)]
    for when in (
        seconds,
        pa.array([Decimal(f"{second:.1f}") for second in seconds], pa.decimal128(18, 1)),
        [f"{second:.1f}" for second in seconds],
        [f"{second / 1e9:.10f}e9" for second in seconds],
        [f"{second * 1000:.1f}" for second in seconds],
        [datetime.fromtimestamp(second, UTC) for second in seconds],
        [f"{datetime.fromtimestamp(second, UTC).isoformat()}" for second in seconds],
    ):
        as_parquet(tmp_path / "log.parquet", when=when)
        assert imported(tmp_path, files=["log.parquet"]).time_range == (START, START + 5 * 86_400 + 1200), when[0]


def test_delimiters_of_several_characters(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", lines())
    counts, sums = imported(tmp_path).counts, last_tables(tmp_path)
    features = [{"column": "price", "kind": "numeric"}, {"column": "tags", "kind": "multi", "separator": ";"}]
    text = "".join("||".join(map(str, row)).replace("red|", "red;") + "\n" for row in [HEADER, *lines()])
    (tmp_path / "wide.csv").write_text(text)
    assert imported(tmp_path, files=["wide.csv"], delimiter="||", features=features).counts == counts
    assert last_tables(tmp_path) == sums
    (tmp_path / "wide.csv").write_text(text.replace("purchase", "order", 1))
    line = text[: text.index("purchase")].count("\n") + 1
    said = refused(tmp_path, files=["wide.csv"], delimiter="||", features=features)
    assert f"wide.csv line {line}: column 'event' must be one of" in said


def test_files_without_rows(tmp_path: Path) -> None:
    as_csv(tmp_path / "header.csv", [])
    assert "header.csv: column 'when' must have times, but is empty" in refused(tmp_path, files=["header.csv"])
    as_csv(tmp_path / "none.csv", lines(lambda t: ""))
    assert "none.csv: column 'when' must have times, but is empty" in refused(tmp_path, files=["none.csv"])
    as_csv(tmp_path / "twice.csv", [], header=(*HEADER, "Price"))
    assert "line 1 must be a header with a name per column, but names 'price' twice ('Price': case" in refused(
        tmp_path, files=["twice.csv"]
    )
    records = [dict(zip(HEADER, line, strict=True)) for line in lines()]
    for name, text in {"empty": "", "array": json.dumps(records), "numbers": "1\n2\n"}.items():
        (tmp_path / f"{name}.jsonl").write_text(text)
        said = refused(tmp_path, files=[f"{name}.jsonl"])
        assert f"{name}.jsonl must have a JSON object per line, but has none" in said
    assert "files must match '' in" in refused(tmp_path, files=[""])


def test_a_missing_value_is_told_with_its_row(tmp_path: Path) -> None:
    rows = [list(line) for line in lines()]
    rows[6][3] = ""
    as_csv(tmp_path / "log.csv", rows)
    assert "log.csv line 8: column 'event' must be one of" in refused(tmp_path)
    as_parquet(tmp_path / "log.parquet", event=[row[3] or None for row in rows])
    said = refused(tmp_path, files=["log.parquet"])
    assert "log.parquet row 6 (from 0): column 'event' must be one of" in said and "but is missing; mend" in said
    records = [{key: value for key, value in zip(HEADER, row, strict=True) if value != ""} for row in rows]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert "log.jsonl line 7: column 'event' must be one of" in refused(tmp_path, files=["log.jsonl"])


def test_the_file_with_the_wrong_value_is_named(tmp_path: Path) -> None:
    """A value that is right in the column of that name of another file."""
    as_csv(tmp_path / "log.csv", [(*line[:4], "dear", line[5]) for line in lines()])
    as_csv(tmp_path / "items.csv", [(0, "1"), (1, "dear")], header=("id", "price"))
    side = {"files": ["items.csv"], "key": "id", "features": [{"column": "price", "kind": "numeric", "name": "cost"}]}
    said = refused(tmp_path, items=side, features=[{"column": "price"}])
    assert f"{tmp_path}/items.csv line 3: column 'price' must be a number, but is 'dear'" in said


@pytest.mark.parametrize("value", ["inf", "-Infinity"])
def test_numbers_are_finite(tmp_path: Path, value: str) -> None:
    as_csv(tmp_path / "log.csv", [*lines(), ("7", 1, "2026-03-02T00:00:00Z", "view", value, "")])
    assert f"line {len(lines()) + 2}: column 'price' must be a finite number, but is '{value}'" in refused(tmp_path)
    as_parquet(tmp_path / "log.parquet", price=[*(line[4] for line in lines()[1:]), float(value)])
    assert "column 'price' must be a finite number" in refused(tmp_path, files=["log.parquet"])


def test_lists_are_multi(tmp_path: Path) -> None:
    as_parquet(tmp_path / "log.parquet", tags=[["red"] for _ in lines()])
    said = refused(tmp_path, files=["log.parquet"], features=[{"column": "tags"}])
    assert (
        "column 'tags' of kind categorical must be one value, but is VARCHAR[]; give its feature the kind multi" in said
    )


def test_one_wrong_time_among_numbers(tmp_path: Path) -> None:
    as_csv(tmp_path / "log.csv", [*lines(lambda t: t), ("7", 1, "soon", "view", 1, "")])
    said = refused(tmp_path)
    assert f"line {len(lines()) + 2}: column 'when' must be a time in s since 1970" in said and "is 'soon'" in said


def test_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    spec = Spec.model_validate(BASE | {"files": ["*/log.csv"]})
    found = []
    for rows in (lines(), lines()[:-1]):
        for folder, part in (("a", rows), ("b", lines())):
            (tmp_path / folder).mkdir(exist_ok=True)
            as_csv(tmp_path / folder / "log.csv", part)
        found.append(fingerprint_of(spec, tmp_path))
    assert found[0] != found[1]
