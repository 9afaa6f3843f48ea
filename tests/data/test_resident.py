"""Batches made where the city lies, against those of the host: the same rows, and the same that models make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from bench.core.config import Action, Calibration, Config
from bench.core.registry import MODELS
from bench.data.batches import AGES, BLOCK_ROWS, Batch, BatchMaker
from bench.data.encoded import DenseField, EncodedCity, EncodedField
from bench.data.numbers import Numbers, numbers_of
from bench.data.order import shuffled_by_visit
from bench.data.resident import BLOCKS, ResidentBatchMaker, ResidentCity, resident
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule

BuildCity = Callable[..., EncodedCity]
CPU = torch.device("cpu")
NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=[pytest.mark.gpu, NO_CUDA])]
#: Columns of ids by field: the item comes after a list.
WIDTHS = {"user": 1, "tags": 3, "item": 1, "hour": 1}


@pytest.fixture
def rich(build_city: BuildCity) -> EncodedCity:
    """Everything that a city can have: a list, dense features of all tables, visits without a history."""
    city, rng = build_city(rows=600, fields=sum(WIDTHS.values())), np.random.default_rng(1)
    names, offsets = list(WIDTHS), np.cumsum([0, *WIDTHS.values()]) * 20
    fields = tuple(
        EncodedField(name=name, size=20 * WIDTHS[name], offset=int(start), width=WIDTHS[name])
        for name, start in zip(names, offsets[:-1], strict=True)
    )
    dense = tuple(
        DenseField(name=f"{table}{column}", table=table, column=column, bins=4 + column, importance=0.1)
        for column, table in ((2, "items"), (0, "users"), (1, "exposures"), (1, "users"), (0, "items"))
    )
    owners = {"users": city.meta.users, "items": 20, "exposures": 600}
    start = city.history_start.copy()
    start[1::3] = city.history_stop[1::3]
    labels = rng.integers(0, 2, city.labels.shape).astype(np.uint8)
    return replace(
        city,
        labels=labels,
        history_start=start,
        event_item=(city.event_item + fields[2].offset).astype(np.int32),
        meta=city.meta.model_copy(update={"fields": fields, "dense": dense, "items": 20}),
        item=rng.integers(0, 20, 600).astype(np.int32),
        **{f"dense_{table}": rng.normal(size=(count, 3)).astype(np.float32) for table, count in owners.items()},
        **{f"bins_{table}": rng.integers(0, 4, (count, 3)).astype(np.uint8) for table, count in owners.items()},
    )


def makers(city: EncodedCity, device: torch.device, history: int, **options: Any) -> tuple[BatchMaker, Any]:
    """That of the host and that of the device."""
    there = ResidentCity(city, options.get("numbers"), device)
    return BatchMaker(city, history, **options), ResidentBatchMaker(city, history, **options, resident=there)


def orders(city: EncodedCity) -> list[np.ndarray]:
    """Rows of visits cut at either end, in the order of training, in no order, and a single one."""
    rng = np.random.default_rng(0)
    return [np.arange(33, 190), shuffled_by_visit(city.visit, 0, 0)[:150], rng.permutation(600)[:40], np.array([7])]


def check(found: Batch, wanted: Batch, history: int, item: int) -> None:
    """Equal beside the shapes, in which ``found`` has more blocks, places in a block and places of a history."""
    found = tree_map(lambda part: part.cpu() if isinstance(part, Tensor) else part, found)
    for name in ("rows", "ids", "labels", "dense"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert one.dtype == other.dtype and torch.equal(one, other), name
    ours, theirs = found.histories[0], wanted.histories[0]
    assert [found.slots.dtype, ours.events.dtype, ours.contexts.dtype] == [torch.int64] * 3
    width, wider = wanted.block_rows, found.block_rows
    assert wider >= width
    assert torch.equal(found.slots, wanted.slots // width * wider + wanted.slots % width)
    blocks, length = theirs.events.shape
    assert ours.events.shape == ours.contexts.shape == ours.mask.shape
    assert ours.events.shape[0] >= blocks and ours.events.shape[1] == history >= length
    mask = torch.zeros_like(ours.mask)
    mask[:blocks, history - length :] = theirs.mask
    assert torch.equal(ours.mask, mask)
    for name in ("events", "contexts"):
        assert torch.equal(getattr(ours, name)[mask], getattr(theirs, name)[theirs.mask]), name
    assert (ours.events[~mask] == wanted.ids[0, item]).all()
    assert ((ours.contexts >= 0) & (ours.contexts < 10 * AGES)).all()


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("history", [0, 1, 7, 150])
def test_histories_of_any_length(rich: EncodedCity, device: torch.device, history: int) -> None:
    host, ours = makers(rich, device, history)
    for rows in orders(rich):
        check(ours.make(rows), host.make(rows), history, item=4)
        more = ours.gather(torch.from_numpy(rows).to(device), ours.blocks(rows) + 3)
        check(more, host.make(rows), history, item=4)
        assert len(more.histories[0].events) == len(host.make(rows).histories[0].events) + 3


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("calibration", get_args(Calibration))
@pytest.mark.parametrize("action", get_args(Action))
def test_labels(rich: EncodedCity, device: torch.device, calibration: Calibration, action: Action) -> None:
    host, ours = makers(rich, device, 5, calibration=calibration, action=action)
    for rows in orders(rich):
        check(ours.make(rows), host.make(rows), 5, item=4)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("top", [1, 3, 5])
@pytest.mark.parametrize("mode", ["tanh", "bins"])
def test_dense_features(rich: EncodedCity, device: torch.device, top: int, mode: Any) -> None:
    host, ours = makers(rich, device, 5, numbers=Numbers(rich, top, mode))
    for rows in orders(rich):
        check(ours.make(rows), host.make(rows), 5, item=4)


@pytest.mark.parametrize("longest", [1, 3, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_visits_of_any_length(rich: EncodedCity, longest: int) -> None:
    places = ("visit_start", "history_start", "history_stop")
    city = replace(
        rich,
        visit=(np.arange(600) // longest).astype(np.int32),
        **{name: np.resize(getattr(rich, name), 600) for name in places},
    )
    host, ours = makers(city, CPU, 5)
    assert ours.resident.block_rows == min(longest, BLOCK_ROWS)
    for rows in orders(city):
        check(ours.make(rows), host.make(rows), 5, item=4)
        blocks = ours.blocks(rows)
        assert len(host.make(rows).histories[0].events) == blocks
        assert len(ours.make(rows).histories[0].events) == math.ceil(blocks / BLOCKS) * BLOCKS


def test_a_city_without_events(rich: EncodedCity) -> None:
    none = np.zeros(0, dtype=np.int64)
    city = replace(
        rich, history_start=0 * rich.history_start, history_stop=0 * rich.history_stop,
        event_item=none.astype(np.int32), event_kind=none.astype(np.uint8), event_time=none,
    )  # fmt: skip
    host, ours = makers(city, CPU, 20)
    check(ours.make(np.arange(50)), host.make(np.arange(50)), 0, item=4)


def test_ages_at_the_edges_of_the_buckets(rich: EncodedCity) -> None:
    edges = [600 * (2**bucket - 1) for bucket in range(AGES + 1)]
    ages = sorted({age + step for age in edges for step in (-1, 0, 1)} | {-(10**12), 10**12}, reverse=True)
    city = replace(
        rich, history_start=0 * rich.history_start, history_stop=0 * rich.history_stop + len(ages),
        event_item=np.full(len(ages), 90, dtype=np.int32), event_kind=np.zeros(len(ages), dtype=np.uint8),
        event_time=rich.visit_start[0] - np.array(ages),
    )  # fmt: skip
    host, ours = makers(city, CPU, len(ages))
    check(ours.make(np.arange(2)), host.make(np.arange(2)), len(ages), item=4)
    assert sorted(set(ours.make(np.arange(2)).histories[0].contexts[0].tolist())) == list(range(AGES))


def test_the_arrays_are_read_in_chunks(rich: EncodedCity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.resident._CHUNK", 1000)
    host, ours = makers(rich, CPU, 5, numbers=Numbers(rich, 5, "tanh"))
    check(ours.make(np.arange(600)), host.make(np.arange(600)), 5, item=4)


def test_no_shape_is_learned_from_the_device(rich: EncodedCity) -> None:
    """Tensors of the device ``meta`` have a shape and no values: what needs one to go on raises."""
    _, ours = makers(rich, torch.device("meta"), 7, numbers=Numbers(rich, 5, "tanh"), action="cart_wish")
    with pytest.raises((RuntimeError, NotImplementedError)):
        ours.resident.ids.nonzero()
    batch = ours.gather(torch.zeros(100, dtype=torch.int64, device="meta"), 30)
    assert {part.device.type for part in tree_leaves(batch) if isinstance(part, Tensor)} == {"meta"}
    assert batch.histories[0].events.shape == (30, 7) and batch.ids.shape == (100, 6) and batch.dense.shape == (100, 5)


def test_a_city_takes_at_most_its_share_of_the_free_memory(rich: EncodedCity, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers(rich, 3, "tanh")
    there = ResidentCity(rich, numbers, CPU)
    tensors = [value for value in vars(there).values() if isinstance(value, Tensor)]
    tensors += [tensor for part in there.parts for tensor in part if tensor is not None]
    small = there.edges.nbytes + there.offsets.nbytes
    size = ResidentCity.size(rich, numbers)
    assert size == sum(tensor.nbytes for tensor in tensors) - small
    assert resident(rich, numbers, CPU) is None
    monkeypatch.setattr(ResidentCity, "__init__", lambda self, *arguments: None)
    for free, fits in ((2 * size, True), (2 * size - 1, False)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, free=free: (free, 10 * size))
        assert (resident(rich, numbers, torch.device("cuda")) is not None) == fits


CONFIGS = {
    "defaults": Config(eta_length=60, eta_top_k=10, batch_size=64),
    "items": Config(item_dim=8, din_length=5, eta_length=0, optimizer="adam", numeric="bins", action="wish"),
    "short": Config(din_length=0, eta_length=5),
}


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("more", [0, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_learns_the_same(rich: EncodedCity, device: torch.device, name: str, more: int) -> None:
    """From batches with empty blocks as well; Adam would move rows that padding touched."""
    config = CONFIGS[name].model_copy(update={"precision": "float32", "hidden": (8, 4), "numeric_top": 4})
    numbers = numbers_of(rich, config)
    host, ours = makers(rich, device, max(config.din_length, config.eta_length), numbers=numbers, action=config.action)

    def there(rows: np.ndarray) -> Batch:
        return ours.gather(torch.from_numpy(rows).to(device), ours.blocks(rows) + more)

    (loss, state), (their_loss, their_state) = (
        learned(rich, config, make, where) for make, where in ((there, device), (host.make, CPU))
    )
    torch.testing.assert_close(loss, their_loss, rtol=1e-5, atol=1e-6)
    for key, value in their_state.items():
        torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def learned(
    city: EncodedCity, config: Config, make: Callable[[np.ndarray], Batch], device: torch.device
) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses of four steps, and the parameters after them."""
    model: FunnelModule = MODELS.get("esmm")(config, InputShape.of(city, config), seed=1)
    optimizer, losses = model.to(device).optimizer(), []
    for rows in np.array_split(shuffled_by_visit(city.visit, 0, 3)[:256], 4):
        optimizer.zero_grad()
        losses.append(model.training_step(make(rows), 0)["loss"])
        losses[-1].backward()
        optimizer.step()
    return torch.stack(losses).detach().cpu(), {name: value.cpu() for name, value in model.state_dict().items()}
