from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny_tables import ITEM, USER, encoded, rows, write_tables

from bench.core.errors import UserError
from bench.data.checks import check_tables, find_problems, require_columns, require_positives
from bench.data.tables import TRUTH, Feature, read_manifest, table_path, write_manifest

SOUND: dict[str, dict[str, Any]] = {
    "exposures": rows(
        "user item visit time split click cart purchase",
        (1, 5, 0, 10, "train", 1, 0, 1),
        (1, 6, 0, 90, "train", 0, 0, 0),
        (2, 5, 1, 20, "valid", 1, 1, 0),
        (2, 6, 2, 30, "test", 1, 0, 0),
    ),
    "events": rows(
        "user item time visit action domain", (1, 5, 10, 0, "click", "search"), (1, 5, 9, None, "cart", "search")
    ),
    "users": {"user": [1, 2], "age": [30, 40]},
    "items": {"item": [5, 6], "price": [1.5, None]},
    "truth": {"exposure": [0, 1, 2, 3], **{column: [0.0, 0.5, 1.0, 0.25] for column in TRUTH}},
}
FEATURES = (USER, ITEM, Feature(name="age", table="users"), Feature(name="price", table="items", kind="numeric"))


def changed(table: str, **columns: list) -> dict[str, dict[str, Any]]:
    """The sound tables with some columns of one replaced."""
    return SOUND | {table: SOUND[table] | columns}


def problems_of(folder: Path) -> list[str]:
    """The problems, without the folder that every line begins with."""
    lines = check_tables(folder)
    assert all(line.startswith(f"{folder}: ") for line in lines)
    return [line.removeprefix(f"{folder}: ") for line in lines]


def test_sound_tables_have_no_problem(tmp_path: Path) -> None:
    assert problems_of(write_tables(tmp_path, FEATURES, **SOUND)) == []


def test_sound_tables_without_events_users_and_items(tmp_path: Path) -> None:
    assert problems_of(write_tables(tmp_path, (USER, ITEM), exposures=SOUND["exposures"])) == []


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        (
            changed("exposures", click=[2, 0, 1, 1]),
            "exposures.parquet: click must be 0 or 1, but 1 rows differ, the first is row 0",
        ),
        (
            changed("exposures", click=[1, 0, 0, 1]),
            "exposures.parquet: cart must be 0 without a click, but 1 rows differ, the first is row 2",
        ),
        (
            changed("exposures", wish=[0, 1, 0, 0]),
            "exposures.parquet: wish must be 0 without a click, but 1 rows differ, the first is row 1",
        ),
        (
            changed("exposures", click=[0, 0, 1, 1]),
            "exposures.parquet: purchase must be 0 without a click, but 1 rows differ, the first is row 0",
        ),
        (
            changed("exposures", exposure=[0, 1, 1, 3]),
            "exposures.parquet: exposure must occur once, but 2 rows differ, the first is row 1",
        ),
        (
            changed("exposures", exposure=[0, 1, 2, 7]),
            "exposures.parquet: exposure must be 0 … number of rows - 1, but 1 rows differ, the first is row 3",
        ),
        (
            changed("exposures", user=[1, 3, 2, 2]),
            "exposures.parquet: visit must have one user, but 2 rows differ, the first is row 0",
        ),
        (
            changed("exposures", split=["train", "valid", "valid", "test"]),
            "exposures.parquet: visit must have one split, but 2 rows differ, the first is row 0",
        ),
        (
            changed("exposures", split=["train", "train", "valid", "later"]),
            "exposures.parquet: split must be one of train, valid, test, but 1 rows differ, the first is row 3",
        ),
        (
            changed("exposures", time=[10, 90, 20, 19]),
            "exposures.parquet: split must be later than every visit of valid, but 1 rows differ, the first is row 3",
        ),
        (
            changed("exposures", item=[5, None, 5, 6]),
            "exposures.parquet: item must be known, but 1 rows differ, the first is row 1",
        ),
        (
            changed("exposures", domain=["search", "home", None, "search"]),
            "exposures.parquet: domain must be one of recommendation, search, but 2 rows differ, the first is row 1",
        ),
        (
            changed("events", action=["click", "view"]),
            "events.parquet: action must be one of click, cart, wish, purchase, browse, but 1 rows differ, the first "
            "is row 1",
        ),
        (
            changed("events", domain=["shop", "shop"]),
            "events.parquet: domain must be one of recommendation, search, but 2 rows differ, the first is row 0",
        ),
        (changed("users", user=[2, 2]), "users.parquet: user must occur once, but 2 rows differ, the first is row 0"),
        (changed("items", item=[5, 5]), "items.parquet: item must occur once, but 2 rows differ, the first is row 0"),
        (
            changed("truth", p_cart=[0.1, 1.1, -0.1, math.nan]),
            "truth.parquet: p_cart must be a probability, but 3 rows differ, the first is row 1",
        ),
        (
            changed("truth", p_cart=[0.1, 0.1, 0.1, math.nan]),
            "truth.parquet: p_cart must be a probability, but 1 rows differ, the first is row 3",
        ),
        (
            changed("truth", exposure=[0, 1, 2, 9]),
            "truth.parquet: exposure must be one of the exposures, but 1 rows differ, the first is row 3",
        ),
        (
            changed("events", visit=[1, None]),
            "events.parquet: visit must have one user, here and in exposures, but 1 rows differ, the first is row 0; "
            "number visits over all users",
        ),
        (
            changed("exposures", time=[10, 90, 20, 30_000_000_000]),
            "exposures.parquet: time must be seconds since the epoch, before the year 2100, but 1 rows differ, the "
            "first is row 3; divide milliseconds by 1000",
        ),
        (
            changed("events", time=[10_000_000_000, 9]),
            "events.parquet: time must be seconds since the epoch, before the year 2100, but 1 rows differ, the first "
            "is row 0; divide milliseconds by 1000",
        ),
        (
            changed("items", price=[math.inf, 1.0]),
            "items.parquet: price must be finite or missing, but 1 rows differ, the first is row 0; store NULL",
        ),
        (
            changed("truth", exposure=[0, 1, 1, 2], p_cart=[0.0] * 4),
            "exposures.parquet: exposure must have a row in truth, but 1 rows differ, the first is row 3",
        ),
        (
            changed("users", age=[[30, 31], [40]]),
            "users.parquet: age must be one value, but is BIGINT[]; give the feature the kind 'multi'",
        ),
        (changed("items", price=["1", "2"]), "items.parquet: price must be BIGINT or DOUBLE or FLOAT or INTEGER"),
        (changed("events", user=["1", "1"]), "events.parquet: user must be BIGINT, but is VARCHAR"),
        (changed("exposures", click=["1", "0", "1", "1"]), "exposures.parquet: click must be BIGINT or INTEGER"),
        (SOUND | {"users": {"user": [1, 2]}}, "users.parquet must have the column 'age' of the feature list"),
        (SOUND | {"events": {"user": [1]}}, "events.parquet: item must be a column, but is missing"),
    ],
)
def test_every_broken_promise_is_named(tmp_path: Path, tables: dict[str, dict[str, Any]], problem: str) -> None:
    problems = problems_of(write_tables(tmp_path, FEATURES, **tables))
    assert [line for line in problems if line.startswith(problem)], problems


