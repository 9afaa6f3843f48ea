"""torch-rechub: its DataGenerator and MTLTrainer. Its MLP has batch normalisation that cannot be switched off.

Documented setup: the trainer's defaults, Adam with weight decay.
"""

from __future__ import annotations

import numpy as np
import torch
from contestant import Contestant, Stopwatch, serve
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.multi_task import MMOE, SharedBottom
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator, TorchDataset


class Rechub(Contestant):
    package = "torch-rechub"

    def build(self, model: str) -> MTLTrainer:
        settings = self.settings
        fields = [
            SparseFeature(f"field{index}", vocab_size=size, embed_dim=settings.embedding)
            for index, size in enumerate(settings.sizes)
        ]
        tasks = ["classification"] * 2
        shared, towers = {"dims": settings.shared}, [{"dims": settings.tower}] * 2
        if model == "mmoe":
            network = MMOE(fields, tasks, settings.experts, expert_params=shared, tower_params_list=towers)
        else:
            network = SharedBottom(fields, tasks, bottom_params=shared, tower_params_list=towers)
        if not settings.lean:
            return MTLTrainer(network, tasks, device=settings.device)
        return MTLTrainer(
            network,
            tasks,
            optimizer_fn=torch.optim.Adagrad,
            optimizer_params={"lr": settings.learning_rate},
            device=settings.device,
        )

    def train(self, model: str, rows: range) -> float:
        part = slice(rows.start, rows.stop)
        x, y = self.features(part), self.labels(part)
        generator = DataGenerator(x, y)
        loader = generator.generate_dataloader(x_val=x, y_val=y, x_test=x, y_test=y, batch_size=self.settings.batch)[0]
        with Stopwatch() as watch:
            self.models[model].train_one_epoch(loader)
        return watch.seconds

    def evaluate(self, model: str) -> float:
        dataset = TorchDataset(self.features(), self.labels().astype(np.int64))
        loader = torch.utils.data.DataLoader(dataset, batch_size=self.settings.evaluation_batch)
        trainer = self.models[model]
        with Stopwatch() as watch:
            trainer.evaluate(trainer.model, loader)
        return watch.seconds


if __name__ == "__main__":
    serve(Rechub)
