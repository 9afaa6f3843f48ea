"""`bench run --tuned`: which study gives the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sweep_world import BOTH, MODEL, SOURCE, Trainer, search

from bench.core.config import Config, override
from bench.core.errors import UserError
from sweeps.space import CONSTRAINT, GLOBAL
from sweeps.storage import File
from sweeps.study import Subject, best_values, open_study, subject

TWO = {name: MODEL[name] for name in ("esmc", "esmm")}


def test_a_run_takes_the_best_value(path: Path, what: Subject, trainer: Trainer) -> None:
    search(path, what, trainer, trials=5)
    found = best_values(path, SOURCE, ["a"], TWO, Config())
    assert found == {("a", "esmc"): {"constraint_weight": 0.1}}


def test_a_run_takes_the_best_values_of_several_knobs(path: Path, trainer: Trainer) -> None:
    study = search(path, subject(SOURCE, "a", "esmc2", BOTH, Config()), trainer, trials=5)
    found = best_values(path, SOURCE, ["a"], {"esmc2": MODEL["esmc2"], "esmm": MODEL["esmm"]}, Config())
    assert study.best_params == {"constraint_weight": 0.1, "weight_global": 0.5}
    assert found == {("a", "esmc2"): study.best_params}


def test_a_run_takes_the_study_last_worked_on(path: Path, trainer: Trainer) -> None:
    config = Config(weight_global=0.7)
    models = {"esmc2": MODEL["esmc2"]}

    def tune(trials: int, **kwargs: Any) -> dict[str, Any]:
        what = subject(SOURCE, "a", "esmc2", BOTH, config, **kwargs)
        search(path, what, trainer, trials)
        return best_values(path, SOURCE, ["a"], models, config)["a", "esmc2"]

    assert tune(1) == {"constraint_weight": 0.01, "weight_global": 0.1}
    assert tune(3, searched=(CONSTRAINT,)) == {"constraint_weight": 0.1}
    assert tune(2, seeds=2) == {"constraint_weight": 0.05, "weight_global": 0.3}
    assert tune(2, searched=(CONSTRAINT,), seeds=2) == {"constraint_weight": 0.05}
    assert tune(1) == {"constraint_weight": 0.01, "weight_global": 0.1}
    open_study(File(path), subject(SOURCE, "a", "esmc2", BOTH, config, (GLOBAL,)))  # without a value: it does not count
    assert tune(1) == {"constraint_weight": 0.01, "weight_global": 0.1}


def test_a_run_without_its_study_is_refused(path: Path, what: Subject, trainer: Trainer) -> None:
    with pytest.raises(UserError, match=r"--tuned needs studies in .*, but there are none; run `bench tune` first"):
        best_values(path, SOURCE, ["a"], TWO, Config())
    open_study(File(path), what)
    for cities, changes in ((["a"], []), (["a", "b"], []), (["a"], ["dropout=0.5"])):
        with pytest.raises(
            UserError, match=r"--tuned needs a study of esmc on city [ab] .*run `bench tune --model esmc"
        ):
            best_values(path, SOURCE, cities, TWO, override(Config(), changes))
        if not changes:
            search(path, what, trainer, trials=1)
    with pytest.raises(
        UserError, match=r"--tuned needs a model with a coefficient \(esmc, esms2, esmc2\), but got esmm"
    ):
        best_values(path, SOURCE, ["a"], {"esmm": MODEL["esmm"]}, Config())


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to look like one" * 10, b"SQLite format 3\0"]
)
def test_a_damaged_database_is_refused(path: Path, what: Subject, content: bytes) -> None:
    path.write_bytes(content)
    for use in (lambda: open_study(File(path), what), lambda: best_values(path, SOURCE, ["a"], TWO, Config())):
        with pytest.raises(
            UserError, match=r"studies.db must be an Optuna storage, but: .*; move it away and run again"
        ):
            use()
    assert path.read_bytes() == content
