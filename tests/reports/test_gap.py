"""The gap exhibit: figures recomputed with plain numpy, words that follow from the figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import Columns, StoreMaker, make_cell, store_cell, store_manifest
from matplotlib.image import imread

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.metrics.gap import gap
from bench.results.store import Store
from reports.exhibits.gap import GapExhibit
from reports.gap.values import study_gaps
from reports.pooled import Key
from reports.study import Study, load_studies

NONE = PRESETS["esmc"].model_copy(update={"calibration": "none"})

#: Of a model: E[R̂] over E[R], and predicted cart, in the bad and in the good case.
Model = tuple[float, float, float, float]

#: A world as the paper has it: ESM² chain is off in the bad case only, the family nowhere, calibration helps.
PAPER: dict[str, Model] = {
    "esmm": (1.0, math.nan, 1.0, math.nan),
    "esm2_chain": (0.5, 0.3, 1.0, 0.4),
    "esmc": (1.0, 0.9, 1.0, 0.4),
    "esmc none": (0.7, 0.3, 1.0, 0.4),
}


def doctored(models: dict[str, Model]) -> Callable[[Cell, Columns], Columns]:
    """Truth with a bad case of a third of the rows; predictions with the given means and a little noise."""

    def change(cell: Cell, columns: Columns) -> Columns:
        n = columns["user"].size
        bad = np.arange(n) % 3 == 0
        real = np.where(bad, 0.3, 0.1) * (0.8 + 0.4 * columns["p_purchase"])
        name = f"{cell.model} none" if cell.config.calibration == "none" else cell.model
        factor_bad, cart_bad, factor_good, cart_good = models[name]
        noise = 1 + 0.02 * np.random.default_rng(cell.seed).standard_normal(n)
        found = {
            "p_cart": np.where(bad, 0.0, np.maximum(columns["p_cart"], 0.01)),
            "p_purchase": real,
            "cvr": real * np.where(bad, factor_bad, factor_good) * noise,
            "car": np.where(bad, cart_bad, cart_good) * noise,
        }
        if math.isnan(cart_bad):
            del found["car"]
        return {key: value.astype(np.float32) for key, value in found.items()}

    return change


def store_of(
    folder: Path, models: dict[str, Model], cities: Sequence[str] = ("1", "2"), seeds: int = 2, rows: int = 3000
) -> Store:
    store = Store(folder / "runs")
    for city in cities:
        store_manifest(store.out, make_cell(city))
        for name in models:
            model, _, none = name.partition(" ")
            for seed in range(seeds):
                config = NONE if none else PRESETS["esmc"]
                store_cell(store, make_cell(city, model, seed, config=config), rows, change=doctored(models))
    return store


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def built(folder: Path, models: dict[str, Model], **how: int) -> str:
    return GapExhibit().build(study_of(store_of(folder, models, **how)), folder)


def line(text: str, start: str) -> str:
    """The bullet that starts with these words."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"- **{start}")]
    return found


def test_means_gaps_and_terms_equal_plain_numpy(tmp_path: Path) -> None:
    store = store_of(tmp_path, PAPER)
    text = GapExhibit().build(study_of(store), tmp_path)
    frame = pd.read_csv(tmp_path / "gap.csv", dtype={"city": str}, keep_default_na=False)
    expected: dict[str, list[float]] = {}
    for city in ("1", "2"):
        per_seed: dict[str, list[float]] = {}
        for seed in (0, 1):
            c = store.predictions(make_cell(city, "esm2_chain", seed).key)
            for case, rows in (("bad", c["p_cart"] == 0), ("good", c["p_cart"] > 0)):
                click = c["p_click"][rows].astype(float)
                real, predicted, cart, true_cart = (
                    float(np.sum(click * c[name][rows]) / np.sum(click))
                    for name in ("p_purchase", "cvr", "car", "p_cart")
                )
                right = 1.0 if case == "bad" else true_cart
                for name, value in {
                    "truth": real,
                    "estimate": predicted,
                    "truth_left": real / right,
                    "truth_right": right,
                    "estimate_left": predicted / cart,
                    "estimate_right": cart,
                    "difference of gap": real - predicted,
                    "difference of log_factor_left": math.log(predicted / cart / (real / right)),
                    "difference of log_factor_right": math.log(cart / right),
                }.items():
                    per_seed.setdefault(f"{name}/{case}", []).append(value)
        for name, values in per_seed.items():
            expected.setdefault(name, []).append(float(np.mean(values)))
    chain = (
        frame[(frame.model == "esm2_chain") & frame.against_model.isin(["", "0"])].set_index(["measure", "city"]).value
    )
    for name, values in expected.items():
        assert chain[name, "1"] == pytest.approx(values[0], rel=1e-5), name
        assert chain[name, "2"] == pytest.approx(values[1], rel=1e-5), name
        assert chain[name, "mean"] == pytest.approx(np.mean(values), rel=1e-5), name
    (row,) = [
        r for r in text.splitlines() if r.startswith("| ESM² chain |") and r.count("|") == 8 and r.endswith("| 2 |")
    ]
    assert f"{np.mean(expected['difference of gap/bad']):+.3f}" in row
    assert f"{np.mean(expected['estimate/good']):.3f}" in row


