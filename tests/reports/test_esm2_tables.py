"""ESM² Tables 3, 6 and 7 and section 4.3.3: values by scikit-learn, comparisons as defined, words that follow."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_gains import holm
from fake_shop import Skills, build, entry, fill, levels, line, lower, predictions
from matplotlib.image import imread
from sklearn.metrics import roc_auc_score

from bench.metrics.compare import difference, sample
from reports.esm2.page import gauc_users
from reports.esm2.paper import MODELS
from reports.esm2.values import Table
from reports.exhibits.esm2_numeric import Esm2Numeric
from reports.exhibits.esm2_table_3 import Esm2Table3
from reports.exhibits.esm2_table_6 import COUNTS, Esm2Table6
from reports.exhibits.esm2_table_7 import Esm2Table7
from reports.study import Study

#: In the paper's order, and far enough apart to be told apart.
ORDERED: Skills = {entry(model): skill for model, skill in zip(MODELS, (0.5, 0.7, 0.9, 1.2, 1.6), strict=True)}

ACTIONS: Skills = {entry("esm2"): 1.2} | {
    entry("esm2", action=action): skill for action, skill in (("cart", 1.0), ("wish", 0.6), ("cart_wish_intent", 1.0))
}


def three_scores(study: Study, model: str, variant: str = "") -> tuple[float, float, float]:
    """CVR-AUC, CTCVR-AUC and CTCVR-GAUC without our code, means over seeds."""
    found = []
    for columns in predictions(study, model, variant):
        clicked, bought = columns["click"] == 1, columns["purchase"] == 1
        of_users = [
            roc_auc_score(bought[rows], columns["ctcvr"][rows])
            for user in np.unique(columns["user"])
            if 0 < bought[rows := columns["user"] == user].mean() < 1
        ]
        whole = roc_auc_score(bought[clicked], columns["cvr"][clicked]), roc_auc_score(bought, columns["ctcvr"])
        found.append((*whole, float(np.mean(of_users))))
    cvr, ctcvr, gauc = np.mean(found, axis=0)
    return float(cvr), float(ctcvr), float(gauc)


def test_table_3_has_the_values_of_scikit_learn(tmp_path: Path) -> None:
    study = fill(tmp_path, ORDERED)
    text, frame = build(Esm2Table3(), study, tmp_path / "report")
    found = levels(frame)
    for model in MODELS:
        for measure, expected in zip(
            ("auc/cvr/clicked", "auc/ctcvr/exposed", "gauc/ctcvr/exposed"), three_scores(study, model), strict=True
        ):
            row = found.loc[(model, "", measure)]
            assert row.value.item() == pytest.approx(expected)
            assert f"{expected:.4f}" in text
    (seed_0, _) = predictions(study, "esm2")
    clicked, bought = seed_0["click"] == 1, seed_0["purchase"] == 1
    users = pd.Series(bought).groupby(seed_0["user"]).mean()
    both = int(((users > 0) & (users < 1)).sum())
    assert f"CVR-AUC {bought.sum()} of {clicked.sum()}; CTCVR-AUC {bought.sum()} of 2,500" in text
    assert f"mean over {both} of {len(users)} users" in text


def test_table_3_has_the_papers_figures_and_gains(tmp_path: Path) -> None:
    text, frame = build(Esm2Table3(), fill(tmp_path, ORDERED), tmp_path / "report")
    rows = [row for row in text.splitlines() if row.startswith("| ESM² |")]
    assert [f"paper {figure}" in rows[0] for figure in ("0.8486", "0.8371", "0.8051")] == [True] * 3
    assert all(f"paper {gain}" in line_of(text, "| DNN − GBDT") for gain in ("+0.0242", "+0.0102", "+0.0117"))
    assert all(f"paper {gain}" in line_of(text, "| ESM² − ESMM") for gain in ("+0.0088", "+0.0101", "+0.0145"))
    compared = frame[frame.p_value.notna()].set_index(["model", "against_model", "measure"])
    assert compared.published["dnn", "gbdt", "auc/cvr/clicked"] == pytest.approx(0.0242)
    assert compared.published["esm2", "esmm", "gauc/ctcvr/exposed"] == pytest.approx(0.0145)


def line_of(text: str, start: str) -> str:
    """The first line that starts so."""
    return next(each for each in text.splitlines() if each.startswith(start))


def test_table_3_compares_all_pairs_and_corrects_them_together(tmp_path: Path) -> None:
    study = fill(tmp_path, ORDERED)
    text, frame = build(Esm2Table3(), study, tmp_path / "report")
    compared = frame[frame.p_value.notna()]
    observed = compared[~compared.measure.str.startswith("truth")]
    assert len(observed) == 3 * len(list(combinations(MODELS, 2)))
    assert observed.p_adjusted.tolist() == pytest.approx(holm(observed.p_value.tolist()))
    truth = compared[compared.measure.str.startswith("truth")]
    assert len(truth) == 2 * 10
    assert truth.p_adjusted.tolist() == pytest.approx(holm(truth.p_value.tolist()))
    assert "over the 30 comparisons of this table" in text
    samples = {}
    for model in ("esmm", "esm2"):
        columns = predictions(study, model)
        clicked = columns[0]["click"] == 1
        scores = {seed: each["cvr"][clicked] for seed, each in enumerate(columns)}
        samples[model] = sample(scores, columns[0]["purchase"][clicked], columns[0]["user"][clicked])
    expected = difference(samples["esm2"], samples["esmm"])
    row = observed.set_index(["model", "against_model", "measure"]).loc[("esm2", "esmm", "auc/cvr/clicked")]
    assert (row.value, row.lo, row.hi) == pytest.approx((expected.difference, expected.lo, expected.hi))
    assert f"{expected.difference:+.4f}** [{expected.lo:+.4f}, {expected.hi:+.4f}]" in text


def test_the_words_of_table_3_follow_from_the_figures(tmp_path: Path) -> None:
    text, _ = build(Esm2Table3(), fill(tmp_path / "a", ORDERED), tmp_path / "report")
    assert "Significant: 10 of 10; 10 as in the paper." in line(text, "- **CVR-AUC.**")
    assert "contradict" not in text
    (best,) = re.findall(r"^\| ESM² \| \*\*0\.", text, re.MULTILINE)[:1]
    assert best
    turned = fill(tmp_path / "b", ORDERED, twist=lower("esm2", 50))
    text, _ = build(Esm2Table3(), turned, tmp_path / "turned")
    found = line(text, "- **CVR-AUC.**")
    assert "6 as in the paper" in found
    assert "**contradict** the paper (GBDT above ESM², DNN above ESM², DNN-OS above ESM², ESMM above ESM²)" in found
    assert re.search(r"^\| ESMM \| \*\*0\.", text, re.MULTILINE)
    assert not re.search(r"^\| ESM² \| \*\*", text, re.MULTILINE)


def test_models_that_know_the_same_are_not_told_apart(tmp_path: Path) -> None:
    study = fill(tmp_path, {entry(model): 1.0 for model in MODELS})
    text, frame = build(Esm2Table3(), study, tmp_path / "report")
    compared = frame[frame.measure == "auc/cvr/clicked"].dropna(subset="p_value")
    assert (compared.p_adjusted >= 0.05).all()
    found = line(text, "- **CVR-AUC.**")
    assert "None of 10 comparisons is significant" in found
    halves = np.median((compared.hi - compared.lo) / 2)
    assert f"known to ± {halves:.4f} (median of the intervals); the paper's are 0.0059 to 0.0663" in found
    held = ((compared.lo <= compared.published) & (compared.published <= compared.hi)).sum()
    assert f"holds the paper's difference in {held} of 10" in found
    names = compared[compared.value * compared.published < 0]
    assert found.count(" above ") == len(names)
    assert "**0." not in text


def test_other_models_stand_below_and_are_corrected_apart(tmp_path: Path) -> None:
    skills = {entry("esmm"): 1.0, entry("esm2"): 1.3, entry("a_new_one"): 0.7}
    text, frame = build(Esm2Table3(), fill(tmp_path, skills), tmp_path / "report")
    assert "| a_new_one − ESM² | **-0." in text
    compared = frame[frame.p_value.notna()]
    new = compared[compared.model == "a_new_one"]
    assert new.p_adjusted.tolist() == pytest.approx(holm(new.p_value.tolist()))
    assert len(compared[(compared.model == "esm2") & (compared.measure == "auc/cvr/clicked")]) == 1
    assert "over the 3 comparisons of this table" in text
    assert line_of(text, "| GBDT |").startswith("| GBDT | -<br><sub>paper 0.7823</sub> |")
    assert "shop: GBDT, DNN, DNN-OS. `bench run --exhibit esm2_table_3` trains them." in text


def test_too_few_purchases_are_withheld(tmp_path: Path) -> None:
    study = fill(tmp_path, {entry("esmm"): 1.0, entry("esm2"): 1.3}, buy=0.1)
    bought = int(predictions(study, "esm2")[0]["purchase"].sum())
    assert bought < 30
    text, frame = build(Esm2Table3(), study, tmp_path / "report")
    assert f"CTCVR-AUC of shop ({bought} positives of 2,500 rows)" in text
    assert line_of(text, "| ESM² |").startswith("| ESM² | -<br><sub>paper 0.8486</sub> |")
    assert not frame.measure.str.startswith("auc").any()


def test_another_dataset_has_no_figures_of_the_paper(tmp_path: Path) -> None:
    study = fill(tmp_path, ORDERED, dataset="six_cities-0.001", city="1")
    text, frame = build(Esm2Table3(), study, tmp_path / "report")
    assert "paper 0" not in text
    assert "as in the paper" not in text
    assert frame.published.isna().all()
    assert "DNN above GBDT" in text


def test_users_of_the_gauc(tmp_path: Path) -> None:
    study = fill(tmp_path, {entry("esm2"): 1.0}, seeds=1)
    shown = Table(study, {("esm2", ""): "ESM²"}, {"gauc/ctcvr/exposed": "CTCVR-GAUC"})
    columns = predictions(study, "esm2")[0]
    by_user = pd.Series(columns["purchase"]).groupby(columns["user"]).agg(["min", "max"])
    assert gauc_users(shown, "shop") == (int((by_user["min"] < by_user["max"]).sum()), len(by_user))


def test_table_6_is_measured_against_64(tmp_path: Path) -> None:
    skills = {entry("esm2"): 1.2} | {entry("esm2", numeric_top=k): 0.5 if k == 8 else 1.2 for k in COUNTS if k != 64}
    skills[entry("esm2", numeric_top=500)] = 2.0
    study = fill(tmp_path, skills)
    text, frame = build(Esm2Table6(), study, tmp_path / "report")
    base = three_scores(study, "esm2")
    for k in COUNTS:
        variant = "" if k == 64 else f"numeric_top={k}"
        cvr, ctcvr, _ = three_scores(study, "esm2", variant)
        assert re.search(rf"^\| K = {k} \| (\*\*)?{cvr:.4f}.* {ctcvr:.4f}", text, re.MULTILINE)
        if k != 64:
            assert f"{cvr - base[0]:+.4f}" in line_of(text, f"| K = {k} − K = 64 |")
    assert "paper -0.0101" in line_of(text, "| K = 8 − K = 64 |")
    observed = frame[frame.p_value.notna() & frame.measure.str.startswith("auc")]
    assert len(observed) == 10
    assert observed.p_adjusted.tolist() == pytest.approx(holm(observed.p_value.tolist()))
    found = line(text, "- **CVR-AUC.**")
    assert "1 as in the paper (K = 64 above K = 8)" in found
    assert "1 **contradicts** the paper (K = 500 above K = 64)" in found
    assert "shop has 0 dense features in all" in text
    (path,) = (tmp_path / "report").glob("*.png")
    assert path.name == "esm2_table_6-ecommerce-esm2.png"
    assert f"({path.name})" in text
    assert imread(path)[..., :3].std() > 0.05


def test_table_6_of_one_number_has_no_picture(tmp_path: Path) -> None:
    text, _ = build(Esm2Table6(), fill(tmp_path, {entry("esm2"): 1.0}), tmp_path / "report")
    assert not list((tmp_path / "report").glob("*.png"))
    assert "shop: K = 500, K = 256, K = 128, K = 32, K = 8. `bench run --exhibit esm2_table_6` trains them." in text
    assert "Difference" not in text.replace("Differences are", "")


def test_table_7_is_measured_against_cart_and_wish(tmp_path: Path) -> None:
    study = fill(tmp_path, ACTIONS)
    text, frame = build(Esm2Table7(), study, tmp_path / "report")
    names = {
        "Cart": "action=cart",
        "Wish": "action=wish",
        "Cart & Wish": "",
        "Cart & Wish & Intent": "action=cart_wish_intent",
    }
    for name, variant in names.items():
        row = line_of(text, f"| {name} |")
        assert all(f"{value:.4f}" in row for value in three_scores(study, "esm2", variant))
    observed = frame[frame.p_value.notna() & ~frame.measure.str.startswith("truth")]
    assert set(observed.against_variant) == {""}
    assert len(observed) == 9
    assert "paper -0.0083" in line_of(text, "| Wish − Cart & Wish |")
    assert "3 as in the paper" in line(text, "- **CVR-AUC.**")
    better = fill(tmp_path / "b", ACTIONS | {entry("esm2", action="cart_wish_intent"): 2.0})
    text, _ = build(Esm2Table7(), better, tmp_path / "better")
    assert "1 **contradicts** the paper (Cart & Wish & Intent above Cart & Wish)" in line(text, "- **CVR-AUC.**")


@pytest.mark.parametrize(
    ("bins", "words"),
    [
        (0.9, "Normalised (Eq. 17) above Discretised, significantly, as in the paper"),
        (2.0, "Discretised above Normalised (Eq. 17), significantly, which **contradicts** the paper"),
        (1.2, "Not distinguishable"),
    ],
)
def test_numbers_normalised_or_discretised(tmp_path: Path, bins: float, words: str) -> None:
    study = fill(tmp_path, {entry("esm2"): 1.2, entry("esm2", numeric="bins"): bins})
    text, frame = build(Esm2Numeric(), study, tmp_path / "report")
    tanh, binned = three_scores(study, "esm2")[0], three_scores(study, "esm2", "numeric=bins")[0]
    row = line_of(text, "| Normalised (Eq. 17) − Discretised |")
    assert f"{tanh - binned:+.4f}" in row
    assert "paper +0.004<" in row
    found = line(text, "- **CVR-AUC.**")
    assert words in found
    compared = frame[(frame.measure == "auc/cvr/clicked") & frame.p_value.notna()].iloc[0]
    assert compared.published == 0.004
    held = "holds" if compared.lo <= 0.004 <= compared.hi else "does not hold"
    assert f"our interval {held} the paper's difference." in found
