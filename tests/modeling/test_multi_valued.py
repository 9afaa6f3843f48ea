"""Fields of several values: the mean of the known ones, and no other row of the table touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.gbdt import GBDT, categories
from bench.core.config import Config
from bench.data.batches import Batch, BatchMaker
from bench.data.encoded import EncodedCity, EncodedField
from bench.modeling.inputs import FunnelInputs, InputShape

DIM, SIZE = 5, 20
CONFIG = Config(embedding_dim=DIM, din_length=6, eta_length=0, attention_hidden=7)
#: Columns 1 to 3 of the ids are a list, column 4 is the item, 5 and 6 are a list.
WIDTHS = {"first": 1, "tags": 3, "item": 1, "words": 2}


@pytest.fixture
def city(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    """Lists of every length, with gaps, repeated values, and none at all."""
    city = build_city(rows=300, fields=len(WIDTHS), size=SIZE)
    rng = np.random.default_rng(0)
    fields = tuple(
        EncodedField(name=name, size=SIZE, offset=index * SIZE, width=width)
        for index, (name, width) in enumerate(WIDTHS.items())
    )
    columns = []
    for field in fields:
        local = rng.integers(1, SIZE if field.name != "tags" else 4, (300, field.width))
        local[rng.random(local.shape) < (0.4 if field.width > 1 else 0.0)] = 0
        columns.append(local + field.offset)
    ids = np.concatenate(columns, axis=1).astype(np.int32)
    event_item = (city.event_item + fields[2].offset).astype(np.int32)
    return replace(city, ids=ids, event_item=event_item, meta=city.meta.model_copy(update={"fields": fields}))


def batch_of(city: EncodedCity, rows: int = 100) -> Batch:
    return BatchMaker(city, 6).make(np.arange(rows))


def make(city: EncodedCity, config: Config = CONFIG) -> FunnelInputs:
    inputs = FunnelInputs(config, InputShape.of(city, config))
    inputs.reset(0)
    return inputs


def expected(ids: list[int], offset: int, table: torch.Tensor) -> torch.Tensor:
    known = [row for row in ids if row != offset] or [offset]
    return torch.stack([table[row] for row in known]).mean(0)


def test_the_shape_counts_fields_and_columns(city: EncodedCity) -> None:
    shape = InputShape.of(city)
    assert (shape.fields, shape.item, shape.items) == (4, 4, (40, 60))
    assert shape.widths == (1, 3, 1, 2)
    assert [tuple(bag) for bag in shape.bags()] == [(1, 4, 20), (5, 7, 60)]
    assert city.meta.shapes()["ids"] == city.ids.shape == (300, 7)


@pytest.mark.parametrize("training", [False, True])
def test_the_mean_of_the_known_values(city: EncodedCity, training: bool) -> None:
    inputs, batch = make(city).train(training), batch_of(city)
    found = inputs(batch)
    assert found.shape == (100, inputs.width) == (100, DIM * (4 + 1))
    table, kinds = inputs.table.weight, set()
    for row, ids in enumerate(batch.ids.tolist()):
        own = [
            table[ids[0]],
            expected(ids[1:4], 20, table),
            table[ids[4]],
            expected(ids[5:7], 60, table),
        ]
        torch.testing.assert_close(found[row, : 4 * DIM], torch.cat(own), rtol=1e-5, atol=1e-7)
        kinds.add(ids[1:4].count(20))
    assert kinds == {0, 1, 2, 3}


def test_an_item_table_of_its_own_changes_only_the_item(city: EncodedCity) -> None:
    """Item_dim puts the item last; the others are as they were, from a table without the items' rows."""
    config = CONFIG.model_copy(update={"item_dim": 3})
    inputs, batch = make(city, config).eval(), batch_of(city)
    found = inputs(batch)
    assert found.shape == (100, DIM * 3 + 3 * 2)
    table, items = inputs.table.weight, inputs.items.weight  # type: ignore[union-attr]
    for row, ids in enumerate(batch.ids.tolist()):
        own = [
            table[ids[0]],
            expected(ids[1:4], 20, table),
            expected([each - SIZE for each in ids[5:7]], 60 - SIZE, table),
            items[ids[4] - 40],
        ]
        torch.testing.assert_close(found[row, : 3 * DIM + 3], torch.cat(own), rtol=1e-5, atol=1e-7)


def test_only_what_counts_is_touched(city: EncodedCity) -> None:
    """The row of unknown is touched by rows without a known value alone."""
    inputs = make(city).train()
    full = np.flatnonzero((city.ids[:, 1:4] > 20).any(1) & (city.ids[:, 5:7] > 60).any(1))
    batch = BatchMaker(city, 6).make(full[:60])
    inputs(batch).sum().backward()
    assert inputs.table.touched is not None
    touched = set(inputs.table.touched.rows.tolist())
    assert (batch.ids[:, 1:4] == 20).any()
    assert touched == set(batch.ids.flatten().tolist()) - {20, 60} | set(
        batch.histories[0].events[batch.histories[0].mask].tolist()
    )
    assert (inputs.table.touched.leaf.grad != 0).any(1).all()  # type: ignore[union-attr]


def test_trees_see_every_place(city: EncodedCity) -> None:
    shape = InputShape.of(city)
    batch = batch_of(city)
    found = GBDT(Config(), shape).features(batch)
    offsets = np.array([0, 20, 20, 20, 40, 60, 60])
    assert (found == batch.ids.numpy() - offsets).all()
    assert categories(shape) == list(range(7))
    ordered = shape._replace(ordered=(False, True, False, False))
    assert categories(ordered) == [0, 4, 5, 6]
