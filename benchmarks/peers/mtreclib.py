"""A loop in the style of MTReclib (github.com/easezyc/Multitask-Recommendation-Library), written anew after its code.

MTReclib is a set of scripts, not a package: its users copy them. What is taken over: a data set in memory that gives
single rows, PyTorch's data loader with four processes and its default collation, one embedding matrix to whose ids the
offsets of the fields are added in every step, MLPs with batch normalisation and dropout, gates and towers in loops,
binary cross-entropy of sigmoids, Adam with weight decay, and the loss read out in every step under a progress bar. Its
layer for numeric features is left out, since this table has none, and so is the start of the data loader's processes.
Lean: Adagrad without weight decay, no dropout, and no process that loads data.
"""

from __future__ import annotations

import numpy as np
import torch
import tqdm
from contestant import Contestant, Settings, Stopwatch, serve
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

TASKS, WORKERS, DROPOUT = 2, 4, 0.2


class Rows(Dataset):
    """One row at a time: ids of all fields, labels of all tasks."""

    def __init__(self, ids: np.ndarray, labels: np.ndarray) -> None:
        self.ids, self.labels = ids, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.ids[index], self.labels[index]


def mlp(width: int, hidden: list[int], dropout: float, output: bool) -> nn.Sequential:
    """Linear, batch normalisation, ReLU and dropout for each width; with ``output`` a last layer of one."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers, *([nn.Linear(width, 1)] if output else []))


class Network(nn.Module):
    """Bottoms (one, or the experts) → gates if there are several → towers."""

    def __init__(self, settings: Settings, bottoms: int) -> None:
        super().__init__()
        dropout = 0.0 if settings.lean else DROPOUT
        self.offsets = np.array((0, *np.cumsum(settings.sizes)[:-1]), dtype=np.int64)
        self.width = settings.embedding * len(settings.sizes)
        self.embedding = nn.Embedding(sum(settings.sizes), settings.embedding)
        nn.init.xavier_uniform_(self.embedding.weight.data)
        self.bottoms = nn.ModuleList(mlp(self.width, settings.shared, dropout, output=False) for _ in range(bottoms))
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Linear(self.width, bottoms), nn.Softmax(dim=1)) for _ in range(TASKS if bottoms > 1 else 0)
        )
        last = settings.shared[-1]
        self.towers = nn.ModuleList(mlp(last, settings.tower, dropout, output=True) for _ in range(TASKS))

    def forward(self, ids: Tensor) -> list[Tensor]:
        x = self.embedding(ids + ids.new_tensor(self.offsets).unsqueeze(0)).view(-1, self.width)
        if self.gates:
            outputs = torch.stack([bottom(x) for bottom in self.bottoms], dim=1)
            mixed = [torch.bmm(gate(x).unsqueeze(1), outputs).squeeze(1) for gate in self.gates]
        else:
            mixed = [self.bottoms[0](x)] * TASKS
        return [torch.sigmoid(tower(part).squeeze(1)) for tower, part in zip(self.towers, mixed, strict=True)]


class MTReclib(Contestant):
    package = "torch"

    def build(self, model: str) -> tuple[Network, torch.optim.Optimizer]:
        settings = self.settings
        network = Network(settings, settings.experts if model == "mmoe" else 1).to(settings.device)
        if settings.lean:
            return network, torch.optim.Adagrad(network.parameters(), lr=settings.learning_rate)
        return network, torch.optim.Adam(network.parameters(), lr=0.001, weight_decay=1e-6)

    def train(self, model: str, rows: range) -> float:
        network, optimizer = self.models[model]
        loader = self._loader(slice(rows.start, rows.stop), self.settings.batch, shuffle=True)
        criterion = nn.BCELoss()
        network.train()
        batches = iter(loader)  # starts the processes
        with Stopwatch() as watch:
            for ids, labels in tqdm.tqdm(batches, total=len(loader), smoothing=0, mininterval=1.0):
                ids, labels = ids.to(self.settings.device), labels.to(self.settings.device)
                found = network(ids)
                losses = [criterion(found[task], labels[:, task].float()) for task in range(labels.size(1))]
                loss = sum(losses) / len(losses)
                network.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
        return watch.seconds

    def evaluate(self, model: str) -> float:
        network, _ = self.models[model]
        loader = self._loader(slice(None), self.settings.evaluation_batch, shuffle=False)
        labels: list[list[float]] = [[] for _ in range(TASKS)]
        predicted: list[list[float]] = [[] for _ in range(TASKS)]
        network.eval()
        with Stopwatch() as watch:
            with torch.no_grad():
                for ids, observed in tqdm.tqdm(loader, smoothing=0, mininterval=1.0):
                    found = network(ids.to(self.settings.device))
                    for task in range(TASKS):
                        labels[task].extend(observed[:, task].tolist())
                        predicted[task].extend(found[task].tolist())
            for task in range(TASKS):
                roc_auc_score(labels[task], predicted[task])
        return watch.seconds

    def _loader(self, rows: slice, size: int, shuffle: bool) -> DataLoader:
        ids = np.stack(list(self.features(rows).values()), axis=1).astype(np.int64)
        workers = 0 if self.settings.lean else WORKERS
        return DataLoader(Rows(ids, self.labels(rows)), batch_size=size, num_workers=workers, shuffle=shuffle)


if __name__ == "__main__":
    serve(MTReclib)
