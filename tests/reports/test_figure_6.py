"""Figure 6: figures recomputed from the stored cells and counts, words that flip with them, and what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import make_cell, store_cell, store_manifest
from matplotlib.image import imread
from swept_cells import observed_auc, observed_difference, put, true_auc

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.data.source import Source, SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.metrics.compare import Contrast
from bench.results.store import Store
from reports.exhibits.figure_6 import GRID, SHARES, Figure6
from reports.study import load_studies
from reports.sweep.values import minus

HERE = SixCities(SourceOptions())
ByWeight = Callable[[float], float]

#: Shares of search of the worlds, as the counts below have them.
WORLD_SHARES = (0.15, 0.5, 0.7)


def esmc2(city: str, seed: int, weight: float, source: Source = HERE) -> Cell:
    config = PRESETS["esmc"].model_copy(update={"weight_global": weight})
    return make_cell(city, "esmc2", seed, dataset=source.label, config=config)


def fill(
    store: Store,
    quality: ByWeight,
    cities: Sequence[str] = ("1", "6"),
    source: Source = HERE,
    share: float = 1 / 3,
    esmc: float | None = 1.0,
    seeds: int = 2,
    valid: Callable[[str, float], float] = lambda city, weight: 0.7,
) -> Store:
    """ESMC² as good as ``quality`` says of every weight, ESMC unless it is None, and counts of carts."""
    for city in cities:
        search = round(3000 * share / (1 - share))
        counts = {"carts": 3000, "search_carts": search, "train_carts": 1000, "train_search_carts": 250}
        options = source.options
        settings = {"scale": options.scale, "seed": options.seed, "knobs": options.knobs}
        store_manifest(store.out, make_cell(city, dataset=source.label), counts, settings=settings)
        for seed in range(seeds):
            if esmc is not None:
                put(store, make_cell(city, "esmc", seed, dataset=source.label), esmc, valid(city, 0.0))
            for weight in GRID:
                put(store, esmc2(city, seed, weight, source), quality(weight), valid(city, weight))
    return store


def fill_worlds(store: Store, peaks: Mapping[float, float]) -> Store:
    """City 6 in every world; by share of search, the weight that is best there."""

    def peaked(share: float) -> ByWeight:
        return lambda weight: 2.0 - 1.5 * abs(weight - peaks[share])

    fill(store, peaked(0.33), ("6",))
    for world, share in zip(SHARES, WORLD_SHARES, strict=True):
        fill(store, peaked(share), ("6",), HERE.varied(world.knobs, world.size), share)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def text_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], str]:
    """Builds the exhibit without its pictures."""
    for name in ("exhibits.figure_6.draw_mean", "exhibits.figure_6.draw_cities", "sweep.traffic.draw"):
        monkeypatch.setattr(f"reports.{name}", lambda *drawn, **how: None)
    folder = tmp_path / "report"
    folder.mkdir()
    return lambda store: build(store, folder)


def build(store: Store, folder: Path) -> str:
    studies = {study.dataset: study for study in load_studies(store, store.scan())}
    return Figure6().build(studies[HERE.label], folder)


def bullet(text: str, start: str) -> str:
    """The finding that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"- **{start}")]
    return line


def peaked(weight: float) -> float:
    return 2.0 - 1.5 * abs(weight - 0.5)


def flat(weight: float) -> float:
    return 1.0


PEAKS_MOVE = {0.15: 0.1, 0.33: 0.5, 0.5: 1.0, 0.7: 1.0}
PEAKS_MOVE_BACK = {0.15: 1.0, 0.33: 0.5, 0.5: 0.1, 0.7: 0.1}
PEAKS_STAY = dict.fromkeys(PEAKS_MOVE, 0.5)


