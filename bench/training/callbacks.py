"""Lightning callbacks of a cell: loss curve, evaluation, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from bench.core.errors import CellError
from bench.core.record import CurvePoint
from bench.data.batches import Batch
from bench.data.encoded import EncodedCity
from bench.metrics.torch_metrics import FunnelMetrics
from bench.modeling.fitted import FittedModule
from bench.training.distributed import whole_evaluation
from bench.training.tracking import log_point

#: Points of a stored loss curve, about.
CURVE_POINTS = 100
#: Metrics shown while training, of those that are stored.
HEADLINES = ("auc/ctr/exposed", "auc/ctcvr/exposed", "auc/cvr/clicked")

#: (stage, rows done, rows in all): called a few times a second.
Reporter = Callable[[str, int, int], None]


class LossCurve(pl.Callback):
    """Means of the loss terms over intervals, of each of ``cells`` that are trained at once.

    Where a mean is not finite, its cell is kept in :attr:`diverged` with the reason, and has no further points. Raises
    CellError when none is left.
    """

    def __init__(self, cells: int = 1) -> None:
        self.points: list[list[CurvePoint]] = [[] for _ in range(cells)]
        self.diverged: dict[int, str] = {}
        self.rows = 0
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._every = 1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._every = max(1, int(trainer.estimated_stepping_batches) // CURVE_POINTS)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.rows += _rows_in(trainer, batch_idx)
        if not outputs["terms"]:
            return
        for name, term in outputs["terms"].items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term
        self._count += 1
        if self._count == self._every:
            self._close(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._count:
            self._close(trainer)
        if isinstance(pl_module, FittedModule):
            parts, rows = len(pl_module.curve), self.rows
            for part, losses in enumerate(pl_module.curve, start=1):
                self.rows = round(rows * part / parts)  # its share of the fit
                self._add(trainer, 0, part, losses)

    def _close(self, trainer: pl.Trainer) -> None:
        means = {name: (total / self._count).reshape(-1).tolist() for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        for cell in range(len(self.points)):
            losses = {name: values[cell] for name, values in means.items()}
            for name, value in losses.items():
                if not math.isfinite(value):
                    reason = f"diverged: the {name} loss is {value} at step {trainer.global_step}"
                    self.diverged.setdefault(cell, reason)
            if cell not in self.diverged:
                self._add(trainer, cell, trainer.global_step, losses)
        if len(self.diverged) == len(self.points):
            raise CellError(self.diverged[0])

    def _add(self, trainer: pl.Trainer, cell: int, step: int, losses: dict[str, float]) -> None:
        point = CurvePoint(step=step, rows=self.rows, losses=losses)
        self.points[cell].append(point)
        if trainer.logger is not None:
            log_point(trainer.logger, point)


class Evaluation(pl.Callback):
    """Gathers predictions of the validation and test rows in torchmetrics states, one for each of ``cells``.

    Of several processes, the first has those of all. Rows stay where the model has them, their users are sent there
    once, so no batch waits for the device.
    """

    def __init__(self, city: EncodedCity, cells: int = 1) -> None:
        self.city, self.cells = city, cells
        self.metrics: list[FunnelMetrics] = []
        #: The rows of the split, and their users.
        self.split, self.users = slice(0), torch.empty(0)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metrics, self.split = [], self.city.rows("valid")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metrics, self.split = [], self.city.rows("test")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        outputs, labels, rows = whole_evaluation(outputs, batch)
        if trainer.global_rank:
            return
        if not self.metrics:
            self.metrics = [FunnelMetrics(tuple(outputs)) for _ in range(self.cells)]
            self.users = torch.tensor(self.city.user[self.split], device=rows.device)
        users = self.users[rows - self.split.start]
        for cell, metrics in enumerate(self.metrics):
            own = {name: values.view(self.cells, -1)[cell] for name, values in outputs.items()}
            metrics.update(own, labels._asdict(), users)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.logger is not None and self.metrics:
            found = self.metrics[0].results(metrics=("auc",))
            named = {f"valid/{name}": value for name in HEADLINES if (value := found[name].value) is not None}
            trainer.logger.log_metrics(named, step=trainer.global_step)


class ProgressReport(pl.Callback):
    """Tells a reporter how far training and evaluation are, at most every ``interval`` seconds."""

    def __init__(self, report: Reporter, train_rows: int, interval: float = 0.25) -> None:
        self.report, self.total, self.interval = report, train_rows, interval
        self.done = 0
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, FittedModule):
            pl_module.tell = lambda share: self._tell(round(share * self.total))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not isinstance(pl_module, FittedModule):
            self._tell(self.done + _rows_in(trainer, batch_idx))

    def _tell(self, done: int) -> None:
        self.done = done
        now = time.monotonic()
        if now - self._last >= self.interval:
            self._last = now
            self.report("train", self.done, self.total)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.report("train", self.done, self.total)


class TrainingClock(pl.Callback):
    """Seconds spent in training epochs, validation left out."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        if self._start:
            if trainer.strategy.root_device.type == "cuda":  # what was started is not done yet
                torch.cuda.synchronize(trainer.strategy.root_device)
            self.seconds += time.perf_counter() - self._start
            self._start = 0.0


def _rows_in(trainer: pl.Trainer, index: int) -> int:
    """Rows of a training batch, with those that other processes read."""
    loader: Any = trainer.train_dataloader
    rows: int = loader.dataset.rows_in(index)
    return rows
