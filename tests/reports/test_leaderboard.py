"""The leaderboard's page: figures recomputed from the records, words that follow them, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import StoreMaker, make_cell, store_cell
from scipy import stats

from bench.core.config import PRESETS
from bench.core.record import Metric
from bench.results.store import Store
from reports.builder import build_report
from reports.exhibits.leaderboard import COLUMNS, Leaderboard
from reports.leaderboard.blocks import block_values
from reports.study import Study, load_studies

NAMES = ("auc/ctr/exposed", "auc/ctcvr/exposed", "auc/cvr/clicked")


def report(store: Store, folder: Path, **how: str) -> tuple[str, pd.DataFrame]:
    """Text and CSV."""
    folder.mkdir(exist_ok=True)
    (study, *_) = load_studies(store, store.scan(), **how)
    text = Leaderboard().build(study, folder)
    return text, pd.read_csv(folder / "leaderboard.csv", dtype={"city": str})


def test_the_page_over_several_datasets_and_presets(make_store: StoreMaker, tmp_path: Path) -> None:
    """ESMC knows the truth best, then ESMS, then ESMM; so it is in every block of this store."""
    models = ("shared_bottom", "esmm", "esms", "esmc")
    store = make_store(cities=("1", "2", "3"), models=models, rows=6000)
    for model in models:
        store_cell(store, make_cell("a", model, dataset="other"), rows=6000)
        store_cell(store, make_cell("1", model, config=PRESETS["esm2"]), rows=6000)
    store_cell(store, make_cell("1", "esmc", config=PRESETS["esmc"].model_copy(update={"dropout": 0.3})), rows=6000)
    text, frame = report(store, tmp_path / "page")
    assert list(frame.columns) == COLUMNS
    assert "- **CTR-AUC** (4 models in 5 blocks): **ESMC** is significantly better than" in text
    assert "(1, 2, 3); six_cities-0.001, preset esm2 (1); other, preset esmc (a). Nothing is left out." in text
    assert "as for CTR-AUC" in text
    aucs = frame[(frame.quantity == "auc") & (frame.measure == "auc/ctr/exposed")]
    assert len(aucs) == 20  # the other dropout is no main configuration
    wide = aucs.pivot(index=["dataset", "preset", "city"], columns="model", values="value")
    stored = {
        (record.cell.dataset, record.cell.city, record.cell.model): record.metrics["test"]["auc/ctr/exposed"].value
        for record in store.scan().records
        if record.cell.config == PRESETS["esmc"]
    }
    for (dataset, city, model), value in stored.items():
        assert wide.loc[(dataset, "esmc", city), model] == pytest.approx(value, abs=1e-11)
    ranks = wide.rank(axis=1, ascending=False).mean()
    written = frame[(frame.quantity == "mean_rank") & (frame.measure == "auc/ctr/exposed")].set_index("model")["value"]
    assert written.to_dict() == pytest.approx(ranks.to_dict())
    assert ranks.idxmin() == "esmc"
    assert f"| ESMC | {ranks['esmc']:.2f} |" in text
    chi = frame[(frame.quantity == "friedman") & (frame.measure == "auc/ctr/exposed")].iloc[0]
    reference = stats.friedmanchisquare(*wide.to_numpy().T)
    assert (chi.value, chi.p_value) == pytest.approx((reference.statistic, reference.pvalue))
    pair = frame[(frame.quantity == "wins_of_pair") & (frame.model == "esmc") & (frame.other == "esmm")]
    assert set(pair.value) == {5.0}
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(linked) == 6
    assert all((tmp_path / "page" / name).stat().st_size > 5_000 for name in linked)
    only, _ = report(store, tmp_path / "one", dataset="other")
    assert "**Caution.**" in text
    assert "**Caution.**" not in only
    assert "(4 models in 1 block): No verdict: tests need 3 models and 3 blocks or more" in only


def doctored(study: Study, change: Mapping[str, float], n_pos: int = 100) -> Study:
    """The study where every AUC of a model is what ``change`` says."""
    for place, record in enumerate(study.records):
        value = change.get(record.cell.model)
        metrics = {name: Metric(value=value, n=1000, n_pos=n_pos) for name in NAMES}
        study.records[place] = record.model_copy(update={"metrics": {"test": metrics}})
    return study


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def test_a_doctored_store_flips_the_words(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=tuple("12345678"))
    for best, worst in (("esmc", "esmm"), ("esmm", "esmc")):
        study = doctored(study_of(store), {best: 0.8, "esms": 0.75, worst: 0.7})
        first, last = best.upper(), worst.upper()
        folder = tmp_path / best
        folder.mkdir()
        text = Leaderboard().build(study, folder)
        assert f"**{first}** is significantly better than ESMS and {last}" in text
        assert f"| {last} | 3.00 | 3.0 to 3.0 | -0.1000 | 0 of 8 |" in text


def test_withheld_missing_and_uneven(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2", "3"), models=("esmm", "esms", "esmc", "esms2"))
    store_cell(store, make_cell("1", "esmm", seed=1))
    study = study_of(store)
    values = block_values([study])
    assert values.uneven == [("six_cities-0.001", "esmc", "1")]
    seeds = values.table[(values.table.model == "esmm") & (values.table.city == "1")]
    assert set(seeds.n_seeds) == {2}
    text = Leaderboard().build(study, tmp_path)
    assert "the same seeds in six_cities-0.001, preset esmc (1)" in text
    assert "Unlike the others, ESMS² saw the carts of search" in text
    few = doctored(study_of(store), {"esmm": 0.8, "esms": 0.7, "esmc": 0.6, "esms2": 0.5}, n_pos=29)
    (tmp_path / "few").mkdir()
    text = Leaderboard().build(few, tmp_path / "few")
    assert "There is nothing to rank" in text
    assert block_values([few]).withheld["cvr"] == {("six_cities-0.001", "esmc", city) for city in "123"}
    undefined = doctored(study_of(store), {"esmm": 0.8})
    assert set(block_values([undefined]).table.model) == {"esmm"}


def test_a_mean_over_seeds(make_store: StoreMaker) -> None:
    store = make_store(cities=("1",), models=("esmm",), seeds=3)
    found = block_values([study_of(store)]).grid("cvr")
    stored = [record.metrics["test"]["auc/cvr/clicked"].value for record in store.scan().records]
    assert found.to_numpy().tolist() == [[pytest.approx(np.mean([value for value in stored if value is not None]))]]


def test_every_study_knows_those_of_the_report(make_store: StoreMaker) -> None:
    store = make_store(cities=("1",), models=("esmm",))
    store_cell(store, make_cell("1", "esmm", config=PRESETS["esm2"]))
    store_cell(store, make_cell("a", "esmm", dataset="other"))
    studies = load_studies(store, store.scan())
    assert all(study.report == studies for study in studies)
    assert len(studies) == 3
    (only,) = load_studies(store, store.scan(), dataset="other")
    assert only.report == [only]


def test_it_is_built_once_with_the_whole_report(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2", "3"))
    store_cell(store, make_cell("a", "esmm", dataset="other"))
    text = build_report(store.out, tmp_path / "report", exhibits=["leaderboard"]).read_text()
    assert text.count("### Leaderboard: all models over all worlds") == 1
    assert "1 block that lacks one of these models (other, preset esmc (a))" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1
