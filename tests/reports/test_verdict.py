"""The verdict: its words in stores where ESMC wins everywhere, loses everywhere, or wins at one end of an axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import make_cell, store_cell, store_manifest
from fake_worlds import Skill, fill, store_world, study_of
from matplotlib.image import imread

from bench.metrics.compare import Contrast
from bench.results.store import Store
from reports.exhibit import HERE, World
from reports.exhibits.verdict import VerdictExhibit
from reports.robustness.answers import NO_RULE, rules
from reports.robustness.axes import AXES, BAD_CASES
from reports.robustness.findings import MEASURES, Place, flipped
from reports.robustness.verdict import CHOICES, PAIRS, Verdict
from reports.study import Study, load_studies

MODELS = ("shared_bottom", "esmm", "esm2_chain", "esmc")
WORLDS = len(BAD_CASES.worlds)


def wins(model: str, world: World) -> float:
    return {"esmc": 4.0, "shared_bottom": 0.4}.get(model, 0.8)


def loses(model: str, world: World) -> float:
    return {"esmc": 0.3, "shared_bottom": 4.0}.get(model, 1.0)


def wins_at_one_end(model: str, world: World) -> float:
    """ESMC is better from 40 % of bad cases on, and like ESMM below."""
    return 4.0 if model == "esmc" and world.knobs.get("bad_case_share", 0) >= 0.4 else 0.8


def turns(model: str, world: World) -> float:
    """ESMC is better from 40 % of bad cases on, and worse below."""
    return 0.8 if model != "esmc" else 4.0 if world.knobs.get("bad_case_share", 0) >= 0.4 else 0.25


def even(model: str, world: World) -> float:
    return 0.9


Built = tuple[Study, str, pd.DataFrame, Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Skill], Built]:
    """The verdict over the worlds of the bad-case axis: study, Markdown, CSV and folder."""
    known: dict[Skill, Built] = {}

    def build(skill: Skill) -> Built:
        if skill not in known:
            folder = tmp_path_factory.mktemp(skill.__name__)
            study = fill(folder, BAD_CASES.worlds, skill, models=MODELS)
            text = VerdictExhibit().build(study, folder)
            known[skill] = study, text, pd.read_csv(folder / "verdict.csv"), folder
        return known[skill]

    return build


def line(text: str, start: str) -> str:
    (found,) = [each for each in text.splitlines() if each.startswith(start)]
    return found


def rule_lines(text: str) -> list[str]:
    below = text.split("**Rules of thumb**")[1].split("####")[0]
    return [each for each in below.splitlines() if each.startswith("- ")]


def of_pair(frame: pd.DataFrame, measure: str, first: str = "esmc", second: str = "esmm") -> pd.DataFrame:
    chosen = (frame.kind == "difference") & (frame.model == first) & (frame.against == second)
    found = frame[chosen & (frame.measure == measure)]
    return found.assign(setting=found.setting.where(found.world != "default", 0.24))


def test_it_asks_for_the_cells_of_all_axes() -> None:
    assert VerdictExhibit.demands == tuple(axis.demand for axis in AXES.values())
    assert (VerdictExhibit.order, VerdictExhibit.paper) == (42, "esmc")


# --- words ---------------------------------------------------------------------------------------------------------


def test_esmc_wins_everywhere(built: Callable[[Skill], Built]) -> None:
    _, text, frame, _ = built(wins)
    for name, measure in zip(MEASURES.values(), MEASURES, strict=True):
        found = of_pair(frame, measure)
        low, high = found.value.min(), found.value.max()
        expected = f"significantly better in {WORLDS} of {WORLDS} worlds (by {low:+.4f} to {high:+.4f}: all), "
        assert f"- {name}: {expected}significantly worse in 0 of {WORLDS} worlds, not distinguishable in 0;" in text
    assert f"**When is ESMM enough?** In none of {WORLDS} worlds: in each, ESMC is significantly better" in text
    assert text.count(f": in 0 of {WORLDS} worlds.") == 3  # Shared Bottom is nowhere better than both
    (rule,) = [each for each in rule_lines(text) if "→ ESMC over ESMM:" in each]
    assert rule.startswith(f"- **In all {WORLDS} worlds** → ESMC over ESMM: CTCVR-AUC over all exposures by +")
    assert all(name in rule for name in MEASURES.values())
    assert f"interval being {of_pair(frame, 'truth/ctcvr/exposed').lo.min():+.4f};" in rule
    assert "ESMM over ESMC" not in text
    assert f"is significantly better than ESMC in 0, which confirms the paper in {WORLDS}." in text
    assert "**contradicts**" not in text
    assert "**contradicted in" not in text


def test_esmc_loses_everywhere(built: Callable[[Skill], Built]) -> None:
    _, text, frame, _ = built(loses)
    name = "CTCVR-AUC over all exposures"
    assert f"- {name}: significantly better in 0 of {WORLDS} worlds, significantly worse in {WORLDS} of" in text
    answer = line(text, "**When is ESMM enough?**")
    assert f"In {WORLDS} of {WORLDS} worlds ESMC is not significantly better in any measure (all);" in answer
    assert f"in {WORLDS} of them it is significantly worse in at least one" in answer
    assert f"0.0000 {name} (less than 0.001 in {WORLDS} of {WORLDS})" in answer
    over_esmm = -of_pair(frame, "truth/ctcvr/exposed", "esmm", "shared_bottom").value
    clicks = f"- {name}: in {WORLDS} of {WORLDS} worlds, over ESMM by {over_esmm.min():+.4f} to {over_esmm.max():+.4f}"
    assert clicks in text
    assert f"- **In all {WORLDS} worlds** → ESMM over ESMC:" in text
    assert f"- **In all {WORLDS} worlds** → Shared Bottom over ESMM:" in text
    assert "→ ESMC over" not in text
    assert f"is significantly better than ESMC in {WORLDS}, which **contradicts** the paper." in text
    assert f"is significantly better than ESMC in {WORLDS}, of which the paper has no AUC." in text
    assert f"ESMC above ESMM in 6 of the paper's 6 cities. Here significant in 0 of {WORLDS} worlds, **contradicted in"
    assert f"- {name}: ESMC above ESMM in 6 of the paper's 6 cities. Here significant in 0 of {WORLDS} worlds," in text
    assert f"**contradicted in {WORLDS}**, not distinguishable in 0." in text


def test_esmc_wins_at_one_end_of_an_axis(built: Callable[[Skill], Built]) -> None:
    _, text, frame, _ = built(wins_at_one_end)
    where = "share of bad-case purchases 41.0 %, 61.0 %"
    found = of_pair(frame, "truth/ctcvr/exposed")
    there = found[found.setting > 0.4]
    by = f"by {there.value.min():+.4f} to {there.value.max():+.4f}"
    answer = line(text, "- CTCVR-AUC over all exposures: significantly better")
    assert f"significantly better in 2 of {WORLDS} worlds ({by}: {where})" in answer
    rules = [each for each in rule_lines(text) if "→ ESMC over ESMM" in each]
    (rule,) = [each for each in rules if each.startswith("- **Share of bad-case purchases ≥ 41.0 %** → ESMC over")]
    assert f"CTCVR-AUC over all exposures {by} (trend: p" in rule
    assert "beyond that: the data do not tell" in rule
    assert not any(each.startswith("- **In all") for each in rules)
    assert not any("≤" in each for each in rules)
    rest = found[found.setting < 0.4]
    enough = line(text, "**When is ESMM enough?**")
    assert f"In 3 of {WORLDS} worlds ESMC is not significantly better in any measure (all but {where})" in enough
    assert f"{max(0, rest.hi.max()):.4f} CTCVR-AUC over all exposures" in enough


def test_esmc_wins_at_one_end_and_loses_at_the_other(built: Callable[[Skill], Built]) -> None:
    _, text, _, _ = built(turns)
    above = line(text, "- **Share of bad-case purchases ≥ 41.0 %** → ESMC over ESMM")
    below = line(text, "- **Share of bad-case purchases ≤ 24.0 %** → ESMM over ESMC")
    assert "CTCVR-AUC over all exposures by +" in above
    assert "CTCVR-AUC over all exposures by +" in below
    assert "beyond that: the other way round" in above
    assert "beyond that: the other way round" in below
    assert not any(each.startswith("- **On average") and "ESMC" in each for each in rule_lines(text))
    assert "significantly worse in 3 of 5 worlds" in text
    assert text.count(": in 0 of 5 worlds.") == 3  # Shared Bottom is better than ESMC there, but not than ESMM
    assert "**contradicted in 3**" in text


def test_models_that_are_all_alike_give_no_rule(built: Callable[[Skill], Built]) -> None:
    _, text, frame, _ = built(even)
    assert rule_lines(text) == [f"- {NO_RULE}"]
    assert f"In {WORLDS} of {WORLDS} worlds ESMC is not significantly better in any measure (all)" in text
    assert "▲" not in text.split(":", 1)[1].split("| World |")[1]
    assert (frame.p_adjusted > 0.05).all()


def made_up(signs: dict[str, int], trend_p: float) -> Verdict:
    """Differences ESMC − ESMM that are significant in these ways along the bad-case axis, with a trend of this p."""

    def contrast(value: float, p: float) -> Contrast:
        return Contrast(value, value - 0.001, value + 0.001, p, p)

    pair, names = ("esmc", "esmm"), list(signs)
    rates = {name: i / 10 for i, name in enumerate(names)}
    contrasts = {
        (name, "truth/ctcvr/exposed", pair): contrast(0.01 * (way or 0.01), 0.001 if way else 0.9)
        for name, way in signs.items()
    }
    return Verdict(
        places={name: Place(name, rates[name], None, {}) for name in names},
        lines={name: rates if name == "bad_cases" else {} for name in AXES},
        contrasts=contrasts,
        means={},
        trends={("bad_cases", "truth/ctcvr/exposed", pair): contrast(0.02, trend_p)},
    )


def test_a_rule_along_an_axis_needs_its_trend() -> None:
    """Significant here and not there is no difference between here and there, unless the trend is significant."""
    (rule,) = rules(made_up({"a": 0, "b": 0, "c": 1, "d": 1}, 0.01))
    assert rule == (
        "**Share of bad-case purchases ≥ 20.0 %** → ESMC over ESMM: CTCVR-AUC over all exposures by +0.0100 to +0.0100"
        " (trend: p = 0.01; beyond that: the data do not tell)."
    )
    assert rules(made_up({"a": 0, "b": 0, "c": 1, "d": 1}, 0.2)) == [NO_RULE]


def test_a_rule_along_an_axis_holds_to_its_end() -> None:
    (rule,) = rules(made_up({"a": -1, "b": 0, "c": 1, "d": 0}, 0.01))
    assert rule.startswith("**Share of bad-case purchases ≤ 0.0 %** → ESMM over ESMC:")
    assert "beyond that: the data do not tell or the other way round" in rule


def test_a_trend_that_separates_nothing_is_told_as_a_trend() -> None:
    (rule,) = rules(made_up({"a": 1, "b": 0, "c": 1}, 0.01))
    assert rule == (
        "**The larger the share of bad-case purchases** → ESMC gains on ESMM: CTCVR-AUC over all exposures"
        " +0.0100 to +0.0100, trend p = 0.01."
    )
    falling = made_up({"a": 0, "b": 0}, 0.01)
    trends = {key: flipped(trend) for key, trend in falling.trends.items()}
    (rule,) = rules(replace(falling, trends=trends))
    assert rule.startswith("**The larger the share of bad-case purchases** → ESMM gains on ESMC:")
    assert "-0.0001 to -0.0001" in rule


# --- figures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skill", [wins_at_one_end, turns])
def test_marks_and_counts_follow_from_the_csv(built: Callable[[Skill], Built], skill: Skill) -> None:
    _, text, frame, _ = built(skill)
    marks = text.split("#### Who beats whom")[1].split("####")[0].splitlines()
    differences = frame[frame.kind == "difference"].assign(
        sign=lambda f: np.where(f.p_adjusted < 0.05, np.sign(f.value), 0).astype(int)
    )
    for world, rows in differences.groupby("world"):
        label = "default world" if world == "default" else f"share of bad-case purchases {rows.setting.iloc[0]:.1%}"
        label = label.replace("%", " %")
        expected = []
        for first, second in PAIRS:
            found = rows[(rows.model == first) & (rows.against == second)].set_index("measure").sign
            expected.append("".join({1: "▲", 0: "○", -1: "▼"}[found[m]] for m in MEASURES) if len(found) else "-")
        assert f"| {label} | {' | '.join(expected)} |" in marks
    for (measure, first, second), rows in differences.groupby(["measure", "model", "against"]):
        better, none, worse = ((rows.sign == way).sum() for way in (1, 0, -1))
        title = f"{ {'esmc': 'ESMC', 'esmm': 'ESMM'}[first] } − "
        start = [
            each
            for each in text.splitlines()
            if each.startswith(f"| {title}{TITLES[second]} | {MEASURES[measure]} | {better} | {none} | {worse} | ")
        ]
        assert len(start) == 1


TITLES = {"esmm": "ESMM", "esm2_chain": "ESM² chain", "shared_bottom": "Shared Bottom"}


def test_means_and_corrected_p_values(built: Callable[[Skill], Built]) -> None:
    _, text, frame, _ = built(wins_at_one_end)
    tested = frame.sort_values("p_value").reset_index()
    pairs = [pair for pair in PAIRS if set(pair) <= set(MODELS)]
    choices = [pair for pair in CHOICES if set(pair) <= set(MODELS)]
    trends = 3 * len(choices)
    assert len(tested) == 3 * len(pairs) * (WORLDS + 1) + trends
    assert f"That is {len(tested)} tests:" in text
    holm = np.minimum(1, np.maximum.accumulate(tested.p_value * (len(tested) - tested.index)))
    assert tested.p_adjusted.to_numpy() == pytest.approx(holm.to_numpy())
    for row in frame[frame.kind == "mean"].itertuples():
        assert row.value == pytest.approx(of_pair(frame, row.measure, row.model, row.against).value.mean())
        assert f"{row.value:+.4f}" in text
    default = frame[(frame.world == "default") & (frame.measure == "truth/cvr/clicked") & (frame.against == "esmm")]
    assert default.published.tolist() == pytest.approx([0.76871 - 0.72050])
    assert "| +0.04821 |" in text


def test_the_picture_stands_for_itself(built: Callable[[Skill], Built]) -> None:
    study, text, _, folder = built(turns)
    path = folder / f"verdict-{study.slug}.png"
    assert path.name in text
    pixels = imread(path)
    assert pixels.shape[0] > 400
    orange = (pixels[..., 0] > 0.8) & (pixels[..., 2] < 0.4)
    purple = (pixels[..., 2] > pixels[..., 1] + 0.1) & (pixels[..., 2] > 0.4) & (pixels[..., 0] < 0.6)
    assert orange.mean() > 0.02
    assert purple.mean() > 0.02


# --- what is not there ---------------------------------------------------------------------------------------------


def test_without_esmc_the_rest_is_told(tmp_path: Path) -> None:
    worlds = BAD_CASES.worlds[1:3]
    study = fill(tmp_path, worlds, loses, models=("shared_bottom", "esmm"), seeds=1, rows=600)
    text = VerdictExhibit().build(study, tmp_path)
    assert text.count(": not measured.") == 6
    assert "**When is ESMM enough?** Not measured." in text
    assert "Of 306 differences 300 are not stored yet: `bench run --exhibit verdict`" in text
    assert "with one seed an interval covers the choice of test users only" in text
    assert "- **In all 2 worlds** → Shared Bottom over ESMM:" in text
    assert "| ESMC − ESMM | CTCVR-AUC over all exposures | - | - | - | - | +0.01178 |" in text
    assert not list(tmp_path.glob("*.png"))


def test_nothing_to_compare(tmp_path: Path) -> None:
    study = fill(tmp_path, [HERE], even, models=("esmc",), seeds=1, rows=300)
    text = VerdictExhibit().build(study, tmp_path)
    assert text == "No world has two of the models yet: `bench run --exhibit verdict` trains them."


def test_one_world_makes_no_rule(tmp_path: Path) -> None:
    """What is significant in the only world that is stored is told, but it is no rule."""
    store = Store(tmp_path / "runs")
    store_world(store, HERE, wins, models=("esmm", "esmc"), rows=600)
    text = VerdictExhibit().build(study_of(store), tmp_path)
    assert "significantly better in 1 of 1 worlds" in text
    assert rule_lines(text) == [f"- {NO_RULE}"]


def test_a_log_has_no_worlds(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell("6", dataset="a_log"))
    store_manifest(store.out, make_cell("6", dataset="a_log"), origin="log")
    (study,) = load_studies(store, store.scan())
    assert VerdictExhibit().build(study, tmp_path).startswith("This needs a simulated dataset")
