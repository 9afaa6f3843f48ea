"""DeepCTR-Torch: its models' fit and evaluate, without per-batch metrics and progress output.

Documented setup: Adagrad, as in its multi-task example, and the models' default regularisation of embeddings.
"""

from __future__ import annotations

import torch
from contestant import Contestant, Stopwatch, serve
from deepctr_torch.inputs import SparseFeat
from deepctr_torch.models import MMOE, SharedBottom
from deepctr_torch.models.basemodel import BaseModel


class DeepCtr(Contestant):
    package = "deepctr-torch"

    def build(self, model: str) -> BaseModel:
        settings = self.settings
        fields = [
            SparseFeat(f"field{index}", vocabulary_size=size, embedding_dim=settings.embedding)
            for index, size in enumerate(settings.sizes)
        ]
        common = {"tower_dnn_hidden_units": settings.tower, "device": settings.device}
        if settings.lean:
            common["l2_reg_embedding"] = 0
        if model == "mmoe":
            network = MMOE(
                fields,
                num_experts=settings.experts,
                expert_dnn_hidden_units=settings.shared,
                gate_dnn_hidden_units=(),
                **common,
            )
        else:
            network = SharedBottom(fields, bottom_dnn_hidden_units=settings.shared, **common)
        lean = torch.optim.Adagrad(network.parameters(), lr=settings.learning_rate)
        optimizer = lean if settings.lean else "adagrad"
        network.compile(optimizer, loss=["binary_crossentropy"] * 2, metrics=["auc"])
        return network

    def train(self, model: str, rows: range) -> float:
        part = slice(rows.start, rows.stop)
        x, y = self.features(part), self.labels(part)
        with Stopwatch() as watch:
            self.models[model].fit(x, y, batch_size=self.settings.batch, epochs=1, verbose=0)
        return watch.seconds

    def evaluate(self, model: str) -> float:
        x, y = self.features(), self.labels()
        with Stopwatch() as watch:
            self.models[model].evaluate(x, y, batch_size=self.settings.evaluation_batch)
        return watch.seconds


if __name__ == "__main__":
    serve(DeepCtr)
