"""benchmarks/metrics.py: a small run, and that it would notice a wrong GAUC. Nothing depends on how fast it is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module; benchmarks/ is no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("metrics")


def test_a_small_run_prints_all_times(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    script.main(20_000, 1000, 1, 500)
    printed = capsys.readouterr().out
    for name in (
        "ECE of 5 probabilities",
        "all metrics of a cell",
        "F1@top of CTCVR, 3 cuts",
        "GAUC of CTR",
        script.ALL,
    ):
        assert name in printed
    assert ("gathered on the GPU" in printed) == torch.cuda.is_available()
    assert "20,000 rows and 1,000 users each; loops over 500 users, scaled to 1,000." in printed


def test_rows_have_the_positives_of_the_paper(script: Any) -> None:
    table = script.make(200_000, 100, 0.06)
    assert table.labels.mean() == pytest.approx(0.06, rel=0.05)
    assert np.unique(table.users).size == 100
    assert table.scores[table.labels == 1].mean() > table.scores[table.labels == 0].mean()


def test_a_cell_has_the_rates_of_the_paper_and_all_metrics(script: Any) -> None:
    cell = script.funnel(100_000, 1000)
    assert 0.06 < cell.labels["click"].mean() < 0.1  # odds with a deviation of 1 around those of 6 %
    found = cell.gathered().results(cell.truth)
    assert len(found) == 7 * 5 and all(metric.value is not None for metric in found.values())
    for name, space in (("ctr", "exposed"), ("car", "clicked"), ("ctcar", "exposed")):
        assert 0.6 < found[f"auc/{name}/{space}"].value < found[f"ceiling/{name}/{space}"].value


def test_a_wrong_gauc_stops_it(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = script.make(2000, 50, 0.2)
    assert script.looped(table, 50) > 0
    monkeypatch.setattr(script, "gauc", lambda *columns: 0.5)
    with pytest.raises(SystemExit, match="GAUC must be that of the loop"):
        script.looped(table, 50)
