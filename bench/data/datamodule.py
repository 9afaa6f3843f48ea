"""One LightningDataModule for every model: the same rows in the same order, for the same seed or for all seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from bench.core.config import Calibration, Config
from bench.core.seeding import derive
from bench.data.batches import Batch, Batches, BatchMaker
from bench.data.encoded import EncodedCity
from bench.data.numbers import numbers_of
from bench.data.order import Stored, training_order

#: Rows of a batch when nothing is learned from it; more would only cost memory.
EVALUATION_ROWS = 2048


class FunnelDataModule(pl.LightningDataModule):
    """Batches of one encoded city.

    Training batches have exactly ``config.batch_size`` rows (the last one fewer), visits in an order that
    depends on the epoch only, and on the seed where ``config.order`` is "own" (see :mod:`bench.data.order`),
    and carts calibrated as ``calibration`` says. Validation and test batches are in stored order with the
    labels as they were observed. Without ``histories`` none are read.
    """

    def __init__(
        self,
        city: EncodedCity,
        config: Config,
        seed: int = 0,
        calibration: Calibration = "none",
        histories: bool = True,
    ) -> None:
        super().__init__()
        self.city, self.config, self.seed, self.calibration = city, config, seed, calibration
        self.history = max(config.din_length, config.eta_length) if histories else 0

    def train_dataloader(self) -> DataLoader[Batch]:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        rows = self.city.rows("train")
        seed = 0 if self.config.order == "common" else self.seed
        order = training_order(np.asarray(self.city.visit[rows]), rows.start, derive(seed, "order", epoch))
        return _loader(Batches(self._maker(self.calibration), order, self.config.batch_size))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._in_order("test")

    def _in_order(self, split: str) -> DataLoader[Batch]:
        rows = self.city.rows(split)
        return _loader(Batches(self._maker("none"), Stored(rows.start, rows.stop), EVALUATION_ROWS))

    def _maker(self, calibration: Calibration) -> BatchMaker:
        config = self.config
        return BatchMaker(self.city, self.history, calibration, config.action, numbers_of(self.city, config))


def _loader(batches: Batches) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
