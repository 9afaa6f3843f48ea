from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tiny_tables import ITEM, USER, encoded, local_ids, rows, write_tables

from bench.core.errors import UserError
from bench.data.encoding import EncodingSettings
from bench.data.tables import Feature
from bench.data.vocabulary import apply_cross, cross_keys, fit_cross, quantile_edges


def test_vocabularies_are_fitted_on_training_rows(tmp_path: Path) -> None:
    exposures = rows(
        "user item split hour",
        (1, 30, "train", 7),
        (1, 10, "train", 9),
        (2, 10, "train", None),
        (3, 20, "valid", 9),
        (1, 30, "test", 8),
    ) | {"visit": [0, 0, 1, 2, 3]}
    tables = write_tables(
        tmp_path / "tables",
        features=(USER, ITEM, Feature(name="hour", table="exposures"), Feature(name="city", table="users")),
        exposures=exposures,
        users={"user": [1, 2, 3], "city": ["x", "é", "only in validation"]},
    )
    city = encoded(tables)
    assert local_ids(city, "item") == [2, 1, 1, 0, 2]
    assert local_ids(city, "user") == [1, 1, 2, 0, 1]
    assert local_ids(city, "hour") == [1, 2, 0, 2, 0]
    assert local_ids(city, "city") == [1, 1, 2, 0, 1]
    assert [(f.name, f.size, f.offset) for f in city.meta.fields] == [
        ("user", 3, 0),
        ("item", 3, 3),
        ("hour", 3, 6),
        ("city", 3, 9),
    ]
    assert city.meta.vocabulary == 12


def test_min_count_counts_training_exposures(tmp_path: Path) -> None:
    exposures = {"user": [1, 1, 2, 3], "item": [5, 5, 6, 6], "visit": [0, 0, 1, 2], "split": ["train"] * 3 + ["valid"]}
    tables = write_tables(
        tmp_path / "tables",
        features=(ITEM, Feature(name="group", table="users")),
        exposures=exposures,
        users={"user": [1, 2, 3, 4, 5], "group": ["a", "b", "b", "b", "b"]},
    )
    city = encoded(tables, EncodingSettings(min_count=2))
    assert local_ids(city, "item") == [1, 1, 0, 0]
    assert local_ids(city, "group") == [1, 1, 0, 0]


def test_numeric_fields_get_quantile_bins_of_the_training_rows(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    test_values = [-9.0, 2.5, 99.0, None, math.nan]
    n, m = len(values), len(test_values)
    tables = write_tables(
        tmp_path / "tables",
        features=(Feature(name="x", table="exposures", kind="numeric"),),
        exposures={
            "user": [1] * n + [2] * m,
            "item": [1] * (n + m),
            "split": ["train"] * n + ["test"] * m,
            "x": values + test_values,
        },
    )
    city = encoded(tables, EncodingSettings(bins=4))
    assert local_ids(city, "x") == [1, 1, 2, 2, 3, 3, 4, 4, 1, 2, 4, 0, 0]
    assert city.meta.fields[0].size == 5


def test_missing_numbers_are_unknown_even_in_a_constant_column(tmp_path: Path) -> None:
    exposures = {"user": [1] * 4, "item": [1] * 4, "split": ["train"] * 4, "x": [0.5, 0.5, math.nan, None]}
    features = (Feature(name="x", table="exposures", kind="numeric"),)
    city = encoded(write_tables(tmp_path / "tables", features=features, exposures=exposures))
    assert local_ids(city, "x") == [1, 1, 0, 0]
    assert city.meta.fields[0].size == 2


def test_quantile_edges_collapse_where_values_repeat() -> None:
    assert quantile_edges(np.array([0.0, 1.0]), np.array([90.0, 10.0]), 16) == [0.0]
    assert quantile_edges(np.array([3.0]), np.array([5.0]), 16) == []
    assert quantile_edges(np.array([]), np.array([]), 16) == []
    values = np.sort(np.random.default_rng(0).normal(size=1000))
    expected = np.quantile(values, np.arange(1, 16) / 16, method="inverted_cdf")
    assert quantile_edges(values, np.ones(1000), 16) == expected.tolist()


def test_crosses_combine_known_categories_of_the_training_rows(tmp_path: Path) -> None:
    exposures = rows(
        "user item split hour age",
        (1, 1, "train", 7, "old"),
        (1, 1, "train", 7, "young"),
        (1, 1, "train", 8, "old"),
        (1, 1, "train", 8, "old"),
        (1, 1, "train", None, "old"),
        (2, 1, "test", 8, "young"),
        (2, 1, "test", 8, "old"),
        (2, 1, "test", 9, "old"),
    )
    cross = Feature(name="both", table="cross", kind="cross", of=("hour", "age"))
    features = (cross, *(Feature(name=name, table="exposures") for name in ("hour", "age")))
    tables = write_tables(tmp_path / "tables", features=features, exposures=exposures)
    city = encoded(tables)
    assert local_ids(city, "both") == [1, 2, 3, 3, 0, 0, 3, 0]
    assert [(f.name, f.size, f.offset) for f in city.meta.fields] == [("both", 4, 0), ("hour", 3, 4), ("age", 3, 7)]
    assert local_ids(encoded(tables.rename(tmp_path / "again"), EncodingSettings(min_count=2)), "both") == [
        *[0, 0, 1, 1, 0, 0, 1, 0]
    ]


def test_cross_keys_refuse_to_overflow() -> None:
    with pytest.raises(UserError, match="fewer than 2\\^63"):
        cross_keys(np.ones((1, 3), dtype=np.int32), [2**31, 2**31, 2])
    key = cross_keys(np.array([[2**31 - 1, 2**31 - 1]]), [2**31, 2**31])
    assert key.tolist() == [2**62 - 1]
    assert apply_cross(key, fit_cross([key], 1)).tolist() == [1]
    assert apply_cross(key, fit_cross([key], 2)).tolist() == [0]


def test_combinations_are_counted_over_all_parts() -> None:
    keys = np.random.default_rng(0).integers(-1, 300, 1000)
    for least in (1, 3, 5):
        expected = [key for key in range(300) if (keys == key).sum() >= least]
        assert fit_cross(np.split(keys, [400, 400, 999]), least).tolist() == expected
    assert fit_cross([], 1).tolist() == []