def test_pictures_tables_and_csv_of_the_stored_cells(store: Store, tmp_path: Path) -> None:
    fill(store, peaked, ("1",))
    fill_worlds(store, PEAKS_MOVE)
    text = build(store, tmp_path)
    names = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(names) == 4
    for name in names:
        assert imread(tmp_path / name)[..., :3].std() > 0.05
    frame = pd.read_csv(tmp_path / "figure_6.csv", dtype={"city": str})
    frame = frame.fillna({"variant": "", "against": ""})
    assert not frame.duplicated().any()
    index = ["dataset", "city", "model", "variant", "measure", "against"]
    assert not frame.duplicated(index).any()
    values = frame.set_index(index).value
    for probability, space in {"ctr": "exposed", "cvr": "clicked"}.items():
        for kind, recompute in {"auc": observed_auc, "truth": true_auc}.items():
            measure = f"{kind}/{probability}/{space}"
            of_weight = {}
            for weight, variant in {0.5: "", 0.3: "weight_global=0.3"}.items():
                cells = [[esmc2(city, seed, weight) for seed in (0, 1)] for city in ("1", "6")]
                expected = [np.mean([recompute(store, cell, probability) for cell in of_city]) for of_city in cells]
                assert values[HERE.label, "1", "esmc2", variant, measure, ""] == pytest.approx(expected[0], abs=1e-9)
                of_weight[weight] = np.mean(expected)
                found = values[HERE.label, "mean", "esmc2", variant, measure, ""]
                assert found == pytest.approx(of_weight[weight], abs=1e-9)
                assert re.search(rf"^\| {weight:g} \|.* {found:.4f} ± ", text, re.MULTILINE)
            cells = [[make_cell(city, "esmc", seed, dataset=HERE.label) for seed in (0, 1)] for city in ("1", "6")]
            none = np.mean([[recompute(store, cell, probability) for cell in of_city] for of_city in cells])
            change = values[HERE.label, "mean", "esmc2", "weight_global=0.3", measure, "ESMC"]
            assert change == pytest.approx(of_weight[0.3] - none, abs=1e-9)
    world = HERE.varied(SHARES[1].knobs)
    mean = np.mean([observed_auc(store, esmc2("6", seed, 0.3, world), "ctcvr") for seed in (0, 1)])
    found = values[world.label, "6", "esmc2", "weight_global=0.3", "auc/ctcvr/exposed", ""]
    assert found == pytest.approx(mean, abs=1e-9)
    published = frame.set_index(index).published
    assert published[HERE.label, "1", "esmc2", "", "auc/ctr/exposed", ""] == 0.74015


@pytest.mark.parametrize(
    ("quality", "esmc", "shape", "against"),
    [
        (peaked, 1.0, r"This is the paper's shape in .*truth", r"is better in .*truth"),
        (lambda weight: 2 - peaked(weight), 3.0, r"\*\*contradicts\*\* the paper in .*truth", r"is worse in .*truth"),
        (flat, 1.0, "not distinguishable from a flat curve", "not distinguishable in any AUC"),
        (lambda weight: min(2 * weight, 1.0) + 1.0, 1.0, "one side of the paper's shape, not both", "is better in"),
    ],
)
def test_words_on_the_shape(
    store: Store, text_of: Callable[[Store], str], quality: ByWeight, esmc: float, shape: str, against: str
) -> None:
    text = text_of(fill(store, lambda weight: quality(weight) + 0.5, esmc=esmc + 0.5))
    assert re.search(shape, bullet(text, "Shape"))
    assert re.search(against, bullet(text, "Against ESMC"))


def test_shares_come_from_the_counts(store: Store, text_of: Callable[[Store], str], tmp_path: Path) -> None:
    fill(store, flat, ("2",), share=0.25)
    fill_worlds(store, PEAKS_STAY)
    text = text_of(store)
    assert re.search(r"^\| City 2 \| 25% \| 20% \| 0\.33 \| 0\.3 \|", text, re.MULTILINE)
    assert re.search(r"^\| City 6 as it is \| 33% \| 20% \| 0\.50 \| 0\.5 \|", text, re.MULTILINE)
    assert re.search(
        r"^\| City 6, search_cart_share 0\.15, redeemed 0\.9 \| 15% \| 20% \| 0\.18 \| 0\.1 \|", text, re.M
    )
    assert re.search(r"^\| City 6, search_cart_share 0\.7 \| 70% \| 20% \| 2\.33 \| 1 \|", text, re.MULTILINE)
    frame = pd.read_csv(tmp_path / "report" / "figure_6.csv", dtype={"city": str})
    rows = frame[frame.measure == "search_share"].set_index(["dataset", "city"]).value
    assert len(rows) == 5
    assert rows[HERE.label, "2"] == 0.25


