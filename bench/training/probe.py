"""Measures whether cells are trained faster at once or one after another, on the machine and data at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from bench.core.cell import Cell
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.group import CellGroup
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.training.recording import Recording
from bench.training.train import quiet
from bench.training.trainer import trainer_of

#: Steps that are measured, after as many that are not.
STEPS = 10


def gain_of_group(cells: Sequence[Cell], city: EncodedCity) -> float:
    """Seconds of a step of the first cell alone, times the cells, over those of a step of all at once."""
    quiet()
    config = cells[0].config
    model_class: type[FunnelModule] = MODELS.get(cells[0].model)
    shape = InputShape.of(city, config)
    group = CellGroup([model_class(cell.config, shape, cell.seed) for cell in cells])
    before = _seconds(model_class(config, shape, 0), city)
    together = _seconds(group, city)
    after = _seconds(model_class(config, shape, 0), city)
    return len(cells) * (before + after) / 2 / together


def _seconds(module: FunnelModule | CellGroup, city: EncodedCity) -> float:
    """The median of the later half of the steps, under the Trainer of a cell."""
    ends = _Ends()
    trainer = trainer_of([Recording(least=0), ends], limit_train_batches=2 * STEPS, limit_val_batches=0)
    trainer.fit(module, datamodule=FunnelDataModule(city, module.config))
    taken = [end - start for start, end in zip(ends.times, ends.times[1:], strict=False)]
    return statistics.median(taken[len(taken) // 2 :])


class _Ends(pl.Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
