"""The item's embedding with a width of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.batches import Batch, BatchMaker
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import FunnelInputs, InputShape

DIM, ITEM_DIM, SIZE = 4, 7, 20


@pytest.fixture
def small(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=400, size=SIZE)


def moved(city: EncodedCity, place: int) -> EncodedCity:
    """The same city with the item as field number ``place``."""
    names = [f"field{i}" for i in range(6)]
    names[place] = "item"
    fields = tuple(f.model_copy(update={"name": name}) for f, name in zip(city.meta.fields, names, strict=True))
    return replace(
        city, meta=city.meta.model_copy(update={"fields": fields}), event_item=city.event_item + SIZE * place
    )


def made(city: EncodedCity, **knobs: object) -> tuple[FunnelInputs, Batch]:
    config = Config(embedding_dim=DIM, **knobs)  # type: ignore[arg-type]
    inputs = FunnelInputs(config, InputShape.of(city, config))
    inputs.reset(1)
    return inputs, BatchMaker(city, max(config.din_length, config.eta_length)).make(np.arange(90))


@pytest.mark.parametrize("place", [0, 2, 5])
def test_fields_come_from_one_table_and_items_from_the_other(small: EncodedCity, place: int) -> None:
    inputs, batch = made(moved(small, place), item_dim=ITEM_DIM, din_length=0, eta_length=0)
    assert inputs.items is not None
    assert (inputs.table.rows, inputs.items.rows) == (5 * SIZE, SIZE)
    x = inputs(batch)
    assert x.shape == (90, inputs.width) == (90, 5 * DIM + ITEM_DIM)
    local = batch.ids - torch.arange(6) * SIZE
    others = [field for field in range(6) if field != place]
    wanted = [inputs.table.weight[index * SIZE + local[:, field]] for index, field in enumerate(others)]
    torch.testing.assert_close(x, torch.cat([*wanted, inputs.items.weight[local[:, place]]], dim=1))


@pytest.mark.parametrize("place", [0, 3])
def test_histories_read_the_table_of_items(small: EncodedCity, place: int) -> None:
    inputs, batch = made(moved(small, place), item_dim=ITEM_DIM)
    assert inputs.items is not None
    assert inputs(batch).shape == (90, 5 * DIM + 3 * ITEM_DIM)
    inputs.train()
    inputs(batch).square().sum().backward()
    for table in (inputs.items, inputs.table):
        assert table.touched is not None
        assert table.touched.leaf.grad is not None
        assert table.touched.leaf.grad.any(1).all()
    items = (batch.histories[0].events - place * SIZE).unique().tolist()
    assert set(items) <= set(inputs.items.touched.rows.tolist())  # type: ignore[union-attr]


def test_the_same_width_is_one_table(small: EncodedCity) -> None:
    inputs, batch = made(small, item_dim=DIM)
    plain, _ = made(small)
    assert inputs.items is None
    assert torch.equal(inputs(batch), plain(batch))


def test_the_optimiser_moves_touched_rows_of_both_tables(small: EncodedCity) -> None:
    config = Config(embedding_dim=DIM, item_dim=ITEM_DIM, hidden=(8, 4), learning_rate=0.1)
    model = MODELS.get("esmm")(config, InputShape.of(small, config), seed=0).train()
    optimizer = model.optimizer()
    batch = BatchMaker(small, 100).make(np.arange(5))
    before = [table.weight.clone() for table in (model.inputs.table, model.inputs.items)]
    model.training_step(batch, 0)["loss"].backward()
    touched = [table.touched.rows for table in (model.inputs.table, model.inputs.items)]
    optimizer.step()
    for table, old, rows in zip((model.inputs.table, model.inputs.items), before, touched, strict=True):
        changed = (table.weight != old).any(1)
        assert changed[rows].all()
        assert int(changed.sum()) == len(rows) < table.rows + 1
