"""Cells in groups: which are alike, what a group publishes, and what happens when one of it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.registry import MODELS
from bench.data.encoded import EncodedCity
from bench.modeling.group import CellGroup
from bench.results.store import Store
from bench.runner import worker
from bench.runner.together import groups_of

CONFIG = Config(hidden=(8, 4), embedding_dim=4, batch_size=128, eta_length=30, eta_top_k=5, precision="float32")


def cell(model: str = "esmc", seed: int = 0, **knobs: Any) -> Cell:
    config = CONFIG.model_copy(update=knobs)
    return Cell(dataset="toy", fingerprint="toy", city="1", model=model, config=config, seed=seed)


@pytest.fixture(scope="module")
def toy(build_city: Callable[..., EncodedCity]) -> EncodedCity:
    return build_city(rows=1200, size=8)


@pytest.fixture(autouse=True)
def _toy_city(monkeypatch: pytest.MonkeyPatch, toy: EncodedCity) -> None:
    monkeypatch.setattr(EncodedCity, "load", lambda folder: toy)


def test_only_seeds_and_coefficients_may_differ() -> None:
    alike = [cell(seed=0), cell(seed=1), cell(seed=0, constraint_weight=0.5)]
    others = [
        cell(constraint_weight=0.0),
        cell(learning_rate=0.1),
        cell("esmm"),
        cell(dropout=0.1),
        cell(dropout=0.1, seed=1),
        cell(order="own"),
        cell(order="own", seed=1),
        cell("gbdt"),
        cell("gbdt", seed=1),
    ]
    groups = groups_of([*alike, *others], most=8, jobs=1)
    assert groups == [tuple(alike), *((other,) for other in others)]


def test_groups_are_no_larger_than_asked_and_keep_all_processes_busy() -> None:
    cells = [cell(seed=seed) for seed in range(7)]
    assert [len(group) for group in groups_of(cells, 1, 2)] == [1] * 7
    assert [len(group) for group in groups_of(cells, 3, 2)] == [3, 3, 1]
    assert sorted(len(group) for group in groups_of(cells, 8, 2)) == [3, 4]
    assert [len(group) for group in groups_of(cells[:2], 8, 4)] == [1, 1]
    for most in (1, 3, 8):
        assert [each for group in groups_of(cells, most, 2) for each in group] == cells


@pytest.mark.parametrize("is_batched", [True, False], ids=["batched", "in turn"])
def test_a_group_is_stored_as_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_batched: bool
) -> None:
    monkeypatch.setattr(CellGroup, "is_batched", is_batched)
    cells = [cell(seed=0), cell(seed=1), cell(seed=0, constraint_weight=0.5)]
    assert worker.run_cells(tmp_path / "group", cells, tmp_path, "off") == [None] * 3
    assert [worker.run_cell(tmp_path / "alone", each, tmp_path, "off") for each in cells] == [None] * 3
    group, alone = Store(tmp_path / "group"), Store(tmp_path / "alone")
    assert group.check() == alone.check() == []
    for each in cells:
        found, expected = group.record(each.key), alone.record(each.key)
        assert found.notes["together"] == 3
        assert "together" not in expected.notes
        if not is_batched:  # bit for bit
            assert (found.metrics, found.curve, found.files) == (expected.metrics, expected.curve, expected.files)
        assert [point.step for point in found.curve] == [point.step for point in expected.curve]
        assert found.curve[-1].losses == pytest.approx(expected.curve[-1].losses, rel=1e-3)
        for name, metric in expected.metrics["test"].items():
            ours = found.metrics["test"][name]
            assert (ours.n, ours.n_pos) == (metric.n, metric.n_pos)
            assert ours.value == pytest.approx(metric.value, rel=0.02, abs=0.02), name
        assert found.cost.parameters == expected.cost.parameters
    distances = [group.record(each.key).notes["tower_distance"] for each in cells]
    assert len(set(distances)) == 3


def test_stored_cells_of_a_group_are_not_trained_again(tmp_path: Path) -> None:
    cells = [cell("esmm", seed) for seed in range(3)]
    worker.run_cell(tmp_path, cells[1], tmp_path, "off")
    before = Store(tmp_path).record(cells[1].key)
    assert worker.run_cells(tmp_path, cells, tmp_path, "off") == [None] * 3
    assert Store(tmp_path).record(cells[1].key) == before
    assert Store(tmp_path).record(cells[0].key).notes["together"] == 2


def test_one_that_diverges_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Diverging(MODELS.get("esmc")):  # type: ignore[misc]
        def losses(self, output: Any, labels: Any) -> dict[str, torch.Tensor]:
            large = self.coefficient("constraint_weight") > 1.0
            return super().losses(output, labels) | {"bad": torch.where(large, torch.nan, 0.0)}

    monkeypatch.setattr(MODELS, "get", lambda name: Diverging)
    cells = [cell(), cell(constraint_weight=2.0), cell(seed=1)]
    reason = "diverged: the bad loss is nan at step 1"
    assert worker.run_cells(tmp_path, cells, tmp_path, "off") == [None, reason, None]
    store = Store(tmp_path)
    assert [failure.key for failure in store.failures()] == [cells[1].key]
    assert store.record(cells[2].key).notes["together"] == 3


def test_a_model_that_cannot_be_batched_is_trained_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(MODELS.get("esmm")):  # type: ignore[misc]
        def compose(self, x: torch.Tensor) -> Any:
            if x.sum().item() == 0.5:  # torch.func has no numbers to give
                raise AssertionError
            return super().compose(x)

    monkeypatch.setattr(MODELS, "get", lambda name: Stubborn)
    monkeypatch.setattr(CellGroup, "is_batched", True)  # as on a GPU
    cells = [cell("esmm", seed) for seed in range(2)]
    assert worker.gain_of(cells, tmp_path) == 0.0
    assert worker.run_cells(tmp_path, cells, tmp_path, "off") == [None, None]
    assert all("together" not in Store(tmp_path).record(each.key).notes for each in cells)


def test_what_a_group_gains_is_measured(tmp_path: Path) -> None:
    assert worker.gain_of([cell(seed=seed) for seed in range(2)], tmp_path) > 0.0
