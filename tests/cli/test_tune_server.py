"""`bench tune --storage`: two processes share a study on a PostgreSQL server, one of them is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from cli_world import WORLD, Bench, files, start
from optuna.trial import FrozenTrial, TrialState
from postgres_server import running_server
from test_interrupt import assert_all_gone, children, stored, wait_for
from test_tune import SMALL, TUNE

from bench.results.store import Store
from sweeps.study import CELLS, WORKER


@pytest.fixture
def url() -> Iterator[str]:
    with running_server() as url:
        yield url


def trials_on(url: str) -> list[FrozenTrial]:
    """All trials of the one study, without waiting for a turn; none where there is none yet."""
    storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    names = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=names[0], storage=storage).trials if names else []


def of(process: subprocess.Popen[str], trials: list[FrozenTrial], state: TrialState) -> list[int]:
    """Numbers of the trials that a process works on, or has finished."""
    name = f"-{process.pid}-"
    return [trial.number for trial in trials if trial.state == state and name in trial.user_attrs.get(WORKER, "")]


@pytest.mark.slow
def test_what_a_killed_worker_began_is_done_by_the_other(
    trained: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outs = [tmp_path / name for name in ("first", "second")]
    for out in outs:
        shutil.copytree(trained / "data", out / "data")
    first = start(*TUNE, "--trials", "5", "--storage", url, "--out", outs[0], cores=(0, 0))

    def stopped_in_a_trial() -> bool:
        """Stop the first worker where it has finished a trial and is in another."""
        if not stored(outs[0]) or not list(outs[0].glob("cells/.staging-*")):
            return False
        os.killpg(first.pid, signal.SIGSTOP)
        trials = trials_on(url)
        if (
            list(outs[0].glob("cells/.staging-*"))
            and of(first, trials, TrialState.COMPLETE)
            and of(first, trials, TrialState.RUNNING)
        ):
            return True
        os.killpg(first.pid, signal.SIGCONT)
        return False

    wait_for(stopped_in_a_trial)
    monkeypatch.setenv("BENCH_STORAGE", url)
    second = start(*TUNE, "--trials", "5", "--out", outs[1], cores=(1, 1))
    (begun,) = of(first, trials_on(url), TrialState.RUNNING)
    finished = of(first, trials_on(url), TrialState.COMPLETE)
    # it does not answer, but lives: the other does what is left, and then waits
    wait_for(lambda: sum(trial.state == TrialState.COMPLETE for trial in trials_on(url)) == 4)
    assert of(first, trials_on(url), TrialState.RUNNING) == [begun]
    below = children(first.pid)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=20)
    said, errors = second.communicate(timeout=60)
    assert (second.returncode, errors) == (0, ""), said
    assert_all_gone(below)

    trials = trials_on(url)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert of(first, trials, TrialState.COMPLETE) == finished
    assert begun in of(second, trials, TrialState.COMPLETE)
    assert [trial.params["constraint_weight"] for trial in trials] == [0.01, 0.05, 0.1, 0.5, 1.0]
    for number, trial in enumerate(trials):
        assert trial.user_attrs[CELLS][0] in stored(outs[number not in finished])
        assert re.search(rf"│ {number} +│ [\d.]+ +│ {trial.value:.5f} │ COMPLETE", said)
    assert len(stored(outs[1])) == 5 - len(finished)
    assert len(list((outs[1] / "studies").iterdir())) == 1


def test_a_password_is_printed_and_kept_nowhere(bench: Bench, trained: Path, tmp_path: Path, url: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained / "data", out / "data")
    shown = url.replace("hush%40hush", "***")
    tune = (*TUNE, "--trials", "1", "--wandb", "offline", "--out", out, "--storage", url)
    said = bench(*tune)
    assert (said.code, said.err) == (0, "")
    assert said.out.rstrip().endswith(f"--out {out} --storage '{shown}'")
    assert "hush" not in said.out

    run = ("run", "--models", "esmc", "--cities", "6", "--seeds", "1", *WORLD, *SMALL, "--wandb", "offline")
    said = bench(*run, "--tuned", "--out", out, f"--storage={url}")
    assert (said.code, said.err) == (0, "")
    assert "hush" not in said.out
    (tuned,) = (record.cell.config for record in Store(out).records() if record.cell.test)
    assert tuned.constraint_weight == 0.01

    assert len(list(out.glob("wandb/offline-run-*/*.wandb"))) == 2
    assert not any(b"hush" in content for _, content in files(out).values())
