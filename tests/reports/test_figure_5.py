"""Figure 5: figures recomputed from the stored cells, words that flip with them, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import make_cell, store_cell, store_manifest
from matplotlib.image import imread
from scipy.stats import gmean
from swept_cells import WEIGHTS, ByWeight, esmc, fill, observed_auc, observed_difference, put, true_auc

from bench.results.store import Store
from reports.exhibits.figure_5 import GRID, READINGS, Figure5, sweep_of
from reports.study import Study, load_studies


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def text_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], str]:
    """Builds the exhibit without its pictures."""
    for name in ("exhibits.figure_5.draw_mean", "exhibits.figure_5.draw_cities", "sweep.readings.draw"):
        monkeypatch.setattr(f"reports.{name}", lambda *drawn, **how: None)
    folder = tmp_path / "report"
    folder.mkdir()
    return lambda store: Figure5().build(study_of(store), folder)


def bullet(text: str, start: str) -> str:
    """The finding that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"- **{start}")]
    return line


def rising(weight: float) -> float:
    return 1.0 + weight


def flat(weight: float) -> float:
    return 1.0


def test_pictures_tables_and_csv_of_the_stored_cells(store: Store, tmp_path: Path) -> None:
    fill(store, rising)
    text = Figure5().build(study_of(store), tmp_path)
    names = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(names) == 4
    for name in names:
        assert imread(tmp_path / name)[..., :3].std() > 0.05
    frame = pd.read_csv(tmp_path / "figure_5.csv", dtype={"city": str}, keep_default_na=False, na_values=[""])
    frame = frame.fillna({"variant": "", "against": ""})
    assert not frame.duplicated().any()
    values = frame[(frame.against == "") & (frame.model == "esmc")].set_index(["city", "variant", "measure"]).value
    for weight, variant in {0.0: "constraint_weight=0", 0.05: "", 1.0: "constraint_weight=1"}.items():
        for probability, space in {"ctr": "exposed", "ctcvr": "exposed", "cvr": "clicked"}.items():
            for kind, recompute in {"auc": observed_auc, "truth": true_auc}.items():
                cells = [[esmc(city, seed, weight) for seed in (0, 1)] for city in ("1", "2")]
                expected = [np.mean([recompute(store, cell, probability) for cell in of_city]) for of_city in cells]
                measure = f"{kind}/{probability}/{space}"
                for city, value in zip("12", expected, strict=True):
                    assert values[city, variant, measure] == pytest.approx(value, abs=1e-9)
                assert values["mean", variant, measure] == pytest.approx(np.mean(expected), abs=1e-9)
                assert re.search(rf"^\| {weight:g} \|.* {np.mean(expected):.4f} ± ", text, re.MULTILINE)
    published = frame.set_index(["city", "model", "variant", "measure", "against"]).published
    assert published["2", "esmc", "", "auc/cvr/clicked", ""] == 0.75987
    assert np.isnan(published["2", "esmc", "constraint_weight=1", "auc/cvr/clicked", ""])


def test_the_differences_and_their_intervals(store: Store, tmp_path: Path, text_of: Callable[[Store], str]) -> None:
    fill(store, rising)
    text = text_of(store)
    frame = pd.read_csv(tmp_path / "report" / "figure_5.csv", dtype={"city": str}).fillna({"variant": ""})
    rows = frame[(frame.against == "ESMC (constraint_weight=0)") & (frame.measure == "auc/ctcvr/exposed")]
    row = rows.set_index(["city", "model", "variant"]).loc[("mean", "esmc", "constraint_weight=1")]
    firsts, seconds = ([[esmc(city, seed, weight) for seed in (0, 1)] for city in ("1", "2")] for weight in (1.0, 0.0))
    mean, lo, hi = observed_difference(store, firsts, seconds)
    assert (row.value, row.lo, row.hi) == pytest.approx((mean, lo, hi), abs=1e-9)
    assert row.p_adjusted >= row.p_value
    assert f"{mean:+.4f}" in text
    assert f"[{lo:+.4f}, {hi:+.4f}]" in text
    one_city = observed_difference(store, firsts[:1], seconds[:1])
    row = rows.set_index(["city", "model", "variant"]).loc[("1", "esmc", "constraint_weight=1")]
    assert (row.value, row.lo, row.hi) == pytest.approx(one_city, abs=1e-9)
    assert np.isnan(row.p_adjusted)  # single cities are shown, not tested


