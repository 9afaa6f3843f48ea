"""A dataset of nothing and a trainer that makes its values up, for the tests of studies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from bench.core.cell import SCHEMA_VERSION, Cell
from bench.core.record import Cost, Metric, Record
from bench.data.source import Source, SourceOptions
from bench.results.store import Store
from sweeps.storage import File
from sweeps.study import OBJECTIVE, Subject, open_study, optimise

KNOBS = ("weight_car", "calibration", "constraint", "constraint_weight")
BOTH = (*KNOBS, "weight_global")
MODEL = {
    "esmc": SimpleNamespace(knobs=KNOBS),
    "esmc2": SimpleNamespace(knobs=BOTH),
    "esmm": SimpleNamespace(knobs=()),
}
GRID = [0.01, 0.05, 0.1, 0.5, 1.0]


class Town(Source):
    name = "town"

    def cities(self) -> list[str]:
        return ["a", "b"]

    def fingerprint(self, city: str) -> str:
        return f"print of {city}"

    def write(self, city: str, folder: Path) -> None:
        raise NotImplementedError


SOURCE = Town(SourceOptions())


class Trainer:
    """Stores cells whose objective is ``value`` of coefficient and seed; None: the cell fails."""

    def __init__(self, store: Store, value: Callable[..., float | None]) -> None:
        self.store, self.value = store, value
        self.trained: list[Cell] = []

    def __call__(self, cells: list[Cell]) -> Mapping[str, str]:
        failed = {}
        for cell in cells:
            self.trained.append(cell)
            value = self.value(cell.config.constraint_weight, cell.seed)
            if value is None:
                failed[cell.title] = "diverged"
            else:
                with self.store.publishing(cell.key) as folder:
                    self.store.seal(folder, record(cell, value))
        return failed


def record(cell: Cell, value: float) -> Record:
    metric = Metric(value=None if math.isnan(value) else value, n=9, n_pos=3)
    nothing: dict[str, Any] = dict.fromkeys(Cost.model_fields, 1) | {"device": "cpu"}
    return Record(
        schema_version=SCHEMA_VERSION,
        key=cell.key,
        cell=cell,
        metrics={"valid": {OBJECTIVE: metric}},
        curve=[],
        cost=Cost(**nothing),
        notes={},
        versions={},
        files={},
        created="2023-05-10T00:00:00+00:00",
    )


def peak(weight: float, seed: int = 0) -> float:
    """Greatest at 0.1, whatever the seed."""
    return 0.8 - 0.01 * abs(math.log10(weight / 0.1)) + 0.02 * seed


def search(path: Path, what: Subject, trainer: Trainer, trials: int, jobs: int = 1) -> optuna.Study:
    storage = File(path)
    study = open_study(storage, what)
    optimise(study, storage, what, trials, jobs, trainer.store, trainer, lambda trial: None)
    return study


def weights(trials: list[FrozenTrial]) -> list[float]:
    return [trial.params["constraint_weight"] for trial in trials]
