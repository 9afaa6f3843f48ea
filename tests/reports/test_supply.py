"""What the data of a report cannot supply, their notes, and a log whose exposures are all clicked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fake_store
import numpy as np
import pytest
from fake_store import make_cell, store_cell, store_manifest

from bench.core.cell import Cell
from bench.core.registry import EXHIBITS
from bench.results.store import Store
from reports.builder import build_report
from reports.study import load_studies
from reports.supply import ALL_CLICKED, left_out

NO_CART = {"cart": "has no carts", "visit": "has no times, so that no visit follows another", "wish": "has no wishes"}
DAYS = "Days are those of UTC."


def say(out: Path, cell: Cell, **more: Any) -> None:
    """The manifest of a log, with what it says of itself."""
    store_manifest(out, cell, origin="log")
    path = out / "data" / "tables" / cell.fingerprint / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two countries of a log without carts, of which the first says more."""
    store = Store(tmp_path / "runs")
    for city, notes in (("NL", [DAYS, "A click may be missing."]), ("ES", [DAYS])):
        for model in ("esmm", "mmoe"):
            store_cell(store, make_cell(city, model, dataset="a_log"))
        say(store.out, make_cell(city, dataset="a_log"), lacks=NO_CART, notes=notes)
    return store


def listed(text: str, title: str) -> list[str]:
    """The lines of a list of the report's head."""
    found = re.search(rf"\*\*{title}[^*]*\*\*\n\n((?:- .*\n)+)", text)
    return [line[2:] for line in found[1].splitlines()] if found else []


def test_notes_of_the_data_are_printed_once_with_the_cities_that_have_them(store: Store, tmp_path: Path) -> None:
    text = build_report(store.out, tmp_path / "report", exhibits=["cost"]).read_text()
    assert listed(text, "What the data say") == [
        f"a_log: {DAYS}",
        "a_log (NL): A click may be missing.",
    ]


def test_models_that_are_left_out_are_named_with_the_reason(store: Store, tmp_path: Path) -> None:
    text = build_report(store.out, tmp_path / "report", exhibits=["cost"]).read_text()
    cart, visit = (f"(the log {NO_CART[fact]})" for fact in ("cart", "visit"))
    assert listed(text, "Left out") == [
        f"a_log: AITM, DBMTL, ESM² and ESM² chain need cart labels {cart}",
        f"a_log: ESMS, ESMC, ESMS² and ESMC² need cart labels {cart}, visits that a user comes back from {visit}",
    ]


def test_a_model_with_stored_cells_is_not_left_out(store: Store) -> None:
    store_cell(store, make_cell("ES", "aitm", dataset="a_log"))
    (study,) = load_studies(store, store.scan())
    lines = [line for line in left_out(study) if " cart labels" in line and "visits" not in line]
    assert [line.partition(" need")[0] for line in lines] == [
        "a_log (ES): DBMTL, ESM² and ESM² chain",
        "a_log (NL): AITM, DBMTL, ESM² and ESM² chain",
    ]


def test_labels_that_the_training_rows_lack_leave_models_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (study,) = load_studies(store, store.scan())
    for city in study.cities:
        say(store.out, make_cell(city, dataset="a_log"))
    assert list(left_out(study)) == []  # nothing is known of them
    monkeypatch.setattr("reports.supply._training", lambda study, manifest: {"click": 5, "cart": 0, "purchase": 1})
    (line,) = left_out(study)
    models = "AITM, DBMTL, ESM², ESM² chain, ESMS, ESMC, ESMS² and ESMC²"
    assert line == f"a_log: {models} need cart labels (the log has none in its training rows)"


def test_nothing_is_said_of_data_that_lack_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell("1", "esmm"))
    store_manifest(store.out, make_cell("1"))
    text = build_report(store.out, tmp_path / "report", exhibits=["cost"]).read_text()
    assert listed(text, "Left out") == listed(text, "What the data say") == []


def test_a_log_whose_exposures_are_all_clicked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CTR has one class: the report says so, and no exhibit fails on it."""
    made = fake_store.make_rows

    def clicked(cell: Cell, rows: int, buy: float) -> dict[str, np.ndarray]:
        columns = made(cell, rows, buy)
        purchase = np.random.default_rng(rows).random(rows) < 0.1
        return columns | {"click": np.ones(rows, np.uint8), "purchase": purchase.astype(np.uint8)}

    monkeypatch.setattr(fake_store, "make_rows", clicked)
    store = Store(tmp_path / "runs")
    for model in ("shared_bottom", "esmm", "esm2", "esmc"):
        for seed in (0, 1):
            store_cell(store, make_cell("all", model, seed, dataset="a_log"), truth=False)
    say(store.out, make_cell("all", dataset="a_log"), lacks={"search": "has no domains"})
    reading = [name for name in EXHIBITS.names() if name not in ("methods", "audit")]
    text = build_report(store.out, tmp_path / "report", exhibits=reading).read_text()
    assert "failed**" not in text
    assert not re.search(r"\bnan\b", text)
    assert listed(text, "What the data say") == [f"a_log: {ALL_CLICKED}"]
    table = text.partition("#### CTR-AUC (`auc/ctr/exposed`)")[2].partition("####")[0]
    assert table.count("withheld: 0 negatives") == 4
    assert "| Positives of rows | 1,200 of 1,200 |" in table
