"""Whole cells whose embedding tables FBGEMM updates in backward; CPU tensors stand for CUDA's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import CellError
from bench.core.record import WEIGHTS
from bench.data.encoded import EncodedCity
from bench.nn import fused as module
from bench.training.train import train_cell, train_group

pytest.importorskip("fbgemm_gpu", reason="FBGEMM is not installed", exc_type=(ImportError, OSError))


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(module, "DEVICES", ("cpu", "cuda"))


def cell_of(seed: int, **knobs: Any) -> Cell:
    config = Config(
        hidden=(16, 8), embedding_dim=8, batch_size=128, learning_rate=0.02, initial_accumulator=0.1, warmup=0.5,
        precision="float32", accumulator_period=7, din_length=5, eta_length=30, eta_top_k=10, **knobs,
    )  # fmt: skip
    return Cell(dataset="toy", fingerprint="toy", city="1", model="esmc", config=config, seed=seed)


def test_a_cell_learns_the_same(
    build_city: Callable[..., EncodedCity], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Lightning's Trainer, with a warm-up of the learning rate and a decay: parameters, metrics and notes."""
    city = build_city(rows=2000, size=8)
    records, weights = [], []
    for devices in (("cuda",), ("cuda", "cpu")):
        monkeypatch.setattr(module, "DEVICES", devices)
        folder = tmp_path / str(len(devices))
        folder.mkdir()
        records.append(train_cell(cell_of(0), city, folder))
        weights.append(load_file(folder / WEIGHTS))
    plain, with_fbgemm = records
    assert with_fbgemm.notes["embedding_update"] == "fbgemm" and "embedding_update" not in plain.notes
    assert list(weights[0]) == list(weights[1])
    for name, wanted in weights[0].items():
        torch.testing.assert_close(
            weights[1][name], wanted, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n} {text}"
        )
    for name, metric in plain.metrics["test"].items():
        assert with_fbgemm.metrics["test"][name].value == pytest.approx(metric.value, abs=1e-3, nan_ok=True)


def test_cells_at_once_learn_the_same(build_city: Callable[..., EncodedCity], tmp_path: Path) -> None:
    """Their wide table is fused, and each has its own columns of it in the end."""
    city = build_city(rows=1000, size=8)
    for seed, found in enumerate(train_group([cell_of(0), cell_of(1)], city)):
        assert not isinstance(found, CellError) and found.record.notes["embedding_update"] == "fbgemm"
        folder = tmp_path / str(seed)
        folder.mkdir()
        train_cell(cell_of(seed), city, folder)
        for name, wanted in load_file(folder / WEIGHTS).items():
            torch.testing.assert_close(found.model.state_dict()[name], wanted, rtol=1e-3, atol=1e-5)


def test_a_cell_by_adam_is_not_fused(build_city: Callable[..., EncodedCity], tmp_path: Path) -> None:
    record = train_cell(cell_of(0, optimizer="adam"), build_city(rows=1000, size=8), tmp_path)
    assert "embedding_update" not in record.notes
