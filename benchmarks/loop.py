"""Our training loop, as a cell has it: a FunnelModule under a Lightning Trainer, with the callbacks of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytorch_lightning as pl

from bench.core.config import Config
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.module import FunnelModule
from bench.training.callbacks import Evaluation, LossCurve, ProgressReport, TrainingClock


def train(model: FunnelModule, city: EncodedCity, config: Config, rows: range) -> float:
    """Train on these rows once; seconds in the training loop."""
    splits = {**city.meta.splits, "train": (rows.start, rows.stop)}
    part = replace(city, meta=city.meta.model_copy(update={"splits": splits}))
    clock = TrainingClock()
    progress = ProgressReport(lambda stage, done, total: None, len(rows))
    trainer([clock, LossCurve(), Evaluation(part), progress]).fit(model, datamodule=FunnelDataModule(part, config))
    return clock.seconds


def trainer(callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """A trainer as a cell has it, without validation."""
    return pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[*callbacks],
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )
