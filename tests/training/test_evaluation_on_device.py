"""The evaluation of a split: which users its rows have, that no batch waits, and values of a device and the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.record import PREDICTIONS, Record
from bench.data.encoded import EncodedCity
from bench.data.tables import LABELS, TRUTH
from bench.metrics import torch_metrics
from bench.metrics.evaluate import Rows, evaluate
from bench.metrics.torch_metrics import FunnelMetrics
from bench.training.callbacks import Evaluation
from bench.training.train import train_cell

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA])
CONFIG = Config(hidden=(16, 8), embedding_dim=8, batch_size=128, learning_rate=0.02)
TRAINER: Any = SimpleNamespace(global_rank=0, logger=None)
SIZE = 70


@pytest.fixture(scope="module")
def toy(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=2000, size=8)


def begin(evaluation: Evaluation, split: str) -> Callable[..., None]:
    """What is called after each batch, once an evaluation began."""
    getattr(evaluation, f"on_{'test' if split == 'test' else 'validation'}_epoch_start")(TRAINER, None)
    found: Callable[..., None] = getattr(evaluation, f"on_{'test' if split == 'test' else 'validation'}_batch_end")
    return found


def batches(city: EncodedCity, split: str, device: str, cells: int) -> list[tuple[dict[str, Tensor], Any]]:
    """What a model gives, and the batches that it is asked for."""
    part, found = city.rows(split), []
    for start in range(part.start, part.stop, SIZE):
        rows = torch.arange(start, min(start + SIZE, part.stop), device=device)
        batch = SimpleNamespace(rows=rows, labels=torch.zeros(len(rows), 4, device=device))
        found.append(({name: torch.rand(cells * len(rows), device=device) for name in ("ctr", "cvr")}, batch))
    return found


@pytest.mark.parametrize("device", ["cpu", "meta", CUDA])
@pytest.mark.parametrize("cells", [1, 3])
def test_no_batch_waits(toy: EncodedCity, device: str, cells: int) -> None:
    """Tensors of ``meta`` have no values: whoever waits for one fails."""
    evaluation = Evaluation(toy, cells)
    for split in ("valid", "test"):
        after = begin(evaluation, split)
        first, *others = batches(toy, split, device, cells)
        after(TRAINER, None, *first, 0)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            for outputs, batch in others:
                after(TRAINER, None, outputs, batch, 1)
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        assert len(evaluation.metrics) == cells
        part = toy.rows(split)
        for metrics in evaluation.metrics:
            for name in ("ctr", "cvr", "users", "click"):
                gathered = getattr(metrics, name)
                assert {column.device.type for column in gathered} == {device}
                assert sum(map(len, gathered)) == part.stop - part.start
            if device != "meta":
                assert np.array_equal(metrics._column("users"), toy.user[part])


class Watched:
    """An array that tells what was read of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.read = values, list[Any]()

    def __getitem__(self, key: Any) -> np.ndarray:
        self.read.append(key)
        return self.values[key]


def test_only_the_users_of_the_split_are_read_once(toy: EncodedCity) -> None:
    users: Any = Watched(toy.user)
    evaluation = Evaluation(dataclasses.replace(toy, user=users))
    for split in ("valid", "test", "valid"):
        after = begin(evaluation, split)
        for outputs, batch in batches(toy, split, "cpu", 1):
            after(TRAINER, None, outputs, batch, 0)
    assert users.read == [toy.rows("valid"), toy.rows("test"), toy.rows("valid")]


def trained(city: EncodedCity, folder: Path, test: bool = True) -> Record:
    folder.mkdir(exist_ok=True)
    cell = Cell(dataset="toy", fingerprint="toy", city="1", model="esmc", config=CONFIG, seed=0, test=test)
    return train_cell(cell, city, folder)


def assert_alike(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, metric in wanted.items():
        assert (found[name].n, found[name].n_pos) == (metric.n, metric.n_pos), name
        assert found[name].value == pytest.approx(metric.value, rel=1e-12), name


@pytest.mark.parametrize("device", ["cpu", "as on a device", CUDA])
def test_the_record_has_what_numpy_finds_in_the_predictions(
    toy: EncodedCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    with monkeypatch.context() as patch:
        if device != "cuda":
            patch.setattr("torch.cuda.is_available", lambda: False)
        if device != "cpu":
            patch.setattr(Rows, "__init__", None)
        if device == "as on a device":
            patch.setattr(torch_metrics, "on_cuda", lambda columns: True)
        record = trained(toy, tmp_path)
    table = pq.read_table(tmp_path / PREDICTIONS)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    parts = [{name: columns[name] for name in names} for names in (("ctr", "ctcvr", "cvr", "car", "ctcar"), LABELS)]
    wanted = evaluate(*parts, columns["user"], {name: columns[name] for name in TRUTH})
    by_name = {name: record.metrics["test"][name] for name in wanted}
    assert len(by_name) == len(record.metrics["test"])
    assert_alike(by_name, wanted)


def test_a_device_gives_the_record_of_the_host(
    toy: EncodedCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    wanted = trained(toy, tmp_path / "host")
    monkeypatch.setattr(torch_metrics, "on_cuda", lambda columns: True)
    found = trained(toy, tmp_path / "device")
    assert found.curve == wanted.curve
    for split in ("valid", "test"):
        assert_alike(found.metrics[split], wanted.metrics[split])


def test_predictions_of_a_trial_are_not_copied(
    toy: EncodedCity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FunnelMetrics, "probabilities", None)
    assert trained(toy, tmp_path, test=False).metrics["valid"]
