"""Measures whether cells are trained faster at once or one after another, on the machine and data at hand."""

from __future__ import annotations

import gc
import itertools
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
    """Seconds of a step under the Trainer of a cell: of the later half of the steps, the median; on a GPU, which does
    them while the host is at later ones, the mean.
    """
    gc.collect()  # a Trainer before holds its city on the device
    ends = _Ends()
    trainer = trainer_of([Recording(least=0), ends], limit_train_batches=2 * STEPS, limit_val_batches=0)
    trainer.fit(module, datamodule=FunnelDataModule(city, module.config))
    if len(ends.marks) == 2:
        return (ends.marks[1] - ends.marks[0]) / STEPS
    taken = [end - start for start, end in itertools.pairwise(ends.times)]
    return statistics.median(taken[len(taken) // 2 :])


class _Ends(pl.Callback):
    """When each step ended, and on a GPU when the device had done half of the steps, and all."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]
        self.marks: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.strategy.root_device.type == "cuda" and (batch_idx + 1) % STEPS == 0:
            torch.cuda.synchronize()
            self.marks.append(time.perf_counter())
        self.times.append(time.perf_counter())