def test_missing_numbers_are_no_problem(tmp_path: Path) -> None:
    tables = changed("items", price=[math.nan, None])
    assert problems_of(write_tables(tmp_path, FEATURES, **tables)) == []


def test_lists_are_for_features_with_several_values(tmp_path: Path) -> None:
    features = (USER, ITEM, Feature(name="age", table="users", kind="multi"))
    assert problems_of(write_tables(tmp_path / "lists", features, **changed("users", age=[[30, 31], []]))) == []
    (problem,) = problems_of(write_tables(tmp_path / "numbers", features, **SOUND))
    assert problem.startswith("users.parquet: age must be a list, but is BIGINT; split it into a list, or")


def remade(folder: Path, **changes: Any) -> list[str]:
    """The problems of the sound tables with another manifest."""
    write_tables(folder, FEATURES, **SOUND)
    write_manifest(folder, read_manifest(folder).model_copy(update=changes))
    return problems_of(folder)


def test_times_lie_in_the_ranges_of_the_manifest(tmp_path: Path) -> None:
    ranges = {"train": (10, 90), "valid": (20, 20), "test": (30, 30)}
    assert remade(tmp_path / "right", split_range=ranges) == []
    wanted = (
        "exposures.parquet: time must lie in the manifest's range of its split, but 1 rows differ, the first is row"
    )
    (problem,) = remade(tmp_path / "split", split_range=ranges | {"valid": (21, 29)})
    assert problem.startswith(f"{wanted} 2; mend time_range and split_range of the manifest")
    (problem,) = remade(tmp_path / "late", time_range=(10, 89))
    assert problem.startswith(f"{wanted} 1;")
    (problem,) = remade(tmp_path / "early", time_range=(11, 90))
    assert problem.startswith(f"{wanted} 0;")


def test_what_a_log_lacks_is_not_there(tmp_path: Path) -> None:
    assert remade(tmp_path / "wish", lacks={"wish": "has no wishes"}) == []
    lines = remade(tmp_path / "more", lacks={"cart": "has no carts", "time": "has no times"})
    said = "must be 0, since the manifest says that the log lacks it, but"
    assert f"exposures.parquet: cart {said} 1 rows differ, the first is row 2; take it out of lacks" in lines
    assert f"exposures.parquet: time {said} 4 rows differ, the first is row 0; take it out of lacks" in lines
    assert f"events.parquet: time {said} 2 rows differ, the first is row 0; take it out of lacks" in lines
    assert len(lines) == 3


