"""Options of features: counts of their own, hashing, lists; against ids worked out by hand or in plain Python."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tables import ITEM, USER, encoded, local_ids, rows, write_tables

from bench.core.errors import UserError
from bench.data.encoded import EncodedCity
from bench.data.encoding import EncodingSettings
from bench.data.tables import Feature
from bench.data.vocabulary import feature_problems


def hashed(value: object, buckets: int) -> int:
    return 1 + int(hashlib.md5(str(value).encode()).hexdigest()[:15], 16) % buckets


def places(city: EncodedCity, field: str) -> list[list[int]]:
    """Local ids of all columns of a field, in the order of the exposure ids."""
    before = 0
    for found in city.meta.fields:
        if found.name == field:
            own = city.ids[np.argsort(city.exposure), before : before + found.width]
            return (own - found.offset).tolist()
        before += found.width
    raise AssertionError(field)


def test_a_feature_has_its_own_min_count(tmp_path: Path) -> None:
    exposures = rows("user item shelf", (1, 5, "a"), (1, 5, "a"), (1, 6, "b"), (1, 7, "b"), (1, 7, "c"))
    shelf = Feature(name="shelf", table="exposures", min_count=1)
    both = Feature(name="both", table="cross", kind="cross", of=("item", "shelf"), min_count=2)
    items = Feature(name="item", table="exposures", min_count=2)
    tables = write_tables(tmp_path / "tables", features=(items, shelf, both), exposures=exposures)
    city = encoded(tables, EncodingSettings(min_count=3))
    assert local_ids(city, "item") == [1, 1, 0, 2, 2]
    assert local_ids(city, "shelf") == [1, 1, 2, 2, 3]
    assert local_ids(city, "both") == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("items", [[5, 123456789012, 5, 7], ["é", "b", "é", "c"]], ids=["integers", "text"])
def test_hashed_ids_are_those_of_md5(tmp_path: Path, items: list[Any]) -> None:
    """The same for exposures and events, in training or not; a missing value has id 0."""
    exposures = {
        "user": [1] * 4,
        "item": items,
        "visit": [0, 0, 1, 1],
        "time": [10, 11, 20, 21],
        "split": ["train", "train", "test", "test"],
        "shop": [None, "x", "y", ""],
    }
    unseen = 99 if isinstance(items[0], int) else "z"
    events = {"user": [1] * 2, "item": [items[1], unseen], "time": [1, 2], "visit": [None] * 2}
    events |= {"action": ["click"] * 2, "domain": ["search"] * 2}
    features = (
        USER,
        Feature(name="item", table="exposures", buckets=1000),
        Feature(name="shop", table="exposures", buckets=3),
    )
    city = encoded(write_tables(tmp_path / "tables", features, exposures=exposures, events=events))
    assert local_ids(city, "item") == [hashed(item, 1000) for item in items]
    assert local_ids(city, "shop") == [0, *(hashed(shop, 3) for shop in ("x", "y", ""))]
    assert (city.event_item - city.meta.fields[1].offset).tolist() == [hashed(i, 1000) for i in (items[1], unseen)]
    assert [field.size for field in city.meta.fields] == [2, 1001, 4]


def test_md5_by_hand() -> None:
    """RFC 1321: MD5 of "abc" is 900150983cd24fb0…; what the ids above are compared with."""
    assert hashed("abc", 97) == 1 + 0x900150983CD24FB % 97


def test_lists_take_a_column_for_each_place(tmp_path: Path) -> None:
    """Fitted on what is read of the training rows: the first three values. 'd' is behind them, 'e' in the test."""
    tags = [["b", "a"], ["a", None, "c", "d"], [], None, ["e", "c", "d"]]
    exposures = {"user": [1] * 4 + [2], "item": [1] * 5, "split": ["train"] * 4 + ["test"], "tags": tags}
    features = (USER, Feature(name="tags", table="exposures", kind="multi", most=3), ITEM)
    city = encoded(write_tables(tmp_path / "tables", features, exposures=exposures))
    assert places(city, "tags") == [[2, 1, 0], [1, 0, 3], [0, 0, 0], [0, 0, 0], [0, 3, 0]]
    assert [(f.name, f.size, f.offset, f.width) for f in city.meta.fields] == [
        ("user", 2, 0, 1),
        ("tags", 4, 2, 3),
        ("item", 2, 6, 1),
    ]
    assert city.ids.shape == (5, 5)
    assert city.ids[:, -1].tolist() == [7] * 5
    assert city.verify() == []


def test_lists_of_users_and_items(tmp_path: Path) -> None:
    """A category counts once a training exposure, however often the list has it."""
    exposures = {"user": [1, 1, 2, 3], "item": [5, 6, 5, 7], "split": ["train"] * 3 + ["test"], "visit": [0, 0, 1, 2]}
    users = {"user": [1, 2, 3], "groups": [[30, 10], [10, 20, 20, 20], [20, 30]]}
    items = {"item": [5, 6, 7], "words": [["x"], ["y", "x"], None]}
    features = (
        Feature(name="groups", table="users", kind="multi", most=2, min_count=2),
        Feature(name="words", table="items", kind="multi", most=2, buckets=50),
    )
    city = encoded(write_tables(tmp_path / "tables", features, exposures=exposures, users=users, items=items))
    assert places(city, "groups") == [[2, 1], [2, 1], [1, 0], [0, 2]]
    x, y = hashed("x", 50), hashed("y", 50)
    assert places(city, "words") == [[x, 0], [y, x], [x, 0], [0, 0]]
    assert [(field.size, field.width) for field in city.meta.fields] == [(3, 2), (51, 2)]


def test_a_column_that_is_no_list_is_refused(tmp_path: Path) -> None:
    features = (USER, ITEM, Feature(name="tags", table="exposures", kind="multi"))
    tables = write_tables(tmp_path / "tables", features, exposures=rows("user item tags", (1, 5, "a,b")))
    with pytest.raises(UserError, match=r"exposures\.parquet: tags must be a list, .* but is VARCHAR; mend"):
        encoded(tables)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (
            Feature(name="x", table="cross", kind="cross", of=("item", "tags")),
            "cross 'x' must be of single-valued features, but 'tags' is multi-valued",
        ),
        (
            Feature(name="x", table="exposures", kind="numeric", buckets=5),
            "numeric feature 'x' must have no buckets: only categories are hashed",
        ),
        (
            Feature(name="x", table="exposures", buckets=5, min_count=2),
            "feature 'x' must have buckets or min_count, but has both",
        ),
        (
            Feature(name="x", table="exposures", kind="dense", min_count=2),
            "dense feature 'x' must have no min_count: it has no categories",
        ),
    ],
)
def test_options_that_make_no_sense_are_named(feature: Feature, message: str) -> None:
    features = (ITEM, Feature(name="tags", table="exposures", kind="multi"), feature)
    assert feature_problems(features, {"exposures": ["item", "tags", "x"]}) == [message]


@pytest.mark.parametrize("table", ["exposures", "users", "items"])
@pytest.mark.parametrize("kind", ["categorical", "multi", "numeric"])
def test_a_feature_may_have_any_name(tmp_path: Path, kind: str, table: str) -> None:
    """Also those that the encoder has for columns of its own."""
    names = ("start", "u", "v", "i", "first", "value", "id", "n", "place", "train_rows")
    values = {"categorical": ["a", "b"], "multi": [["a"], ["b", "a"]], "numeric": [1.5, 2.5]}[kind]
    exposures = rows("user item visit time click", *((u, i, 2 * u + i, u + i, i) for u in (0, 1) for i in (0, 1)))
    events = {"user": [0], "item": [1], "time": [-1], "visit": [None], "action": ["cart"], "domain": ["search"]}
    events |= {"start": [5], "u": [5]}
    tables: dict[str, dict[str, Any]] = {"exposures": exposures, "events": events}
    if table == "exposures":
        exposures |= dict.fromkeys(names, values * 2)
    else:
        tables[table] = {table[:-1]: [0, 1], **dict.fromkeys(names, values)}
    features = [Feature.model_validate({"name": name, "table": table, "kind": kind, "most": 2}) for name in names]
    city = encoded(write_tables(tmp_path / "tables", features=(USER, ITEM, *features), **tables))
    ids = [[1, 0], [2, 1]] if kind == "multi" else [[1], [2]]
    which = [0, 0, 1, 1] if table == "users" else [0, 1, 0, 1]
    assert {name: places(city, name) for name in names} == {name: [ids[x] for x in which] for name in names}
    assert (city.history_stop - city.history_start).tolist() == [1, 1, 0, 0]


def test_an_infinite_edge_of_bins(tmp_path: Path) -> None:
    feature = Feature(name="x", table="exposures", kind="numeric")
    exposures = rows("user item x", (1, 5, float("-inf")), (1, 5, 0.0), (1, 6, float("inf")))
    city = encoded(write_tables(tmp_path / "tables", features=(USER, ITEM, feature), exposures=exposures))
    assert local_ids(city, "x") == [1, 2, 3]
