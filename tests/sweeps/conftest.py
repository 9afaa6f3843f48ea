"""A study of one coefficient, greatest at 0.1."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_world import KNOBS, SOURCE, Trainer, peak

from bench.core.config import Config
from bench.results.store import Store
from sweeps.study import Subject, subject


@pytest.fixture
def what() -> Subject:
    return subject(SOURCE, "a", "esmc", KNOBS, Config())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "studies.db"


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(Store(tmp_path), peak)