@pytest.mark.parametrize(
    ("quality", "tendency", "best", "worth"),
    [
        (rising, "it rises significantly in CTCVR-AUC (observed", "significantly worse than", "constraint pays"),
        (
            lambda weight: 2 - weight,
            "it falls significantly in CTCVR-AUC (observed",
            "significantly worse than",
            "is worse",
        ),
        (flat, "no AUC moves significantly", "so may every other:", "not distinguishable in any AUC"),
        (
            lambda weight: 2.0 if weight == 0.05 else 1.0,
            "no AUC moves",
            "in every AUC, as the paper",
            "constraint pays",
        ),
        (lambda weight: 1.0 if weight else 2.0, "no AUC moves", "so may every other:", "the constraint costs, which"),
    ],
)
def test_words_on_tendency_best_value_and_worth(
    store: Store, text_of: Callable[[Store], str], quality: ByWeight, tendency: str, best: str, worth: str
) -> None:
    text = text_of(fill(store, quality))
    assert tendency in bullet(text, "Tendency")
    assert ("**contradicts**" in bullet(text, "Tendency")) == ("significantly in" in tendency)
    assert best in bullet(text, "The paper's 0.05")
    assert ("**contradicts**" in bullet(text, "The paper's 0.05")) == ("significantly worse" in best)
    assert worth in bullet(text, "Against no constraint")


def test_what_validation_chooses_and_what_it_costs(store: Store, text_of: Callable[[Store], str]) -> None:
    favourites = {"1": 0.1, "2": 1.0}
    fill(store, rising, valid=lambda city, weight: 0.8 if weight == favourites[city] else 0.7)
    text = text_of(store)
    found = bullet(text, "Validation")
    assert "chooses 0.1 in City 1; 1 in City 2." in found
    lost = []
    for city, at in favourites.items():
        areas = {w: np.mean([observed_auc(store, esmc(city, seed, w), "ctcvr") for seed in (0, 1)]) for w in WEIGHTS}
        lost.append(max(areas.values()) - areas[at])
    assert lost[1] == 0
    assert f"{np.mean(lost):+.4f}" in found
    (first, second) = [line for line in text.splitlines() if re.match(r"\| City \d \| [\d.]+ \| 1 \(", line)]
    assert f"{lost[0]:+.4f} [" in first
    assert "| nothing |" in second
    assert "choosing pays" in found


def test_validation_that_chooses_badly(store: Store, text_of: Callable[[Store], str]) -> None:
    fill(store, lambda weight: 1.0 if weight == 0 else 2.0, valid=lambda city, weight: -weight)
    found = bullet(text_of(store), "Validation")
    assert "chooses 0 in City 1, City 2." in found
    assert "choosing costs" in found


def falls(times: float) -> ByWeight:
    """A distance that falls to one part of ``times`` at coefficient 1."""
    return lambda weight: 3 / (1 + (times - 1) * weight)


DISTANCES = {"gaussian": falls(50), "softmax": falls(1.5), "softmax_unit": falls(5)}


def test_distances_are_geometric_means(store: Store, text_of: Callable[[Store], str], tmp_path: Path) -> None:
    fill(store, flat, ("5", "6"), readings=READINGS, distance=lambda reading, weight: DISTANCES[reading](weight))
    text = text_of(store)
    (line,) = [line for line in text.splitlines() if line.startswith("| `softmax_unit` |")]
    none = gmean([3.0, 3.0 * 1.1])
    expected = [f"{falls(5)(w) * none / 3:.3g} ({100 * falls(5)(w) / 3:.2g} %)" for w in GRID]
    assert line == f"| `softmax_unit` | {none:.3g} | {' | '.join(expected)} |"
    frame = pd.read_csv(tmp_path / "report" / "figure_5.csv", dtype={"city": str})
    row = frame[(frame.measure == "tower_distance") & (frame.variant == "constraint=softmax")]  # at 0.05
    assert len(row) == 2
    middle = falls(1.5)(0.05)
    assert row.value.tolist() == pytest.approx([middle * gmean([1, 1.1])] * 2)
    assert row.lo.tolist() == pytest.approx([middle] * 2)
    assert row.hi.tolist() == pytest.approx([middle * 1.1] * 2)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {},
            "Both: `gaussian`. The limit: `gaussian`. A visible response: `gaussian` and `softmax_unit`. The default,",
        ),
        ({"gaussian": falls(1.2)}, "Both: none. The limit: none. A visible response: `softmax_unit`."),
        ({"gaussian": falls(1.2)}, "The default, `gaussian`, does not even have the limit."),
        ({"gaussian": falls(1.2), "softmax": falls(30)}, "The default is `gaussian`, and should be changed."),
        ({"softmax_unit": falls(30)}, "Both: `gaussian` and `softmax_unit`."),
        ({"gaussian": lambda weight: 0.1 / (1 + 9 * weight) if weight else 3.0}, "Both: none. The limit: `gaussian`."),
        ({"gaussian": lambda weight: 0.1 / (1 + 9 * weight) if weight else 3.0}, "`gaussian`, has only the limit."),
    ],
)
def test_which_reading_should_be_the_default(
    store: Store, text_of: Callable[[Store], str], changed: dict[str, ByWeight], expected: str
) -> None:
    distances = DISTANCES | changed
    fill(store, flat, ("5", "6"), readings=READINGS, distance=lambda reading, weight: distances[reading](weight))
    assert expected in bullet(text_of(store), "The default reading")


