"""ESM² Figure 6: figures recomputed from the stored cells, words that flip with them, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_esm2 import CITY, Quality, esm2, fill, flat
from fake_store import store_cell
from matplotlib.image import imread
from swept_cells import observed_auc, observed_difference, true_auc

from bench.core.config import PRESETS, validated
from bench.results.store import Store
from reports.esm2_figures.knobs import KNOBS
from reports.exhibits.esm2_figure_6 import Esm2Figure6
from reports.published import load_published
from reports.study import Study, load_studies

CHOICES = {"dropout": 0.5, "layers": 5, "item_dim": 128}


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def text_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], str]:
    """Builds the exhibit without its pictures."""
    monkeypatch.setattr("reports.exhibits.esm2_figure_6.draw", lambda *drawn: None)
    folder = tmp_path / "report"
    folder.mkdir()
    return lambda store: Esm2Figure6().build(study_of(store), folder)


def csv(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "esm2_figure_6.csv").astype({"against": object}).fillna({"variant": "", "against": ""})


def bullet(text: str, title: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"- **{title}.**")]
    return line


def peak(knob: str, at: float) -> float:
    """The paper's choices are best, and nothing is lost above 128."""
    order = list(next(each.changes for each in KNOBS if each.name == knob))
    apart = order.index(at) - order.index(CHOICES[knob])
    return 1.0 if knob == "item_dim" and apart > 0 else 1.0 - 0.22 * abs(apart)


def valley(knob: str, at: float) -> float:
    return 1.7 - 0.5 * peak(knob, at) if at != CHOICES[knob] else 1.0


def test_what_is_trained_are_the_papers_grids() -> None:
    (demand,) = Esm2Figure6.demands
    assert demand.models == ("esm2",)
    configs = [validated(PRESETS["esm2"].model_dump() | dict(change)) for change in demand.changes]
    assert len(set(configs)) == len(configs)
    of_grids = {validated(PRESETS["esm2"].model_dump() | dict(c)) for knob in KNOBS for c in knob.changes.values()}
    assert set(configs) == of_grids
    assert Esm2Figure6.trains() == f"1 model in {len(configs)} configurations"
    paper = load_published().esm2_figure_6.knobs
    for knob in KNOBS:
        assert tuple(knob.changes) == paper[knob.name].grid
        (name,) = knob.changes[paper[knob.name].best]
        assert knob.changes[paper[knob.name].best][name] == getattr(PRESETS["esm2"], name)
    layers = next(knob for knob in KNOBS if knob.name == "layers")
    assert all(len(change["hidden"]) + 1 == at for at, change in layers.changes.items())


def test_values_differences_and_pictures(store: Store, tmp_path: Path) -> None:
    fill(store, peak)
    text = Esm2Figure6().build(study_of(store), tmp_path)
    names = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(names) == 2
    for name in names:
        assert imread(tmp_path / name)[..., :3].std() > 0.05
    frame = csv(tmp_path)
    assert not frame.duplicated().any()
    levels = frame[frame.against == ""].set_index(["city", "knob", "at", "measure"])
    changes = frame[frame.against == "ESM²"].set_index(["city", "knob", "at", "measure"])
    for knob, at, change in (
        ("dropout", 0.5, {}),
        ("dropout", 0.2, {"dropout": 0.2}),
        ("layers", 3, {"hidden": (512, 256)}),
        ("item_dim", 16, {"item_dim": 16}),
    ):
        cells = [esm2(seed, **change) for seed in (0, 1)]
        for probability, space in {"cvr": "clicked", "ctcvr": "exposed"}.items():
            for kind, recompute in {"auc": observed_auc, "truth": true_auc}.items():
                expected = np.mean([recompute(store, cell, probability) for cell in cells])
                for city in (CITY, "mean"):
                    found = levels.value[city, knob, at, f"{kind}/{probability}/{space}"]
                    assert found == pytest.approx(expected, abs=1e-9)
                assert f"{expected:.4f} ± " in text
        if change:
            expected = observed_difference(store, [cells], [[esm2(seed) for seed in (0, 1)]])
            for city in (CITY, "mean"):
                row = changes.loc[city, knob, at, "auc/ctcvr/exposed"]
                assert (row.value, row.lo, row.hi) == pytest.approx(expected, abs=1e-9)
                assert np.isnan(row.p_adjusted) == (city == CITY)  # a single city is shown, not tested
            assert f"{expected[0]:+.4f}** [{expected[1]:+.4f}, {expected[2]:+.4f}]" in text
    tested = frame[frame.p_adjusted.notna()]
    assert len(tested) == 4 * (5 + 4 + 4)
    smallest = tested.loc[tested.p_value.idxmin()]
    assert smallest.p_adjusted == pytest.approx(len(tested) * smallest.p_value)
    assert set(frame[frame.paper_choice].variant) == {""}
    assert frame.set_index(["knob", "at"]).variant["layers", 3].unique() == ["hidden=512-256"]


@pytest.mark.parametrize(
    ("quality", "dropout", "layers", "item"),
    [
        (
            peak,
            "It **shows** in CVR-AUC, CTCVR-AUC (observed labels",
            "6 are significantly worse than 5",
            "256 cannot be told from it (",
        ),
        (flat, "no value can be told from 0.5", "no value can be told from 5", "no value can be told from 128"),
        (valley, "**contradicts** the paper", "**contradicts** the paper", "**contradicts** the paper"),
        (
            lambda knob, at: 0.6 if at in (0.2, 4, 64) else 1.0,
            "it shows in part: 0.2 is significantly worse than 0.5",
            "it shows in part: 4 is significantly worse than 5",
            "it shows in part: 64 is significantly worse than 128",
        ),
    ],
)
def test_words_follow_from_the_figures(
    store: Store, text_of: Callable[[Store], str], quality: Quality, dropout: str, layers: str, item: str
) -> None:
    text = text_of(fill(store, quality, seeds=4))
    for title, words in (("Dropout", dropout), ("Layers", layers), ("Item embedding", item)):
        found = bullet(text, title)
        assert words in found
        assert ("contradicts" in found) == (quality is valley)
        assert ("**shows**" in found) == (quality is peak)


