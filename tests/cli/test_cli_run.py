"""`bench run`: what it says and stores, with failing cells, broken models and tuned values."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import RUN, WORLD, Bench, files

import esm_models
from bench.core.publish import alone
from bench.core.record import RECORD
from bench.core.registry import MODELS
from bench.results.store import Store
from bench.runner.layout import Layout
from sweeps.study import OBJECTIVE

FAILING = ("--set", "learning_rate=1e9")
FAILED = "esmm seed 0 (learning_rate=1e+09): diverged: the ctr loss is nan"


def run(models: str, *more: str) -> tuple[str, ...]:
    return ("run", "--cities", "6", "--models", models, "--seeds", "1", *WORLD, *more)


def test_a_finished_run_says_what_it_did(trained: Path) -> None:
    store = Store(trained)
    assert sorted(record.cell.model for record in store.records()) == ["esmc", "esmm", "esms", "shared_bottom"]
    assert {path.name for path in trained.iterdir()} == {"cells", "data", "planned.json"}
    assert not list(trained.rglob(".*"))
    for record in store.records():
        assert set(record.metrics) == {"valid", "test"}
        assert record.metrics["test"]["auc/ctcvr/exposed"].value is not None
        assert record.cost.train_rows == record.curve[-1].rows > 10_000


def test_a_second_run_skips_everything(bench: Bench, out: Path) -> None:
    before = files(out / "cells") | files(out / "data")
    start = time.monotonic()
    said = bench(*RUN, "--out", out)
    assert time.monotonic() - start < 5
    assert (said.code, said.err) == (0, "")
    assert "4 of 4 cells are stored already\n0 cells trained; next: bench report --out" in said.out
    assert files(out / "cells") | files(out / "data") == before


def test_only_new_cells_are_trained(bench: Bench, out: Path) -> None:
    before = files(out / "cells")
    said = bench(*run("esmm,esmc", "--seeds", "2"), "--out", out)
    assert said.code == 0
    assert "2 of 4 cells are stored already" in said.out
    assert re.search(r"1/2 six_cities-x0.0001/6 esmm seed 1 \(\d+ s\)", said.out)
    assert re.search(r"2/2 six_cities-x0.0001/6 esmc seed 1 \(\d+ s\); [\d,]+ samples/s, 0:00:00 left", said.out)
    assert said.out.splitlines()[-1].startswith("2 cells trained; next: bench report --out ")
    assert before.items() <= files(out / "cells").items()
    seeds = {record.cell.seed: record for record in Store(out).records() if record.cell.model == "esmm"}
    assert seeds[0].metrics != seeds[1].metrics


def test_a_dry_run_lists_the_cells_and_writes_nothing(bench: Bench, out: Path) -> None:
    said = bench(*run("esmm,mmoe"), "--dry-run")
    assert said.code == 0
    assert re.findall(r"to do   [0-9a-f]{32}  six_cities-x0.0001/6 (\w+) seed 0", said.out) == ["esmm", "mmoe"]
    assert said.out.splitlines()[-1] == "2 cells, 0 of them stored"
    assert list(Path().iterdir()) == []
    before = files(out)
    said = bench(*run("esmm,mmoe"), "--dry-run", "--out", out)
    assert re.findall(r"(\S+)\s+[0-9a-f]{32}", said.out) == ["stored", "do"]
    assert files(out) == before


def test_a_diverging_cell_fails_and_the_others_go_on(bench: Bench, out: Path) -> None:
    said = bench(*run("esmm,esmc", *FAILING), "--out", out)
    assert (said.code, said.err) == (1, "")
    assert re.search(rf"1/2 failed six_cities-x0.0001/6 {re.escape(FAILED)} at step \d+", said.out)
    assert "0 cells trained, 2 failed; next: bench report" in said.out
    failure = next(failure for failure in Store(out).failures() if failure.cell.model == "esmm")
    assert "LossCurve" in failure.traceback or "CellError" in failure.traceback
    assert not list(out.rglob(".staging-*"))

    status = bench("status", "--out", out)
    assert status.code == 0
    assert f"failed six_cities-x0.0001/6 {FAILED}" in status.out
    assert bench("report", "--out", out).code == 0
    assert FAILED in (out / "report" / "report.md").read_text()
    assert ", 2 failed, 0 damaged" in bench("ls", "--out", out).out


def test_a_failed_cell_is_tried_again_and_its_failure_cleared(
    bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.runner import worker

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a [/red] mark and\na second line")

    with monkeypatch.context() as patched:
        patched.setattr(worker, "train_cell", fail)
        said = bench(*run("mmoe,esmm"), "--out", out)
    assert said.code == 1
    assert "1/1 failed six_cities-x0.0001/6 mmoe seed 0: RuntimeError: a [/red] mark and a second line" in said.out
    assert "RuntimeError: a [/red] mark and a second line" in bench("status", "--out", out).out
    said = bench(*run("mmoe,esmm"), "--out", out)
    assert (said.code, Store(out).failures()) == (0, [])
    assert "1 of 2 cells are stored already" in said.out


def test_a_knob_of_another_model_changes_nothing(bench: Bench, out: Path) -> None:
    said = bench(*run("esmm", "--set", "constraint_weight=0.7"), "--out", out)
    assert "1 of 1 cells are stored already" in said.out


def test_the_next_step_can_be_typed_as_it_is_printed(bench: Bench) -> None:
    said = bench(*run("esmm"), "--out", "a folder")
    assert said.out.splitlines()[-1] == "1 cells trained; next: bench report --out 'a folder'"
    assert bench("report", "--out", "a folder").out.endswith("report: a folder/report/report.md\n")


@pytest.fixture
def _broken_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "typo.py").write_text("class Typo(:\n")
    monkeypatch.setattr(esm_models, "__path__", [*esm_models.__path__, str(tmp_path / "more")])
    monkeypatch.setattr(MODELS, "_found", None)
    yield
    monkeypatch.undo()
    MODELS.broken.clear()
    sys.modules.pop("esm_models.typo", None)


@pytest.mark.usefixtures("_broken_model")
def test_a_broken_model_never_vanishes_and_the_others_work(bench: Bench, out: Path) -> None:
    said = bench("ls", "--out", out)
    assert said.code == 0
    assert "broken model typo: SyntaxError: invalid syntax" in said.out
    assert "esmm" in said.out
    said = bench("check", "--out", out)
    assert said.code == 1
    assert "model typo cannot be imported" in said.out
    assert "SyntaxError" in said.out

    said = bench("run", "--cities", "6", "--seeds", "1", *WORLD, "--dry-run", "--out", out)
    assert "left out: model typo cannot be imported: SyntaxError: invalid syntax" in said.out
    assert f"{len(MODELS.all())} cells, 4 of them stored" in said.out
    said = bench("run", "--cities", "6", "--models", "typo,esmm", *WORLD, "--out", out)
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(r"error: the model 'typo' cannot be imported: SyntaxError.*run `bench check`\.\n", said.err)


@pytest.mark.usefixtures("_broken_model")
def test_a_run_of_all_models_with_a_broken_one_is_no_success(bench: Bench, out: Path) -> None:
    MODELS.broken["typo"] = "SyntaxError: invalid syntax"
    said = bench(*run("esmm"), "--out", out)
    assert said.code == 1
    assert "left out: model typo cannot be imported" in said.out


def test_tuned_values_reach_the_run_and_the_report(bench: Bench, out: Path) -> None:
    knob = ("--set", "dropout=0.1")
    tune = ("tune", "--model", "esmc", "--city", "6", *WORLD, *knob, "--jobs", "1", "--out", out)
    said = bench(*tune, "--trials", "1")
    assert (said.code, said.err) == (0, "")
    assert re.search(r"trial 0: \{'constraint_weight': 0.01\} → 0\.\d{5}", said.out)
    said = bench(*tune, "--trials", "2")
    assert "trial 0" not in said.out
    assert "trial 1: {'constraint_weight': 0.05}" in said.out
    assert re.search(r"│ 0 +│ 0.01 +│ 0\.\d+ +│ COMPLETE", said.out)
    best = re.search(r"best constraint_weight = (\S+) .*; use it: bench (run .*)$", said.out.strip())
    assert best is not None
    assert best[2].startswith("run --models esmc --cities 6 --tuned --scale 0.0001 --set dropout=0.1 --out ")

    trials = [record for record in Store(out).records() if not record.cell.test]
    values = {record.cell.config.constraint_weight: record.metrics["valid"][OBJECTIVE].value for record in trials}
    assert max(values, key=lambda weight: values[weight] or 0) == float(best[1])
    assert set(values) == {0.01, 0.05}
    for record in trials:
        assert set(record.metrics) == {"valid"}
        assert set(record.files) == {"model.safetensors"}

    assert bench(*best[2].split(), "--seeds", "1", "--wandb", "off").code == 0
    (tuned,) = (record for record in Store(out).records() if record.cell.test and record.cell.config.dropout == 0.1)
    assert tuned.cell.config.constraint_weight == float(best[1])
    assert bench("report", "--out", out).code == 0
    report = (out / "report" / "report.md").read_text()
    assert "dropout=0.1" in report
    assert ("constraint_weight=0.01" in report) == (float(best[1]) == 0.01)
    assert bench("check", "--out", out).code == 0


def test_one_tune_at_a_time(bench: Bench, out: Path) -> None:
    with alone(Layout(out).studies_lock, "bench tune"):
        said = bench("tune", "--city", "6", *WORLD, "--out", out)
    assert said.code == 2
    assert "only one bench tune may run" in said.err


def test_a_record_holds_its_whole_configuration(trained: Path) -> None:
    for path in trained.glob(f"cells/*/{RECORD}"):
        record = json.loads(path.read_text())
        assert record["key"] == path.parent.name
        assert record["cell"]["config"]["optimizer"] == "adagrad_decay"
        assert record["versions"]["torch"]
