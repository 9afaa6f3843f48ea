"""Table V: its figures by scikit-learn, and words that follow from them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from fake_gains import area, build, fill, holm
from matplotlib.image import imread

from bench.metrics.compare import Sample, difference, estimate, relative
from reports.exhibits.table_v import TableV
from reports.gains.values import percent
from reports.gains.words import limit_verdict, verdict

SPACES = {"ctr": "exposed", "ctcvr": "exposed", "cvr": "clicked"}
PAIRS = (("esms2", "esms"), ("esmc2", "esmc"))

#: The paper's order.
AS_PUBLISHED = {"esms": 1.0, "esmc": 1.4, "esms2": 1.2, "esmc2": 3.0}

#: ESMS the best, ESMC² the worst, and ESMC loses more by the carts of search than ESMS does.
REVERSED = {"esms": 3.0, "esms2": 2.6, "esmc": 2.4, "esmc2": 1.0}


def told(text: str, start: str) -> str:
    """The one line of the list that starts so."""
    (line,) = [line for line in text.splitlines() if line.lstrip(" -").startswith(start)]
    return line


def test_every_figure_is_what_scikit_learn_gives(tmp_path: Path) -> None:
    study = fill(tmp_path, AS_PUBLISHED)
    text, frame = build(TableV(), study, tmp_path / "report")
    indexed = frame.set_index(["city", "model", "measure", "against_model"]).sort_index()
    for probability, space in SPACES.items():
        measure = f"auc/{probability}/{space}"
        found = {(city, model): area(study, city, model, probability) for city in "12" for model in AS_PUBLISHED}
        for (city, model), auc in found.items():
            row = indexed.loc[(city, model, measure, "")]
            assert row.value == pytest.approx(auc)
            assert row.n_seeds == 2
            assert f"{auc:.4f} ± {(row.hi - row.lo) / 2:.4f}" in text
        for first, second in PAIRS:
            gains = [100 * (found[city, first] / found[city, second] - 1) for city in "12"]
            for place, gain in zip(("1", "2", "mean"), (*gains, np.mean(gains)), strict=True):
                row = indexed.loc[(place, first, measure, second)]
                assert row.value == pytest.approx(gain)
                assert row.unit == "percent"
                assert re.search(rf"{re.escape(f'{gain:+.3f}')}(\*\*)? \[{re.escape(f'{row.lo:+.3f}')}", text)


def test_corrected_over_all_comparisons_of_the_exhibit(tmp_path: Path) -> None:
    text, frame = build(TableV(), fill(tmp_path, AS_PUBLISHED | {"esms2": 1.01}), tmp_path / "report")
    compared = frame[frame.p_value.notna()]
    assert len(compared) == 2 * 3 * 2 + 5 * 6 + 6  # by city; five pairs, and the gains, as means over cities
    assert compared.p_adjusted.tolist() == pytest.approx(holm(compared.p_value.tolist()))
    bold = re.findall(r"\*\*([+-]\d+\.\d{3})\*\* \[", text)
    significant = [f"{value:+.3f}" for value in compared[compared.p_adjusted < 0.05].value]
    assert 0 < len(significant) < len(compared)
    assert set(bold) <= set(significant)


def test_the_gain_of_gains_is_the_difference_of_improvements(tmp_path: Path) -> None:
    _, frame = build(TableV(), fill(tmp_path, AS_PUBLISHED), tmp_path / "report")
    mean = frame[(frame.city == "mean") & (frame.unit != "AUC")]
    for measure in ("auc/cvr/clicked", "truth/ctr/exposed"):
        of_pair = [
            mean[(mean.model == a) & (mean.against_model == b) & (mean.measure == measure)].value.item()
            for a, b in PAIRS
        ]
        (lead,) = mean[mean.model.str.startswith("gain of ESMC²") & (mean.measure == measure)].value
        assert lead == pytest.approx(of_pair[1] - of_pair[0])


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    text, frame = build(TableV(), fill(tmp_path, AS_PUBLISHED, cities=("1", "2", "4")), tmp_path / "report")
    assert "paper 0.74015" in text  # ESMC², CTR-AUC of City 1
    assert "paper +0.684" in text
    assert "The paper's +0.684 % of ESMC² in City 2 is a misprint: its AUCs give +0.068 %." in text
    assert text.count("misprint") == 1
    ctr = [100 * (a / b - 1) for a, b in ((0.74015, 0.73111), (0.73518, 0.72774), (0.73835, 0.73176))]
    row = frame[(frame.city == "mean") & (frame.model == "esmc2") & (frame.against_model == "esmc")].iloc[0]
    assert row.measure == "auc/ctr/exposed"
    assert row.published == pytest.approx(np.mean(ctr))
    assert f"| {np.mean(ctr):+.3f} |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| ESMC² |")][:1]
    assert line.count("paper") == 3  # cities 1 and 2 and the mean, but not City 4
    assert "(its own means over cities say otherwise in CVR-AUC)" in text


def test_words_where_the_paper_holds(tmp_path: Path) -> None:
    text, _ = build(TableV(), fill(tmp_path, AS_PUBLISHED, rows=4000), tmp_path / "report")
    line = told(text, "**ESMS² and ESMC² “absolutely outperform”")
    assert "Ours are above in 12 of 12 comparisons by city" in line
    assert "contradicts" not in line
    assert "over 1 % on average" in (line := told(text, "**CTR-AUC of ESMC² over ESMC"))
    assert "Our interval lies above 1 %. This agrees with the paper." in line
    assert "contradicts" not in told(text, "**The gain of ESMS²")
    best = told(text, "CTR-AUC against the truth: ESMC² is")
    assert "better than ESMS, ESMS² and ESMC, worse than none" in best
    assert "ESMS is significantly worse than ESMS², ESMC and ESMC², better than none" in best


def test_words_where_it_does_not(tmp_path: Path) -> None:
    text, _ = build(TableV(), fill(tmp_path, REVERSED, rows=4000), tmp_path / "report")
    line = told(text, "**ESMS² and ESMC² “absolutely outperform”")
    assert "Ours are above in 0 of 12 comparisons by city" in line
    assert "This **contradicts** the paper" in line
    assert "Our interval lies below 1 %. This **contradicts** the paper." in told(text, "**CTR-AUC of ESMC² over ESMC")
    assert "This **contradicts** the paper" in told(text, "**The gain of ESMS²")
    assert "This **contradicts** the paper" in told(text, "**ESMC² is the best of the family, ESMS the worst**")
    assert "worse than ESMS, ESMS² and ESMC;" in told(text, "CTR-AUC against the truth: ESMC² is")
    assert "CTR-AUC: ESMS² over ESMS worse (-" in text


def test_words_where_nothing_differs(tmp_path: Path) -> None:
    text, _ = build(TableV(), fill(tmp_path, dict.fromkeys(AS_PUBLISHED, 1.0), rows=800), tmp_path / "report")
    assert "The data neither confirm nor contradict the paper." in told(text, "**ESMC² is the best of the family")
    assert "not distinguishable" in text


def test_missing_models_are_dashes_with_a_command(tmp_path: Path) -> None:
    text, frame = build(TableV(), fill(tmp_path, {"esms": 1.0, "esmc": 1.1}, cities=("1",)), tmp_path / "report")
    assert 'Not stored, printed as "-": City 1: ESMS², ESMC². `bench run --exhibit table_v` trains them.' in text
    assert "| ESMC² | -<br><sub>paper 0.74015</sub> | -<br>" in text
    assert "| Improvement, % | -<br><sub>paper +0.031</sub>" in text
    assert "outperform" not in text
    assert set(frame[frame.p_value.notna()].model) == {"esmc"}  # over ESMS


def test_too_few_labels_and_single_seeds_are_told(tmp_path: Path) -> None:
    study = fill(tmp_path, AS_PUBLISHED, cities=("1",), seeds=1, buy=0.1)
    text, _ = build(TableV(), study, tmp_path / "report")
    columns = study.store.predictions(study.records[0].key)
    bought = int(columns["purchase"].sum())
    assert bought < 30
    assert f"CVR-AUC of City 1 ({bought} positives of {int(columns['click'].sum())} rows)" in text
    assert "with one seed an interval covers the choice of test users only" in text


def test_a_log_has_no_paper_beside_it(tmp_path: Path) -> None:
    text, frame = build(TableV(), fill(tmp_path, AS_PUBLISHED, cities=("1",), dataset="a_log"), tmp_path / "report")
    assert "<sub>" not in text
    assert frame.published.isna().all()
    assert "comparisons that it prints" not in text


def test_the_picture_is_one(tmp_path: Path) -> None:
    study = fill(tmp_path, AS_PUBLISHED, cities=("1",))
    text, _ = build(TableV(), study, tmp_path / "report")
    (path,) = (tmp_path / "report").glob("*.png")
    assert f"({path.name})" in text
    assert imread(path)[..., :3].std() > 0.05


def test_percent_is_the_relative_gain_as_a_sample() -> None:
    rng = np.random.default_rng(1)
    first, second = (
        Sample(0.7 + 0.01 * rng.normal(size=3), 0.001 * rng.normal(size=(3, 40)), seeds)
        for seeds in ((0, 1, 2), (1, 2, 3))
    )
    sample = percent(first, second)
    assert sample is not None
    found, expected = estimate(sample), relative(first, second)
    assert (found.mean, found.lo, found.hi) == pytest.approx((expected.difference, expected.lo, expected.hi))
    assert sample.seeds == (1, 2)
    assert percent(first, Sample(second.areas, second.sums, (7, 8, 9))) is None


def test_verdicts() -> None:
    assert verdict([1, 1]) == "This agrees with the paper."
    assert verdict([0, 0]) == "The data neither confirm nor contradict the paper."
    assert verdict([]) == verdict([0])
    assert verdict([-1, -1]) == "This **contradicts** the paper."
    assert "in 1 of 3 comparisons" in verdict([1, 0, 0])
    assert "in 1 of 3 comparisons and agrees with it in 1" in verdict([1, -1, 0])
    level = Sample(np.array([0.5, 0.5]), 0.001 * np.random.default_rng(0).normal(size=(2, 50)), (0, 1))
    zero = Sample(np.zeros(2), np.zeros((2, 50)), (0, 1))
    contrast = difference(level, zero)
    assert "lies above 0.1 %" in limit_verdict(contrast, 0.1)
    assert "lies below 0.9 %. The direction agrees with the paper, the size **contradicts** it." in limit_verdict(
        contrast, 0.9
    )
    assert "lies below 0.9 %. This **contradicts** the paper." in limit_verdict(difference(zero, level), 0.9)
    assert "holds 0.5 %" in limit_verdict(contrast, 0.5)
