"""The exhibits along a setting of the simulation: grids, figures recomputed, and words that follow from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import make_cell, store_cell, store_manifest
from fake_worlds import Skill, fill, source_of, store_world, study_of
from matplotlib.image import imread

from bench.core.registry import EXHIBITS
from bench.data.tables import Manifest
from bench.metrics.compare import Sample
from bench.results.store import Store
from reports.exhibit import HERE, World
from reports.exhibits.robust_bad_cases import RobustBadCases
from reports.robustness.axes import AXES, BAD_CASES, CONVERSION, MODELS, SEARCH, SIZE, world_name
from reports.robustness.findings import MEASURES, PAIRS, Findings, Place, findings, mean_of, trend_of
from reports.robustness.text import turn
from reports.study import Study, load_studies

CTCVR = "truth/ctcvr/exposed"


def rising(model: str, world: World) -> float:
    """ESMC gets better with the share of bad cases, the others are all alike but Shared Bottom."""
    share = world.knobs.get("bad_case_share", 0.23)
    return {"esmc": 0.5 + 5 * share, "shared_bottom": 0.6}.get(model, 0.9)


def falling(model: str, world: World) -> float:
    return 3.6 - rising(model, world) if model == "esmc" else rising(model, world)


def even(model: str, world: World) -> float:
    return 0.9


Built = tuple[Study, str, pd.DataFrame, Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Skill], Built]:
    """The bad-case exhibit of a world in which models are that good: study, Markdown, CSV and folder."""
    known: dict[Skill, Built] = {}

    def build(skill: Skill) -> Built:
        if skill not in known:
            folder = tmp_path_factory.mktemp(skill.__name__)
            study = fill(folder, BAD_CASES.worlds, skill)
            text = RobustBadCases().build(study, folder)
            known[skill] = study, text, pd.read_csv(folder / "robust_bad_cases.csv"), folder
        return known[skill]

    return build


# --- the grids ----------------------------------------------------------------------------------------------------


def test_every_axis_has_the_default_world_and_its_exhibit() -> None:
    for name, axis in AXES.items():
        exhibit = EXHIBITS.get(f"robust_{name}")
        (demand,) = exhibit.demands
        assert (demand.models, demand.cities, demand.worlds) == (MODELS, ("6",), axis.worlds)
        assert sum(world is HERE for world in axis.worlds) == 1
        assert len({source_of(world).label for world in axis.worlds}) == len(axis.worlds)
    assert [world_name(world) for world in SIZE.worlds] == ["0.1 times the data", "0.3 times the data", "default",
                                                           "3.33 times the data"]  # fmt: skip
    assert world_name(SEARCH.worlds[0]) == "search_cart_share=0.15, redeemed=0.9"


def test_settings_are_read_as_they_came_out() -> None:
    made = manifest(5000, {"knobs": {"rho_click_cart": 0.9}, "achieved": {"bad_case_share": 0.42}})
    assert BAD_CASES.setting(made) == 0.42
    assert AXES["click_cart"].setting(made) == 0.9
    assert SIZE.setting(made) == 5000
    assert math.isnan(CONVERSION.setting(made))
    assert [BAD_CASES.show(0.4219), AXES["cart_buy"].show(0.0), SIZE.show(184_000)] == ["42.2 %", "0", "184,000"]


# --- statistics on made-up samples ---------------------------------------------------------------------------------


def manifest(exposures: int, settings: dict[str, object] | None = None) -> Manifest:
    return Manifest(
        dataset="d", city="6", fingerprint="f", origin="simulated", features=(), counts={"exposures": exposures},
        time_range=(0, 1), split_range={}, settings=settings or {},
    )  # fmt: skip


def sample(areas: list[float], seed: int, users: int = 40, seeds: tuple[int, ...] = (0, 1, 2)) -> Sample:
    sums = np.random.default_rng(seed).normal(0, 0.001, (len(areas), users))
    return Sample(np.array(areas), sums, seeds)


def place(name: str, x: float, esmc: Sample, esmm: Sample, exposures: int = 1000) -> Place:
    return Place(name, x, manifest(exposures), {CTCVR: {"esmc": esmc, "esmm": esmm}})


def user_variance(first: Sample, second: Sample) -> float:
    sums = (first.sums - second.sums).mean(axis=0)
    return float(len(sums) / (len(sums) - 1) * (sums**2).sum())


def test_a_trend_is_the_line_of_weighted_least_squares_with_added_errors() -> None:
    sizes, rng = [1_000, 3_000, 10_000, 30_000], np.random.default_rng(1)
    pairs = [(sample(list(rng.normal(0.8, 0.01, 3)), i), sample([0.7, 0.71, 0.72], 10 + i)) for i in range(4)]
    found = [place(str(x), x, *pair, exposures=x) for x, pair in zip(sizes, pairs, strict=True)]
    trend = trend_of(SIZE, found, CTCVR, ("esmc", "esmm"))
    assert trend is not None

    def line(changes: list[float]) -> float:
        return float(np.polyfit(np.log10(sizes), changes, 1, w=np.sqrt(sizes))[0] * np.log10(30))

    changes = [float((a.areas - b.areas).mean()) for a, b in pairs]
    errors = [user_variance(a, b) + float((a.areas - b.areas).var(ddof=1)) / 3 for a, b in pairs]
    weights = [line([float(i == j) for j in range(4)]) for i in range(4)]
    assert trend.difference == pytest.approx(line(changes))
    assert trend.se == pytest.approx(math.sqrt(sum(w**2 * v for w, v in zip(weights, errors, strict=True))))
    assert trend.lo < trend.difference < trend.hi
    assert trend.n_seeds == 3


def test_a_trend_needs_two_settings_that_are_known() -> None:
    one, other = sample([0.8, 0.8, 0.8], 1), sample([0.7, 0.7, 0.7], 2)
    same = [place("a", 0.2, one, other), place("b", 0.2, one, other), place("c", math.nan, one, other)]
    assert trend_of(BAD_CASES, same, CTCVR, ("esmc", "esmm")) is None
    assert trend_of(BAD_CASES, same, CTCVR, ("esmc", "esms")) is None
    assert trend_of(BAD_CASES, [], CTCVR, ("esmc", "esmm")) is None


def test_a_mean_over_worlds_is_taken_seed_by_seed() -> None:
    """Seeds that err alike in all worlds are no more certain in the mean; errors of users are as if common."""
    alike = [0.80, 0.82, 0.84]
    pairs = [(sample(alike, i), sample([0.7, 0.7, 0.7], 10 + i)) for i in range(8)]
    mean = mean_of([place(str(i), i, *pair) for i, pair in enumerate(pairs)], CTCVR, ("esmc", "esmm"))
    assert mean is not None
    users = np.mean([math.sqrt(user_variance(*pair)) for pair in pairs])
    assert mean.difference == pytest.approx(0.12)
    assert mean.se == pytest.approx(math.sqrt(users**2 + np.var(alike, ddof=1) / 3))
    first = mean_of([place("0", 0, *pairs[0])], CTCVR, ("esmc", "esmm"))
    single = place("0", 0, *pairs[0]).change(CTCVR, "esmc", "esmm")
    assert first is not None
    assert single is not None
    assert (first.difference, first.se, first.lo) == pytest.approx((single.difference, single.se, single.lo))


def test_a_mean_over_worlds_needs_a_seed_of_all() -> None:
    apart = [
        place("a", 0, sample([0.8, 0.8], 1, seeds=(0, 1)), sample([0.7, 0.7], 2, seeds=(0, 1))),
        place("b", 1, sample([0.8], 3, seeds=(2,)), sample([0.7], 4, seeds=(2,))),
    ]
    assert mean_of(apart, CTCVR, ("esmc", "esmm")) is None
    assert mean_of(apart[1:], CTCVR, ("esmc", "esmm")) is not None
    assert mean_of([], CTCVR, ("esmc", "esmm")) is None


# --- figures -------------------------------------------------------------------------------------------------------


def true_auc(score: np.ndarray, p: np.ndarray) -> float:
    """Share of pairs of two rows in right order, each weighted by how often labels make it a pair; by brute force."""
    right = (score[:, None] > score[None, :]) + 0.5 * (score[:, None] == score[None, :])
    weight = p[:, None] * (1 - p[None, :])
    np.fill_diagonal(weight, 0)
    return float((right * weight).sum() / weight.sum())


def by_seed(study: Study, model: str, measure: str) -> list[float]:
    found = []
    for record in study.of_city("6"):
        if record.cell.model == model:
            rows = pd.read_parquet(study.store.cells / record.key / "predictions.parquet").astype(float)
            rows = rows[rows.click == 1] if measure.endswith("clicked") else rows
            name = measure.split("/")[1]
            truth = rows.p_purchase * (rows.p_click if name == "ctcvr" else 1)
            found.append(true_auc(rows[name].to_numpy(), truth.to_numpy()))
    return found


def test_aucs_and_differences_are_those_of_the_stored_predictions(built: Callable[[Skill], Built]) -> None:
    study, _, frame, _ = built(rising)
    there = study.world({"bad_case_share": 0.4})
    assert there is not None
    for measure in MEASURES:
        rows = frame[(frame.world == "bad_case_share=0.4") & (frame.measure == measure)]
        aucs = {model: by_seed(there, model, measure) for model in ("esmc", "esmm")}
        plain = rows[rows.kind == "auc"].set_index("model")
        assert plain.value["esmc"] == pytest.approx(np.mean(aucs["esmc"]), abs=1e-6)
        assert set(plain.n_seeds) == {2}
        (change,) = rows[(rows.kind == "difference") & (rows.model == "esmc") & (rows.against == "esmm")].value
        assert change == pytest.approx(np.mean(np.subtract(aucs["esmc"], aucs["esmm"])), abs=1e-6)
        assert rows.setting.to_numpy() == pytest.approx(0.41)


def test_p_values_are_corrected_over_all_differences_and_trends(built: Callable[[Skill], Built]) -> None:
    _, _, frame, _ = built(rising)
    tested = frame[frame.kind != "auc"].sort_values("p_value").reset_index()
    assert len(tested) == 5 * 3 * len(PAIRS) + 3 * 5
    holm = np.minimum(1, np.maximum.accumulate(tested.p_value * (len(tested) - tested.index)))
    assert tested.p_adjusted.to_numpy() == pytest.approx(holm.to_numpy())


def test_trends_in_the_csv_are_lines_through_the_differences(built: Callable[[Skill], Built]) -> None:
    _, _, frame, _ = built(rising)
    for row in frame[frame.kind == "trend"].itertuples():
        changes = frame[(frame.kind == "difference") & (frame.measure == row.measure)]
        same = changes[(changes.model == row.model) & (changes.against == row.against)]
        turned = changes[(changes.model == row.against) & (changes.against == row.model)]
        y = same.set_index("setting").value if len(same) else -turned.set_index("setting").value
        slope = np.polyfit(y.index, y, 1)[0]
        assert row.value == pytest.approx(slope * (y.index.max() - y.index.min()))


def test_markdown_shows_what_the_csv_holds(built: Callable[[Skill], Built]) -> None:
    study, text, frame, folder = built(rising)
    assert "| 24.0 % (default) |" in text
    assert "Seeds per model and world: 2." in text
    assert "Not stored" not in text
    for row in frame[(frame.kind == "difference") & (frame.model == "esmc") & (frame.against == "esmm")].itertuples():
        assert f"{row.value:+.4f}" in text
        assert f"[{row.lo:+.4f}, {row.hi:+.4f}]" in text
    for row in frame[(frame.kind == "difference") & (frame.model == "esmc") & (frame.against == "esms")].itertuples():
        assert f"{-row.value:+.4f}" in text  # shown as ESMS − ESMC
        assert f"[{-row.hi:+.4f}, {-row.lo:+.4f}]" in text
    for row in frame[frame.kind == "auc"].itertuples():
        assert f"{row.value:.4f} ± {(row.hi - row.lo) / 2:.4f}" in text
    assert "+0.01178" in text  # 0.84334 - 0.83156, Table IV, City 6
    default = frame[(frame.world == "default") & (frame.kind == "difference") & (frame.measure == CTCVR)]
    (printed,) = default[(default.model == "esmc") & (default.against == "esmm")].published
    assert printed == pytest.approx(0.84334 - 0.83156)
    assert frame[frame.world != "default"].published.isna().all()
    picture = folder / f"robust_bad_cases-{study.slug}.png"
    assert picture.name in text
    assert imread(picture).shape[1] > 1000


# --- words ---------------------------------------------------------------------------------------------------------


def test_words_follow_a_difference_that_rises(built: Callable[[Skill], Built]) -> None:
    _, text, _, _ = built(rising)
    assert "Significantly better than every other: ESMC at 41.0 %, 61.0 %." in text
    assert "  - ESMC − ESMM rises from -" in text
    assert "Here it rises in CTCVR-AUC over all exposures" in text
    assert "against the paper it falls in" not in text
    assert "sign: changes between" in text


def test_words_follow_a_difference_that_falls(built: Callable[[Skill], Built]) -> None:
    _, text, _, _ = built(falling)
    assert "  - ESMC − ESMM falls from +" in text
    assert "Here against the paper it falls in CTCVR-AUC over all exposures" in text
    assert "it rises in" not in text


def test_words_of_models_that_are_all_alike(built: Callable[[Skill], Built]) -> None:
    _, text, frame, _ = built(even)
    assert text.count("Significantly better than every other: no model in any world.") == 3
    assert text.count("No significant trend: ESMC − ESMM, ESMC − ESM² chain, ESMS − ESMC, ESMM − Shared Bottom,") == 3
    assert "Here no trend can be told in CTCVR-AUC over all exposures, CVR-AUC over clicked rows," in text
    assert (frame.p_adjusted.dropna() > 0.05).all()


def test_where_a_difference_changes_its_sign() -> None:
    def found(esmc: list[float], spread: float) -> Findings:
        known = [
            place(str(x), x, sample([auc - spread, auc, auc + spread], i), sample([0.7] * 3, i))
            for i, (x, auc) in enumerate(zip((0.0, 0.2, 0.4), esmc, strict=True))
        ]
        contrasts = {
            (p.name, CTCVR, ("esmc", "esmm")): c for p in known if (c := p.change(CTCVR, "esmc", "esmm")) is not None
        }
        return Findings(BAD_CASES, known, {}, contrasts, {})

    pair = ("esmc", "esmm")
    assert turn(found([0.6, 0.65, 0.69], 0.001), CTCVR, pair) == "the same in all worlds"
    clear = turn(found([0.6, 0.8, 0.8], 0.001), CTCVR, pair)
    assert clear == "changes between 0.0 % and 20.0 %, significant on both sides"
    one_side = turn(found([0.6999999, 0.8, 0.8], 0.001), CTCVR, pair)
    assert one_side == "changes between 0.0 % and 20.0 %, not significant on both sides"
    unclear = turn(found([0.69, 0.8, 0.69], 0.1), CTCVR, pair)
    assert unclear == "changes between 0.0 % and 20.0 % and between 20.0 % and 40.0 %, not significant on both sides"


# --- what is not there ---------------------------------------------------------------------------------------------


def test_missing_models_and_worlds_are_told_with_the_command(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_world(store, HERE, even, models=("esmm", "esmc"), seeds=1)
    store_world(store, BAD_CASES.worlds[0], even, models=("esmm",), seeds=1)
    text = RobustBadCases().build(study_of(store), tmp_path)
    assert "Shared Bottom, ESM², ESM² chain, ESMS, ESMC at 1.0 %;" in text
    assert "all models at bad_case_share=0.1, bad_case_share=0.4, bad_case_share=0.6;" in text
    assert "`bench run --exhibit robust_bad_cases` trains what is missing." in text
    assert "Seeds per model and world: 1; with one seed an interval covers the choice of test users only." in text
    assert "| bad_case_share=0.4 | - | - | - |" in text
    assert "Here it is not measured." in text


def test_one_world_alone_is_not_compared(tmp_path: Path) -> None:
    study = fill(tmp_path, [HERE], even, seeds=1, rows=300)
    text = RobustBadCases().build(study, tmp_path)
    assert text.startswith("Fewer than two worlds of this axis are stored")
    assert "`bench run --exhibit robust_bad_cases`" in text
    assert not list(tmp_path.glob("*.png"))


def test_a_log_has_no_other_worlds(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell("6", dataset="a_log"))
    store_manifest(store.out, make_cell("6", dataset="a_log"), origin="log")
    (study,) = load_studies(store, store.scan())
    assert RobustBadCases().build(study, tmp_path).startswith("This needs a simulated dataset")


def test_another_city_alone_gives_nothing_to_compare(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_world(store, HERE, even, models=("esmm",), seeds=1, rows=300)
    for record in store.scan().records:
        store.remove(record.key)
    label = source_of(HERE).label
    store_cell(store, make_cell("1", "esmm", dataset=label))
    settings = json.loads(next((store.out / "data").rglob("manifest.json")).read_text())["settings"]
    store_manifest(store.out, make_cell("1", dataset=label))
    path = store.out / "data" / "tables" / make_cell("1", dataset=label).fingerprint / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": settings}))
    assert RobustBadCases().build(study_of(store), tmp_path).startswith("Fewer than two worlds")


def test_other_rates_that_move_along_the_axis_are_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for world in BAD_CASES.worlds[1:3]:
        store_world(store, world, even, models=("esmm",), seeds=1, rows=300)
    assert "Not only the setting moves" not in RobustBadCases().build(study_of(store), tmp_path)
    path = next(path for path in (store.out / "data").rglob("manifest.json") if "share0.1" in str(path))
    made = json.loads(path.read_text())
    made["settings"]["achieved"]["search_cart_share"] = 0.8
    path.write_text(json.dumps(made))
    text = RobustBadCases().build(study_of(store), tmp_path)
    assert "but also, by more than 5 points: carts from search (34 to 80 %)." in text


def test_a_model_is_compared_in_one_configuration(tmp_path: Path) -> None:
    """Cells of another configuration in another world are not taken for the one of this world."""
    store = Store(tmp_path / "runs")
    for world in BAD_CASES.worlds[1:3]:
        store_world(store, world, even, models=("esmm", "esmc"), seeds=1, rows=300)
    there = source_of(BAD_CASES.worlds[3]).label
    store_world(store, BAD_CASES.worlds[3], even, models=("esmm",), seeds=1, rows=300)
    config = make_cell().config.model_copy(update={"constraint_weight": 0.5})
    store_cell(store, make_cell("6", "esmc", 0, dataset=there, config=config), rows=300)
    found = findings(study_of(store), BAD_CASES)
    assert ("bad_case_share=0.4", CTCVR, "esmm") in found.estimates
    assert ("bad_case_share=0.4", CTCVR, "esmc") not in found.estimates
    assert ("default", CTCVR, "esmc") in found.estimates


def test_the_only_configuration_of_a_model_is_followed_through_the_worlds(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    config = make_cell().config.model_copy(update={"dropout": 0.5})
    for world in BAD_CASES.worlds[1:3]:
        store_world(store, world, even, models=(), seeds=1, rows=300)
        for model in ("esmm", "esmc"):
            store_cell(store, make_cell("6", model, 0, dataset=source_of(world).label, config=config), rows=300)
    found = findings(study_of(store), BAD_CASES)
    assert {(world, model) for world, _, model in found.estimates} == {
        (world, model) for world in ("bad_case_share=0.1", "default") for model in ("esmm", "esmc")
    }


@pytest.mark.slow
def test_every_axis_makes_its_exhibit(tmp_path: Path) -> None:
    worlds = dict.fromkeys(world for axis in AXES.values() for world in axis.worlds)
    study = fill(tmp_path, worlds, even, seeds=1, rows=300, models=("shared_bottom", "esmm", "esmc"))
    for name, axis in AXES.items():
        text = EXHIBITS.get(f"robust_{name}")().build(study, tmp_path)
        frame = pd.read_csv(tmp_path / f"robust_{name}.csv")
        assert frame.setting.dropna().nunique() == len(axis.worlds)
        assert f"{axis.label.capitalize()} |" in text
        assert (tmp_path / f"robust_{name}-{study.slug}.png").stat().st_size > 10_000