def test_a_rise_beyond_the_papers_choice_contradicts_it(store: Store, text_of: Callable[[Store], str]) -> None:
    store = fill(store, lambda knob, at: at / 128 if knob == "item_dim" else 1.0, seeds=3)
    found = bullet(text_of(store), "Item embedding")
    assert (
        "**contradicts** the paper in CVR-AUC, CTCVR-AUC (observed labels, truth): 256 is significantly better" in found
    )
    assert "Up to 128 the mean rises at 3 of 3 steps in" in found


def test_what_cannot_be_told_comes_with_its_precision(
    store: Store, tmp_path: Path, text_of: Callable[[Store], str]
) -> None:
    text = text_of(fill(store))
    frame = csv(tmp_path / "report")
    rows = frame[(frame.against != "") & (frame.city == "mean") & (frame.knob == "dropout")]
    half = ((rows.hi - rows.lo) / 2).groupby(rows.measure).mean()
    order = ["auc/cvr/clicked", "auc/ctcvr/exposed", "truth/cvr/clicked", "truth/ctcvr/exposed"]
    *first, last = [f"{half[measure]:.4f}" for measure in order]
    assert f"are ± {', '.join(first)} and {last} on average" in bullet(text, "Dropout")
    assert re.search(r"^\| Dropout \| 0\.5 \|.* \(all\) \|$", text, re.MULTILINE)


def test_validation_and_test_need_not_agree(store: Store, tmp_path: Path, text_of: Callable[[Store], str]) -> None:
    favourites = {"cvr/clicked": {0.2, 3, 64}, "ctcvr/exposed": {0.7, 2, 256}}
    text = text_of(fill(store, peak, valid=lambda auc, knob, at: 0.8 if at in favourites[auc] else 0.7))
    assert "Validation chooses 0.2 by CVR-AUC, 0.7 by CTCVR-AUC." in bullet(text, "Dropout")
    assert "Highest mean on the test days: 0.5 by CVR-AUC, 0.5 by CTCVR-AUC." in bullet(text, "Dropout")
    assert "| Layers | 5 | 3 | 2 | 5 (5) | 5 (5) | 5 (5) | 5 (5) |" in text
    assert "| 0.2 | 104,000 | 0.8000 |" in text
    assert "CVR-AUC on the validation days rests on 40 purchases." in text
    frame = csv(tmp_path / "report").set_index(["measure", "knob", "at"]).value
    assert frame["valid/auc/ctcvr/exposed", "item_dim", 256] == pytest.approx(0.8)


def test_missing_values_one_seed_and_withheld_aucs(store: Store, tmp_path: Path) -> None:
    gone = {"dropout": (0.3,), "layers": (2, 3, 4, 6), "item_dim": (16,)}
    fill(store, seeds=1, leave_out=gone, positives=12, buy=0.6)
    text = Esm2Figure6().build(study_of(store), tmp_path)
    found = store.predictions(esm2().key)
    assert f"{found['purchase'].sum()} purchases of {found['click'].sum()} clicks; AUCs with fewer than 30" in text
    assert "CVR-AUC on the validation days is withheld, with 12 purchases." in text
    assert "dropout 0.3 (shop); layers 2, 3, 4, 6 (shop); item embedding 16 (shop). `bench run --exhibit esm2_f" in text
    assert "There is one seed" in text
    assert "| 0.3 | - | - | - | - | - | - | - |" in text
    assert "- **Layers.**" not in text  # one value tells nothing
    assert "(truth) **not distinguishable**" in bullet(text, "Dropout")
    assert "observed labels" not in bullet(text, "Dropout")
    assert len(list(tmp_path.glob("esm2_figure_6-*.png"))) == 2


def test_without_the_papers_choice_nothing_is_compared(store: Store, tmp_path: Path) -> None:
    fill(store, leave_out={"dropout": (0.5,), "layers": (5,), "item_dim": (128,)})
    text = Esm2Figure6().build(study_of(store), tmp_path)
    assert "- **" not in text
    assert "dropout 0.5 (shop)" in text
    assert (csv(tmp_path).against == "").all()


def test_a_city_that_lacks_a_value_is_not_part_of_the_mean(
    store: Store, tmp_path: Path, text_of: Callable[[Store], str]
) -> None:
    fill(store, peak)
    fill(store, peak, city="2", leave_out={"dropout": (0.2,)})
    text = text_of(store)
    assert "A city that lacks a value is not part of the means." in text
    frame = csv(tmp_path / "report")
    frame = frame[(frame.against == "") & (frame.measure == "auc/ctcvr/exposed")]
    values = frame.set_index(["city", "knob", "at"]).value
    assert values["mean", "dropout", 0.3] == pytest.approx(values[CITY, "dropout", 0.3])
    both = [values[city, "layers", 2] for city in ("2", CITY)]
    assert values["mean", "layers", 2] == pytest.approx(np.mean(both))
    assert both[0] != both[1]


def test_nothing_of_it_is_stored(store: Store, text_of: Callable[[Store], str]) -> None:
    store_cell(store, esm2(model="esmm"))
    assert text_of(store) == "Not stored yet; `bench run --exhibit esm2_figure_6` trains it."
    store_cell(store, esm2())
    assert "Not stored yet" in text_of(store)
