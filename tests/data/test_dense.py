from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_tables import ITEM, USER, encoded, rows, write_tables

from bench.core.config import Config
from bench.data import dense
from bench.data.batches import BatchMaker
from bench.data.dense import importance, normalise
from bench.data.encoded import EncodedCity
from bench.data.numbers import numbers_of
from bench.data.tables import Feature
from bench.modeling.inputs import FunnelInputs, InputShape

FEATURES = (
    USER,
    ITEM,
    *(Feature(name=name, table="users", kind="dense") for name in ("age", "empty")),
    Feature(name="price", table="items", kind="dense"),
)


@pytest.fixture
def shop(tmp_path: Path) -> EncodedCity:
    """Users 5 (three training rows), 6 (one), 7 (test only); item 2 is never shown in training."""
    exposures = rows(
        "user item click purchase split time visit",
        (5, 1, 1, 1, "train", 0, 0),
        (5, 3, 0, 0, "train", 1, 0),
        (5, 3, 1, 0, "train", 2, 0),
        (6, 1, 0, 0, "train", 3, 1),
        (6, 2, 0, 0, "valid", 90, 2),
        (7, 2, 0, 0, "test", 99, 3),
    )
    users = {"user": [7, 6, 5], "age": [100.0, 50.0, 10.0], "empty": [math.nan] * 3}
    items = {"item": [1, 2, 3], "price": [1.0, None, 3.0]}
    return encoded(write_tables(tmp_path / "tables", FEATURES, exposures=exposures, users=users, items=items))


def columns(city: EncodedCity) -> dict[str, NDArray[np.float32]]:
    """Normalised values by name, in the order of users 5, 6, 7 or items 1, 2, 3."""
    arrays = {"users": city.dense_users, "items": city.dense_items}
    return {field.name: np.asarray(arrays[field.table])[:, field.column] for field in city.meta.dense}


def test_numbers_are_normalised_over_the_training_exposures(shop: EncodedCity) -> None:
    """Age: 10 three times and 50 once: mean 20, variance 300. Price: 1 and 3 twice each: mean 2, variance 1."""
    found = columns(shop)
    np.testing.assert_allclose(found["age"], (np.array([10, 50, 100]) - 20) / math.sqrt(300), rtol=1e-6)
    np.testing.assert_allclose(found["price"], [-1.0, 0.0, 1.0], rtol=1e-6)
    assert found["empty"].tolist() == [0.0, 0.0, 0.0]


def test_a_number_may_have_any_name(tmp_path: Path) -> None:
    """Also those that the encoder has for columns of its own."""
    exposures = rows("user item click visit", (5, 1, 1, 0), (6, 2, 0, 1))
    features = (ITEM, *(Feature(name=n, table=t, kind="dense") for t, n in (("users", "u"), ("items", "i"))))
    users, items = {"user": [5, 6], "u": [1.0, 3.0]}, {"item": [1, 2], "i": [7.0, 5.0]}
    found = columns(encoded(write_tables(tmp_path / "tables", features, exposures=exposures, users=users, items=items)))
    assert {name: values.tolist() for name, values in found.items()} == {"u": [-1.0, 1.0], "i": [1.0, -1.0]}


def test_bins_are_those_of_the_training_exposures(shop: EncodedCity) -> None:
    """Each of two values has a bin; what is greater than all of training lies in the last, 0 is missing."""
    arrays = {"users": shop.bins_users, "items": shop.bins_items}
    found = {f.name: np.asarray(arrays[f.table])[:, f.column].tolist() for f in shop.meta.dense}
    assert found == {"age": [1, 2, 2], "price": [1, 0, 2], "empty": [0, 0, 0]}
    assert {field.name: field.bins for field in shop.meta.dense} == {"age": 3, "price": 3, "empty": 1}


def test_rows_find_their_user_and_item(shop: EncodedCity) -> None:
    numbers = numbers_of(shop, Config(numeric_top=3))
    assert numbers is not None
    ids, found = numbers.of(np.arange(6))
    names = [field.name for field in numbers.fields]
    assert ids.shape == (6, 0)
    assert [field.table for field in numbers.fields] == ["users", "users", "items"]
    wanted = columns(shop)
    np.testing.assert_allclose(found[:, names.index("age")], np.tanh(wanted["age"][[0, 0, 0, 1, 1, 2]]), rtol=1e-6)
    np.testing.assert_allclose(found[:, names.index("price")], np.tanh(wanted["price"][[0, 2, 2, 0, 1, 1]]), rtol=1e-6)


def test_bins_become_rows_of_the_embedding_table(shop: EncodedCity) -> None:
    config = Config(numeric="bins", numeric_top=3, din_length=0, eta_length=0)
    batch = BatchMaker(shop, 0, numbers=numbers_of(shop, config)).make(np.arange(6))
    shape = InputShape.of(shop, config)
    assert batch.dense.shape == (6, 0)
    assert batch.ids.shape == (6, shape.fields) == (6, 2 + 3)
    assert shape.vocabulary == shop.meta.vocabulary + 3 + 3 + 1
    first = shop.meta.vocabulary + np.cumsum([0, *shape.sizes[2:-1]])
    assert ((batch.ids[:, 2:].numpy() >= first) & (batch.ids[:, 2:].numpy() < first + shape.sizes[2:])).all()
    assert FunnelInputs(config, shape)(batch).shape == (6, 5 * config.embedding_dim)


