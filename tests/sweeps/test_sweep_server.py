"""Studies on a PostgreSQL server: workers share the trials, and have those of one that is gone."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from postgres_server import running_server
from sweep_world import GRID, MODEL, SOURCE, Trainer, peak, weights

from bench.core.cell import Cell
from bench.core.config import Config
from bench.core.errors import UserError
from bench.results.store import Store
from sweeps import study as search
from sweeps.address import engine, parse, without_password
from sweeps.storage import Storage, opened
from sweeps.study import VALUES, WORKER, Subject, best_values, open_study, optimise

#: How a message begins, as a pattern.
SHOWN = r"postgresql://tester:\*\*\*@127\.0\.0\.1:\d+"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server without studies."""
    monkeypatch.setattr(search, "PAUSE", 0.02)
    with engine(parse(server)).begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    return server


def finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE,))


def quiet(trial: FrozenTrial) -> None:
    pass


def test_workers_share_a_study_without_doing_anything_twice(url: str, what: Subject, tmp_path: Path) -> None:
    told: list[list[int]] = [[], [], []]
    trainers = [Trainer(Store(tmp_path / str(number)), peak) for number in range(3)]
    errors: list[BaseException] = []
    together = threading.Barrier(3)

    def work(number: int) -> None:
        def train(cells: list[Cell]) -> Mapping[str, str]:
            if not trainers[number].trained:
                together.wait(20)  # each has trials: nobody is so fast that the others come too late
            return trainers[number](cells)

        try:
            together.wait(20)
            with opened(url) as storage:
                study = open_study(storage, what)
                store, jobs = trainers[number].store, number + 1
                optimise(study, storage, what, 14, jobs, store, train, lambda trial: told[number].append(trial.number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    with opened(url) as storage:
        study = open_study(storage, what)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 14
        assert weights(study.trials[:5]) == GRID
        assert len(set(weights(study.trials))) == 14
        assert [trial.value for trial in study.trials] == pytest.approx(
            [peak(weight) for weight in weights(study.trials)]
        )
        by = Counter(trial.user_attrs[WORKER] for trial in study.trials)
    assert sorted(by.values()) == sorted(len(trainer.trained) for trainer in trainers)
    cells = [cell for trainer in trainers for cell in trainer.trained]
    assert sorted(cell.config.constraint_weight for cell in cells) == sorted(weights(study.trials))
    assert all(sorted(numbers) == list(range(14)) for numbers in told)


def begin_and_stop(storage: Storage, what: Subject, trainer: Trainer, jobs: int) -> optuna.Study:
    """A worker that is stopped while its first ``jobs`` trials are running."""

    def stopped(cells: list[Cell]) -> Mapping[str, str]:
        raise KeyboardInterrupt

    study = open_study(storage, what)
    with pytest.raises(KeyboardInterrupt):
        optimise(study, storage, what, 9, jobs, trainer.store, stopped, quiet)
    assert len(study.get_trials(states=(TrialState.RUNNING,))) == jobs
    return study


def test_running_trials_are_left_to_a_worker_until_it_is_gone(url: str, what: Subject, trainer: Trainer) -> None:
    with opened(url) as first, opened(url) as second:
        study = begin_and_stop(first, what, trainer, jobs=2)

        def the_other_goes(trial: FrozenTrial) -> None:
            if trial.number == 4:
                assert weights(finished(study)) == GRID[2:]
                first.close()  # type: ignore[attr-defined]

        optimise(open_study(second, what), second, what, 5, 1, trainer.store, trainer, the_other_goes)
        assert [cell.config.constraint_weight for cell in trainer.trained] == [*GRID[2:], *GRID[:2]]
        assert {trial.user_attrs[WORKER] for trial in finished(study)} == {second.worker}
        assert weights(study.trials) == GRID


def test_a_trial_without_a_worker_is_done_next(url: str, what: Subject, trainer: Trainer) -> None:
    with opened(url) as storage:
        study = open_study(storage, what)
        study.ask()  # as of a worker that was killed before it could write its name
        optimise(study, storage, what, 2, 1, trainer.store, trainer, quiet)
        assert weights(finished(study)) == GRID[:2]


@pytest.mark.parametrize("taken", [False, True], ids=["in time", "too late"])
def test_a_worker_survives_a_restart_of_the_server(url: str, what: Subject, tmp_path: Path, taken: bool) -> None:
    slow, fast = (Trainer(Store(tmp_path / name), peak) for name in ("slow", "fast"))
    fast.value = lambda weight, seed: 0.9

    def train(cells: list[Cell]) -> Mapping[str, str]:
        with engine(parse(url)).begin() as connection:
            connection.execute(
                sqlalchemy.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            )
        if taken:
            with opened(url) as other:
                optimise(open_study(other, what), other, what, 1, 1, fast.store, fast, quiet)
        return slow(cells)

    with opened(url) as storage:
        study = open_study(storage, what)
        optimise(study, storage, what, 1, 1, slow.store, train, quiet)
        (trial,) = finished(study)
        assert (trial.number, trial.user_attrs[VALUES]) == (0, [0.9 if taken else peak(0.01)])
        assert (trial.user_attrs[WORKER] == storage.worker) is not taken


def test_a_run_takes_the_best_values_from_the_server(url: str, what: Subject, trainer: Trainer) -> None:
    with pytest.raises(UserError, match="--tuned needs a study of esmc on city a"):
        best_values(url, SOURCE, ["a"], {"esmc": MODEL["esmc"]}, Config())
    with opened(url) as storage:
        optimise(open_study(storage, what), storage, what, 5, 2, trainer.store, trainer, quiet)
    assert best_values(url, SOURCE, ["a"], {"esmc": MODEL["esmc"]}, Config())["a", "esmc"] == {"constraint_weight": 0.1}


def test_a_server_that_stops_in_the_middle_ends_the_study_with_one_line(what: Subject, trainer: Trainer) -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_server())

        def train(cells: list[Cell]) -> Mapping[str, str]:
            stack.close()
            return trainer(cells)

        def work() -> None:
            with opened(url) as storage:
                optimise(open_study(storage, what), storage, what, 1, 1, trainer.store, train, quiet)

        assert re.fullmatch(rf"{SHOWN}/postgres must give access to its studies, but: .*refused.*", refused(work))


def refused(work: Callable[[], object]) -> str:
    """What is said, in one line and without the password."""
    with pytest.raises(UserError) as error:
        work()
    said = str(error.value)
    assert not any(word in said for word in ("hush", "\n"))
    return said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///studies.db", "--storage must be like postgresql://user@host/database, but got sqlite://."),
        ("me:hush@hush@host/db", "--storage must be like postgresql://user@host/database, but got no such URL."),
        ("hush@hush://host/db", "--storage must be like postgresql://user@host/database, but got no such URL."),
        ("postgresql://me:hush@hush@host/db", "--storage must have one @, before the host, but has more; write %40 "),
        ("postgresql://me:1@host:hush/db", "--storage must be like postgresql://user@host:5432/database, but it "),
        ("postgresql://me@host/db?password=hush", "--storage must have its password behind the user's name, but "),
        ("postgresql://me:hush@host", "--storage must name a database, but ends before it; write postgresql://"),
    ],
)
def test_a_wrong_url_is_refused(url: str, said: str) -> None:
    assert refused(lambda: without_password(url)).startswith(said)


def test_a_server_that_cannot_be_reached_is_said(server: str) -> None:
    def reach(url: str) -> str:
        return refused(lambda: contextlib.ExitStack().enter_context(opened(url)))

    assert re.match(
        rf"{SHOWN}/other must .* but: .*database \"other\" does not exist; mend", reach(server[:-8] + "other")
    )
    away = re.sub(r":\d+/", ":1/", server)
    assert re.match(r"postgresql://tester:\*\*\*@127.0.0.1:1/postgres must .* but: .*refused; mend it", reach(away))


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = refused(lambda: contextlib.ExitStack().enter_context(opened("postgresql://me:hush@host/db")))
    assert said == "--storage needs the driver psycopg, but it cannot be imported; pip install 'psycopg[binary]'."