def test_the_siamese_limit_needs_towers_and_auc(store: Store, text_of: Callable[[Store], str], tmp_path: Path) -> None:
    """Towers that meet, with the AUC of ESMS; with another AUC; and towers that stay apart."""

    def text(name: str, esms: float, times: float) -> str:
        other = Store(tmp_path / name)
        fill(other, flat, esms=esms, distance=lambda reading, weight: falls(times)(weight))
        found = text_of(other)
        gap = "worse in CTCVR-AUC (observed labels, truth)" if esms > 1 else "not distinguishable in any AUC"
        assert gap in bullet(found, "Against ESMS")
        return bullet(found, "`gaussian`")

    meets = text("meets", 1.0, 50)
    assert "leaves 67 % of the towers' distance at coefficient 0.01, 2 % at 1." in meets
    assert "not distinguishable from ESMS (6 comparisons)" in meets
    assert "The towers meet within the paper's grid, as ESMC V-B says of a large one." in meets
    differs = text("differs", 2.0, 50)
    assert "it still differs from ESMS" in differs
    assert "**contradicts** ESMC V-B" in differs
    assert "does not lead to the Siamese ESMS" in text("apart", 1.0, 2)


def test_auc_tells_readings_apart_only_where_it_does(tmp_path: Path, text_of: Callable[[Store], str]) -> None:
    same, better = Store(tmp_path / "same"), Store(tmp_path / "better")
    assert "AUC cannot tell the readings apart" in text_of(fill(same, flat, ("5", "6"), readings=READINGS))
    fill(better, flat, ("5", "6"), readings=READINGS, other={"softmax": lambda weight: 3.0})
    found = bullet(text_of(better), "AUC tells the readings apart")
    assert "`gaussian` minus `softmax` in CTR-AUC **-" in found
    assert "`softmax` minus `softmax_unit` in CTR-AUC **+" in found
    assert "`gaussian` minus `softmax_unit`" not in found


def test_a_missing_value_takes_its_city_out_of_the_mean(store: Store, text_of: Callable[[Store], str]) -> None:
    fill(store, rising)
    store_manifest(store.out, make_cell("3"))
    for weight in (0.0, 0.05):
        put(store, esmc("3", 0, weight), 1.0)
    text = text_of(store)
    assert "City 3: 0.01, 0.1, 0.5, 1." in text
    assert "`bench run --exhibit figure_5`" in text
    assert sweep_of(study_of(store), "gaussian", ("1", "2", "3")).whole("auc/ctr/exposed") == ["1", "2"]
    assert re.search(r"^\| City 3 \| CTR-AUC \| 0\.\d+ ± 0\.\d+ \| - \| 0\.", text, re.MULTILINE)


def test_one_seed_of_one_city_without_esms(store: Store, text_of: Callable[[Store], str]) -> None:
    text = text_of(fill(store, rising, ("4",), seeds=1, esms=None))
    assert "There is no ESMS to compare" in text
    assert "Three readings of the constraint (City 4)" in text
    assert re.search(r"^\| ESMS \| - \| - \|", text, re.MULTILINE)


def test_esms_of_one_city_is_no_mean(store: Store, text_of: Callable[[Store], str]) -> None:
    fill(store, rising, esms=None)
    put(store, make_cell("1", "esms", 0), 1.0)
    text = text_of(store)
    assert re.search(r"^\| ESMS \| - \| - \| - \| - \| - \| - \|$", text, re.MULTILINE)
    esms = observed_auc(store, make_cell("1", "esms", 0), "ctr")
    assert re.search(rf"^\| City 1 \| CTR-AUC \|.* {esms:.4f} ± [\d.]+ \| 0.73111 \|$", text, re.MULTILINE)


def test_cities_that_go_with_the_average_are_counted(store: Store, text_of: Callable[[Store], str]) -> None:
    fill(store, lambda weight: 3 - 2 * weight, ("1", "2"))
    fill(store, lambda weight: 1 + 0.2 * weight, ("3",))
    (row,) = [line for line in text_of(store).splitlines() if re.match(r"\| CTR-AUC \| \**-", line)]
    assert row.split(" | ")[3] == "2 of 3"


def test_too_few_purchases_are_withheld_with_their_counts(store: Store, text_of: Callable[[Store], str]) -> None:
    for weight in WEIGHTS:
        put(store, esmc("1", 0, weight), 1.0, buy=0.1)
    found = store.predictions(esmc("1", 0, 0.0).key)
    text = text_of(store)
    assert f"City 1: CVR-AUC is withheld, {found['purchase'].sum()} positives of {found['click'].sum()} rows." in text
    assert re.search(r"^\| 0\.1 \| 0\.\d+ ± .* \| - \| - \|$", text, re.MULTILINE)


def test_nothing_of_it_is_stored(store: Store, text_of: Callable[[Store], str]) -> None:
    store_cell(store, make_cell("1", "esmm"))
    assert text_of(store) == "Not stored yet; `bench run --exhibit figure_5` trains it."
    put(store, esmc("1", 0, 0.05), 1.0)
    assert "Not stored yet" in text_of(store)
