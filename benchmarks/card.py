"""What ``gpu.py`` trains on and with: a city of random rows in memory, its order on the device, and one timed run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from graph import Step
from torch import Tensor

from bench.core.config import Config
from bench.data.batches import KINDS
from bench.data.encoded import LABEL_COLUMNS, EncodedCity, EncodedField, Meta
from bench.data.order import Order, training_order
from bench.data.resident import ResidentBatchMaker, ResidentCity
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule, optimizer_of
from bench.nn.optimisers import RowOptimizer

#: Rows of a visit.
VISIT_ROWS = 8
#: Users and items of City 1 (ESMC Table III), then sizes of the order of those of its simulation.
CITY_SIZES = (6_000_000, 110_000, 40_000, 5_000, 200, 200, 100, 30, 24, 10, 10, 10, 8, 7, 5, 5, 3)


def city_of(rows: int, sizes: Sequence[int], history: int, seed: int = 0) -> EncodedCity:
    """Rows with ids uniform within each field, of which the second is the item, and histories of ``history`` events.

    A click depends on the last three fields, a cart and a purchase on a click alone. Histories overlap: each visit
    reads a window of the same events. The training split is all rows.
    """
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    visits = -(-rows // VISIT_ROWS)
    events = max(history + 1, min(visits * history, 20_000_000)) if history else 0
    names = ["user", "item", *(f"field{index}" for index in range(2, len(sizes)))]
    meta = Meta.model_construct(
        dataset="card", city="1", fingerprint="card",
        fields=tuple(
            EncodedField(name=name, size=size, offset=int(start))
            for name, size, start in zip(names, sizes, offsets[:-1], strict=True)
        ),
        vocabulary=int(offsets[-1]), event_kinds=KINDS, users=visits, visits=visits, events=events,
        splits={"train": (0, rows), "valid": (0, 0), "test": (0, 0)},
    )  # fmt: skip
    ids, score = np.empty((rows, len(sizes)), dtype=np.int32), np.full(rows, -3.0, dtype=np.float32)
    for column, size in enumerate(sizes):
        local = rng.integers(0, size, rows, dtype=np.int32)
        if column >= len(sizes) - 3:
            score += rng.normal(size=size).astype(np.float32)[local]
        ids[:, column] = local + np.int32(offsets[column])
    click = rng.random(rows, dtype=np.float32) < 1 / (1 + np.exp(-score))
    cart, purchase = (click & (rng.random(rows, dtype=np.float32) < share) for share in (0.3, 0.2))
    columns = {"click": click, "purchase": purchase, "wish": np.zeros(rows, dtype=bool), "intent": np.zeros(rows, bool)}
    stop = rng.integers(history, events + 1, visits) if history else np.zeros(visits, dtype=np.int64)
    none = np.zeros(0, dtype=np.int32)
    return EncodedCity(
        folder=Path(), meta=meta, ids=ids,
        labels=np.stack([columns.get(name, cart) for name in LABEL_COLUMNS], axis=1).astype(np.uint8),
        exposure=none, user=none, truth=None, visit=(np.arange(rows) // VISIT_ROWS).astype(np.int32),
        visit_start=rng.integers(1_700_000_000, 1_701_000_000, visits),
        history_start=stop - history, history_stop=stop,
        event_item=(rng.integers(0, sizes[1], events) + offsets[1]).astype(np.int32),
        event_kind=rng.integers(0, KINDS, events).astype(np.uint8),
        event_time=1_700_000_000 - rng.integers(0, 10_000_000, events),
    )  # fmt: skip


class Rows(NamedTuple):
    """Row numbers in the order of training, on the device, cut to whole batches: int64 [batches, size]; and the most
    blocks of a batch.
    """

    batches: Tensor
    blocks: int


def rows_of(maker: ResidentBatchMaker, order: Order, size: int) -> Rows:
    batches = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
    blocks = max(maker.blocks(rows) for rows in batches)
    return Rows(torch.from_numpy(np.stack(batches)).to(maker.resident.device), blocks)


def makers_of(city: EncodedCity, config: Config, device: torch.device, sizes: Sequence[int]) -> dict[int, Any]:
    """(batch maker, rows) by batch size, over one copy of the city on the device."""
    history = max(config.din_length, config.eta_length)
    maker = ResidentBatchMaker(city, history, resident=ResidentCity(city, None, device))
    order = training_order(np.asarray(city.visit), 0, 0)
    return {size: (maker, rows_of(maker, order, size)) for size in sizes}


def built(
    model_class: type[FunnelModule], city: EncodedCity, config: Config, device: torch.device, cells: int = 1
) -> tuple[Any, RowOptimizer]:
    """A model, or a group of as many, with its optimiser."""
    shape = InputShape.of(city, config)
    models = [model_class(config, shape, seed) for seed in range(cells)]
    if cells == 1:
        return models[0].to(device), models[0].optimizer()
    group = CellGroup(models).to(device)
    return group, optimizer_of(config, group.stacked, [*group.wide])  # type: ignore[list-item]


def asks(model_class: type[FunnelModule], config: Config, cells: int = 1) -> str | None:
    """Why a step of these models cannot be recorded; None where it can. Tried on tensors that have no values."""
    meta = torch.device("meta")
    city = city_of(512, [5] * len(CITY_SIZES), max(config.din_length, config.eta_length))
    maker = ResidentBatchMaker(city, max(config.din_length, config.eta_length), resident=ResidentCity(city, None, meta))
    module, optimizer = built(model_class, city, config, meta, cells)
    try:
        Step(module, optimizer, maker, 64, 64, record=False)(torch.zeros(64, dtype=torch.int64, device=meta))
    except (NotImplementedError, RuntimeError) as error:
        return f"asks the device for a value: {str(error).strip().splitlines()[0][:60]}"
    return None


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run(step: Step, rows: Rows, seconds: float, least: int = 1, most: int | None = None) -> tuple[int, float]:
    """Steps, and seconds that they took: as many as last about so long, at least ``least``, at most ``most``."""
    device, done = rows.batches.device, 0
    wait(device)
    start = time.perf_counter()
    while most is None or done < most:
        for _ in range(min(20, most - done) if most is not None else 20):
            step(rows.batches[done % len(rows.batches)])
            done += 1
        wait(device)
        if done >= least and time.perf_counter() - start >= seconds:
            break
    return done, time.perf_counter() - start
