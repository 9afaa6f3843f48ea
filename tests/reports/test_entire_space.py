"""The entire-space exhibit: figures recomputed independently, words that follow from the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_store import Columns, make_cell, store_cell, store_manifest
from matplotlib.image import imread
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from bench.core.cell import Cell
from bench.core.record import PREDICTIONS
from bench.core.seeding import derive
from bench.metrics.delong import influence
from bench.results.store import Store
from reports.exhibits.entire_space import EntireSpace
from reports.pooled import Key
from reports.space.errors import SPACES, study_errors
from reports.study import Study, load_studies


class Model(NamedTuple):
    """Noise of the log odds on clicked and on unclicked rows, and predicted over true CVR there."""

    clicked: float
    unclicked: float
    level_clicked: float = 1.0
    level_unclicked: float = 1.0


#: The premise of the papers: trained on clicked rows, worse on the others, and too high there.
PREMISE = {
    "shared_bottom": Model(0.5, 3.0, 1.0, 2.0),
    "mmoe": Model(0.5, 3.0, 1.0, 2.0),
    "esmm": Model(0.5, 0.5, 1.0, 1.0),
    "esmc": Model(0.5, 0.5, 1.0, 1.0),
}


def doctored(models: dict[str, Model]) -> Callable[[Cell, Columns], Columns]:
    def change(cell: Cell, columns: Columns) -> Columns:
        model, clicked = models[cell.model], columns["click"] == 1
        p = 0.9 * columns["p_purchase"].astype(float) + 0.02
        noise = np.random.default_rng(derive(cell.seed, cell.city, cell.model)).standard_normal(p.size)
        noise *= np.where(clicked, model.clicked, model.unclicked)
        guess = 1 / (1 + np.exp(-np.log(p / (1 - p)) - noise))
        for rows, level in ((clicked, model.level_clicked), (~clicked, model.level_unclicked)):
            guess[rows] *= 0.4 * level * p[rows].mean() / guess[rows].mean()
        return {"p_purchase": (0.4 * p).astype(np.float32), "cvr": guess.astype(np.float32)}

    return change


def store_of(
    folder: Path, models: dict[str, Model], cities: Sequence[str] = ("1", "2"), seeds: int = 2, rows: int = 6000
) -> Store:
    store = Store(folder / "runs")
    for city in cities:
        store_manifest(store.out, make_cell(city))
        for model in models:
            for seed in range(seeds):
                store_cell(store, make_cell(city, model, seed), rows, change=doctored(models))
    return store


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def built(folder: Path, models: dict[str, Model], **how: int) -> str:
    return EntireSpace().build(study_of(store_of(folder, models, **how)), folder)


def line(text: str, start: str) -> str:
    """The bullet that starts with these words."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"- **{start}")]
    return found


