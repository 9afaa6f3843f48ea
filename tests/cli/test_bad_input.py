"""What a user can get wrong: exit code 2, one line that says what, nothing half-written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_world import RUN, WORLD, Bench, Said, files

ONE = ("run", "--cities", "6", "--models", "esmm", "--seeds", "1", *WORLD)


def assert_refused(said: Said, message: str) -> None:
    assert said.code == 2, said
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --cities 6 --models esmm,mmeo", "unknown model 'mmeo'. Did you mean 'mmoe'"),
        ("run --cities 6 --models ,", "at least one model must be named"),
        ("run --cities 7", "unknown city '7'. Known: 1, 2, 3, 4, 5, 6"),
        ("run --cities ,", "at least one city must be named"),
        ("run", "say which cities: --all-cities, or --cities with some of 1, 2"),
        ("run --all-cities --cities 6", "take --all-cities or --cities, but got both"),
        ("run --cities 6 --data six", "unknown dataset 'six'"),
        ("run --cities 6 --preset paper", "unknown preset 'paper'"),
        ("run --cities 6 --set dropuot=0.1", "unknown configuration key 'dropuot'. Did you mean 'dropout'"),
        ("run --cities 6 --set dropout", "--set needs key=value"),
        ("run --cities 6 --set dropout=much", "dropout is wrong: .* but got 'much'"),
        ("run --cities 6 --set learning_rate=inf", "learning_rate is wrong: .* finite"),
        ("run --cities 6 --wandb of", "--wandb must be one of auto, online, offline, off, but got 'of'"),
        ("run --cities 6 --seeds 0", "--seeds must be at least 1, but got 0"),
        ("run --cities 6 --jobs 0", "--jobs must be at least 1, but got 0"),
        ("run --cities 6 --scale 0", "--scale must be above 0 and at most 1, but got 0.0"),
        ("run --cities 6 --scale 2", "--scale must be above 0 and at most 1, but got 2.0"),
        ("run --cities 6 --scale nan", "--scale must be above 0 and at most 1, but got nan"),
        ("run --cities 6 --data-seed -1", "--data-seed must be 0 or more, but got -1"),
        ("run --cities 6 --tuned", "--tuned needs studies in runs/studies.db, but there are none"),
        ("run --cities 6 --models esmm --tuned", "--tuned needs a model with a coefficient"),
        ("run --data ga360", "ga360 must know where the export lies, but got no folder; give it with --data-dir"),
        ("run --data ga360 --data-dir missing", "--data-dir must hold the ga360 export, but missing does not exist"),
        ("run --data ga360 --data-dir .", "must hold the nested ga360 export, but has no"),
        ("run --data ga360 --data-dir . --dry-run", "must hold the nested ga360 export, but has no"),
        ("tune --model esmn", "unknown model 'esmn'"),
        ("tune --model mmoe", "only models with a coefficient can be tuned"),
        ("tune --city 7", "unknown city '7'"),
        ("tune --trials 0", "--trials must be at least 1, but got 0"),
        ("tune --scale 2", "--scale must be above 0 and at most 1, but got 2.0"),
        ("tune --jobs -1", "--jobs must be at least 1, but got -1"),
        ("tune --set x", "--set needs key=value"),
        ("report", "runs must hold finished cells, but has none; start `bench run` first"),
        ("report --exhibits table_4", "unknown exhibit 'table_4'. Did you mean"),
        ("report --exhibits ,", "at least one exhibit must be named"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(bench: Bench, arguments: str, message: str) -> None:
    assert_refused(bench(*arguments.split()), message)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("arguments", ["rnu", "run --sedes 2", "run --seeds two", "run 6"])
def test_wrong_usage_is_explained(bench: Bench, arguments: str) -> None:
    said = bench(*arguments.split())
    assert said.code == 2
    assert "Usage: bench" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize("start", [ONE, ("tune", "--city", "6", *WORLD)], ids=["run", "tune"])
def test_a_file_in_the_way_of_the_output_is_refused(bench: Bench, start: tuple[str, ...], place: str) -> None:
    Path("file").write_text("mine")
    assert_refused(bench(*start, "--out", place), f"the folder {place} must be writable, but .*; choose another")
    assert Path("file").read_text() == "mine"


def test_something_in_the_way_below_the_output_is_refused(bench: Bench, out: Path) -> None:
    (out / "planned.json").rename(out / "moved")
    (out / "planned.json").mkdir()
    start = (*ONE, "--set", "dropout=0.5", "--out", out)
    assert_refused(bench(*start), "planned.json cannot be used: Is a directory")
    (out / "data").rename(out / "moved data")
    (out / "data").touch()
    assert_refused(bench(*start), "data/tables must be writable, but Not a directory")


def test_a_cell_that_cannot_be_stored_fails_with_the_reason(bench: Bench, out: Path) -> None:
    (out / "cells").rename(out / "moved")
    (out / "cells").touch()
    said = bench(*ONE, "--out", out)
    assert (said.code, said.err) == (1, "")
    assert re.search(r"failed six_cities-x0.0001/6 esmm seed 0: the folder .*cells must be writable, but", said.out)


def test_a_report_needs_a_place_of_its_own(bench: Bench, out: Path) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("mine")
    assert_refused(
        bench("report", "--out", out, "--to", "mine"), "mine must be a report or empty, but holds other files"
    )
    Path("file").touch()
    assert_refused(bench("report", "--out", out, "--to", "file/report"), "file must be writable, but File exists")
    assert Path("mine/thesis.txt").read_text() == "mine"
    assert_refused(bench("report", "--out", out, "--data", "six"), "unknown dataset 'six'")


def test_a_city_without_positives_is_refused_and_leaves_no_data(bench: Bench) -> None:
    said = bench("run", "--cities", "6", "--models", "esmm", "--scale", "0.0000001", "--wandb", "off")
    assert_refused(said, "six_cities-x1e-07/6 must have .*; take ")
    assert files(Path("runs")) == {}


@pytest.mark.parametrize(
    "again", [RUN, (*RUN, "--seeds", "2"), ("tune", "--city", "6", *WORLD)], ids=["same", "more", "tune"]
)
def test_a_truncated_table_is_refused(bench: Bench, out: Path, again: tuple[str, ...]) -> None:
    path = next(out.glob("data/tables/*/exposures.parquet"))
    path.write_bytes(path.read_bytes()[:1000])
    before = files(out)
    assert_refused(
        bench(*again, "--out", out), r"exposures.parquet must be Parquet, but is missing, truncated.*; delete"
    )
    assert {name: before[name] for name in before} == {name: files(out)[name] for name in before}
    assert not list(out.rglob(".staging-*"))


def test_a_label_among_the_features_is_refused(bench: Bench, out: Path) -> None:
    path = next(out.glob("data/tables/*/manifest.json"))
    manifest = json.loads(path.read_text())
    manifest["features"].append({"name": "purchase", "table": "exposures"})
    path.write_text(json.dumps(manifest))
    before = files(out)
    assert_refused(
        bench(*RUN, "--seeds", "2", "--out", out), "features must not tell the label, but 'purchase' is or uses"
    )
    assert files(out) == before


@pytest.mark.parametrize("what", ["record.json", "predictions.parquet"])
def test_a_truncated_cell_is_refused(bench: Bench, out: Path, what: str) -> None:
    path = sorted(out.glob(f"cells/*/{what}"))[0]
    path.write_bytes(path.read_bytes()[:500])
    before = files(out)
    assert_refused(bench("report", "--out", out), f"{what} must be .*; delete {path.parent} and run again")
    if what == "record.json":
        for dry in ([], ["--dry-run"]):
            assert_refused(bench(*RUN, *dry, "--out", out), "record.json must be a record, but it is truncated")
    assert files(out) == before


def test_several_truncated_records_are_told_in_one_line(bench: Bench, out: Path) -> None:
    for path in out.glob("cells/*/record.json"):
        path.write_text("{")
    assert_refused(bench("report", "--out", out), r"record.json must be a record.* `bench check` lists 4 of them\.")


def test_truncated_arrays_are_refused(bench: Bench, out: Path) -> None:
    path = next(out.glob("data/encoded/*/ids.npy"))
    path.write_bytes(path.read_bytes()[:1000])
    assert_refused(bench(*RUN, "--seeds", "2", "--out", out), "must hold an encoded city, but ids.npy is truncated")


def test_a_damaged_database_of_studies_is_refused(bench: Bench, out: Path) -> None:
    (out / "studies.db").write_text("no database, but long enough to look like one " * 20)
    before = files(out)
    for start in (("run", "--cities", "6", "--tuned", *WORLD), ("tune", "--city", "6", *WORLD)):
        assert_refused(bench(*start, "--out", out), "studies.db must be an Optuna storage, but: .*; move it away")
    assert {name: files(out)[name] for name in before} == before


def test_a_full_disk_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runner import prepare

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "runs/data/x")

    monkeypatch.setattr(prepare, "encode", full)
    assert_refused(bench(*ONE), "runs/data/x cannot be used: No space left on device; mend it")
    assert files(Path("runs")) == {}
