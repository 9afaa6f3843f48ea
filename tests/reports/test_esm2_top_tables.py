"""ESM² Tables 4 and 5: recall, precision and F1 by scikit-learn, and comparisons in F1 alone."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from fake_gains import holm
from fake_shop import Skills, build, entry, fill, levels, line, lower, predictions
from sklearn.metrics import precision_recall_fscore_support

from reports.esm2.paper import MODELS
from reports.exhibit import Exhibit
from reports.exhibits.esm2_table_4 import Esm2Table4
from reports.exhibits.esm2_table_5 import Esm2Table5
from reports.study import Study

SKILLS: Skills = {entry(model): skill for model, skill in zip(MODELS, (0.5, 0.7, 0.9, 1.2, 1.6), strict=True)}
ROWS = 20_000
CUTS = {"0.1": 0.001, "0.6": 0.006, "1": 0.01}


def top_scores(study: Study, model: str, probability: str, share: float) -> tuple[float, float, float]:
    """Recall, precision and F1 in percent, means over seeds, of scores without ties."""
    found = []
    for columns in predictions(study, model):
        chosen = columns["click"] == 1 if probability == "cvr" else np.ones(columns["click"].size, dtype=bool)
        scores, bought = columns[probability][chosen], columns["purchase"][chosen]
        guess = np.zeros(scores.size, dtype=int)
        guess[np.argsort(-scores, kind="stable")[: round(share * scores.size)]] = 1
        precision, recall, f1, _ = precision_recall_fscore_support(bought, guess, average="binary")
        found.append((100 * recall, 100 * precision, 100 * f1))
    recall, precision, f1 = np.mean(found, axis=0)
    return float(recall), float(precision), float(f1)


@pytest.mark.parametrize(
    ("kind", "probability", "space"), [(Esm2Table4, "cvr", "clicked"), (Esm2Table5, "ctcvr", "exposed")]
)
def test_values_in_percent(tmp_path: Path, kind: type[Exhibit], probability: str, space: str) -> None:
    study = fill(tmp_path, SKILLS, rows=ROWS, buy=0.4)
    text, frame = build(kind(), study, tmp_path / "report")
    found = levels(frame)
    for model in MODELS:
        for cut, share in CUTS.items():
            expected = top_scores(study, model, probability, share)
            for statistic, value in zip(("recall", "precision", "f1"), expected, strict=True):
                row = found.loc[(model, "", f"{statistic}@{cut}/{probability}/{space}")]
                assert row.value.item() == pytest.approx(value)
            recall, precision, f1 = (f"{value:.2f} ±" for value in expected)
            assert f"| {recall}" in text
            assert f"| {precision}" in text
            assert f1 in text or f"**{expected[2]:.2f}** ±" in text
    (columns, _) = predictions(study, "esm2")
    rows = int((columns["click"] == 1).sum()) if space == "clicked" else ROWS
    bought = int(columns["purchase"].sum())
    for cut, share in CUTS.items():
        head = line(text, f"**Top {cut} %.**")
        assert f"{round(share * rows):,} of {rows:,} rows; {bought:,} of all are positive" in head
        hits = [top_scores(study, model, probability, share)[0] / 100 * bought for model in MODELS]
        assert f"the models find {min(hits):.1f} to {max(hits):.1f} there" in head
        assert ("Below 10 the intervals are rough" in head) == (min(hits) < 10)


def test_the_papers_figures(tmp_path: Path) -> None:
    study = fill(tmp_path, SKILLS, rows=ROWS)
    text, frame = build(Esm2Table4(), study, tmp_path / "report")
    for figure in ("4.382", "14.348", "23.492", "13.890"):
        assert f"<sub>paper {figure}</sub>" in text
    assert "paper +0.447" in line(text, "| ESM² − ESMM |")  # 9.017 - 8.570
    assert levels(frame).published["esm2", "", "recall@0.6/cvr/clicked"] == 23.492


def test_only_f1_is_compared_once_per_cut(tmp_path: Path) -> None:
    study = fill(tmp_path, SKILLS, rows=ROWS)
    text, frame = build(Esm2Table5(), study, tmp_path / "report")
    compared = frame[frame.p_value.notna()]
    bought = predictions(study, "esm2")[0]["purchase"].sum()
    enough = set()
    for cut, share in CUTS.items():
        hits = {model: top_scores(study, model, "ctcvr", share)[0] / 100 * bought for model in MODELS}
        enough |= {
            (cut, second, first) for first, second in combinations(MODELS, 2) if max(hits[first], hits[second]) >= 10
        }
    measures = compared.measure.str.extract(r"f1@(.*)/ctcvr/exposed")[0]
    assert set(zip(measures, compared.model, compared.against_model, strict=True)) == enough
    assert 0 < len(enough) < 30
    assert f"over the {len(enough)} comparisons of this table" in text
    assert compared.p_adjusted.tolist() == pytest.approx(holm(compared.p_value.tolist()))
    difference = top_scores(study, "esm2", "ctcvr", 0.01)[2] - top_scores(study, "esmm", "ctcvr", 0.01)[2]
    assert f"{difference:+.2f}" in line(text, "| ESM² − ESMM |")


def test_words_follow_from_the_figures(tmp_path: Path) -> None:
    """One model that finds next to none of what the others find."""
    skills = {entry("gbdt"): 8.0, entry("esm2"): 8.0}
    study = fill(tmp_path / "a", skills, rows=ROWS, buy=0.4, twist=lower("gbdt", 1e6))
    text, _ = build(Esm2Table5(), study, tmp_path / "first")
    assert "ESM² above GBDT, significantly, as in the paper" in line(text, "- **F1 at 1 %.**")
    study = fill(tmp_path / "b", skills, rows=ROWS, buy=0.4, twist=lower("esm2", 1e6))
    text, _ = build(Esm2Table5(), study, tmp_path / "second")
    assert "GBDT above ESM², significantly, which **contradicts** the paper" in line(text, "- **F1 at 1 %.**")


def test_equal_hits_are_no_interval_of_nothing(tmp_path: Path) -> None:
    """All models find the same rows: a difference of 0 without spread is not counted as exactly known."""
    twist = lambda cell, columns: {"cvr": np.float32(0.9) * columns["p_purchase"]}  # noqa: E731
    study = fill(tmp_path, {entry(model): 1.0 for model in MODELS}, rows=ROWS, twist=twist)
    text, _ = build(Esm2Table4(), study, tmp_path / "report")
    found = line(text, "- **F1 at 1 %.**")
    assert found == "- **F1 at 1 %.** None of 10 comparisons is significant. In 10 the two have the very same figure."


def test_missing_models_and_no_purchase(tmp_path: Path) -> None:
    study = fill(tmp_path, {entry("esmm"): 1.0}, rows=600, buy=0.0)
    text, frame = build(Esm2Table4(), study, tmp_path / "report")
    assert frame.empty
    assert "0 of all are positive." in text
    assert "| ESMM | -<br><sub>paper 5.813</sub> |" in text
    assert "shop: GBDT, DNN, DNN-OS, ESM². `bench run --exhibit esm2_table_4` trains them." in text