@pytest.mark.parametrize(
    ("peaks", "traffic", "advice"),
    [
        (PEAKS_MOVE, "the best weight moves with the traffic", "pays significantly in .*, as the paper recommends"),
        (PEAKS_MOVE_BACK, r"the other way, which \*\*contradicts\*\*", r"costs significantly in .*\*\*contradicts\*\*"),
        (PEAKS_STAY, "not distinguishable in any AUC", r"costs significantly in .*\*\*contradicts\*\*"),
    ],
)
def test_whether_the_best_weight_follows_the_traffic(
    store: Store, text_of: Callable[[Store], str], peaks: Mapping[float, float], traffic: str, advice: str
) -> None:
    text = text_of(fill_worlds(store, peaks))
    assert re.search(traffic, bullet(text, "Traffic"))
    assert "(0.1 at 15%, 1 at 50%, 1 at 70%) instead of 0.5" in bullet(text, "Setting the weight by the traffic")
    assert re.search(advice, bullet(text, "Setting the weight by the traffic"))
    for share in WORLD_SHARES:
        assert re.search(rf"{peaks[share]:g} \([^)]*\) at {share:.0%}", bullet(text, "Traffic"))


def test_between_worlds_variances_add(store: Store, text_of: Callable[[Store], str], tmp_path: Path) -> None:
    text = text_of(fill_worlds(store, PEAKS_MOVE))
    ends = []
    for world in (SHARES[2], SHARES[0]):
        source = HERE.varied(world.knobs)
        cells = [[[esmc2("6", seed, weight, source) for seed in (0, 1)]] for weight in (1.0, 0.1)]
        ends.append(observed_difference(store, *cells))
        assert re.search(rf": 1 minus 0\.1 \|.*{re.escape(f'{ends[-1][0]:+.4f}')}", text)
    frame = pd.read_csv(tmp_path / "report" / "figure_6.csv", dtype={"city": str})
    row = frame[(frame.city == "worlds") & (frame.measure == "auc/ctcvr/exposed")].iloc[0]
    assert row.value == pytest.approx(ends[0][0] - ends[1][0], abs=1e-9)
    (line,) = [line for line in text.splitlines() if line.startswith("| the same, most minus least search")]
    assert f"{row.value:+.4f}" in line
    gains = []
    for world, weight in zip(SHARES, (0.1, 1.0, 1.0), strict=True):
        source = HERE.varied(world.knobs)
        cells = [[[esmc2("6", seed, at, source) for seed in (0, 1)]] for at in (weight, 0.5)]
        gains.append(observed_difference(store, *cells)[0])
    row = frame[frame.variant.eq("weight nearest to the traffic") & frame.measure.eq("auc/ctcvr/exposed")].iloc[0]
    assert row.value == pytest.approx(np.mean(gains), abs=1e-9)


def test_minus_adds_variances() -> None:
    first = Contrast(0.5, 0.1, 0.9, 0.02, 0.02, se=0.03, n_seeds=3)
    second = Contrast(0.2, 0.0, 0.4, 0.02, 0.02, se=0.04, n_seeds=2)
    found = minus(first, second)
    assert found.difference == pytest.approx(0.3)
    assert found.se == pytest.approx(0.05)
    assert found.hi - found.lo == pytest.approx(2 * 1.959964 * 0.05, rel=1e-5)
    assert found.p_value == pytest.approx(math.erfc(6 / math.sqrt(2)), rel=1e-3)
    assert found.n_seeds == 2


def test_what_validation_chooses(store: Store, text_of: Callable[[Store], str]) -> None:
    favourites = {"1": 0.0, "6": 0.7}
    fill(store, peaked, valid=lambda city, weight: 0.8 if weight == favourites[city] else 0.7)
    assert "chooses 0 in City 1; 0.7 in City 6." in bullet(text_of(store), "Validation")


def test_without_esmc_weights_are_still_compared(store: Store, text_of: Callable[[Store], str]) -> None:
    text = text_of(fill(store, peaked, esmc=None))
    assert re.search(r"the paper's shape in .*truth", bullet(text, "Shape"))
    assert "**Against ESMC**" not in text
    assert "City 1: 0; City 6: 0." in text
    assert re.search(r"^\| 0\.1 \| 0\.\d+ ± 0\.\d+ \| - \|", text, re.MULTILINE)


def test_without_worlds_or_counts(store: Store, text_of: Callable[[Store], str]) -> None:
    fill(store, flat, ("6",), seeds=1)
    text = text_of(store)
    assert "Other shares of search are not stored: `bench run --exhibit figure_6`" in text
    assert "**Traffic.**" not in text
    for path in store.out.glob("data/tables/*/manifest.json"):
        path.unlink()
    assert re.search(r"^\| City 6 as it is \| - \| - \| - \| - \| ", text_of(store), re.MULTILINE)


def test_nothing_of_it_is_stored(store: Store, text_of: Callable[[Store], str]) -> None:
    store_cell(store, make_cell("1", "esmc", dataset=HERE.label))
    assert text_of(store) == "Fewer than two weights are stored yet; `bench run --exhibit figure_6` trains the others."
