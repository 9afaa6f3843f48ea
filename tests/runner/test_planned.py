"""The list of all cells that runs were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.cell import Cell
from bench.core.config import Config
from bench.runner.layout import Layout
from bench.runner.planned import read_planned, write_planned

CELLS = [Cell(dataset="d", fingerprint="f", city="1", model="esmm", config=Config(), seed=seed) for seed in range(3)]


def test_cells_are_added_and_kept_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert read_planned(layout) == []
    write_planned(layout, CELLS[:2])
    write_planned(layout, CELLS[1:])
    assert read_planned(layout) == CELLS


def test_older_versions_of_a_model_file_make_way(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    mine = [CELLS[0].model_copy(update={"model": "mine", "code": code}) for code in ("old", "new")]
    write_planned(layout, [*CELLS, mine[0]])
    write_planned(layout, CELLS[:1])
    assert read_planned(layout) == [*CELLS, mine[0]]
    write_planned(layout, mine[1:])
    assert read_planned(layout) == [*CELLS, mine[1]]


@pytest.mark.parametrize("text", ["", "{", "[{}]", '{"cells": 1}', "1"])
def test_a_damaged_list_is_no_list(tmp_path: Path, text: str) -> None:
    layout = Layout(tmp_path)
    layout.planned.write_text(text)
    assert read_planned(layout) == []
    write_planned(layout, CELLS)
    assert read_planned(layout) == CELLS
