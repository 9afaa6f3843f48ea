"""FittedModule: the LightningModule of models that are fitted in one go, on all rows of an epoch at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor

from bench.core.config import Config
from bench.data.batches import Batch, Labels
from bench.modeling.inputs import InputShape
from bench.modeling.outputs import FunnelOutput


class FittedModule(pl.LightningModule):
    """Base of models without gradients, under the same Trainer, rows, metrics and store as the neural ones.

    Training gathers the batches of one epoch and fits with the last of them, so that validation follows as ever.
    What was learned must lie in buffers. Histories are not read.

    Args:
        config: knobs; those that the model does not list in ``knobs`` have no effect, but for the dense features'.
        shape: vocabulary and fields of the data.
        seed: seed of whatever the model draws.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("click", "purchase")
    knobs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config, shape: InputShape, seed: int = 0) -> None:
        super().__init__()
        self.config, self.shape, self.seed = config, shape, seed
        self.automatic_optimization = False
        #: Called with the share that is fitted.
        self.tell: Callable[[float], None] = lambda share: None
        #: After each part of the fit, the losses by name.
        self.curve: list[dict[str, float]] = []
        self._gathered: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    @classmethod
    def passes(cls, config: Config) -> int:
        """How often the training rows are read: once, whatever the epochs."""
        return 1

    @abstractmethod
    def fit_rows(self, features: NDArray[np.float32], labels: Labels) -> None:
        """Learn from all rows: features [n, f] as :meth:`features` gives them, labels as arrays [n]."""

    @abstractmethod
    def compose(self, features: NDArray[np.float32]) -> FunnelOutput:
        """Probabilities from features [B, f]."""

    def notes(self) -> dict[str, float]:
        """Facts about what was learned that are stored in the cell's record."""
        return {}

    def features(self, batch: Batch) -> NDArray[np.float32]:
        """The ids of each column from 0 on, then the normalised numbers, [B, columns + dense].

        Each place of a multi-valued field is a column of its own.
        """
        ids = batch.ids.cpu().numpy() - np.array(self.shape.by_column(self.shape.first_rows()), dtype=np.int64)
        return np.concatenate((ids.astype(np.float32), batch.dense.cpu().numpy()), axis=1)

    def forward(self, batch: Batch) -> FunnelOutput:
        return self.compose(self.features(batch))

    # Lightning

    def configure_optimizers(self) -> None:
        return None

    def training_step(self, batch: Batch, index: int) -> dict[str, Any]:
        self._gathered.append((self.features(batch), batch.labels.cpu().numpy()))
        return {"terms": {}}

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if batch_idx + 1 == self.trainer.num_training_batches:
            features, labels = (np.concatenate(part) for part in zip(*self._gathered, strict=True))
            self._gathered = []
            self.fit_rows(features, Labels(*labels.T))

    def validation_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        return self.predict_step(batch, index)

    def test_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        return self.predict_step(batch, index)

    def predict_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Probabilities by name, float32 [B]."""
        return {name: value.probability().float() for name, value in self(batch).present()}

    def part_done(self, done: int, parts: int, losses: Iterable[tuple[str, float]]) -> None:
        """Note that ``done`` of ``parts`` are fitted, with these losses."""
        self.curve.append(dict(losses))
        self.tell(done / parts)
