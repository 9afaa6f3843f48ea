"""This project: a FunnelModule under a Lightning Trainer, batches from the encoded city, as in bench.training.

The setup is the precision of the towers' products: auto, as by default, or float32.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])

from contestant import Contestant, Stopwatch, serve
from dense import operations, product_peak
from loop import train

from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.modeling.inputs import InputShape
from bench.modeling.module import FunnelModule
from bench.nn.precision import dtype_of
from bench.training.callbacks import Evaluation
from bench.training.train import quiet
from bench.training.trainer import trainer_of


class Ours(Contestant):
    package = "esm-bench"

    def build(self, model: str) -> FunnelModule:
        quiet()
        settings = self.settings
        self.city = EncodedCity.load(self.folder)
        self.config = Config(
            embedding_dim=settings.embedding,
            hidden=tuple(settings.hidden),
            experts=settings.experts,
            din_length=0,
            eta_length=0,
            batch_size=settings.batch,
            precision=settings.setup,
        )
        model_class: type[FunnelModule] = MODELS.get(model)
        return model_class(self.config, InputShape.of(self.city))

    def train(self, model: str, rows: range) -> float:
        return train(self.models[model], self.city, self.config, rows)

    def evaluate(self, model: str) -> float:
        evaluation = Evaluation(self.city)
        with Stopwatch() as watch:
            data = FunnelDataModule(self.city, self.config)
            trainer_of([evaluation]).test(self.models[model], datamodule=data, verbose=False)
            (found,) = evaluation.metrics
            found.results(metrics=("auc",))
        return watch.seconds

    def products(self) -> str:
        """The dtype of the towers' matrix products."""
        return str(dtype_of(self.config.precision)).removeprefix("torch.")

    def dense_flops(self, model: str) -> float:
        """Floating-point operations per training row in matrix products, forward and backward."""
        batch = next(iter(FunnelDataModule(self.city, self.config).train_dataloader()))
        return operations(self.models[model], batch) / len(batch.rows)

    def matmul_peak(self, size: int, repeats: int) -> float:
        """Floating-point operations per second of the fastest product in this dtype."""
        return product_peak(size, repeats, dtype_of(self.config.precision))


if __name__ == "__main__":
    serve(Ours)
