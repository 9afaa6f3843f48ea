"""FuxiCTR: its MultiTaskModel, layers, data loader and fit.

The package on PyPI holds no multi-task models: those lie in the model zoo of its repository, whose scripts users
copy. The two networks below are therefore put together here from the package's own blocks. Documented setup: Adam and
the regularisation of embeddings from the zoo's configuration, and one process that loads data; lean: none.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from contestant import Contestant, Settings, Stopwatch, serve
from fuxictr.features import FeatureMap
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import MultiTaskModel
from torch import nn

LABELS = ["click", "click_purchase"]


class Network(MultiTaskModel):
    """Bottoms (one, or the experts) → gates if there are several → towers."""

    def __init__(self, feature_map: FeatureMap, settings: Settings, bottoms: int, folder: Path) -> None:
        super().__init__(
            feature_map,
            task=["binary_classification"] * 2,
            num_tasks=2,
            gpu=-1 if settings.device == "cpu" else 0,
            eval_steps=10**9,  # never while training
            metrics=["AUC"],
            embedding_regularizer=None if settings.lean else 1e-6,
            verbose=0,
            model_root=str(folder),
        )
        width = settings.embedding * len(settings.sizes)
        self.embedding = FeatureEmbedding(feature_map, settings.embedding)
        self.bottoms = nn.ModuleList(MLP_Block(width, list(settings.shared)) for _ in range(bottoms))
        self.gates = nn.ModuleList(
            MLP_Block(width, output_dim=bottoms, output_activation="softmax") for _ in LABELS if bottoms > 1
        )
        self.towers = nn.ModuleList(MLP_Block(settings.shared[-1], list(settings.tower), output_dim=1) for _ in LABELS)
        optimizer, rate = ("Adagrad", settings.learning_rate) if settings.lean else ("adam", 1e-3)
        self.compile(optimizer, "binary_crossentropy", rate)
        self.reset_parameters()
        self.model_to_device()
        self.training_seconds = 0.0

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x = self.embedding(self.get_inputs(inputs), flatten_emb=True)
        if self.gates:
            outputs = torch.stack([bottom(x) for bottom in self.bottoms], dim=1)
            mixed = [(gate(x).unsqueeze(-1) * outputs).sum(dim=1) for gate in self.gates]
        else:
            mixed = [self.bottoms[0](x)] * len(LABELS)
        steps = zip(LABELS, self.towers, mixed, self.output_activation, strict=True)
        return {f"{label}_pred": activation(tower(shared)) for label, tower, shared, activation in steps}

    def train_epoch(self, data_generator: object) -> None:
        with Stopwatch() as watch:
            super().train_epoch(data_generator)
        self.training_seconds = watch.seconds


class Fuxi(Contestant):
    package = "fuxictr"

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.home = folder / f"fuxictr-lean-{settings.lean}"
        self.home.mkdir()
        features = [
            {f"field{index}": {"source": "", "type": "categorical", "vocab_size": size}}
            for index, size in enumerate(settings.sizes)
        ]
        described = {"dataset_id": "throughput", "labels": LABELS, "features": features}
        path = self.home / "feature_map.json"
        path.write_text(json.dumps(described), encoding="utf-8")
        self.feature_map = FeatureMap("throughput", str(self.home))
        self.feature_map.load(str(path), {"embedding_dim": settings.embedding})
        super().__init__(folder, settings)

    def build(self, model: str) -> Network:
        bottoms = self.settings.experts if model == "mmoe" else 1
        network = Network(self.feature_map, self.settings, bottoms, self.home)
        network.checkpoint = str(self.home / f"{model}.model")
        return network

    def train(self, model: str, rows: range) -> float:
        path = self._archive(slice(rows.start, rows.stop))
        workers = {"num_workers": 0} if self.settings.lean else {}
        loader = RankDataLoader(
            self.feature_map, stage="train", train_data=path, batch_size=self.settings.batch, shuffle=True, **workers
        )[0]
        network = self.models[model]
        network.save_weights(network.checkpoint)  # fit loads its best checkpoint at the end
        network.fit(loader, epochs=1)
        return network.training_seconds

    def evaluate(self, model: str) -> float:
        path = self._archive(slice(None))
        loader = RankDataLoader(
            self.feature_map, stage="test", test_data=path, batch_size=self.settings.evaluation_batch, shuffle=False
        )
        with Stopwatch() as watch:
            self.models[model].evaluate(loader, metrics=["AUC"])
        return watch.seconds

    def _archive(self, rows: slice) -> str:
        """Rows of the table as the archive that its data loader reads."""
        path = self.home / "rows.npz"
        labels = self.labels(rows).T
        np.savez(path, **self.features(rows), **dict(zip(LABELS, labels, strict=True)))
        return str(path)


if __name__ == "__main__":
    serve(Fuxi)
