"""benchmarks/large.py: all stages on a tiny city, and what it says of memory. Nothing depends on how fast it is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def large() -> ModuleType:
    """The script as a module; benchmarks/ is no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("large", FOLDER / "large.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["large"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_every_stage_runs_on_what_the_one_before_left(large: ModuleType, tmp_path: Path) -> None:
    rows = {}
    for name, stage in large.STAGES.items():
        if stage.fills:
            (tmp_path / stage.fills).mkdir()
        rows[name] = stage.run(tmp_path, 0.00001)
    assert rows["generate"] == rows["encode"] == rows["train"] == 10_040
    assert 0 < rows["evaluate"] < rows["batches"] < 10_040


def test_own_memory_is_told_from_that_of_files(large: ModuleType, tmp_path: Path) -> None:
    np.save(tmp_path / "mapped.npy", np.ones(8 << 20))  # 64 MB
    before = large._resident("self")
    own = np.ones(4 << 20)  # 32 MB
    mapped = np.load(tmp_path / "mapped.npy", mmap_mode="r")
    assert float(np.asarray(mapped).sum()) == 8 << 20
    after = large._resident("self")
    assert after[0] - before[0] == pytest.approx(32, abs=6)
    assert after[1] - before[1] == pytest.approx(64, abs=6)
    assert len(own) == 4 << 20
    assert large._resident(2**22 + 1) == (0.0, 0.0)


def test_the_table_compares_rows_with_the_smallest_scale(large: ModuleType) -> None:
    small, big = large.Measured(100, 1.0, 2.0, 512, 0), large.Measured(1000, 11.0, 19.0, 2048, 1024)
    printed = large.show({"encode": [large._mean([small, small]), big]}, [0.001, 0.01])
    cells = [list(column.cells) for column in printed.columns]
    assert [column[1] for column in cells[1:]] == ["1:100", "1,000", "91", "1.10 ×", "0.95 ×", "2.00", "1.00"]