def test_terms_are_those_of_the_metric(tmp_path: Path) -> None:
    store = store_of(tmp_path, PAPER, cities=("1",), seeds=1)
    gaps = study_gaps(study_of(store))
    c = store.predictions(make_cell("1", "esmc").key)
    _, user = np.unique(c["user"], return_inverse=True)
    for case, rows in (("bad", c["p_cart"] == 0), ("good", c["p_cart"] > 0)):
        part = [c[name][rows] for name in ("p_click", "p_cart", "p_purchase", "cvr", "car")]
        expected = gap(case, *part, user[rows], user.max() + 1)
        for name in ("truth", "estimate", "gap", "truth_left", "truth_right", "estimate_left", "estimate_right"):
            found = gaps.pooled.estimates(f"{name}/{case}", ("esmc", ""))["1"]
            assert found.mean == pytest.approx(getattr(expected, name), abs=1e-9), (name, case)


def test_the_interval_of_a_gap_is_that_of_users_drawn_again(tmp_path: Path) -> None:
    store = store_of(tmp_path, PAPER, cities=("1",), seeds=1)
    gaps = study_gaps(study_of(store))
    c = store.predictions(make_cell("1", "esm2_chain").key)
    found = gaps.pooled.contrasts(Key("log_factor_left/bad", ("esm2_chain", "")))["1"]
    bad = c["p_cart"] == 0
    users, user = np.unique(c["user"][bad], return_inverse=True)
    click = c["p_click"][bad].astype(float)
    columns = (np.ones(click.size), c["p_purchase"][bad], c["cvr"][bad], c["car"][bad])
    sums = np.stack([np.bincount(user, weights=click * column) for column in columns])
    rng = np.random.default_rng(0)
    drawn = np.stack([np.bincount(rng.integers(0, users.size, users.size), minlength=users.size) for _ in range(4000)])
    clicks, real, predicted, cart = sums @ drawn.T
    resampled = np.log(predicted / cart) - np.log(real / clicks)
    assert found.se == pytest.approx(resampled.std(), rel=0.1)


def test_a_world_as_the_paper_has_it(tmp_path: Path) -> None:
    text = built(tmp_path, PAPER)
    assert "Holds: ESM² chain predicts too few purchases" in line(text, "A gap in the bad case")
    assert "above 0 in 2 of 2 cities" in line(text, "A gap in the bad case")
    assert "Not contradicted" in line(text, "No gap in the good case")
    assert "ESMM know no cart, and do not have the gap of ESM² chain" in line(text, "Is it the chain rule?")
    assert ": larger, +" in line(text, "Is it the chain rule?")
    assert "Yes, as far as the data tell" in line(text, "Does ESMC remove the gap")
    assert "Its right term in the bad case comes closer to the truth, -" in line(
        text, "Does Sample Calibration mend ESMC"
    )
    assert "gap in the bad case smaller, -" in line(text, "Does Sample Calibration mend ESMC")
    causes = line(text, "Left or right term, bad case?")
    assert (
        "ESM² chain and ESMC (calibration=none): due to the right term (left term too high, right term too low)"
        in causes
    )
    apart = line(text, "Do the models tell the cases apart?")
    assert "ESM² chain and ESMC (calibration=none): too little contrast" in apart
    assert "ESMM and ESMC: not distinguishable from the true contrast" in apart
    assert "Contradict" not in text


