"""Table VI: both cases by scikit-learn, the identity between them, and words that follow from the figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from fake_gains import Twist, area, build, case_area, fill, holm, predictions
from fake_store import Columns
from matplotlib.image import imread

from bench.core.cell import Cell
from bench.metrics.compare import Sample, combine, difference, one
from reports.exhibits.table_vi import LEAD, TableVI
from reports.gains.cases import CASES, published_identity
from reports.gains.values import Gains, percent
from reports.study import Study

MODELS = ("shared_bottom", "mmoe", "esmm", "esm2", "esm2_chain", "esms", "esmc")
CART = {"bad": 0, "good": 1}

#: ESMS far above ESM² chain.
SKILLS = dict(zip(MODELS, (0.7, 0.8, 1.0, 1.2, 0.9, 2.0, 1.8), strict=True))


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip(" -").startswith(start)]


def told(text: str, start: str) -> str:
    (line,) = lines_of(text, start)
    return line


def hurt(model: str, carts: tuple[int, ...]) -> Twist:
    """Let a model score the purchases of these cases low."""

    def twist(cell: Cell, columns: Columns) -> Columns:
        chosen = (columns["purchase"] == 1) & np.isin(columns["cart"], carts)
        return {"cvr": np.where(chosen, columns["cvr"] / 2, columns["cvr"])} if cell.model == model else {}

    return twist


def test_every_figure_is_what_scikit_learn_gives(tmp_path: Path) -> None:
    study = fill(tmp_path, SKILLS, rows=4500)
    text, frame = build(TableVI(), study, tmp_path / "report")
    indexed = frame.set_index(["city", "model", "measure", "against_model", "unit"]).sort_index()
    for case, measure in CASES.items():
        found = {(city, model): case_area(study, city, model, CART[case]) for city in "12" for model in MODELS}
        for (city, model), auc in found.items():
            row = indexed.loc[(city, model, measure, "", "AUC")]
            assert row.value == pytest.approx(auc)
            assert f"{auc:.4f} ± {(row.hi - row.lo) / 2:.4f}" in text
        gains = [100 * (found[city, "esms"] / found[city, "esm2_chain"] - 1) for city in "12"]
        for place, gain in zip(("1", "2", "mean"), (*gains, np.mean(gains)), strict=True):
            row = indexed.loc[(place, "esms", measure, "esm2_chain", "percent")]
            assert row.value == pytest.approx(gain)
            assert re.search(rf"{re.escape(f'{gain:+.2f}')}(\*\*)? \[{re.escape(f'{row.lo:+.2f}')}", text)
        for model in ("esms", "mmoe"):
            change = np.mean([found[city, model] - found[city, "esmm"] for city in "12"])
            assert indexed.loc[("mean", model, measure, "esmm", "AUC")].value == pytest.approx(change)
            assert f"{change:+.4f}" in "".join(lines_of(text, f"| {'ESMS' if model == 'esms' else 'MMoE'} |"))


def test_the_overall_auc_is_the_weighted_mean_of_the_cases(tmp_path: Path) -> None:
    study = fill(tmp_path, SKILLS, cities=("1", "2", "3"), rows=4500)
    text, frame = build(TableVI(), study, tmp_path / "report")
    by_case = frame[(frame.city != "mean") & frame.p_value.isna()].pivot(index=["city", "model"], columns="measure")
    bad, good = CASES["bad"], CASES["good"]
    n_bad, n_good = by_case["n_pos"][bad], by_case["n_pos"][good]
    expected = (n_bad * by_case["value"][bad] + n_good * by_case["value"][good]) / (n_bad + n_good)
    whole = by_case["value"]["auc/cvr/clicked"]
    assert len(whole) == 3 * len(MODELS)
    assert (np.abs(whole - expected) < 1e-12).all()
    assert (n_bad + n_good == by_case["n_pos"]["auc/cvr/clicked"]).all()
    for city, model in whole.index:
        assert whole[city, model] == pytest.approx(area(study, city, model, "cvr"))
    (largest,) = re.findall(r"over 21 pairs of model and city, .* by (\S+) at most", text)
    assert float(largest) < 1e-12


def test_counts_and_shares(tmp_path: Path) -> None:
    counts = {"purchases": 400, "bad_case_purchases": 100}
    study = fill(tmp_path, SKILLS, rows=4500, seeds=1, counts=counts)
    text, _ = build(TableVI(), study, tmp_path / "report")
    numbers = {}
    for city in "12":
        columns = predictions(study, city, "esms")[0]
        bought = columns["purchase"] == 1
        numbers[city] = int((bought & (columns["cart"] == 0)).sum()), int((bought & (columns["cart"] == 1)).sum())
    (bad, good), (bad2, good2) = numbers["1"], numbers["2"]
    assert f"| Bad cases | {bad} | {bad2} |" in text
    assert f"| Good cases | {good} | {good2} |" in text
    assert f"| Share of bad cases | {bad / (bad + good):.1%} | {bad2 / (bad2 + good2):.1%} |" in text
    assert "| Share of bad cases, all days | 25.0% | 25.0% |" in text


def test_the_two_improvements_are_compared_by_user(tmp_path: Path) -> None:
    """The cases have other rows, so other users: the difference is right only where users are matched."""
    study = fill(tmp_path, SKILLS, rows=4500)
    _, frame = build(TableVI(), study, tmp_path / "report")
    parts = {}
    for city in "12":
        samples: dict[tuple[str, int], Sample] = {}
        users = np.unique(predictions(study, city, "esms")[0]["user"])
        for model in ("esms", "esm2_chain"):
            for cart in (0, 1):
                by_seed = {}
                for seed, columns in enumerate(predictions(study, city, model)):
                    bought = columns["purchase"] == 1
                    chosen = (columns["click"] == 1) & (~bought | (columns["cart"] == cart))
                    codes = np.searchsorted(users, columns["user"][chosen])
                    by_seed[seed] = one(columns["cvr"][chosen], bought[chosen], codes, users.size)
                samples[model, cart] = Sample.of(by_seed)
        gains = [percent(samples["esms", cart], samples["esm2_chain", cart]) for cart in (0, 1)]
        assert gains[0] is not None
        assert gains[1] is not None
        parts[city] = difference(gains[0], gains[1])
    rows = frame[frame.model == LEAD].set_index("city")
    for city, expected in (parts | {"mean": combine(parts.values())}).items():
        row = rows.loc[city]
        assert (row.value, row.lo, row.hi) == pytest.approx((expected.difference, expected.lo, expected.hi))
        assert row.p_value == pytest.approx(expected.p_value)


def test_corrected_over_all_comparisons(tmp_path: Path) -> None:
    _, frame = build(TableVI(), fill(tmp_path, SKILLS, rows=4500), tmp_path / "report")
    compared = frame[frame.p_value.notna()]
    assert len(compared) == 2 * 3 + 3 + 2 * 12
    assert compared.p_adjusted.tolist() == pytest.approx(holm(compared.p_value.tolist()))


WORDS: list[tuple[Mapping[str, float], Twist, str, str, str]] = [
    (SKILLS | {"esms": 3.0}, hurt("esm2_chain", (0, 1)), "agrees with", "lies above 6 %. This agrees", "above it"),
    (SKILLS, hurt("esms", (0, 1)), "**contradicts** the paper", "lies below 6 %. This **contra", "lies below it"),
]


@pytest.mark.parametrize(("skills", "twist", "verdict", "bad", "good"), WORDS)
def test_words_follow_from_the_figures(
    tmp_path: Path, skills: Mapping[str, float], twist: Twist, verdict: str, bad: str, good: str
) -> None:
    text, _ = build(TableVI(), fill(tmp_path, skills, rows=4000, twist=twist), tmp_path / "report")
    assert verdict in told(text, "**ESMS “absolutely outperforms” ESM² chain")
    line = told(text, "**ESMS improves the bad case by over 6 %")
    assert bad in line
    assert "its table: +6.117 %" in line
    assert good in told(text, "**ESMS improves the good case by near 5 %")


@pytest.mark.parametrize(
    ("cart", "words", "verdict"),
    [(0, "Ours is larger", "This agrees with"), (1, "Ours is smaller", "This **contradicts** the paper")],
)
def test_in_which_case_the_gain_is_larger(tmp_path: Path, cart: int, words: str, verdict: str) -> None:
    skills = {"esm2_chain": 1.2, "esms": 1.2, "esmm": 1.2}
    study = fill(tmp_path, skills, rows=4000, twist=hurt("esm2_chain", (cart,)))
    text, _ = build(TableVI(), study, tmp_path / "report")
    line = told(text, "**The improvement is larger in the bad case**")
    assert words in line
    assert verdict in line
    assert "by 1.47 percentage points on average" in line
    hurt_case, other = ("bad", "good") if cart == 0 else ("good", "bad")
    assert "worse: ESM² chain" in told(text, f"**Against ESMM, {hurt_case} case**")
    assert "worse: none" in told(text, f"**Against ESMM, {other} case**")


def test_the_published_table_is_impossible_by_its_own_figures(tmp_path: Path) -> None:
    study = fill(tmp_path, {"esms": 1.2, "esm2_chain": 1.0}, cities=("1",), rows=4500)
    text, _ = build(TableVI(), study, tmp_path / "report")
    pairs = published_identity(study)
    assert len(pairs) == 12
    excess = [pair.whole - max(pair.bad, pair.good) for pair in pairs]
    assert all(e > 0 for e in excess)
    assert f"outside in 12 of 12 cases (cities times models): above both in 12, by {min(excess):.4f} to" in text
    assert "ESMM² in City 1 has 0.76824 in Table IV, and 0.65848 on bad and 0.68472 on good cases" in text
    overall = np.mean([p.whole for p in pairs if p.model == "esms"]) - np.mean(
        [p.whole for p in pairs if p.model == "esm2_chain"]
    )
    assert f"ESMS is above ESMM² by {overall:+.4f} over all purchases" in text
    assert "nor can they be all exposures without purchase" in text


def between(study: Study) -> None:
    """Make the published overall AUCs lie between the two cases."""
    published = study.published
    cities = {
        city: {
            model: aucs | {"cvr": (row.bad + row.good) / 2 if (row := rows.get((city, model))) else aucs["cvr"]}
            for model, aucs in models.items()
        }
        for city, models in published.table_iv.cities.items()
        for rows in [{(p.city, p.model): p for p in published_identity(study)}]
    }
    study.published = published.model_copy(
        update={"table_iv": published.table_iv.model_copy(update={"cities": cities})}
    )


def test_published_figures_that_go_together_are_not_called_impossible(tmp_path: Path) -> None:
    study = fill(tmp_path, {"esms": 1.2, "esm2_chain": 1.0}, cities=("1",), rows=4500)
    between(study)
    assert not any(pair.excess for pair in published_identity(study))
    text, _ = build(TableVI(), study, tmp_path / "report")
    assert "cannot" not in text


def test_missing_models_and_too_few_purchases(tmp_path: Path) -> None:
    study = fill(
        tmp_path, {"esmm": 1.0, "esms": 1.0}, cities=("1",), rows=4500, twist=lambda cell, c: {"cart": c["cart"] & 0}
    )
    text, frame = build(TableVI(), study, tmp_path / "report")
    bought = int(predictions(study, "1", "esms")[0]["purchase"].sum())
    assert "**ESMS against ESM² chain** is not measured" in text
    assert "CVR-AUC, good cases of City 1 (0 positives of" in text
    assert f"| Bad cases | {bought} |" in text
    assert "City 1: Shared Bottom, MMoE, ESM², ESM² chain, ESMC. `bench run --exhibit table_vi` trains them." in text
    assert set(frame[frame.unit == "AUC"].measure) == {"auc/cvr/clicked", "auc/cvr/bad_case"}
    assert "| Improvement, % | -<br><sub>paper +6.645</sub>" in text


def test_nothing_to_show(tmp_path: Path) -> None:
    text, frame = build(TableVI(), fill(tmp_path, {"esms": 1.0}, cities=("1",), rows=300, buy=0.1), tmp_path / "report")
    assert text.startswith("No AUC to show.")
    assert "Withheld, for fewer than 30" in text
    assert frame.empty


def test_the_picture_is_one(tmp_path: Path) -> None:
    study = fill(tmp_path, SKILLS, cities=("1",), rows=4500, seeds=1)
    text, _ = build(TableVI(), study, tmp_path / "report")
    (path,) = (tmp_path / "report").glob("*.png")
    assert f"({path.name})" in text
    assert imread(path)[..., :3].std() > 0.05
    assert Gains(study).shared(CASES["bad"], [("esms", "")]) == ["1"]
