"""A cell on a CUDA device against the same on the CPU: metrics alike, batches made on the device that the city fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.record import Record
from bench.data.batches import BatchMaker
from bench.data.datamodule import FunnelDataModule
from bench.data.encoded import EncodedCity
from bench.data.resident import ResidentBatchMaker, ResidentCity
from bench.training.train import train_cell

CONFIG = Config(batch_size=128, epochs=2, eta_length=60, eta_top_k=20)


def record_of(city: EncodedCity, folder: Path, model: str = "esmc") -> Record:
    folder.mkdir()
    cell = Cell(dataset="toy", fingerprint="toy", city="1", model=model, config=CONFIG, seed=0)
    return train_cell(cell, city, folder)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("model", ["esmc", "mmoe", "dnn", "gbdt"])
def test_aucs_are_those_of_the_cpu(
    build_city: Callable[..., EncodedCity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Also in bfloat16, which the card has and the CPU may not have."""
    city = build_city(rows=12_000)
    cuda = record_of(city, tmp_path / "cuda", model)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    cpu = record_of(city, tmp_path / "cpu", model)
    assert cuda.cost.device == torch.cuda.get_device_name() and cpu.cost.device.startswith("cpu")
    for split, metrics in cpu.metrics.items():
        for name, metric in metrics.items():
            if name.startswith("auc/"):
                assert cuda.metrics[split][name].value == pytest.approx(metric.value, abs=0.01), name


def test_batches_are_made_on_the_device_of_the_trainer(city: EncodedCity, monkeypatch: pytest.MonkeyPatch) -> None:
    """The city is sent once for all splits; one that does not fit stays with the host. CPU tensors stand for CUDA's."""
    module = FunnelDataModule(city, CONFIG, calibration="copy")
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert type(module.train_dataloader().dataset.maker) is BatchMaker  # type: ignore[attr-defined]
    sent: list[torch.device] = []

    def stand_in(city: EncodedCity, numbers: None, device: torch.device) -> ResidentCity:
        sent.append(device)
        return ResidentCity(city, numbers, device)

    wanted = [[batch.labels for batch in loader] for loader in (module.train_dataloader(), module.test_dataloader())]
    monkeypatch.setattr("bench.data.datamodule.resident", stand_in)
    loaders = module.train_dataloader(), module.test_dataloader()
    assert {type(loader.dataset.maker) for loader in loaders} == {ResidentBatchMaker}  # type: ignore[attr-defined]
    assert sent == [torch.device("cpu")]
    for loader, labels in zip(loaders, wanted, strict=True):
        for batch, expected in zip(loader, labels, strict=True):
            assert batch.histories[0].events.shape[1] == 60
            assert torch.equal(batch.labels, expected)