def test_a_world_that_contradicts_the_paper(tmp_path: Path) -> None:
    models: dict[str, Model] = {
        "esmm": (0.6, math.nan, 1.0, math.nan),
        "esm2_chain": (0.8, 0.9, 1.3, 0.4),
        "esmc": (0.5, 0.2, 1.0, 0.4),
        "esmc none": (0.5, 0.6, 1.0, 0.4),
    }
    text = built(tmp_path, models)
    assert "**Contradicts the paper**: ESM² chain predicts too many purchases there," in line(
        text, "No gap in the good case"
    )
    chain_rule = line(text, "Is it the chain rule?")
    assert "ESMM know no cart, and predict too few purchases in the bad case as well" in chain_rule
    assert ": smaller, -" in chain_rule
    assert "**Contradicts the paper**: its gap in the bad case is larger" in line(text, "Does ESMC remove the gap")
    assert "**Contradicts the paper**: the right term" in line(text, "Does Sample Calibration mend ESMC")
    assert "gap in the bad case not distinguishable" in line(text, "Does Sample Calibration mend ESMC")


def test_gaps_in_the_same_direction_and_the_other_one(tmp_path: Path) -> None:
    models: dict[str, Model] = {"esm2_chain": (1.4, 0.9, 1.2, 0.4), "esmc": (1.2, 0.9, 1.0, 0.4)}
    text = built(tmp_path, models)
    assert "There is a gap, but ESM² chain predicts too many purchases," in line(text, "A gap in the bad case")
    assert "too many purchases there too," in line(text, "No gap in the good case")
    assert "Reduced, not removed" in line(text, "Does ESMC remove the gap")
    assert "Is it the chain rule?" not in text


def test_no_gap_is_not_confirmed(tmp_path: Path) -> None:
    text = built(tmp_path, {"esm2_chain": (1.0, 0.3, 1.0, 0.4), "esmc": (1.0, 0.3, 1.0, 0.4)})
    assert "**Not confirmed**: the gap of ESM² chain" in line(text, "A gap in the bad case")
    assert "**Not confirmed**: its gap" in line(text, "Does ESMC remove the gap")
    assert "no gap that the data tell, left term too high, right term too low, they cancel" in text


def test_comparisons_are_corrected_over_the_whole_exhibit(tmp_path: Path) -> None:
    built(tmp_path, PAPER)
    frame = pd.read_csv(tmp_path / "gap.csv", dtype={"city": str}, keep_default_na=False, na_values=[""])
    tested = frame[(frame.city == "mean") & frame.p_value.notna()].sort_values("p_value")
    steps = (len(tested) - np.arange(len(tested))) * tested.p_value.to_numpy()
    expected = np.minimum(1, np.maximum.accumulate(steps))
    assert len(tested) > 30
    np.testing.assert_allclose(tested.p_adjusted, expected, rtol=1e-9)
    assert frame[frame.city != "mean"].p_adjusted.isna().all()


def test_pictures_and_csv(tmp_path: Path) -> None:
    text = built(tmp_path, PAPER)
    for part in ("means", "terms"):
        name = f"gap-{part}-six_cities-0.001-esmc.png"
        assert f"]({name})" in text
        image = imread(tmp_path / name)[..., :3]
        assert image.std() > 0.05
    frame = pd.read_csv(tmp_path / "gap.csv")
    assert {"dataset", "preset", "city", "model", "variant", "measure", "value", "lo", "hi", "n_seeds"} <= set(frame)


def test_nothing_stored_that_can_be_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell(model="esmc", config=PRESETS["esmc"].model_copy(update={"constraint": "softmax"})))
    store_cell(store, make_cell(model="esmc"))
    for path in store.cells.glob("*/predictions.parquet"):
        path.unlink()
    text = GapExhibit().build(study_of(store), tmp_path)
    assert "`bench run --exhibit gap` trains them" in text
    assert not list(tmp_path.glob("*.png"))


def test_one_seed_without_bad_cases_or_carts(make_store: StoreMaker, tmp_path: Path) -> None:
    text = GapExhibit().build(study_of(make_store(cities=("1",), models=("esmm", "esm2_chain"))), tmp_path)
    assert "Not measured: the test rows have no bad case" in text
    assert "Not stored: Shared Bottom, MMoE, ESM², ESMS, ESMC, ESMS (calibration=none)" in text
    assert "Left and right terms" not in text
    assert "nan" not in text
    (row,) = [r for r in text.splitlines() if r.startswith("| ESMM |") and r.endswith("| 1 |")]
    assert row.startswith("| ESMM | - | - | 0.")


def test_a_model_of_one_city_is_told(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"esm2_chain": PAPER["esm2_chain"]})
    assert "Not every model is stored for the same cities" not in GapExhibit().build(study_of(store), tmp_path)
    store_cell(store, make_cell("1", "esmm"), 3000, change=doctored(PAPER))
    text = GapExhibit().build(study_of(store), tmp_path)
    assert "Not every model is stored for the same cities" in text
    assert "above 0 in 2 of 2 cities" in text
