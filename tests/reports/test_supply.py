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
from reports.describe.sections import CALIBRATED
from reports.study import load_studies
from reports.supply import ALL_CLICKED, command, left_out

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


NO_SEARCH = {"search": "has no domains"}


def exhibits_of(store: Store, folder: Path, *names: str) -> dict[str, str]:
    """The text of exhibits, by name."""
    (study,) = load_studies(store, store.scan())
    return {name: EXHIBITS.get(name)().build(study, folder) for name in names}


def test_exhibits_of_a_log_name_it_in_their_command_and_no_model_that_it_leaves_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for model in ("esm2_chain", "esmc"):
        store_cell(store, make_cell("all", model, dataset="a_log"), truth=False)
    say(store.out, make_cell("all", dataset="a_log"), lacks=NO_SEARCH)
    text = exhibits_of(store, tmp_path, "table_v", "table_vi", "figure_5", "figure_6", "figure_7", "gap")
    nothing = "Nothing to show. a_log: {} carts of the search domain (the log has no domains)."
    assert text["table_v"] == nothing.format("ESMS² and ESMC² need")
    assert text["figure_6"] == nothing.format("ESMC² needs")
    assert text["figure_5"] == "Not stored yet; `bench run --exhibit figure_5 --data a_log` trains it."
    for name in ("table_vi", "figure_7"):
        assert f"`bench run --exhibit {name} --data a_log` trains them." in text[name]
    assert text["figure_7"].startswith("There is no model with and without Sample Calibration.")
    assert text["gap"] == "Nothing to show: a log has no true probabilities."
    assert not [*tmp_path.glob("*.png")] or all("table_vi" in path.name for path in tmp_path.glob("*.png"))


def test_models_without_labels_are_left_out_of_an_exhibit(store: Store, tmp_path: Path) -> None:
    (study,) = load_studies(store, store.scan())
    text = exhibits_of(store, tmp_path, "table_vi", "figure_5", "figure_7")
    cart = f"cart labels (the log {NO_CART['cart']})"
    visit = f"visits that a user comes back from (the log {NO_CART['visit']})"
    assert f"a_log: ESM² and ESM² chain need {cart}; a_log: ESMS and ESMC need {cart}, {visit}." in text["table_vi"]
    assert "ESM² chain, ESMS" not in text["table_vi"].partition("Left out")[0]
    assert text["figure_5"] == f"Nothing to show. a_log: ESMC needs {cart}, {visit}."
    assert text["figure_7"].startswith("Nothing to show. a_log: ESMS and ESMC need")
    assert command(study, "table_vi") == "`bench run --exhibit table_vi --data a_log`"
    study.dataset = "ga360"
    assert command(study, "table_vi") == "`bench run --exhibit table_vi --data ga360 --data-dir FOLDER`"


def test_calibrated_tables_say_so(store: Store, tmp_path: Path) -> None:
    say(store.out, make_cell("NL", dataset="a_log"), settings={"calibration": {"mode": "copy"}})
    text = build_report(store.out, tmp_path / "report", exhibits=["cost"]).read_text()
    assert listed(text, "What the data say") == [f"a_log (ES): {DAYS}", f"a_log (NL): {CALIBRATED}"]
