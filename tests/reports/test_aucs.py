"""AUCs from stored predictions, recomputed independently."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_store import StoreMaker, make_cell, store_cell
from sklearn.metrics import roc_auc_score

from bench.core.config import PRESETS
from bench.core.record import PREDICTIONS
from bench.results.store import Store
from reports.aucs import COLUMNS, Aucs, metric_name, study_aucs
from reports.measures import MIN_CLASS
from reports.study import Study, load_studies


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def reference(store: Store, city: str, model: str, probability: str, seeds: int) -> float:
    """Mean over seeds of scikit-learn's AUC, from the stored file itself."""
    values = []
    for seed in range(seeds):
        found = store.predictions(make_cell(city, model, seed).key)
        rows = found["click"] == 1 if probability == "cvr" else np.full(found["click"].size, True)
        label = found["click"] if probability == "ctr" else found["purchase"] & found["click"]
        values.append(roc_auc_score(label[rows], found[probability][rows]))
    return float(np.mean(values))


def test_means_equal_scikit_learn(make_store: StoreMaker) -> None:
    store = make_store(models=("esmm", "esmc"), seeds=2)
    table = study_aucs(study_of(store)).table
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 2 * 3
    for row in table.to_dict("records"):
        probability = row["metric"].split("/")[1]
        expected = reference(store, row["city"], row["model"], probability, 2)
        assert row["mean"] == pytest.approx(expected, abs=1e-12)
        assert row["lo"] < row["mean"] < row["hi"]
        assert row["n_seeds"] == 2


def test_counts_ceiling_and_published_value(make_store: StoreMaker) -> None:
    store = make_store(cities=("1",), models=("esmc", "esm2"))
    study = study_of(store)
    table = study_aucs(study).table.set_index(["model", "metric"])
    found = store.predictions(make_cell("1", "esmc").key)
    clicked = found["click"] == 1
    row = table.loc[("esmc", "auc/cvr/clicked")]
    assert (row.n, row.n_pos) == (clicked.sum(), found["purchase"].sum())
    ceiling = roc_auc_score(found["purchase"][clicked], found["p_purchase"][clicked])
    assert row.ceiling == pytest.approx(ceiling, abs=1e-12)
    assert row.ceiling_share == pytest.approx((row["mean"] - 0.5) / (ceiling - 0.5))
    assert row.published == 0.76862
    assert math.isnan(table.loc[("esm2", "auc/cvr/clicked")].published)


