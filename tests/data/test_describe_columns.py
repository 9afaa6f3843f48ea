"""Features one by one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from described_logs import clean_log, described
from sklearn.metrics import roc_auc_score
from tiny_tables import ITEM, USER, rows

from bench.data.describe import columns as module
from bench.data.describe.columns import rank_auc
from bench.data.describe.results import Column
from bench.data.tables import Feature


def column(folder: Path, name: str, tables: dict[str, Any], feature: Feature) -> Column:
    (found,) = (each for each in described(folder, tables, features=(USER, ITEM, feature)).columns if each.name == name)
    return found


def test_missing_distinct_frequent_and_unknown_values(tmp_path: Path) -> None:
    exposures = rows(
        "user item visit split shelf price",
        (1, 5, 0, "train", "a", 1.0),
        (1, 6, 0, "train", None, math.nan),
        (2, 5, 1, "train", "b", 2.0),
        (2, 7, 2, "valid", "b", 3.0),
        (3, 7, 3, "valid", "c", 3.0),
        (3, 5, 4, "test", None, None),
    )
    tables = {"exposures": exposures, "items": {"item": [5, 6], "brand": ["x", None]}}
    shelf = column(tmp_path / "shelf", "shelf", tables, Feature(name="shelf", table="exposures"))
    assert (shelf.missing, shelf.distinct, shelf.top, shelf.top_share) == (2 / 6, 3, "b", 2 / 6)
    assert shelf.unknown == {"valid": 0.5, "test": 0.0}
    assert shelf.auc == {"click": None, "purchase": None}
    price = column(tmp_path / "price", "price", tables, Feature(name="price", table="exposures", kind="numeric"))
    assert (price.missing, price.distinct, price.top, price.top_share) == (2 / 6, 3, "3.0", 2 / 6)
    assert price.unknown == {"valid": None, "test": None}
    brand = column(tmp_path / "brand", "brand", tables, Feature(name="brand", table="items"))
    assert (brand.missing, brand.distinct, brand.top, brand.top_share) == (0.5, 1, "x", 0.5)
    item = column(tmp_path / "item", "item", tables, Feature(name="shelf", table="exposures"))
    assert (item.missing, item.distinct, item.unknown) == (0.0, 3, {"valid": 1.0, "test": 0.0})


def test_features_with_several_values_count_every_value(tmp_path: Path) -> None:
    exposures = rows(
        "user item visit split tags",
        (1, 5, 0, "train", ["a", "b"]),
        (1, 6, 0, "train", ["a"]),
        (2, 5, 1, "train", []),
        (2, 7, 2, "valid", ["a", "c"]),
        (3, 7, 3, "test", None),
    )
    tags = Feature(name="tags", table="exposures", kind="multi")
    found = column(tmp_path / "exposures", "tags", {"exposures": exposures}, tags)
    assert (found.missing, found.distinct, found.top, found.top_share) == (2 / 7, 3, "a", 3 / 7)
    assert found.unknown == {"valid": 0.5, "test": 0.0}
    tables = {"exposures": exposures, "items": {"item": [5, 6, 7], "labels": [["new"], ["new", "hot"], []]}}
    found = column(tmp_path / "items", "labels", tables, Feature(name="labels", table="items", kind="multi"))
    assert (found.missing, found.distinct, found.top, found.top_share) == (2 / 6, 2, "new", 3 / 6)


def by_row(value: np.ndarray, label: np.ndarray, train: np.ndarray, valid: np.ndarray) -> float:
    """The AUC of the rate of each row's value in training, row by row."""
    base = label[train].mean()
    rate = {v: (label[train & (value == v)].sum() + base) / ((train & (value == v)).sum() + 1) for v in set(value)}
    return float(roc_auc_score(label[valid], [rate[v] for v in value[valid]]))