def test_the_most_important_come_first(shop: EncodedCity) -> None:
    top = shop.meta.dense[0]
    for kept in (1, 2):
        numbers = numbers_of(shop, Config(numeric_top=kept))
        assert numbers is not None
        assert len(numbers.fields) == kept
        assert top in numbers.fields
    assert InputShape.of(shop, Config(numeric_top=2)).dense == 2


def test_importance_finds_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A click depends on one number of the user, a purchase on one of the item; the others are noise."""
    monkeypatch.setattr(dense, "IMPORTANCE_ROWS", 6000)
    rng = np.random.default_rng(0)
    users, items, n = 400, 300, 12_000
    values: Any = {"users": rng.normal(size=(users, 5)), "items": rng.normal(size=(items, 4))}
    owners: Any = {"users": rng.integers(0, users, n), "items": rng.integers(0, items, n)}
    click = rng.random(n) < 1 / (1 + np.exp(-2 * values["users"][owners["users"], 3]))
    purchase = click & (rng.random(n) < 1 / (1 + np.exp(-2 * values["items"][owners["items"], 1])))
    found = importance(values, owners, {"click": click.astype(int), "purchase": purchase.astype(int)})
    assert found.sum() == pytest.approx(1.0)
    assert sorted(np.argsort(-found)[:2].tolist()) == [3, 5 + 1]
    assert found[[3, 6]].min() > 3 * np.delete(found, [3, 6]).max()


def test_many_columns_are_as_each_alone() -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(50, 40)), rng.integers(0, 3, 50)
    values[rng.random(values.shape) < 0.1] = np.nan
    together, codes = values.copy(), np.zeros(values.shape, dtype=np.uint8)
    sizes = normalise(together, codes, weights, 5)
    for column in range(40):
        alone, code = values[:, [column]].copy(), np.zeros((50, 1), dtype=np.uint8)
        assert normalise(alone, code, weights, 5) == [sizes[column]]
        assert (alone[:, 0] == together[:, column]).all()
        assert (code[:, 0] == codes[:, column]).all()
        known = np.repeat(values[:, column], weights)
        known = known[~np.isnan(known)]
        wanted = np.nan_to_num((values[:, column] - known.mean()) / known.std())
        np.testing.assert_allclose(alone[:, 0], wanted, atol=1e-9)


def test_cities_without_dense_features_have_no_numbers(city: EncodedCity) -> None:
    assert numbers_of(city, Config()) is None
    assert BatchMaker(city, 0).make(np.arange(5)).dense.shape == (5, 0)


def test_numbers_of_exposures_belong_to_the_row(tmp_path: Path) -> None:
    """Training rows: 1, 3, missing, 5 (mean 3, variance 8/3), in another order than the encoded rows."""
    exposures = rows(
        "user item split visit price",
        (9, 1, "test", 3, 7.0),
        (8, 1, "train", 1, 3.0),
        (7, 2, "train", 0, 1.0),
        (8, 2, "train", 1, None),
        (8, 3, "train", 2, 5.0),
    )
    age = Feature(name="age", table="users", kind="dense")
    features = (USER, ITEM, Feature(name="price", table="exposures", kind="dense"), age)
    users = {"user": [7, 8, 9], "age": [1.0, 2.0, 3.0]}
    city = encoded(write_tables(tmp_path / "tables", features, exposures=exposures, users=users))
    assert city.exposure.tolist() == [2, 1, 3, 4, 0]
    wanted = np.array([1 - 3, 0, 0, 2, 4]) / math.sqrt(8 / 3)
    assert city.dense_exposures is not None
    np.testing.assert_allclose(city.dense_exposures[:, 0], wanted, rtol=1e-6, atol=1e-7)
    assert city.bins_exposures is not None
    assert city.bins_exposures[:, 0].tolist() == [1, 2, 0, 3, 3]
    numbers = numbers_of(city, Config(numeric_top=2))
    assert numbers is not None
    assert [(field.name, field.table) for field in numbers.fields] == [("age", "users"), ("price", "exposures")]
    places = np.array([3, 0, 4])
    found = numbers.of(places)[1]
    np.testing.assert_allclose(found[:, 1], np.tanh(wanted[places]), rtol=1e-6)
    bins = numbers_of(city, Config(numeric="bins", numeric_top=2))
    assert bins is not None
    assert (bins.of(places)[0][:, 1] - bins.offsets[1]).tolist() == [3, 1, 3]
    assert city.verify() == []


def test_importance_of_numbers_of_exposures() -> None:
    rng = np.random.default_rng(0)
    values: Any = {"users": rng.normal(size=(50, 2)), "exposures": rng.normal(size=(3000, 2))}
    owners: Any = {"users": rng.integers(0, 50, 3000), "exposures": None}
    click = rng.random(3000) < 1 / (1 + np.exp(-3 * values["exposures"][:, 1]))
    found = importance(values, owners, {"click": click.astype(int), "purchase": np.zeros(3000, dtype=int)})
    assert found.shape == (4,)
    assert np.argmax(found) == 3


def test_one_class_of_labels_has_no_importance() -> None:
    rng = np.random.default_rng(0)
    values: Any = {"users": rng.normal(size=(20, 2)), "items": rng.normal(size=(20, 1))}
    owners: Any = {table: rng.integers(0, 20, 50) for table in ("users", "items")}
    nothing = np.zeros(50, dtype=int)
    assert importance(values, owners, {"click": nothing, "purchase": nothing}).tolist() == [0.0, 0.0, 0.0]
