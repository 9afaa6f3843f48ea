"""Measures whether cells are trained faster at once or one after another, on the machine and data at hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning.utilities import move_data_to_device

from bench.core.cell import Cell
from bench.core.registry import MODELS
from bench.data.batches import Batch
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule, optimizer_of
from bench.nn.optimisers import RowOptimizer

#: Steps that are measured, after as many that are not.
STEPS = 5


def gain_of_group(cells: Sequence[Cell], city: EncodedCity) -> float:
    """Seconds of a step of the first cell alone, times the cells, over those of a step of all at once."""
    config = cells[0].config
    data = FunnelDataModule(city, config)
    batches = [batch for batch, _ in zip(data.train_dataloader(), range(2 * STEPS), strict=False)]
    model_class: type[FunnelModule] = MODELS.get(cells[0].model)
    shape = InputShape.of(city, config)
    alone = model_class(config, shape, 0)
    group = CellGroup([model_class(cell.config, shape, cell.seed) for cell in cells])
    optimizer = optimizer_of(config, group.stacked, [*group.wide])
    return len(cells) * _seconds(alone, alone.optimizer(), batches) / _seconds(group, optimizer, batches)


def _seconds(module: Any, optimizer: RowOptimizer, batches: Sequence[Batch]) -> float:
    """The median of the later half of the steps."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device).train()
    taken = []
    for index, batch in enumerate(batches):
        batch = move_data_to_device(batch, device)
        start = time.perf_counter()
        optimizer.zero_grad()
        module.training_step(batch, index)["loss"].backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return sorted(taken[len(taken) // 2 :])[len(taken) // 4]
