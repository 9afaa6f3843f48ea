"""One Optuna study per (dataset, city, model, configuration): trials are cells that never open the test split.

The study lies in SQLite and is resumed by name. A trial's cells (one per seed) are stored like any other, so what was
tried before is not trained again; trials that a kill left running are put back into the queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from bench.core.cell import SCHEMA_VERSION, Cell, digest
from bench.core.config import Config, validated
from bench.core.errors import UserError
from bench.core.seeding import derive
from bench.data.source import Source
from bench.results.store import Store
from sweeps.space import SPACES, Knob, grid

#: What a study maximises, on the validation split: the AUC of the task that all losses of ESMC serve.
OBJECTIVE = "auc/ctcvr/exposed"

#: User attributes of a trial: the keys of its cells, and their values, one per seed.
CELLS, VALUES = "cells", "values"

#: User attribute of a study: when it was last worked on.
OPENED = "opened"

#: A study stops when so many trials of a call failed one after the other.
PATIENCE = 3

#: Trains cells and gives back the titles and reasons of those that failed.
Train = Callable[[list[Cell]], Mapping[str, str]]


class Subject(NamedTuple):
    """What is tuned: a cell with its knobs left open, measured with seeds 0 … ``seeds`` - 1."""

    cell: Cell
    knobs: tuple[Knob, ...]
    seeds: int = 1

    @property
    def study_name(self) -> str:
        """Name in the SQLite file; the configuration without the knobs is part of it, the seeds where several."""
        searched = [knob.name for knob in self.knobs]
        fixed = self.cell.config.model_dump(mode="json", exclude=set(searched))
        identity = digest({"schema": SCHEMA_VERSION, "config": fixed, "fingerprint": self.cell.fingerprint})
        name = f"{self.cell.dataset}/{self.cell.city}/{self.cell.model}/{'+'.join(searched)}/{identity[:8]}"
        return f"{name}/{self.seeds}-seeds" if self.seeds > 1 else name

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {knob.name: FloatDistribution(knob.low, knob.high, log=True) for knob in self.knobs}

    def trial_cells(self, values: Mapping[str, float]) -> list[Cell]:
        """The cells of one trial, one per seed; they are measured on the validation split only."""
        config = validated(self.cell.config.model_dump() | dict(values))
        return [self.cell.model_copy(update={"config": config, "seed": seed}) for seed in range(self.seeds)]


def subject(
    source: Source,
    city: str,
    model: str,
    used: Iterable[str],
    config: Config,
    searched: Sequence[Knob] | None = None,
    seeds: int = 1,
) -> Subject:
    """The subject of a study; see :class:`Subject`.

    Args:
        used: the model knobs that the model has.
        searched: the knobs to tune; by default all that can be.
    """
    cell = Cell(
        dataset=source.label,
        fingerprint=source.fingerprint(city),
        city=city,
        model=model,
        config=config.used_by(used),
        seed=0,
        test=False,
    )
    return Subject(cell, SPACES[model] if searched is None else tuple(searched), seeds)


def open_study(path: Path, subject: Subject) -> optuna.Study:
    """The study of this subject in the SQLite file ``path``, with interrupted trials put back into the queue.

    Raises:
        UserError: the file is no Optuna storage.
    """
    storage = _storage(path)
    name = subject.study_name
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    study.set_user_attr(OPENED, datetime.now(UTC).isoformat())
    for values in grid(subject.knobs):
        study.enqueue_trial(values, skip_if_exists=True)
    study_id = storage.get_study_id_from_name(name)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
        storage.set_trial_state_values(trial_id, TrialState.WAITING)
    return study


def _storage(path: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path}")
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} must be an Optuna storage, but: {reason}; move it away and run again.") from None


def optimise(
    study: optuna.Study,
    subject: Subject,
    trials: int,
    jobs: int,
    store: Store,
    train: Train,
    told: Callable[[FrozenTrial], None],
) -> None:
    """Bring the study to ``trials`` finished trials, ``jobs`` at a time.

    Args:
        study: from :func:`open_study`.
        subject: what is tuned.
        trials: finished trials to have in the end, those of earlier calls counted in.
        jobs: trials asked for together.
        store: where trial cells are kept.
        train: trains the cells that are not stored.
        told: called with every finished trial.

    Raises:
        UserError: trial after trial gave no value.
    """
    failed_in_a_row = 0
    while (left := trials - len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))) > 0:
        begun = sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
        asked = [_ask(study, subject, jobs) for _ in range(min(jobs - begun % jobs, left))]
        cells = [subject.trial_cells(trial.params) for trial in asked]
        missing = {cell.key: cell for cell in itertools.chain(*cells) if not store.has(cell.key)}
        failed = train(list(missing.values())) if missing else {}
        for trial, seeds in zip(asked, cells, strict=True):
            value = _tell(study, trial, seeds, store)
            failed_in_a_row = failed_in_a_row + 1 if value is None else 0
            told(study.trials[trial.number])
        if failed_in_a_row >= PATIENCE:
            reason = next(iter(failed.values()), "the validation rows have one class only")
            raise UserError(f"trials must give a valid {OBJECTIVE}, but the last {failed_in_a_row} did not: {reason}.")


def _ask(study: optuna.Study, subject: Subject, jobs: int) -> Trial:
    """The next trial: the first that waits, or else a new one.

    Trials come in rounds of ``jobs``. What a new one tries depends on the rounds before its own only, so that it does
    not matter where a study was interrupted.
    """
    trials = study.get_trials(deepcopy=False)
    if all(trial.state != TrialState.WAITING for trial in trials):
        number = len(trials)
        known = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=derive(0, "trial", number) % 2**32)
        )
        first = number - number % jobs
        known.add_trials([trial for trial in trials[:first] if trial.state == TrialState.COMPLETE])
        study.enqueue_trial(known.ask(subject.distributions).params)
    return study.ask(subject.distributions)


def _tell(study: optuna.Study, trial: Trial, cells: Sequence[Cell], store: Store) -> float | None:
    """Finish a trial with the mean over its seeds; without one of them it has failed and has no value."""
    values = [objective(store, cell) for cell in cells]
    valid = [value for value in values if value is not None]
    trial.set_user_attr(CELLS, [cell.key for cell in cells])
    trial.set_user_attr(VALUES, values)
    if len(valid) < len(values):
        study.tell(trial, state=TrialState.FAIL)
        return None
    study.tell(trial, fmean(valid))
    return fmean(valid)


def objective(store: Store, cell: Cell) -> float | None:
    """The validation metric of a trial's cell; None where the cell failed or the metric is undefined."""
    if not store.has(cell.key):
        return None
    metric = store.record(cell.key).metrics["valid"].get(OBJECTIVE)
    return None if metric is None else metric.value


