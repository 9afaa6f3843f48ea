"""Our training loop, as a cell has it: a FunnelModule under a Lightning Trainer, with the callbacks of every cell."""

from __future__ import annotations

from dataclasses import replace

from bench.core.config import Config
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.module import FunnelModule
from bench.training.callbacks import Evaluation, LossCurve, ProgressReport, TrainingClock
from bench.training.trainer import trainer_of


def train(model: FunnelModule, city: EncodedCity, config: Config, rows: range) -> float:
    """Train on these rows once; seconds in the training loop."""
    splits = {**city.meta.splits, "train": (rows.start, rows.stop)}
    part = replace(city, meta=city.meta.model_copy(update={"splits": splits}))
    clock = TrainingClock()
    progress = ProgressReport(lambda stage, done, total: None, len(rows))
    trainer = trainer_of([clock, LossCurve(), Evaluation(part), progress], limit_val_batches=0)
    trainer.fit(model, datamodule=FunnelDataModule(part, config))
    return clock.seconds
