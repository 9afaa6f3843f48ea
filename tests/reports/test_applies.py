"""Which exhibits a study gets, and which version of a model file it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_store import make_cell, make_failure, store_cell

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.errors import UserError
from bench.core.registry import EXHIBITS
from bench.results.store import Store
from reports.builder import build_report
from reports.study import Study, load_studies

OLD, NEW = (make_cell(model="mine").model_copy(update={"code": code}) for code in ("old", "new"))
NOTE = "mine: cells of older versions of its file are left out"


def the_study(store: Store, planned: tuple[Cell, ...] = ()) -> Study:
    (study,) = load_studies(store, store.scan(), planned=planned)
    return study


def test_exhibits_of_a_paper_are_built_for_its_protocol_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for preset in ("esmc", "esm2"):
        store_cell(store, make_cell("1", "esmm", config=PRESETS[preset]))
    text = build_report(store.out, tmp_path / "report").read_text()
    sections = {part.partition("\n")[0].rpartition(" ")[2]: part for part in text.split("\n## ")}
    for kind in EXHIBITS.all().values():
        for preset in ("esmc", "esm2") if kind.scope == "study" else ():
            wanted = kind.paper in (None, preset) or kind.name == "table_iv"
            assert (f"### {kind.title}\n" in sections[preset]) == wanted, (kind.name, preset)
    assert {"esmc", "esm2"} <= {kind.paper for kind in EXHIBITS.all().values()}


def test_the_newest_version_of_a_model_file_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    esmm = store_cell(store, make_cell(model="esmm"), created="2025-01-02")
    old = store_cell(store, OLD, created="2025-01-01")
    assert the_study(store).records == sorted([esmm, old], key=lambda record: record.key)
    assert the_study(store).notes == []
    new = store_cell(store, NEW, created="2025-01-03")
    study = the_study(store)
    assert study.records == sorted([esmm, new], key=lambda record: record.key)
    assert (study.notes, study.missing) == ([NOTE], 0)


def test_the_version_that_was_last_asked_for_is_the_newest(tmp_path: Path) -> None:
    """Back at an older version, what is stored of it counts; a version that has not finished hides what was."""
    store = Store(tmp_path)
    old, new = store_cell(store, OLD, created="2025-01-01"), store_cell(store, NEW, created="2025-01-03")
    assert the_study(store, (OLD,)).records == [old]
    assert the_study(store, (NEW,)).records == [new]
    study = the_study(store, (NEW.model_copy(update={"code": "newest"}),))
    assert (study.records, study.missing, study.notes) == ([], 1, [NOTE])


def test_a_failure_may_be_the_newest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_cell(store, OLD, created="2025-01-01")
    store.fail(make_failure(NEW).model_copy(update={"created": "2025-01-02"}))
    study = the_study(store)
    assert (study.records, study.failed, study.notes) == ([], 1, [NOTE])


def test_a_dataset_with_older_versions_only_has_no_report(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_cell(store, OLD, created="2025-01-01")
    store_cell(store, NEW.model_copy(update={"dataset": "a_log"}), created="2025-01-02")
    with pytest.raises(UserError, match=r"unknown dataset 'six_cities-0.001'. Known: a_log"):
        load_studies(store, store.scan(), "six_cities-0.001")
    assert [study.dataset for study in load_studies(store, store.scan())] == ["a_log"]