@pytest.mark.parametrize("name", ["item", "color"])
def test_how_much_a_value_tells(tmp_path: Path, name: str) -> None:
    log = clean_log()
    exposures = log["exposures"]
    train, valid, clicked = exposures["split"] == "train", exposures["split"] == "valid", exposures["click"] == 1
    found = column(tmp_path, name, log, Feature(name="color", table="exposures"))
    assert found.auc["click"] == pytest.approx(by_row(exposures[name], exposures["click"], train, valid))
    wanted = by_row(exposures[name], exposures["purchase"], train & clicked, valid & clicked)
    assert found.auc["purchase"] == pytest.approx(wanted)
    if name == "item":  # the rate of a click rises with the item
        assert found.auc["click"] is not None
        assert found.auc["click"] > 0.57


def test_numbers_are_asked_in_bins(tmp_path: Path) -> None:
    """64 bins of equally many training rows; missing numbers are one more."""
    log = clean_log()
    exposures, rng = log["exposures"], np.random.default_rng(3)
    train, valid = exposures["split"] == "train", exposures["split"] == "valid"
    value = exposures["click"] + rng.normal(0, 1, len(train))
    value[rng.random(len(train)) < 0.1] = np.nan
    exposures["extra"] = value
    known = np.sort(value[train & ~np.isnan(value)])
    before = np.searchsorted(known, value)  # training rows below
    bins = np.where(np.isnan(value), -1, 64 * before // len(known))
    found = column(tmp_path, "extra", log, Feature(name="extra", table="exposures", kind="numeric"))
    assert found.auc["click"] == pytest.approx(by_row(bins, exposures["click"], train, valid))
    assert found.missing == pytest.approx(np.isnan(value).mean())


def test_the_rank_auc_gives_equal_rates_half() -> None:
    ones = np.array([1, 1])
    assert rank_auc(np.array([10, 10]), np.array([5, 5]), pos=ones, neg=ones) == 0.5
    assert rank_auc(np.array([10, 10]), np.array([9, 1]), pos=np.array([3, 0]), neg=np.array([0, 2])) == 1.0
    assert rank_auc(np.array([10, 10]), np.array([9, 1]), pos=np.array([3, 1]), neg=np.array([1, 2])) == 8.5 / 12


def test_many_different_numbers_are_rounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = clean_log()
    value = 1 + np.arange(4000) * 1e-7
    value[:40], value[40], value[41] = 0.0, -1.23456789e-12, 9.87654321e12
    log["exposures"]["extra"] = value
    feature = Feature(name="extra", table="exposures", kind="numeric")
    exact = column(tmp_path / "exact", "extra", log, feature)
    assert (exact.distinct, exact.rounded, exact.top, exact.top_share) == (3961, False, "0.0", 0.01)
    monkeypatch.setattr(module, "MANY", 100)
    found = column(tmp_path / "rounded", "extra", log, feature)
    assert found.rounded
    assert found.distinct == pytest.approx(3961, rel=0.1)
    assert found.top in {f"1.000{digit:02}" for digit in range(41)} | {"1.0001", "1.0002", "1.0003"}
    assert 0.02 < found.top_share < 0.03


def test_labels_that_a_feature_repeats(tmp_path: Path) -> None:
    log = clean_log()
    click, purchase = log["exposures"]["click"], log["exposures"]["purchase"]
    wanted: dict[str, tuple[Any, tuple[str, ...]]] = {
        "same": (click, ("click",)),
        "reverse": (np.where(click == 1, "no", "yes"), ("click",)),
        "classes": (click * (1 + np.arange(len(click)) % 3), ("click",)),
        "bought": (purchase, ("purchase",)),
        "only_bought": ([1 if bought else None for bought in purchase], ("purchase",)),
        "not_clicked": ([None if clicked else i for i, clicked in enumerate(click)], ("click",)),
        "almost": (np.r_[1 - click[:1], click[1:]], ()),
        "id": (np.arange(len(click)), ()),
    }
    for name, (values, mirrors) in wanted.items():
        log["exposures"]["extra"] = values
        found = column(tmp_path / name, "extra", log, Feature(name="extra", table="exposures"))
        assert found.mirrors == mirrors, name
