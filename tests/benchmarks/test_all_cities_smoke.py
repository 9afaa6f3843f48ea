"""The benchmark of a whole run, at a size at which nothing is timed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "all_cities.py"


@pytest.mark.slow
def test_a_whole_run_is_told(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--models", "esmm,gbdt", "--seeds", "1", "--scale", "0.0001"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert re.search(r"ESMM │ 6 │ [\d.]+ │ [\d.]+ │ [\d.]+ │ [\d.]+ │ [\d,]+", text)
    assert re.search(r"GBDT │ 6 │ [\d.]+ │ [\d.]+ │ │ │ [\d,]+", text)
    assert re.search(r"12 cells of 6 cities at 1:10,000: \d+ s, [\d.]+ × the 360 s", text)
    assert "at most 1 cells at once" in text


@pytest.mark.slow
def test_a_run_that_fails_is_no_measurement(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--models", "esmn", "--scale", "0.0001"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and "esmm" in done.stderr
