"""ESM² Figure 7: groups of users recomputed from the tables, words that flip with the figures, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_esm2 import DATASET, Skill, esm2, purchases_of, store_groups, store_tables
from fake_store import store_cell
from matplotlib.image import imread
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from bench.metrics.compare import Sample, relative, sample
from bench.results.store import Store
from reports.esm2_figures.purchases import GROUPS, masks
from reports.exhibits.esm2_figure_7 import Esm2Figure7
from reports.study import Study, load_studies

EDGES = ((0, 10), (11, 20), (21, 50), (51, 10**9))


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def text_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], str]:
    """Builds the exhibit without its picture."""
    monkeypatch.setattr("reports.exhibits.esm2_figure_7.draw", lambda *drawn: None)
    folder = tmp_path / "report"
    folder.mkdir()
    return lambda store: Esm2Figure7().build(study_of(store), folder)


def csv(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "esm2_figure_7.csv", index_col=["city", "measure", "group", "quantity"]).sort_index()


def rising(model: str, bought: np.ndarray) -> np.ndarray:
    """ESM² gains with the purchases of a user, ESMM is the same for all."""
    return np.where(model == "esm2", 1.0 + 0.02 * np.minimum(bought, 50), 1.0)


def falling(model: str, bought: np.ndarray) -> np.ndarray:
    return rising(model, 50 - np.minimum(bought, 50))


def equal(model: str, bought: np.ndarray) -> np.ndarray:
    return np.ones(bought.size)


def decline(model: str, bought: np.ndarray) -> np.ndarray:
    """Both know less of those who buy often, and the same."""
    return 2.0 - 0.03 * np.minimum(bought, 55)


def group_samples(store: Store, model: str, measure: str) -> list[Sample]:
    """By group, of two seeds, from the stored predictions and the purchases that the tables were made of."""
    probability = measure.split("/")[1]
    cells = [store.predictions(esm2(seed, model).key) for seed in (0, 1)]
    rows = cells[0]
    bought = purchases_of(rows["user"])
    label = (rows["purchase"] == 1) & (rows["click"] == 1)
    truth = {"cvr": rows["p_purchase"], "ctcvr": rows["p_click"].astype(float) * rows["p_purchase"]}[probability]
    space = rows["click"] == 1 if probability == "cvr" else np.full(label.size, True)
    found = []
    for low, high in EDGES:
        chosen = space & (low <= bought) & (bought <= high)
        goal = truth if measure.startswith("truth") else label
        scores = {seed: cell[probability][chosen] for seed, cell in enumerate(cells)}
        if measure.startswith("auc"):
            areas = [roc_auc_score(label[chosen], score) for score in scores.values()]
            assert sample(scores, goal[chosen], rows["user"][chosen]).areas == pytest.approx(areas, abs=1e-12)
        found.append(sample(scores, goal[chosen], rows["user"][chosen]))
    return found


def slope_interval(samples: list[Sample]) -> tuple[float, float, float]:
    """Slope of the areas over the groups with its interval: least squares by seed, users of all groups side by side."""
    x = np.arange(len(samples))
    by_seed = np.polyfit(x, np.stack([s.areas for s in samples]), 1)[0]
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    by_user = np.concatenate([w * s.sums.mean(axis=0) for w, s in zip(weights, samples, strict=True)])
    parts = np.array([by_user.size / (by_user.size - 1) * (by_user**2).sum(), by_seed.var(ddof=1) / by_seed.size])
    dof = parts.sum() ** 2 / (parts**2 / [by_user.size - 1, by_seed.size - 1]).sum()
    reach = t.ppf(0.975, dof) * np.sqrt(parts.sum())
    return by_seed.mean(), by_seed.mean() - reach, by_seed.mean() + reach


def test_values_of_the_groups_and_the_picture(store: Store, tmp_path: Path) -> None:
    store_groups(store, rising)
    store_tables(store)
    text = Esm2Figure7().build(study_of(store), tmp_path)
    assert imread(tmp_path / f"esm2_figure_7-{DATASET}-esm2.png")[..., :3].std() > 0.05
    frame = csv(tmp_path)
    paper = (0.72, 0.81, 1.13, 1.30)
    for measure in ("auc/cvr/clicked", "auc/ctcvr/exposed", "truth/cvr/clicked", "truth/ctcvr/exposed"):
        esmm, model = group_samples(store, "esmm", measure), group_samples(store, "esm2", measure)
        gains = []
        for group, base, new, printed in zip(GROUPS, esmm, model, paper, strict=True):
            found = {name: frame.loc["mean", measure, group, name] for name in ("esmm", "esm2", "difference", "gain")}
            assert found["esmm"].value == pytest.approx(base.areas.mean(), abs=1e-9)
            assert found["esm2"].value == pytest.approx(new.areas.mean(), abs=1e-9)
            assert found["difference"].value == pytest.approx((new.areas - base.areas).mean(), abs=1e-9)
            gain = relative(new, base)
            gains.append(gain.difference)
            assert tuple(found["gain"][["value", "lo", "hi"]]) == pytest.approx(
                (gain.difference, gain.lo, gain.hi), abs=1e-8
            )
            assert found["gain"].published == printed
            assert f"{gain.difference:+.2f} [{gain.lo:+.2f}, {gain.hi:+.2f}]<br><sub>paper {printed:.2f}</sub>" in text
            assert f"{base.areas.mean():.4f} ± " in text
        assert frame.loc["mean", measure, "trend", "gain"].value == pytest.approx(np.polyfit(range(4), gains, 1)[0])
        assert frame.loc["mean", measure, "trend", "gain"].published == pytest.approx(np.polyfit(range(4), paper, 1)[0])
        slope = frame.loc["mean", measure, "trend", "esmm"]
        assert tuple(slope[["value", "lo", "hi"]]) == pytest.approx(slope_interval(esmm), abs=1e-9)
    tested = frame[frame.p_adjusted.notna()]
    assert len(tested) == 4 * (4 + 3)
    smallest = tested.loc[tested.p_value.idxmin()]
    assert smallest.p_adjusted == pytest.approx(len(tested) * smallest.p_value)


def test_sizes_of_the_groups(store: Store, tmp_path: Path, text_of: Callable[[Store], str]) -> None:
    store_groups(store, equal)
    store_tables(store)
    text = text_of(store)
    rows = store.predictions(esm2().key)
    bought = purchases_of(rows["user"])
    frame = csv(tmp_path / "report")
    users = pd.Series(purchases_of(np.unique(rows["user"])))
    for group, (low, high) in zip(GROUPS, EDGES, strict=True):
        there = (low <= bought) & (bought <= high)
        clicks, purchases = int(rows["click"][there].sum()), int(rows["purchase"][there].sum())
        count = int(users.between(low, high).sum())
        share = f"{count / len(users):.1%}"
        assert f"| {group} | {count:,} ({share}) | {there.sum():,} ({there.mean():.1%}) | {clicks:,} (" in text
        row = frame.loc["mean", "purchases", group, "share"]
        assert (row.value, row.n) == (pytest.approx(purchases / rows["purchase"].sum()), purchases)
        row = frame.loc["mean", "auc/cvr/clicked", group, "esmm"]
        assert (row.n, row.n_pos) == (clicks, purchases)


def test_edges_of_the_groups() -> None:
    bought = np.array([0, 10, 11, 20, 21, 50, 51, 4000, np.nan])
    found = [[int(value) for value in bought[rows]] for rows in masks(bought).values()]
    assert found == [[0, 10], [11, 20], [21, 50], [51, 4000]]


@pytest.mark.parametrize(
    ("skill", "gain", "levels", "apart"),
    [
        (rising, "it rises, as the paper says; the paper's +0.21 is outside", "", "significantly better in"),
        (falling, "it falls, which **contradicts** the paper", "", "significantly better in"),
        (equal, "not distinguishable from no trend; the paper's +0.21 is", "not distinguishable from flat", "16 of 16"),
        (decline, "not distinguishable from no trend", "both fall, as the paper says", "16 of 16"),
        (
            lambda m, b: 3.0 - decline(m, b),
            "not distinguishable",
            "that of ESMM and ESM² rises, which **contr",
            "16 of 16",
        ),
    ],
)
def test_words_follow_from_the_figures(
    store: Store, text_of: Callable[[Store], str], skill: Skill, gain: str, levels: str, apart: str
) -> None:
    store_groups(store, skill, seeds=3)
    store_tables(store)
    text = text_of(store)
    (above, below) = re.findall(r"^  - CTCVR-AUC \(truth\): (.*)$", text, re.MULTILINE)
    assert levels in above
    assert gain in below
    (last,) = [line for line in text.splitlines() if line.startswith("- **ESM² against ESMM in a group:**")]
    assert apart in last


def test_groups_with_few_purchases_are_withheld(store: Store, tmp_path: Path, text_of: Callable[[Store], str]) -> None:
    store_groups(store, rising, seeds=1, rows=3000)
    store_tables(store, 3000, unknown=3)
    text = text_of(store)
    rows = store.predictions(esm2().key)
    bought = purchases_of(rows["user"])
    low = [
        (int(rows["purchase"][there].sum()), there) for a, b in EDGES if (there := (a <= bought) & (bought <= b)).any()
    ]
    withheld = [group for group, (count, _) in zip(GROUPS, low, strict=True) if count < 30]
    assert withheld == ["[0,10]", "[11,20]"]
    clicks = int(rows["click"][low[0][1]].sum())
    assert f"CVR-AUC is withheld below 30 of a class: [0,10] ({low[0][0]} purchases of {clicks} rows), [11,20]" in text
    assert "CTCVR-AUC (observed labels) (over [21,50], [51,+] only): " in text
    assert "the paper's +0.17 is" in text  # 1.30 - 1.13
    assert "There is one seed" in text
    unknown = int((rows["user"] == 3).sum())
    assert f"{unknown} test exposures are of users whose purchases are not known" in text
    frame = csv(tmp_path / "report")
    assert ("mean", "auc/cvr/clicked", "[0,10]", "esmm") not in frame.index
    assert ("mean", "truth/cvr/clicked", "[0,10]", "esmm") in frame.index
    last = frame.loc["mean", "truth/ctcvr/exposed", "[51,+]", "esmm"].n
    assert last == (bought >= 51).sum() - unknown


def test_one_model_alone(store: Store, tmp_path: Path) -> None:
    store_groups(store, rising, models=("esmm",))
    store_tables(store)
    text = Esm2Figure7().build(study_of(store), tmp_path)
    assert "ESM²: not stored; `bench run --exhibit esm2_figure_7` trains what is missing." in text
    assert re.search(r"^\| \[0,10\] \| \d+ \| \d+ \| 0\.\d+ ± 0\.\d+ \| - \| - \| -<br>", text, re.MULTILINE)
    assert "- **Gain" not in text
    assert "- **AUCs over the groups.**" in text


def test_without_purchases_one_line_says_so(store: Store, text_of: Callable[[Store], str]) -> None:
    store_groups(store, rising, seeds=1, rows=1500)
    assert text_of(store) == "shop: the funnel tables of its users are not stored, so there are no groups."
    store_tables(store, 1500, column="something_else")
    assert text_of(store) == "shop: its users have no column purchases_90d, so there are no groups."
    folder = store.out / "data" / "tables" / esm2().fingerprint
    (folder / "users.parquet").write_bytes(b"PAR1")
    assert re.fullmatch(r"shop: its funnel tables cannot be read, so there are no groups: .+", text_of(store))


def test_nothing_of_it_is_stored(store: Store, text_of: Callable[[Store], str]) -> None:
    store_cell(store, esm2(model="mmoe"), rows=1500)
    store_tables(store, 1500)
    assert text_of(store) == "Neither model is stored yet; `bench run --exhibit esm2_figure_7` trains them."
