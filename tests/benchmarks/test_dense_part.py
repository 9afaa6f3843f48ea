"""benchmarks/dense.py, roofline.py and cells.py: what is counted, and who trains what. Nothing depends on speed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from bench.core.cell import Cell
from bench.core.config import Config

FOLDER = Path(__file__).parents[2] / "benchmarks"
B, I, O = 8, 6, 4  # noqa: E741


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of benchmarks/, which is no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


class Toy(nn.Module):
    """One product after an input that counts how often it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.weight, self.calls = nn.Module(), nn.Parameter(torch.ones(I, O)), 0
        self.inputs.forward = self._inputs  # type: ignore[method-assign]

    def _inputs(self, batch: Any) -> torch.Tensor:
        self.calls += 1
        return torch.ones(B, I)

    def training_step(self, batch: Any, index: int) -> dict[str, torch.Tensor]:
        found = self.inputs.look_up(batch)
        return {"loss": (self.inputs.assemble(batch, found) @ self.weight).sum()}


def test_products_are_counted_forward_and_backward(load: Any) -> None:
    dense, model = load("dense"), Toy()
    # x w, then the gradients xᵀ g and g wᵀ: each 2 B I O operations on two factors and a result of float32
    assert dense.operations(model, None) == 3 * 2 * B * I * O
    assert dense.traffic(model, None) == 3 * 4 * (B * I + I * O + B * O)


def test_the_input_is_computed_once_and_given_back(load: Any) -> None:
    model = Toy()
    inputs = model.inputs
    assert len(load("dense").seconds(model, None, 4)) == 4
    assert model.inputs is inputs and model.calls == 1 and model.weight.grad is None


def test_shares_of_the_peak_and_of_the_step(load: Any) -> None:
    roofline = load("roofline")
    # 3.5 M operations of 10 rows in half a millisecond: 7 GFLOP/s of 20, which is half of the aim of 70 %
    found = roofline.Measured("here", "MODEL", "float32", 3_500_000, 1, 5e-4, 2e-3, 10)
    console = Console(width=120, record=True)
    roofline.show([found], {"float32": 20e9}, console)
    row = next(line for line in console.export_text().splitlines() if "MODEL" in line)
    assert row.replace("│", " ").split() == ["MODEL", "0.35", "0.50", "7", "35%", "0.50", "×", "2.00", "75%"]


def test_who_trains_what(load: Any) -> None:
    cells = load("cells")
    city = {"dataset": "d", "fingerprint": "f", "city": "1"}
    group = tuple(Cell(**city, model="esmm", config=Config(), seed=seed) for seed in range(3))
    a, b, c = ((cell,) for cell in group)
    assert cells.plan(cells.ONE_BY_ONE, group, 2) == [[a, b, c]]
    assert cells.plan(cells.PROCESSES, group, 2) == [[a, c], [b]]
    assert cells.plan(cells.PROCESSES, group, 8) == [[a], [b], [c]]
    assert cells.plan(cells.AT_ONCE, group, 2) == [[group]]
    assert cells.plan(cells.BOTH, group, 2) == [[group[:2]], [group[2:]]]