def best_values(
    path: Path, source: Source, cities: Iterable[str], models: Mapping[str, Any], config: Config
) -> dict[tuple[str, str], dict[str, Any]]:
    """Best values by (city, model), for ``bench run --tuned``.

    Studies of all or some of a model's knobs, with any number of seeds, fit; the one last worked on is taken.

    Raises:
        UserError: a model that can be tuned has no finished study for a city, or none of the models can be tuned.
    """
    tunable = [name for name in models if name in SPACES]
    if not tunable:
        raise UserError(f"--tuned needs a model with a coefficient ({', '.join(SPACES)}), but got {', '.join(models)}.")
    if not path.exists():
        raise UserError(f"--tuned needs studies in {path}, but there are none; run `bench tune` first.")
    studies = [study for study in optuna.get_all_study_summaries(_storage(path)) if study.best_trial is not None]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for model in tunable:
        for city in cities:
            names = [
                subject(source, city, model, models[model].knobs, config, knobs).study_name
                for count in range(1, len(SPACES[model]) + 1)
                for knobs in itertools.combinations(SPACES[model], count)
            ]
            fitting = [
                study for study in studies if any(f"{study.study_name}/".startswith(f"{name}/") for name in names)
            ]
            if not fitting:
                raise UserError(
                    f"--tuned needs a study of {model} on city {city} with these options, but there is none; "
                    f"run `bench tune --model {model} --city {city}` with them first."
                )
            latest = max(fitting, key=lambda study: study.user_attrs.get(OPENED, ""))
            assert latest.best_trial is not None
            found[city, model] = dict(latest.best_trial.params)
    return found
