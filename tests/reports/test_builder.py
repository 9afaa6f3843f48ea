"""The whole report: complete, half-way, with damage, failures and a broken exhibit."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from fake_store import StoreMaker, make_cell, make_failure, store_cell, store_manifest

from bench.core.config import PRESETS
from bench.core.errors import UserError
from bench.core.record import PREDICTIONS, RECORD
from bench.core.registry import EXHIBITS
from bench.data.source import SourceOptions
from bench.results.store import Store
from bench.runner.prepare import open_source
from reports.builder import build_report
from reports.exhibits.cost import Cost


def test_a_complete_report(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(seeds=2)
    path = build_report(store.out, tmp_path / "report")
    assert path == tmp_path / "report" / "report.md"
    text = path.read_text()
    assert "from 12 stored cells; 0 failed, 0 missing." in text
    assert "| six_cities-0.001 | esmc | 1, 2 | ESMM, ESMS, ESMC | 0, 1 | 12 | 0 | 0 |" in text
    assert "**simulated** at scale 0.001" in text
    assert "torch: 2.13.0" in text
    titles = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
    applying = [kind for kind in EXHIBITS.all().values() if kind.paper in (None, "esmc")]
    kinds = sorted(applying, key=lambda kind: (kind.scope == "report", kind.order, kind.name))
    assert titles == [kind.title for kind in kinds]
    assert titles[:3] == ["ESMC Table III: the cities", "ESMC Table IV: models compared", "AUC by model and city"]
    assert len({kind.order for kind in kinds}) == len(kinds)
    assert "failed**" not in text
    names = {file.name for file in path.parent.iterdir()}
    always = {kind.name for kind in kinds if kind.paper is None or kind.name.startswith("table_")}
    assert {f"{name}.csv" for name in always} <= names
    assert len(always) >= 9
    linked = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", text))
    assert linked == {name for name in names if name.endswith(".png")}
    assert len(linked) >= 4
    assert all((path.parent / name).stat().st_size > 5_000 for name in linked)


def test_tables_have_equally_many_cells_in_every_row(make_store: StoreMaker, tmp_path: Path) -> None:
    text = build_report(make_store().out, tmp_path / "report").read_text()
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert not re.search(r"\bnan\b", text)


def test_half_way(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1",))
    store_cell(store, make_cell("2", "esmm"))
    store.fail(make_failure(make_cell("2", "esms")))
    planned = [make_cell(city, model) for city in ("1", "2") for model in ("esmm", "esms", "esmc", "mmoe")]
    text = build_report(store.out, tmp_path / "report", planned=planned).read_text()
    assert "from 4 stored cells; 1 failed, 3 missing" in text
    assert "- six_cities-0.001/2 esms seed 0: the loss became NaN" in text
    assert "failed**" not in text


def test_only_failures(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.fail(make_failure(make_cell()))
    text = build_report(store.out, tmp_path / "report").read_text()
    assert "from 0 stored cells; 1 failed" in text
    assert "failed:" not in text


def test_damage_is_told_and_left_out(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store()
    record = store.cells / make_cell("1", "esmm").key / RECORD
    record.write_text(record.read_text()[:50])
    predictions = store.cells / make_cell("2", "esmm").key / PREDICTIONS
    predictions.write_bytes(predictions.read_bytes()[:50])
    text = build_report(store.out, tmp_path / "report").read_text()
    assert ", 1 damaged" in text
    assert str(record) in text
    assert str(predictions) in text
    frame = pd.read_csv(tmp_path / "report" / "table_iv.csv")
    assert "esmm" not in set(frame.model)
    assert set(frame.city) == {1, 2}


def test_datasets_and_presets_get_their_own_sections_and_share_the_csv(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1",), models=("esmm", "esmc"))
    store_cell(store, make_cell("1", "esmm", config=PRESETS["esm2"]))
    log = make_cell("all", "esmm", dataset="a_log")
    store_cell(store, log)
    store_manifest(store.out, log, origin="log")
    text = build_report(store.out, tmp_path / "report").read_text()
    sections = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    studies = ["six_cities-0.001, preset esmc", "six_cities-0.001, preset esm2", "a_log, preset esmc"]
    assert sections == [*studies, "Models and papers"]
    assert "a_log is a **real log**" in text
    frame = pd.read_csv(tmp_path / "report" / "table_iv.csv")
    assert list(frame.groupby(["dataset", "preset"]).size()) == [3, 3, 6]
    assert frame.published[frame.dataset == "a_log"].isna().all()
    only = build_report(store.out, tmp_path / "other", dataset="a_log").read_text()
    assert re.findall(r"^## (.*)$", only, flags=re.MULTILINE) == ["a_log, preset esmc", "Models and papers"]
    assert "six_cities" not in only.partition("## Models and papers")[0]


def test_an_exhibit_that_fails_does_not_stop_the_others(
    make_store: StoreMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no ```ink``` left")

    monkeypatch.setattr(Cost, "build", fail)
    monkeypatch.setitem(EXHIBITS.broken, "lost", "ImportError: no such thing")
    monkeypatch.setattr(EXHIBITS, "names", lambda: ["cost", "curves", "lost"])
    text = build_report(make_store(cities=("1",)).out, tmp_path / "report").read_text()
    assert "**The exhibit `cost` failed: RuntimeError: no ```ink``` left**" in text
    assert "**The exhibit `lost` cannot be imported**" in text
    assert "ImportError: no such thing" in text
    assert "### Training curves" in text


def test_a_report_is_replaced_as_a_whole_and_nothing_is_left_over(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1",))
    build_report(store.out, tmp_path / "report")
    build_report(store.out, tmp_path / "report", exhibits=["cost"])
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "cost.csv"}
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "report"}


def test_a_folder_with_other_files_is_never_replaced(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1",), models=("esmc",))
    with pytest.raises(UserError, match="other files"):
        build_report(store.out, store.out)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="other files"):
        build_report(store.out, tmp_path / "file")
    report = build_report(store.out, tmp_path / "report")
    (report.parent / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        build_report(store.out, report.parent)
    assert (report.parent / "notes.txt").exists()
    assert store.records()


def test_bad_names_are_user_errors(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1",), models=("esmc",))
    with pytest.raises(UserError, match="Did you mean 'table_iv'"):
        build_report(store.out, tmp_path / "report", exhibits=["tabel_iv"])
    with pytest.raises(UserError, match="unknown dataset"):
        build_report(store.out, tmp_path / "report", dataset="ga360")
    with pytest.raises(UserError, match="bench run"):
        build_report(tmp_path / "nowhere", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_worlds_that_an_exhibit_varies_have_no_section_of_their_own(tmp_path: Path) -> None:
    """They stand beside the world that was asked for; asked for by name, one is shown whole."""
    store = Store(tmp_path / "runs")
    for knobs in ({}, {"bad_case_share": 0.4}):
        source = open_source("six_cities", SourceOptions(knobs=knobs))
        cell = make_cell("6", "esmm", dataset=source.label)
        store_cell(store, cell)
        store_manifest(store.out, cell, settings={"scale": 0.001, "seed": 0, "knobs": knobs})
    text = build_report(store.out, tmp_path / "report").read_text()
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["six_cities, preset esmc", "Models and papers"]
    assert "1 more worlds stand beside these" in text
    assert "six_cities-bad_case_share0.4 (1 cells)" in text
    whole = build_report(store.out, tmp_path / "whole", dataset="six_cities-bad_case_share0.4").read_text()
    assert "## six_cities-bad_case_share0.4, preset esmc" in whole