def soft_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Every row as a positive of weight p and a negative of weight 1 - p, without the pairs with itself."""
    n = scores.size
    label, weight = np.repeat([1, 0], n), np.concatenate((truth, 1 - truth))
    pairs = truth.sum() * (1 - truth).sum()
    own = (truth * (1 - truth)).sum()
    return float((roc_auc_score(label, np.tile(scores, 2), sample_weight=weight) * pairs - own / 2) / (pairs - own))


def test_figures_equal_an_independent_computation(tmp_path: Path) -> None:
    store = store_of(tmp_path, PREMISE, rows=2000)
    text = EntireSpace().build(study_of(store), tmp_path)
    frame = pd.read_csv(tmp_path / "entire_space.csv", dtype={"city": str}, keep_default_na=False)
    plain = frame[(frame.model == "shared_bottom") & (frame.against_model == "")].set_index(["measure", "city"]).value
    expected: dict[str, list[list[float]]] = {}
    for city in ("1", "2"):
        for seed in (0, 1):
            c = store.predictions(make_cell(city, "shared_bottom", seed).key)
            for space, rows in {
                "clicked": c["click"] == 1,
                "unclicked": c["click"] == 0,
                "exposed": c["click"] < 2,
            }.items():
                p, q = c["p_purchase"][rows].astype(float), c["cvr"][rows].astype(float)
                area, ceiling = soft_auc(q, p), soft_auc(p, p)
                order = np.argsort(q)
                bins = [order[np.arange(q.size) * 15 // q.size == place] for place in range(15)]
                values = {
                    "auc": area,
                    "ceiling": ceiling,
                    "share": (area - 0.5) / (ceiling - 0.5),
                    "mean": q.mean(),
                    "true_mean": p.mean(),
                    "rank": spearmanr(p, q).statistic,
                    "log_odds": np.corrcoef(np.log(p / (1 - p)), np.log(q / (1 - q)))[0, 1],
                    "ece": sum(abs((q - p)[part].sum()) for part in bins) / p.size,
                }
                for name, value in values.items():
                    expected.setdefault(f"{name}/{space}", [[], []])[int(city) - 1].append(float(value))
    for name, cities in expected.items():
        means = [np.mean(seeds) for seeds in cities]
        for city, value in zip(("1", "2", "mean"), (*means, np.mean(means)), strict=True):
            assert plain[name, city] == pytest.approx(value, rel=1e-5), (name, city)
    shown = {space: np.mean([np.mean(seeds) for seeds in expected[f"auc/{space}"]]) for space in SPACES}
    row = next(r for r in text.splitlines() if r.startswith("| Shared Bottom |"))
    assert all(f"{value:.4f} ± " in row for value in shown.values())
    share = np.mean([np.mean(seeds) for seeds in expected["share/unclicked"]])
    assert f"({share:.1%})" in row


def test_the_bias_is_a_difference_of_differences_paired_by_user(tmp_path: Path) -> None:
    store = store_of(tmp_path, PREMISE, cities=("1",), seeds=1, rows=1500)
    errors = study_errors(study_of(store))
    found = errors.pooled.contrasts(Key("auc_shift", ("esmm", ""), ("shared_bottom", "")))["1"]
    cells = [store.predictions(make_cell("1", model).key) for model in ("esmm", "shared_bottom")]
    click, truth = cells[0]["click"], cells[0]["p_purchase"].astype(float)
    users = np.unique(cells[0]["user"])
    rows_of = {user: np.flatnonzero(cells[0]["user"] == user) for user in users}

    def bias(rows: np.ndarray) -> float:
        areas = []
        for value in (0, 1):
            chosen = rows[click[rows] == value]
            areas.append([soft_auc(cell["cvr"][chosen], truth[chosen]) for cell in cells])
        (model_off, base_off), (model_on, base_on) = areas
        return (model_off - base_off) - (model_on - base_on)

    assert found.difference == pytest.approx(bias(np.arange(truth.size)), abs=1e-6)
    rng = np.random.default_rng(0)
    drawn = [bias(np.concatenate([rows_of[user] for user in rng.choice(users, users.size)])) for _ in range(200)]
    assert found.se == pytest.approx(np.std(drawn), rel=0.25)


def test_influences_stand_in_the_column_of_their_user(tmp_path: Path) -> None:
    store = store_of(tmp_path, PREMISE, cities=("1",), seeds=1, rows=1500)
    found = study_errors(study_of(store)).pooled.samples["1"]["esmm", ""]
    cell = store.predictions(make_cell("1", "esmm").key)
    users, user = np.unique(cell["user"], return_inverse=True)
    for value, space in ((1, "clicked"), (0, "unclicked")):
        rows = cell["click"] == value
        _, influences = influence(cell["cvr"][rows], cell["p_purchase"][rows].astype(float))
        expected = np.bincount(user[rows], weights=influences, minlength=users.size)
        np.testing.assert_allclose(found[f"auc/{space}"].sums[0], expected, atol=1e-12)


def test_a_world_with_the_bias(tmp_path: Path) -> None:
    text = built(tmp_path, PREMISE)
    premise = line(text, "The premise")
    assert (
        "ESMM and ESMC: holds, better on unclicked rows, the difference there more in its favour than on clicked"
        in premise
    )
    assert "MMoE" not in premise
    assert "MMoE: not distinguishable; ESMM and ESMC: better" in line(text, "AUC against Shared Bottom, unclicked")
    assert "MMoE, ESMM and ESMC: not distinguishable" in line(text, "AUC against Shared Bottom, clicked")
    assert "MMoE: worse; ESMC: not distinguishable" in line(text, "AUC against ESMM, unclicked")
    fall = line(text, "Does a model cover less")
    assert "Shared Bottom and MMoE: less on unclicked rows" in fall
    assert "Trained on clicked rows alone: Shared Bottom -0." in fall
    assert "Shared Bottom and MMoE: too many purchases" in line(text, "Predicted purchases, unclicked")
    assert "too many" not in line(text, "Predicted purchases, clicked")
    assert "Shared Bottom and MMoE: rises" in line(text, "From clicked to unclicked")
    assert "MMoE: not distinguishable; ESMM and ESMC: closer to the truth" in line(text, "Level on unclicked rows")
    assert "contradicted" not in text


def test_a_world_against_the_premise(tmp_path: Path) -> None:
    models = {
        "shared_bottom": Model(0.5, 0.5),
        "esmm": Model(0.5, 3.0, 1.0, 0.5),
        "esm2": Model(0.5, 0.5),
        "esm2_chain": Model(3.0, 3.0),
        "esmc": Model(3.0, 0.5),
    }
    premise = line(built(tmp_path, models), "The premise")
    assert "ESMM: **contradicted**, worse on unclicked rows, the difference there less in its favour" in premise
    assert "ESM²: **not supported**, not distinguishable on unclicked rows" in premise
    assert "ESM² chain: **contradicted**, worse on unclicked rows" in premise
    assert "ESMC: holds in part, not distinguishable on unclicked rows, the difference there more in" in premise


def test_over_and_under_prediction_are_told_apart(tmp_path: Path) -> None:
    text = built(tmp_path, {"shared_bottom": Model(0.5, 0.5, 1.5, 0.6), "esmm": Model(0.5, 0.5, 1.0, 0.3)})
    assert "Shared Bottom: too many purchases; ESMM: not dist" in line(text, "Predicted purchases, clicked")
    assert "Shared Bottom and ESMM: too few" in line(text, "Predicted purchases, unclicked")
    assert "Shared Bottom and ESMM: falls" in line(text, "From clicked to unclicked")
    assert "ESMM: further from the truth" in line(text, "Level on unclicked rows")
    row = next(r for r in text.splitlines() if r.startswith("| Shared Bottom | **1.500** ["))
    assert "| **0.600** [" in row


def test_comparisons_are_corrected_over_the_whole_exhibit(tmp_path: Path) -> None:
    built(tmp_path, PREMISE)
    frame = pd.read_csv(tmp_path / "entire_space.csv", dtype={"city": str})
    tested = frame[(frame.city == "mean") & frame.p_value.notna()].sort_values("p_value")
    steps = (len(tested) - np.arange(len(tested))) * tested.p_value.to_numpy()
    np.testing.assert_allclose(tested.p_adjusted, np.minimum(1, np.maximum.accumulate(steps)), rtol=1e-9)
    assert len(tested) == 4 * 5 + (3 + 2) * 4  # five tests of each model, four of each pair
    pairs = set(zip(tested.model, tested.against_model, strict=True))
    assert ("esmm", "shared_bottom") in pairs
    assert ("shared_bottom", "esmm") not in pairs


def test_pictures(tmp_path: Path) -> None:
    text = built(tmp_path, PREMISE)
    for part in ("auc", "level", "reliability"):
        name = f"entire_space-{part}-six_cities-0.001-esmc.png"
        assert f"]({name})" in text
        assert imread(tmp_path / name)[..., :3].std() > 0.05


def test_curves_hold_equal_numbers_of_rows(tmp_path: Path) -> None:
    store = store_of(tmp_path, PREMISE, cities=("1",), seeds=1)
    curves = study_errors(study_of(store)).curves
    c = store.predictions(make_cell("1", "esmm").key)
    rows = c["click"] == 0
    order = np.argsort(c["cvr"][rows])
    found = curves[(curves.model == "esmm") & (curves.space == "unclicked")].set_index("bin")
    highest = order[-(rows.sum() // 15) :]
    assert len(found) == 15
    assert found.predicted[14] == pytest.approx(c["cvr"][rows][highest].mean(), rel=1e-6)
    assert found.true[14] == pytest.approx(c["p_purchase"][rows][highest].mean(), rel=1e-6)


def test_without_shared_bottom_with_one_seed(tmp_path: Path) -> None:
    text = built(tmp_path, {"esmm": PREMISE["esmm"], "esmc": PREMISE["esmc"]}, seeds=1)
    assert "**The premise** is not measured" in text
    assert "Not stored: Shared Bottom, MMoE, ESM², ESM² chain, ESMS; `bench run --exhibit entire_space`" in text
    assert "ESMC − ESMM" in text
    assert "nan" not in text


def test_a_log_has_no_truth(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    record = store_cell(store, make_cell(model="esmm"))
    cell = make_cell("all", "esmm", dataset="a_log")
    observed = {k: v for k, v in store.predictions(record.key).items() if not k.startswith("p_")}
    with store.publishing(cell.key) as staging:
        pq.write_table(pa.table(observed), staging / PREDICTIONS)
        store.seal(staging, record.model_copy(update={"key": cell.key, "cell": cell, "files": {}}))
    (study,) = load_studies(store, store.scan(), "a_log")
    text = EntireSpace().build(study, tmp_path)
    assert "Only simulated cities have the truth" in text
    assert not list(tmp_path.glob("*.png"))


def test_unusable_cells_are_left_out_with_a_note(tmp_path: Path) -> None:
    store = store_of(tmp_path, PREMISE, cities=("1",), seeds=2, rows=1200)
    columns = store.predictions(make_cell("1", "esmc", 1).key)
    records = {record.key: record for record in store.records()}
    changes = {
        ("esmm", 1): {"cvr": np.where(np.arange(1200) == 3, np.nan, columns["cvr"])},
        ("esmc", 0): {"exposure": columns["exposure"] + 1},
    }
    for (model, seed), change in changes.items():
        record = records[make_cell("1", model, seed).key]
        path = store.cells / record.key
        store.remove(record.key)
        with store.publishing(record.key) as staging:
            pq.write_table(pa.table(columns | change), staging / PREDICTIONS)
            store.seal(staging, record.model_copy(update={"files": {}}))
        assert path.is_dir()
    study = study_of(store)
    errors = study_errors(study)
    seeds = {m: errors.pooled.estimates("mean/clicked", (m, ""))["1"].n_seeds for m in PREMISE}
    assert seeds == {"shared_bottom": 2, "mmoe": 2, "esmm": 1, "esmc": 1}
    assert any("some of its cvr are not finite" in note for note in study.notes)
    assert any("its test rows are not those" in note for note in study.notes)
