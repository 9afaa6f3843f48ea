"""ESM² Tables 1 and 8: counts and rates by hand, AUCs by path by scikit-learn, what the paper's figures exclude."""

from __future__ import annotations

import copy
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from fake_gains import holm
from fake_shop import Twist, build, entry, fill, levels, line, predictions
from fake_store import Columns
from sklearn.metrics import roc_auc_score

from bench.core.cell import Cell
from bench.metrics.compare import Sample, difference, one
from reports.esm2.impossible import contradictions
from reports.exhibits.esm2_table_1 import Esm2Table1
from reports.exhibits.esm2_table_8 import Esm2Table8
from reports.published import load_printed
from reports.study import Study

SKILLS = {entry("esmm"): 1.0, entry("esm2"): 1.0}


def mask(columns: Columns, probability: str, path: str) -> np.ndarray:
    acted = (columns["cart"] == 1) | (columns["wish"] == 1)
    return (acted == (path == "daction")) & ((columns["click"] == 1) | (probability == "ctcvr"))


def path_auc(study: Study, model: str, probability: str, path: str) -> float:
    found = []
    for columns in predictions(study, model):
        rows = mask(columns, probability, path)
        found.append(roc_auc_score(columns["purchase"][rows], columns[probability][rows]))
    return float(np.mean(found))


def on_path(model: str, path: str, by: float) -> Twist:
    """Let a model score purchases of a path lower by a factor."""

    def twist(cell: Cell, columns: Columns) -> Columns:
        low = np.where((columns["purchase"] == 1) & mask(columns, "ctcvr", path), by, 1.0).astype(np.float32)
        return {n: columns[n] / low for n in ("cvr", "ctcvr")} if cell.model == model else {}

    return twist


def test_table_8_by_scikit_learn(tmp_path: Path) -> None:
    study = fill(tmp_path, {entry("esmm"): 0.8, entry("esm2"): 1.2}, rows=5000)
    text, frame = build(Esm2Table8(), study, tmp_path / "report")
    found = levels(frame)
    changes = []
    for probability in ("cvr", "ctcvr"):
        for path in ("oaction", "daction"):
            areas = [path_auc(study, model, probability, path) for model in ("esmm", "esm2")]
            for model, expected in zip(("esmm", "esm2"), areas, strict=True):
                assert found.value[model, "", f"auc/{probability}/{path}"] == pytest.approx(expected)
                assert f"{expected:.4f}" in text
            changes.append(f"{areas[1] - areas[0]:+.4f}")
    row = line(text, "| ESM² − ESMM |")
    assert all(change in row for change in changes)
    assert all(f"paper {gain}" in row for gain in ("+0.0049", "+0.0044", "+0.0068", "+0.0167"))
    columns = predictions(study, "esm2")[0]
    rows = mask(columns, "cvr", "daction")
    assert f"CVR-AUC, DAction {columns['purchase'][rows].sum():,} of {rows.sum():,}" in text
    rows = mask(columns, "ctcvr", "oaction")
    assert f"CTCVR-AUC, OAction {columns['purchase'][rows].sum():,} of {rows.sum():,}" in text


def test_gains_on_the_two_paths_are_compared_by_user(tmp_path: Path) -> None:
    study = fill(tmp_path, {entry("esmm"): 0.8, entry("esm2"): 1.2}, rows=5000)
    text, frame = build(Esm2Table8(), study, tmp_path / "report")
    users = np.unique(predictions(study, "esm2")[0]["user"])
    gains = {}
    for path in ("daction", "oaction"):
        of_seed = {}
        for seed, both in enumerate(zip(predictions(study, "esm2"), predictions(study, "esmm"), strict=True)):
            parts = []
            for columns in both:
                rows = mask(columns, "ctcvr", path)
                codes = np.searchsorted(users, columns["user"][rows])
                parts.append(one(columns["ctcvr"][rows], columns["purchase"][rows] == 1, codes, users.size))
            of_seed[seed] = parts[0][0] - parts[1][0], parts[0][1] - parts[1][1]
        gains[path] = Sample.of(of_seed)
    expected = difference(gains["daction"], gains["oaction"])
    row = frame[frame.measure == "auc/ctcvr/daction less auc/ctcvr/oaction"].iloc[0]
    assert (row.value, row.lo, row.hi, row.p_value) == pytest.approx(
        (expected.difference, expected.lo, expected.hi, expected.p_value)
    )
    assert row.published == pytest.approx(0.0167 - 0.0068)
    compared = frame[frame.p_value.notna()]
    assert len(compared) == 5
    assert compared.p_adjusted.tolist() == pytest.approx(holm(compared.p_value.tolist()))
    assert "the paper's is +0.0099" in line(text, "**Gain of ESM² over ESMM in CTCVR-AUC")