def test_too_few_positives_are_withheld(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_cell(store, make_cell(), buy=0.1)
    aucs = study_aucs(study_of(store))
    table = aucs.table.set_index("metric")
    assert 0 < table.n_pos["auc/cvr/clicked"] < MIN_CLASS <= table.n_pos["auc/ctr/exposed"]
    assert math.isnan(table["mean"]["auc/cvr/clicked"])
    assert math.isnan(table.lo["auc/cvr/clicked"])
    assert table["mean"]["auc/ctr/exposed"] > 0.5
    assert aucs.pairs["1", "auc/cvr/clicked"] == {}


def test_a_clear_winner_is_marked_and_beats_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for model in ("shared_bottom", "esm2", "esmc"):
        store_cell(store, make_cell(model=model), rows=8000)
    aucs = study_aucs(study_of(store))
    marks = aucs.table[aucs.table.metric == "auc/ctr/exposed"].set_index("model").mark
    assert marks.to_dict() == {"esmc": "best", "esm2": "second", "shared_bottom": ""}
    assert aucs.beats("1", "auc/ctr/exposed", "esmc", "shared_bottom")
    assert not aucs.beats("1", "auc/ctr/exposed", "shared_bottom", "esmc")
    assert not aucs.beats("9", "auc/ctr/exposed", "esmc", "shared_bottom")


def test_equal_models_are_not_marked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = store_cell(store, make_cell(model="esmc"))
    other = make_cell(model="esms")
    columns = store.predictions(record.key)
    with store.publishing(other.key) as staging:
        pq.write_table(pa.table(columns), staging / PREDICTIONS)
        store.seal(staging, record.model_copy(update={"key": other.key, "cell": other, "files": {}}))
    aucs = study_aucs(study_of(store))
    assert set(aucs.table.mark) == {""}
    assert not aucs.beats("1", "auc/ctr/exposed", "esmc", "esms")


def test_variants_are_neither_marked_nor_compared_nor_published(make_store: StoreMaker) -> None:
    store = make_store(cities=("1",), models=("esmc",))
    store_cell(store, make_cell(config=PRESETS["esmc"].model_copy(update={"constraint": "softmax"})))
    aucs = study_aucs(study_of(store))
    variant = aucs.table[aucs.table.variant == "constraint=softmax"]
    assert len(variant) == 3
    assert variant["mean"].notna().all()
    assert variant.published.isna().all()
    assert all(pairs == {} for pairs in aucs.pairs.values())


def broken(tmp_path: Path, **changes: np.ndarray | None) -> tuple[Study, Aucs]:
    """A store with one intact cell and one whose predictions have other columns."""
    store = Store(tmp_path)
    record = store_cell(store, make_cell(model="esmm"))
    cell = make_cell(model="mmoe")
    columns = {k: v for k, v in (store.predictions(record.key) | changes).items() if v is not None}
    with store.publishing(cell.key) as staging:
        pq.write_table(pa.table(columns), staging / PREDICTIONS)
        store.seal(staging, record.model_copy(update={"key": cell.key, "cell": cell, "files": {}}))
    study = study_of(store)
    return study, study_aucs(study)


def test_other_test_rows_are_left_out_with_a_note(tmp_path: Path) -> None:
    study, aucs = broken(tmp_path, exposure=np.arange(1, 1201))
    assert aucs.table.model.nunique() == 1
    assert any("test rows" in note for note in study.notes)


def test_a_probability_that_a_model_lacks_is_left_out_silently(tmp_path: Path) -> None:
    study, aucs = broken(tmp_path, cvr=None, ctcvr=np.full(1200, np.nan))
    assert aucs.table[aucs.table.model == "mmoe"].metric.tolist() == ["auc/ctr/exposed"]
    assert study.notes == []


def test_scores_that_are_partly_undefined_are_left_out_with_a_note(tmp_path: Path) -> None:
    study, aucs = broken(tmp_path, ctr=np.where(np.arange(1200) == 3, np.nan, 0.5))
    assert "auc/ctr/exposed" not in aucs.table[aucs.table.model == "mmoe"].metric.tolist()
    assert any("not finite" in note for note in study.notes)


def test_damaged_predictions_are_left_out_with_a_note(make_store: StoreMaker) -> None:
    store = make_store(cities=("1",), models=("esmm", "esmc"))
    path = store.cells / make_cell("1", "esmc").key / PREDICTIONS
    path.write_bytes(path.read_bytes()[:-1])
    study = study_of(store)
    assert set(study_aucs(study).table.model) == {"esmm"}
    assert any(str(path) in note for note in study.notes)


def test_metric_names_tell_the_sample_space() -> None:
    names = [metric_name(probability) for probability in ("ctr", "ctcvr", "cvr")]
    assert names == ["auc/ctr/exposed", "auc/ctcvr/exposed", "auc/cvr/clicked"]


def test_a_sole_configuration_is_compared_and_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store_cell(store, make_cell(model="esmm"))
    store_cell(store, make_cell(config=PRESETS["esmc"].model_copy(update={"constraint": "softmax"})))
    aucs = study_aucs(study_of(store))
    row = aucs.table.set_index(["model", "metric"]).loc[("esmc", "auc/cvr/clicked")]
    assert (row.variant, row.main, row.published) == ("constraint=softmax", True, 0.76862)
    assert {frozenset(pair) for pair in aucs.pairs["1", "auc/cvr/clicked"]} == {frozenset(("esmm", "esmc"))}
