"""One Optuna study per (dataset, city, model, configuration): trials are cells that never open the test split.

The study lies in SQLite or on a server and is resumed by name. A trial's cells (one per seed) are stored like any
other, so what was tried before is not trained again; trials whose worker is gone are put back into the queue.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
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
from sweeps.storage import Storage, opened

#: What a study maximises, on the validation split: the AUC of the task that all losses of ESMC serve.
OBJECTIVE = "auc/ctcvr/exposed"

#: User attributes of a trial: the keys of its cells, and their values, one per seed; who works on it, on a server.
CELLS, VALUES, WORKER = "cells", "values", "worker"

#: User attribute of a study: when it was last worked on.
OPENED = "opened"

#: A study stops when so many trials of a call failed one after the other.
PATIENCE = 3

#: Seconds between two looks at trials that other workers have yet to finish.
PAUSE = 1.0

#: Trains cells and gives back the titles and reasons of those that failed.
Train = Callable[[list[Cell]], Mapping[str, str]]


class Subject(NamedTuple):
    """What is tuned: a cell with its knobs left open, measured with seeds 0 … ``seeds`` - 1."""

    cell: Cell
    knobs: tuple[Knob, ...]
    seeds: int = 1

    @property
    def study_name(self) -> str:
        """Name in the storage; the configuration without the knobs is part of it, the seeds where several."""
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


def open_study(storage: Storage, subject: Subject) -> optuna.Study:
    """The study of this subject, with the paper's grid in its queue."""
    with storage.turn():
        study = optuna.create_study(
            storage=storage.studies, study_name=subject.study_name, direction="maximize", load_if_exists=True
        )
        study.set_user_attr(OPENED, datetime.now(UTC).isoformat())
        for values in grid(subject.knobs):
            study.enqueue_trial(values, skip_if_exists=True)
    return study


def optimise(
    study: optuna.Study,
    storage: Storage,
    subject: Subject,
    trials: int,
    jobs: int,
    store: Store,
    train: Train,
    told: Callable[[FrozenTrial], None],
) -> None:
    """Bring the study to ``trials`` finished trials, ``jobs`` of this worker's at a time.

    Workers on one server get there together: none begins a trial while those that run are enough, and the last wait
    for each other.

    Args:
        study: from :func:`open_study`.
        storage: where it lies.
        subject: what is tuned.
        trials: finished trials to have in the end, those of earlier calls counted in.
        jobs: trials asked for together.
        store: where trial cells are kept.
        train: trains the cells that are not stored.
        told: called with every trial that finishes, other workers' too.

    Raises:
        UserError: trial after trial gave no value.
    """
    known = {trial.number for trial in _ended(study)}

    def tell_news() -> None:
        for trial in _ended(study):
            if trial.number not in known:
                known.add(trial.number)
                told(trial)

    failed_in_a_row = 0
    while len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < trials:
        asked = _ask(study, storage, subject, trials, jobs)
        if not asked:
            time.sleep(PAUSE)
            tell_news()
            continue
        cells = [subject.trial_cells(trial.params) for trial in asked]
        missing = {cell.key: cell for cell in itertools.chain(*cells) if not store.has(cell.key)}
        failed = train(list(missing.values())) if missing else {}
        for trial, seeds in zip(asked, cells, strict=True):
            value = _tell(study, storage, trial, seeds, store)
            failed_in_a_row = failed_in_a_row + 1 if value is None else 0
            tell_news()
        if failed_in_a_row >= PATIENCE:
            reason = next(iter(failed.values()), "the validation rows have one class only")
            raise UserError(f"trials must give a valid {OBJECTIVE}, but the last {failed_in_a_row} did not: {reason}.")
    tell_news()


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))


def _ask(study: optuna.Study, storage: Storage, subject: Subject, trials: int, jobs: int) -> list[Trial]:
    """The next trials of this worker, at most ``jobs``; none where those of other workers are all that is left."""
    with storage.turn():
        _put_back(study, storage)
        states = Counter(trial.state for trial in study.get_trials(deepcopy=False))
        left = trials - states[TrialState.COMPLETE] - states[TrialState.RUNNING]
        begun = states.total() - states[TrialState.WAITING]
        together = jobs - begun % jobs if storage.worker is None else jobs
        asked = []
        for _ in range(min(together, left)):
            trial = _next(study, subject, jobs)
            if storage.worker is not None:
                trial.set_user_attr(WORKER, storage.worker)
            asked.append(trial)
    return asked


def _put_back(study: optuna.Study, storage: Storage) -> None:
    """Let trials whose worker is gone wait to be asked for again."""
    study_id = storage.studies.get_study_id_from_name(study.study_name)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if storage.is_gone(trial.user_attrs.get(WORKER)):
            trial_id = storage.studies.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            storage.studies.set_trial_state_values(trial_id, TrialState.WAITING)


def _next(study: optuna.Study, subject: Subject, jobs: int) -> Trial:
    """The next trial: the first that waits, or else a new one.

    One process alone asks in rounds of ``jobs``. What a new trial tries depends on the rounds before its own only, so
    that it does not matter where a study was interrupted.
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


def _tell(study: optuna.Study, storage: Storage, trial: Trial, cells: Sequence[Cell], store: Store) -> float | None:
    """Finish a trial with the mean over its seeds; without one of them it has failed and has no value."""
    values = [objective(store, cell) for cell in cells]
    valid = [value for value in values if value is not None]
    value = fmean(valid) if len(valid) == len(values) else None
    with storage.turn():
        # Another state: the server was away, and the others took this worker for gone.
        if study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
            trial.set_user_attr(CELLS, [cell.key for cell in cells])
            trial.set_user_attr(VALUES, values)
            study.tell(trial, value, TrialState.FAIL if value is None else None)
    return value


def objective(store: Store, cell: Cell) -> float | None:
    """The validation metric of a trial's cell; None where the cell failed or the metric is undefined."""
    if not store.has(cell.key):
        return None
    metric = store.record(cell.key).metrics["valid"].get(OBJECTIVE)
    return None if metric is None else metric.value


def best_values(
    place: Path | str, source: Source, cities: Iterable[str], models: Mapping[str, Any], config: Config
) -> dict[tuple[str, str], dict[str, Any]]:
    """Best values by (city, model), for ``bench run --tuned``.

    Studies of all or some of a model's knobs, with any number of seeds, fit; the one last worked on is taken.
    ``place``: an SQLite file or the URL of a server.

    Raises:
        UserError: a model that can be tuned has no finished study for a city, or none of the models can be tuned.
    """
    tunable = [name for name in models if name in SPACES]
    if not tunable:
        raise UserError(f"--tuned needs a model with a coefficient ({', '.join(SPACES)}), but got {', '.join(models)}.")
    if isinstance(place, Path) and not place.exists():
        raise UserError(f"--tuned needs studies in {place}, but there are none; run `bench tune` first.")
    with opened(place) as storage:
        summaries = optuna.get_all_study_summaries(storage.studies)
    studies = [study for study in summaries if study.best_trial is not None]
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
