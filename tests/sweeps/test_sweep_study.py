"""Studies: the paper's grid first, several seeds and knobs, carried on after an interruption."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from sweep_world import BOTH, GRID, KNOBS, MODEL, SOURCE, Trainer, peak, search, weights

from bench.core.cell import Cell
from bench.core.config import Config, override
from bench.core.errors import UserError
from bench.results.store import Store
from sweeps.space import CONSTRAINT, GLOBAL
from sweeps.storage import File
from sweeps.study import CELLS, OBJECTIVE, VALUES, Subject, objective, open_study, optimise, subject


def killed(cells: list[Cell]) -> Mapping[str, str]:
    raise KeyboardInterrupt


def test_the_grid_of_the_paper_comes_first_then_values_between(path: Path, what: Subject, trainer: Trainer) -> None:
    study = search(path, what, trainer, trials=8, jobs=2)
    assert weights(study.trials[:5]) == GRID
    assert all(0.01 <= weight <= 1.0 for weight in weights(study.trials[5:]))
    assert [trial.value for trial in study.trials] == pytest.approx([peak(w) for w in weights(study.trials)])
    assert len(trainer.trained) == 8
    assert not any(cell.test for cell in trainer.trained)


def test_a_study_is_carried_on(path: Path, what: Subject, trainer: Trainer) -> None:
    search(path, what, trainer, trials=2)
    study = search(path, what, trainer, trials=4)
    assert weights(study.get_trials(states=(TrialState.COMPLETE,))) == GRID[:4]
    assert [cell.config.constraint_weight for cell in trainer.trained] == GRID[:4]
    search(path, what, trainer, trials=4)
    assert len(trainer.trained) == 4


def test_trials_that_a_kill_left_running_are_done_next(path: Path, what: Subject, trainer: Trainer) -> None:
    def killed_after_one(cells: list[Cell]) -> Mapping[str, str]:
        trainer(cells[:1])
        raise KeyboardInterrupt

    storage = File(path)
    study = open_study(storage, what)
    with pytest.raises(KeyboardInterrupt):
        optimise(study, storage, what, 5, 2, trainer.store, killed_after_one, lambda trial: None)
    assert len(study.get_trials(states=(TrialState.RUNNING,))) == 2
    study = search(path, what, trainer, trials=3)
    assert weights(study.get_trials(states=(TrialState.COMPLETE,))) == GRID[:3]
    # 0.01 was stored before the kill: its trial is done again without training
    assert [cell.config.constraint_weight for cell in trainer.trained] == GRID[:3]


def test_a_trial_killed_before_it_had_its_value_is_done_next(path: Path, what: Subject, trainer: Trainer) -> None:
    open_study(File(path), what).ask()
    study = search(path, what, trainer, trials=2)
    assert weights(study.get_trials(states=(TrialState.COMPLETE,))) == GRID[:2]


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupted_study_finds_the_values_of_an_uninterrupted_one(
    tmp_path: Path, what: Subject, jobs: int
) -> None:
    def told(trial: FrozenTrial) -> None:
        raise AssertionError("nothing was trained")

    def killed_after_one(trial: FrozenTrial) -> None:
        raise KeyboardInterrupt

    found = []
    for name, calls in (("at once", [13]), ("in steps", [1, 6, 12, 13])):
        (tmp_path / name).mkdir()
        trainer = Trainer(Store(tmp_path / name), peak)
        path = tmp_path / name / "studies.db"
        storage = File(path)
        for trials in calls:
            with contextlib.suppress(KeyboardInterrupt):
                optimise(open_study(storage, what), storage, what, trials, jobs, trainer.store, killed, told)
            with contextlib.suppress(KeyboardInterrupt):
                study = open_study(storage, what)
                optimise(study, storage, what, trials, jobs, trainer.store, trainer, killed_after_one)
            study = search(path, what, trainer, trials, jobs)
        found.append(weights(study.trials))
        assert len(trainer.trained) == 13
    assert found[0] == found[1]
    assert len(set(found[0])) == 13


def test_a_grid_that_a_kill_cut_short_is_completed(path: Path, what: Subject, trainer: Trainer) -> None:
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name=what.study_name, direction="maximize")
    study.enqueue_trial({"constraint_weight": 0.01})
    assert sorted(weights(search(path, what, trainer, trials=5).trials)) == GRID


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_trial_does_not_stop_the_study(path: Path, what: Subject, tmp_path: Path, jobs: int) -> None:
    trainer = Trainer(Store(tmp_path), lambda weight, seed: None if weight == 0.05 else peak(weight))
    study = search(path, what, trainer, trials=5, jobs=jobs)
    assert [trial.state for trial in study.trials][:3] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 5


@pytest.mark.parametrize(("value", "reason"), [(None, "diverged"), (math.nan, "one class only")])
def test_a_study_without_any_value_ends_with_the_reason(
    path: Path, what: Subject, tmp_path: Path, value: float | None, reason: str
) -> None:
    trainer = Trainer(Store(tmp_path), lambda weight, seed: value)
    with pytest.raises(UserError, match=rf"trials must give a valid {OBJECTIVE}, but the last 3 did not: .*{reason}"):
        search(path, what, trainer, trials=3, jobs=1)
    assert len(trainer.trained) == 3


def test_the_objective_is_the_validation_metric_of_a_stored_cell(what: Subject, trainer: Trainer) -> None:
    (cell,) = what.trial_cells({"constraint_weight": 0.1})
    assert objective(trainer.store, cell) is None
    trainer([cell])
    assert objective(trainer.store, cell) == pytest.approx(0.8)


def test_a_trial_is_the_mean_over_its_seeds(path: Path, trainer: Trainer) -> None:
    what = subject(SOURCE, "a", "esmc", KNOBS, Config(), seeds=3)
    study = search(path, what, trainer, trials=2, jobs=2)
    assert study.trials[0].value == pytest.approx(peak(0.01) + 0.02)
    assert study.trials[0].user_attrs[VALUES] == [peak(0.01), peak(0.01, 1), peak(0.01, 2)]
    assert study.trials[0].user_attrs[CELLS] == [cell.key for cell in what.trial_cells({"constraint_weight": 0.01})]
    assert [(cell.config.constraint_weight, cell.seed) for cell in trainer.trained] == [
        (weight, seed) for weight in (0.01, 0.05) for seed in range(3)
    ]


def test_more_seeds_take_over_the_cells_of_fewer(path: Path, what: Subject, trainer: Trainer) -> None:
    search(path, what, trainer, trials=5)
    search(path, what._replace(seeds=2), trainer, trials=5)
    assert [cell.seed for cell in trainer.trained] == [0] * 5 + [1] * 5


def test_a_trial_that_lacks_a_seed_has_failed(path: Path, what: Subject, tmp_path: Path) -> None:
    trainer = Trainer(Store(tmp_path), lambda weight, seed: None if (weight, seed) == (0.05, 1) else peak(weight))
    study = search(path, what._replace(seeds=2), trainer, trials=2)
    assert [trial.state.name for trial in study.trials[:3]] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert study.trials[1].user_attrs[VALUES] == [peak(0.05), None]


def test_two_knobs_are_searched_together(path: Path, trainer: Trainer) -> None:
    what = subject(SOURCE, "a", "esmc2", BOTH, Config())
    study = search(path, what, trainer, trials=28, jobs=4)
    first = [(trial.params["constraint_weight"], trial.params["weight_global"]) for trial in study.trials]
    assert first[:5] == list(zip(CONSTRAINT.grid, GLOBAL.grid, strict=True))
    assert sorted(first[:25]) == [(one, two) for one in CONSTRAINT.grid for two in GLOBAL.grid]
    assert len(set(first)) == 28
    assert [cell.config.weight_global for cell in trainer.trained] == [second for _, second in first]


def test_a_study_is_one_subject() -> None:
    def name(city: str = "a", *changes: str, model: str = "esmc", seeds: int = 1, knobs: Any = None) -> str:
        used = MODEL[model].knobs
        return subject(SOURCE, city, model, used, override(Config(), changes), knobs, seeds).study_name

    assert name() == name("a", "constraint_weight=0.7") == name("a", "experts=9") == name("a", "weight_global=0.7")
    one = name(model="esmc2", knobs=(CONSTRAINT,))
    names = [
        *(name(), name("b"), name("a", "dropout=0.1"), name(seeds=2), name(seeds=3), name(model="esmc2"), one),
        name("a", "weight_global=0.7", model="esmc2", knobs=(CONSTRAINT,)),
        name(model="esmc2", knobs=(GLOBAL,)),
    ]
    assert len(set(names)) == len(names)
    assert name().startswith("town/a/esmc/constraint_weight/")
    assert name(model="esmc2").startswith("town/a/esmc2/constraint_weight+weight_global/")
    assert name(seeds=3) == f"{name()}/3-seeds"


def test_every_trial_is_a_cell_of_its_own(what: Subject) -> None:
    (first,), (second,) = (what.trial_cells({"constraint_weight": weight}) for weight in (0.1, 0.2))
    assert len({what.cell.key, first.key, second.key}) == 3
    assert first.config == override(Config(), ["constraint_weight=0.1"])
