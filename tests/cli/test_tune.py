"""`bench tune`: knobs, seeds, table, picture and W&B runs; killed and carried on."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from cli_world import WORLD, Bench, start
from test_interrupt import assert_all_gone, children, stored, wait_for

from bench.cli import _tuning
from bench.core.registry import MODELS
from bench.results.store import Store
from sweeps.study import CELLS, OBJECTIVE, VALUES

#: A model so small that a cell takes about a second.
SMALL = tuple(f"--set={change}" for change in ("hidden=8", "embedding_dim=4", "din_length=0", "eta_length=0"))
TUNE = ("tune", "--city", "6", "--jobs", "1", *WORLD, *SMALL)


def study_in(out: Path) -> optuna.Study:
    """The one study below ``out``."""
    storage = f"sqlite:///{out / 'studies.db'}"
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    """An output folder that has data, but no cells."""
    shutil.copytree(trained / "data", tmp_path / "out" / "data")
    return tmp_path / "out"


def test_two_knobs_with_two_seeds_reach_the_run(bench: Bench, out: Path) -> None:
    said = bench(*TUNE, "--model", "esmc2", "--seeds", "2", "--trials", "2", "--out", out)
    assert (said.code, said.err) == (0, ""), said
    study = study_in(out)
    assert study.study_name.endswith("/2-seeds")
    assert study.study_name in said.out
    for row in (r"0 +│ 0\.01 +│ 0\.1", r"1 +│ 0\.05 +│ 0\.3"):
        assert re.search(rf"│ {row} +│ 0\.\d{{5}} ± 0\.\d{{5}} +│ COMPLETE", said.out)
    assert len(re.findall(r"COMPLETE ★", said.out)) == 1

    records = {record.key: record for record in Store(out).records()}
    assert len(records) == 4
    for trial in study.trials[:2]:
        cells = [records[key] for key in trial.user_attrs[CELLS]]
        assert [record.cell.seed for record in cells] == [0, 1]
        assert [record.metrics["valid"][OBJECTIVE].value for record in cells] == trial.user_attrs[VALUES]
        assert trial.value == pytest.approx(sum(trial.user_attrs[VALUES]) / 2)
        assert {set(record.metrics) == {"valid"} for record in cells} == {True}
        for name, value in trial.params.items():
            assert {getattr(record.cell.config, name) for record in cells} == {value}

    best = re.search(
        r"best constraint_weight = (\S+), weight_global = (\S+) \(.*; use it: bench (run .*)$", said.out.strip()
    )
    assert best is not None
    assert bench(*best[3].split(), "--seeds", "1", "--wandb", "off").code == 0
    (tuned,) = (record.cell.config for record in Store(out).records() if record.cell.test)
    assert (tuned.constraint_weight, tuned.weight_global) == (float(best[1]), float(best[2]))


def test_the_picture_lies_beside_the_studies(bench: Bench, out: Path) -> None:
    said = bench(*TUNE, "--trials", "1", "--out", out)
    (picture,) = (out / "studies").iterdir()
    assert f"plot: {picture}" in said.out
    assert re.fullmatch(r"six_cities-x0\.0001-6-esmc-constraint_weight-[0-9a-f]{8}\.png", picture.name)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_some_knobs_only(bench: Bench, out: Path) -> None:
    only = ("--model", "esmc2", "--knob", "weight_global", "--set", "constraint_weight=0.3")
    said = bench(*TUNE, *only, "--trials", "1", "--out", out)
    assert "trial 0: {'weight_global': 0.1} → " in said.out
    (cell,) = (record.cell for record in Store(out).records())
    assert (cell.config.constraint_weight, cell.config.weight_global) == (0.3, 0.1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--seeds 0", "--seeds must be at least 1, but got 0."),
        ("--knob dropout", "unknown knob to tune of esmc 'dropout'."),
        ("--model esmc2 --knob weight_globl", "unknown knob to tune of esmc2 'weight_globl'. Did you mean"),
        ("--set constraint_weight=0.5", "--set must not fix a knob that is searched, but fixes constraint_weight;"),
        (
            "--storage sqlite:///studies.db",
            "--storage must be like postgresql://user@host/database, but got sqlite://.",
        ),
        ("--world bad_case=1", "unknown knob of the simulation 'bad_case'. Did you mean 'bad_case_share'"),
    ],
)
def test_wrong_words_are_refused(bench: Bench, arguments: str, said: str) -> None:
    found = bench("tune", "--city", "6", *WORLD, *arguments.split())
    assert (found.code, len(found.err.splitlines())) == (2, 1)
    assert found.err.startswith(f"error: {said}")
    assert list(Path().iterdir()) == []


def test_a_model_that_lacks_labels_is_refused(bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODELS.get("esmc"), "needs", ("click", "gift"))
    said = bench(*TUNE, "--out", out)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "but esmc on city 6: it needs gift labels (the log has none in its training rows); take" in said.err


@pytest.mark.parametrize(("model", "trials"), [("esmc", 20), ("esms2", 20), ("esmc2", 40)])
def test_a_study_goes_beyond_the_grid(bench: Bench, monkeypatch: pytest.MonkeyPatch, model: str, trials: int) -> None:
    asked: list[Any] = []

    def stopped(*arguments: Any, **_: Any) -> None:
        asked.extend(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(_tuning, "search", stopped)
    assert bench(*TUNE, "--model", model, "--world", "bad_case_share=0.4").code == 130
    assert asked[0].label == asked[1].cell.dataset == "six_cities-x0.0001-bad_case_share0.4"
    assert asked[2] == trials


def test_every_trial_is_a_run_in_the_group_of_its_study(
    bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    begun: list[dict[str, Any]] = []
    init = wandb.init

    def watched(**given: Any) -> Any:
        begun.append(given)
        return init(**given | {"mode": "disabled"})

    monkeypatch.setattr(wandb, "init", watched)
    said = bench(*TUNE, "--trials", "2", "--wandb", "offline", "--out", out)
    assert said.code == 0, said
    study = study_in(out)
    assert [run["group"] for run in begun] == [study.study_name] * 2
    assert [[run["id"]] for run in begun] == [trial.user_attrs[CELLS] for trial in study.trials[:2]]
    assert [run["config"]["config"]["constraint_weight"] for run in begun] == [0.01, 0.05]


@pytest.mark.slow
def test_a_killed_study_ends_as_an_uninterrupted_one(bench: Bench, out: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(out, whole)
    arguments = (*TUNE, "--trials", "8", "--jobs", "2")
    assert bench(*arguments, "--out", whole).code == 0

    process = start(*arguments, "--out", out)
    wait_for(lambda: len(stored(out)) >= 5 or process.poll() is not None, seconds=300)
    below = children(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert_all_gone(below)
    before = stored(out)
    assert 5 <= len(before) < 8
    assert len(study_in(out).get_trials(states=(optuna.trial.TrialState.COMPLETE,))) < 8

    said = bench(*arguments, "--out", out)
    assert (said.code, said.err) == (0, ""), said
    assert "trial 0:" not in said.out
    assert before.items() <= stored(out).items()
    assert not list(out.rglob(".staging-*"))
    found = [
        [(trial.params, trial.value, trial.user_attrs) for trial in study_in(folder).trials] for folder in (out, whole)
    ]
    assert found[0] == found[1]
    assert len({str(params) for params, _, _ in found[0]}) == 8
    assert Store(out).keys() == Store(whole).keys()
