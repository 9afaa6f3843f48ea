"""GBDT against LightGBM called directly: ``python benchmarks/gbdt.py ENCODED [ROUNDS]`` for a folder of encoded arrays.

Both learn from the same rows in the same order with the same settings and threads, one after the other in each round.
Ours is the whole training of a cell: batches, trees, the loss after every tree. Directly is ``lightgbm.train`` on an
array that lies in memory.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import torch
from machine import line
from rich.console import Console
from rich.table import Table

from baselines.gbdt import categories
from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.registry import MODELS
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.data.trees import parameters
from bench.modeling.inputs import InputShape
from bench.training.train import train_cell

#: The aim: at most so many times the seconds of a direct call.
FACTOR = 1.2
CONFIG = PRESETS["esm2"]


def ours(city: EncodedCity) -> float:
    """Seconds that a cell trains."""
    cell = Cell(dataset="benchmark", fingerprint="", city="", model="gbdt", config=CONFIG, seed=0, test=False)
    with tempfile.TemporaryDirectory() as folder:
        return train_cell(cell, city, Path(folder)).cost.train_seconds


def gathered(city: EncodedCity) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, f] and labels of one epoch, as a cell reads them."""
    model = MODELS.get("gbdt")(CONFIG, InputShape.of(city, CONFIG))
    batches = list(FunnelDataModule(city, CONFIG, histories=False).train_dataloader())
    labels = torch.cat([batch.labels for batch in batches]).numpy()
    return np.concatenate([model.features(batch) for batch in batches]), labels


def direct(city: EncodedCity, features: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of two calls of LightGBM."""
    categorical = categories(InputShape.of(city, CONFIG))
    settings = parameters(CONFIG, seed=0, threads=torch.get_num_threads())
    clicked = labels[:, 0] == 1
    start = time.perf_counter()
    for chosen, label in ((slice(None), labels[:, 0]), (clicked, labels[clicked, 2])):
        data = lgb.Dataset(features[chosen], label, categorical_feature=categorical, params=settings)
        lgb.train(settings, data, num_boost_round=CONFIG.trees)
    return time.perf_counter() - start


def main(folder: Path, rounds: int) -> None:
    """Print seconds and their ratio."""
    city = EncodedCity.load(folder)
    features, labels = gathered(city)
    pairs = [(ours(city), direct(city, features, labels)) for _ in range(rounds)]
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    seconds = [statistics.median(column) for column in zip(*pairs, strict=True)]
    table = Table("rows", "features", "threads", "ours (s)", "LightGBM (s)", "ratio", "aim")
    shape = (f"{len(features):,}", str(features.shape[1]), str(torch.get_num_threads()))
    table.add_row(*shape, *(f"{value:.1f}" for value in seconds), f"{ratio:.2f}", f"{FACTOR:g}")
    console = Console(width=120)
    console.print(table)
    console.print(line("lightgbm", "torch"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