def test_a_log_without_times_is_sound(tmp_path: Path) -> None:
    tables = {table: columns | ({"time": [0] * 4} if table == "exposures" else {}) for table, columns in SOUND.items()}
    del tables["events"]
    folder = write_tables(tmp_path, FEATURES, **tables)
    write_manifest(folder, read_manifest(folder).model_copy(update={"lacks": {"time": "has no times"}}))
    assert problems_of(folder) == []


def test_counts_of_the_manifest_are_those_of_the_rows(tmp_path: Path) -> None:
    assert remade(tmp_path / "right", counts={"exposures": 4, "clicks": 3, "carts": 1, "events": 77}) == []
    assert remade(tmp_path / "wrong", counts={"exposures": 4, "clicks": 5, "wishes": 1}) == [
        "manifest.json: counts.clicks must be 3, as exposures.parquet has, but is 5; write the manifest again",
        "manifest.json: counts.wishes must be 0, as exposures.parquet has, but is 1; write the manifest again",
    ]


def test_empty_splits_are_sound_but_found(tmp_path: Path) -> None:
    write_tables(tmp_path, FEATURES, **changed("exposures", split=["train", "train", "test", "test"]))
    assert problems_of(tmp_path) == []
    (problem,) = find_problems(tmp_path)
    assert problem.line.startswith(
        f"{tmp_path}: exposures.parquet: split must have rows of train, valid, test, but none is valid; take a longer"
    )
    assert find_problems(write_tables(tmp_path / "sound", FEATURES, **SOUND)) == []


def test_bad_rows_are_shown_on_request(tmp_path: Path) -> None:
    write_tables(tmp_path, FEATURES, **changed("exposures", item=[None, 6, None, 6]))
    (problem,) = find_problems(tmp_path, 1)
    assert problem.rows == ("row 0: item NULL, exposure 0, user 1, visit 0, time 10, split train, click 1",)
    assert [row.partition(",")[0] for row in find_problems(tmp_path, 9)[0].rows] == [
        "row 0: item NULL",
        "row 2: item NULL",
    ]
    assert find_problems(tmp_path)[0].rows == ()


def test_columns_are_required_without_looking_at_rows(tmp_path: Path) -> None:
    assert require_columns(write_tables(tmp_path / "rows", FEATURES, **changed("exposures", click=[7, 0, 1, 1])))
    write_tables(tmp_path / "types", FEATURES, **changed("exposures", click=["1", "0", "1", "1"]))
    with pytest.raises(
        UserError, match=r"types: exposures\.parquet: click must be BIGINT or .*store 0 and 1; `bench data"
    ):
        require_columns(tmp_path / "types")
    table_path(tmp_path / "rows", "exposures").unlink()
    with pytest.raises(UserError, match=r"rows: exposures\.parquet must exist, but is missing; .*\(and 2 more\)"):
        require_columns(tmp_path / "rows")


def test_one_change_gives_one_line(tmp_path: Path) -> None:
    problems = problems_of(write_tables(tmp_path, FEATURES, **changed("exposures", wish=[0, 1, 0, 0])))
    assert len(problems) == 1


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path, FEATURES, **SOUND)
    path = table_path(tmp_path, "users")
    path.write_bytes(path.read_bytes()[:-9])
    problems = problems_of(tmp_path)
    assert any(
        line.startswith("users.parquet must have the checksum of the manifest, but was changed or is damaged; make")
        for line in problems
    )
    assert any(line.startswith("users.parquet must be readable Parquet, but") for line in problems)
    assert not any("\n" in line for line in problems)


def test_damage_inside_a_file_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path, FEATURES, **SOUND)
    path = table_path(tmp_path, "exposures")
    data = bytearray(path.read_bytes())
    data[10:200] = bytes(190)
    path.write_bytes(data)
    assert any(line.startswith("exposures.parquet must be readable Parquet") for line in problems_of(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path, FEATURES, **SOUND)
    table_path(tmp_path, "exposures").unlink()
    assert "exposures.parquet must exist, but is missing; make the tables again" in problems_of(tmp_path)


def test_a_label_among_the_features_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path, FEATURES, **SOUND)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["features"][0]["name"] = "purchase"
    path.write_text(json.dumps(manifest))
    assert problems_of(tmp_path) == [
        "features must not tell the label, but 'purchase' is or uses 'purchase'; remove it from the feature list."
    ]


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    (line,) = problems_of(tmp_path)
    assert "has no manifest.json" in line


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"click": [0, 0, 1, 1], "purchase": [0] * 4}, "must have a click in its 2 training rows"),
        ({"purchase": [0, 0, 1, 1]}, "must have a purchase in its 2 training rows"),
        ({"split": ["train", "train", "valid", "valid"]}, "must have test rows"),
    ],
)
def test_a_city_without_positives_is_refused(tmp_path: Path, columns: dict[str, list], message: str) -> None:
    require_positives(encoded(write_tables(tmp_path / "sound", FEATURES, **SOUND)).meta)
    city = encoded(write_tables(tmp_path / "poor", FEATURES, **changed("exposures", **columns)))
    with pytest.raises(UserError, match=message):
        require_positives(city.meta)