@pytest.mark.parametrize(
    ("twist", "words"),
    [
        (on_path("esmm", "daction", 30), "The direction agrees with the paper; our interval does not hold its figure."),
        (on_path("esm2", "daction", 30), "This **contradicts** the paper; our interval does not hold its figure."),
        (lambda cell, columns: {}, "Our data cannot tell it from 0; our interval holds its figure."),
    ],
)
def test_where_the_gain_is_larger(tmp_path: Path, twist: Twist, words: str) -> None:
    study = fill(tmp_path, SKILLS, rows=4000, twist=twist)
    if words.startswith("Our"):
        study = fill(tmp_path / "few", SKILLS, rows=4000, seeds=1, twist=noisy)
    text, _ = build(Esm2Table8(), study, tmp_path / "report")
    assert line(text, "**Gain of ESM² over ESMM in CTCVR-AUC").endswith(words)


def noisy(cell: Cell, columns: Columns) -> Columns:
    """Two models that know nothing in common."""
    return {"ctcvr": np.random.default_rng(len(cell.model) + ord(cell.model[-1])).random(columns["ctcvr"].size)}


def test_table_8_without_wishes_is_empty(tmp_path: Path) -> None:
    """A log that does not tell wishes has no paths."""
    study = fill(tmp_path, SKILLS, rows=1500, wishes=False)
    text, frame = build(Esm2Table8(), study, tmp_path / "report")
    assert frame.empty
    assert "Not measured: the test rows do not have wish." in text
    assert "| ESMM | -<br><sub>paper 0.8802</sub> |" in text


COUNTS = {
    "users": 13_400, "items": 10_400, "exposures": 326_000, "clicks": 20_000, "carts": 2_000, "wishes": 700,
    "actions": 2_500, "purchases": 250, "oaction_purchases": 50, "test_exposures": 50_000, "test_clicks": 3_000,
    "test_purchases": 40,
}  # fmt: skip


def test_table_1_beside_the_scaled_paper(tmp_path: Path) -> None:
    text, frame = build(Esm2Table1(), fill(tmp_path, SKILLS, rows=300, counts=COUNTS), tmp_path / "report")
    found = frame.set_index("quantity")
    expected = {
        "clicked": 100 * 20 / 326,
        "bought_of_clicked": 1.25,
        "carted": 10.0,
        "wished": 3.5,
        "acted": 12.5,
        "bought_per_action": 10.0,
        "bought_of_acted": 8.0,
        "without_action": 20.0,
    }
    assert found.ours[list(expected)].to_dict() == pytest.approx(expected)
    assert found.published["exposures"] == 326_325_042
    assert np.isnan(found.published["wishes"])
    assert found.published_scaled["exposures"] == pytest.approx(326_325.042)
    assert found.published["acted"] == pytest.approx(100 * 2_501_776 / 20_637_192)
    assert found.text[["clicked", "carted", "acted"]].tolist() == [6, 10, 13]
    assert "| Exposures | 326,000 | 326,325 |" in text
    assert "| Clicks with an action | 12.50 | 12.12 | 13 |" in text
    assert "| Purchases without an action | 20.00 | - | - |" in text
    assert "| shop, test | 50,000 | 3,000 | - | 40 |" in text


def test_table_1_of_other_data_has_only_ours(tmp_path: Path) -> None:
    counts = {"exposures": 1000, "clicks": 60, "purchases": 3}
    study = fill(tmp_path, SKILLS, dataset="six_cities-0.001", city="1", rows=300, counts=counts)
    text, frame = build(Esm2Table1(), study, tmp_path / "report")
    assert "aper" not in text
    assert frame.published.isna().all()
    assert "| Clicks that are bought | 5.00 |" in text
    assert "| Users | - |" in text
    assert "cannot hold" not in text


def test_what_cannot_hold_together() -> None:
    wishes, acted, paths = contradictions(load_printed())
    assert "10 % × 12 % + 3.5 % × 31 % = 2.29 % of the clicks" in wishes  # 1.2 + 1.085
    assert "1.10 % of the clicks bought in all" in wishes
    assert "both (0.50 %) are bought, 1.78 % remain" in wishes
    assert "2,501,776 / 20,637,192 = 12.1 %" in acted
    assert "9.07 %" in paths
    assert "13 % × 9 % = 1.17" in paths


def test_figures_that_go_together_are_not_called_impossible() -> None:
    paper = copy.deepcopy(load_printed())
    counts = paper["esm2_table_1"]
    counts["actions"] = round(0.13 * counts["clicks"])
    counts["purchases"] = round(0.025 * counts["clicks"])
    assert not [text for text in contradictions(paper) if "cart or a wish" in text or "13 % of the clicks have" in text]
    paper["esm2_text"]["bought_of_actions_over"] = Decimal(30)
    assert list(contradictions(paper)) == []
