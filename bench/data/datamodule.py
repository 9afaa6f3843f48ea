"""One LightningDataModule for every model: the same rows in the same order, for the same seed or for all seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from bench.core.config import Calibration, Config
from bench.core.seeding import derive
from bench.data.batches import Batch, Batches, BatchMaker
from bench.data.encoded import EncodedCity
from bench.data.numbers import numbers_of
from bench.data.order import Order, Stored, training_order
from bench.data.part import Part
from bench.data.resident import ResidentBatchMaker, ResidentCity, resident

#: Rows of a batch when nothing is learned from it; more would only cost memory.
EVALUATION_ROWS = 2048


class FunnelDataModule(pl.LightningDataModule):
    """Batches of one encoded city.

    Training batches have exactly ``config.batch_size`` rows (the last one fewer), visits in an order that
    depends on the epoch only, and on the seed where ``config.order`` is "own" (see :mod:`bench.data.order`),
    and carts calibrated as ``calibration`` says. Validation and test batches are in stored order with the
    labels as they were observed. Without ``histories`` none are read. Where a trainer has a CUDA device with room for
    the city, the city is sent there once, and batches are made there. ``part``: the rank of this process and how many
    there are; it reads its :class:`~bench.data.part.Part` of every batch.
    """

    def __init__(
        self,
        city: EncodedCity,
        config: Config,
        seed: int = 0,
        calibration: Calibration = "none",
        histories: bool = True,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.city, self.config, self.seed, self.calibration = city, config, seed, calibration
        self.part = part
        self.history = max(config.din_length, config.eta_length) if histories else 0
        self._resident: ResidentCity | None = None

    def train_dataloader(self) -> DataLoader[Batch]:
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        rows = self.city.rows("train")
        seed = 0 if self.config.order == "common" else self.seed
        order = training_order(np.asarray(self.city.visit[rows]), rows.start, derive(seed, "order", epoch))
        return self._loader(self._maker(self.calibration), order, self.config.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._in_order("valid")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._in_order("test")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch on that device; one that is there already is not looked through."""
        if batch.ids.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _in_order(self, split: str) -> DataLoader[Batch]:
        rows = self.city.rows(split)
        return self._loader(self._maker("none"), Stored(rows.start, rows.stop), EVALUATION_ROWS)

    def _maker(self, calibration: Calibration) -> BatchMaker:
        action, numbers = self.config.action, numbers_of(self.city, self.config)
        if self._resident is None and isinstance(self.trainer, pl.Trainer):
            self._resident = resident(self.city, numbers, self.trainer.strategy.root_device)
        if self._resident is None:
            # What DIN reads as it is, what ETA reads as it is, and what ETA chooses from.
            cuts = sorted({self.config.din_length, self.config.eta_top_k} - {0})
            return BatchMaker(self.city, self.history, calibration, action, numbers, cuts)
        return ResidentBatchMaker(self.city, self.history, calibration, action, numbers, resident=self._resident)

    def _loader(self, maker: BatchMaker, order: Order, size: int) -> DataLoader[Batch]:
        rank, processes = self.part
        own = Part(order, rank, processes) if processes > 1 else order
        return DataLoader(Batches(maker, own, size), batch_size=None, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
