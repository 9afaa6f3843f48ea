"""The smaller exhibits: numbers recomputed, words that follow from figures, pictures that are pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import StoreMaker, make_cell, store_cell, store_manifest
from matplotlib.image import imread

from bench.core.config import PRESETS
from bench.core.registry import EXHIBITS
from bench.results.queries import CURVE_COLUMNS
from bench.results.store import Store
from reports.exhibit import Exhibit
from reports.exhibits.auc_plot import AucPlot
from reports.exhibits.calibration import Calibration, siamese
from reports.exhibits.cost import Cost
from reports.exhibits.curves import GRID, Curves, curve_bands
from reports.exhibits.table_iii import TableIII, statistics
from reports.study import Study, load_studies


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def test_every_exhibit_is_found_and_described() -> None:
    found = EXHIBITS.all()
    assert EXHIBITS.broken == {}
    assert {"table_iii", "table_iv", "auc_plot", "calibration", "curves", "cost"} <= found.keys()
    for kind in found.values():
        assert issubclass(kind, Exhibit)
        assert kind.title
        assert kind.needs
    assert len({kind.order for kind in found.values()}) == len(found)


COUNTS = {
    "exposures": 1_000_000,
    "visits": 62_500,
    "users": 6_000,
    "items": 110,
    "clicks": 61_000,
    "carts": 20_000,
    "purchases": 11_000,
    "bad_case_purchases": 2_200,
}


def test_table_iii_beside_the_scaled_paper(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell("1"))
    store_manifest(store.out, make_cell("1"), COUNTS)
    text = TableIII().build(study_of(store), tmp_path)
    frame = pd.read_csv(tmp_path / "table_iii.csv").set_index("quantity")
    assert frame.ours["click_sparsity"] == 0.061
    assert frame.ours["exposures_per_visit"] == 16
    assert frame.ours["bad_case_share"] == 0.2
    assert frame.published["exposures"] == 1004e6
    assert frame.published_scaled["exposures"] == pytest.approx(1.004e6)
    assert frame.published_scaled["click_sparsity"] == 0.06096
    assert np.isnan(frame.ours["wishes"])
    assert "1,000,000<br><sub>paper 1,004,000</sub>" in text
    assert "0.01100<br><sub>paper 0.01093</sub>" in text
    assert "| City 1 | 62,500 | 16.0 | 20,000 | - | - | 20.0% |" in text


def test_table_iii_of_a_log_has_only_ours(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    cell = make_cell("all", dataset="a_log")
    store_cell(store, cell)
    store_manifest(store.out, cell, {"exposures": 500}, origin="log")
    text = TableIII().build(study_of(store), tmp_path)
    assert "paper 1" not in text
    assert "<sub>" not in text
    assert "| all | - | - | - | - | 500 | - | - |" in text


def test_table_iii_counts_nothing_that_a_log_lacks(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    cell = make_cell("all", dataset="a_log")
    store_cell(store, cell)
    store_manifest(store.out, cell, COUNTS | {"wishes": 0, "search_carts": 0}, origin="log")
    study = study_of(store)
    manifest = study.manifest("all")
    assert manifest is not None
    lacking = manifest.model_copy(update={"lacks": {"wish": "has no wishes", "visit": "has no visits"}})
    assert statistics(manifest)["wishes"] == statistics(manifest)["search_carts"] == 0
    found = statistics(lacking)
    assert found["search_carts"] == 0
    assert np.isnan(found["wishes"])
    assert np.isnan(found["bad_case_share"])


def test_table_iii_without_tables_shows_the_paper(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell("1"))
    study = study_of(store)
    text = TableIII().build(study, tmp_path)
    assert "| City 1 | -<br><sub>paper 6,000,000</sub>" in text
    assert "city 1" in study.notes[0]


def test_auc_plots_are_pictures(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2", "3", "4"), models=("esmm", "a_new_model"))
    text = AucPlot().build(study_of(store), tmp_path)
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 3
    for path in pictures:
        assert f"({path.name})" in text
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.05
    assert len(pd.read_csv(tmp_path / "auc_plot.csv")) == 4 * 2 * 3


def test_auc_plot_of_withheld_values(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store_cell(store, make_cell(), buy=0.1)
    text = AucPlot().build(study_of(store), tmp_path)
    assert "CVR-AUC: nothing is stored yet, or it is withheld." in text
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_calibration_is_the_mean_over_cells(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2"), models=("esmm", "esms"), seeds=2)
    text = Calibration().build(study_of(store), tmp_path)
    values = []
    for city in ("1", "2"):
        for seed in (0, 1):
            found = store.predictions(make_cell(city, "esms", seed).key)
            clicked = found["click"] == 1
            values.append(found["cvr"][clicked].sum(dtype=float) / found["purchase"][clicked].sum())
    frame = pd.read_csv(tmp_path / "calibration.csv").set_index(["model", "metric", "probability"])
    row = frame.loc[("esms", "pcoc", "cvr")]
    assert row["mean"] == pytest.approx(np.mean(values))
    assert (row.lowest, row.highest, row.n_cells) == (pytest.approx(min(values)), pytest.approx(max(values)), 4)
    assert f"| ESMS | {np.mean(values):.4f} |" in text


def ece_frame(**ece: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"model": list(ece), "mean": list(ece.values()), "metric": "ece", "probability": "cvr", "space": "clicked"}
    )


def test_the_words_on_esms_follow_from_the_figures() -> None:
    (worst,) = siamese(ece_frame(esmm=0.02, esms=0.3, esmc=0.1))
    assert "costs" in worst
    assert "3.0 times the next worst (ESMC)" in worst
    (fine,) = siamese(ece_frame(esmm=0.2, esms=0.1))
    assert "no loss" in fine
    assert siamese(ece_frame(esmm=0.2)) == []
    assert siamese(ece_frame(esms=0.2)) == []


def test_curve_bands_interpolate_every_cell_on_its_own_run() -> None:
    identity = {"dataset": "d", "city": "1", "model": "esmc", "preset": "esmc", "variant": "", "seed": 0}
    points = [
        ("a", 10, 4.0),
        ("a", 100, 1.0),  # a line from share 0.1 to 1
        ("b", 100, 2.0),
        ("b", 1000, 3.0),
    ]
    rows = [identity | {"key": k, "task": "ctr", "step": n, "rows": n, "loss": loss} for k, n, loss in points]
    bands = curve_bands(pd.DataFrame(rows, columns=CURVE_COLUMNS)).set_index("share")
    assert bands.index.min() == pytest.approx(0.1)
    end = bands.loc[1.0]
    assert (end["mean"], end.lowest, end.highest, end.n_cells) == (2.0, 1.0, 3.0, 2)
    middle = bands.loc[GRID[np.isclose(GRID, 0.4)][0]]
    assert (middle.lowest, middle.highest) == (pytest.approx(2 + 1 / 3), pytest.approx(3.0))


def test_curves(make_store: StoreMaker, tmp_path: Path) -> None:
    study = study_of(make_store())
    text = Curves().build(study, tmp_path)
    assert f"(curves-{study.slug}.png)" in text
    assert imread(tmp_path / f"curves-{study.slug}.png")[..., :3].std() > 0.05
    frame = pd.read_csv(tmp_path / "curves.csv")
    assert set(frame.task) == {"ctr", "ctcvr", "ctcar", "constraint"}
    assert (frame.lowest <= frame["mean"]).all()


def test_cost_is_the_median(make_store: StoreMaker, tmp_path: Path) -> None:
    store = make_store(cities=("1", "2"), models=("esmm", "esmc"), seeds=3)
    store_cell(store, make_cell(config=PRESETS["esmc"].model_copy(update={"constraint": "softmax"})))
    text = Cost().build(study_of(store), tmp_path)
    frame = pd.read_csv(tmp_path / "cost.csv", keep_default_na=False).set_index(["model", "variant"])
    assert frame.wall_seconds["esmm", ""] == 4  # of 3, 4, 5, twice
    assert frame.total_wall_seconds["esmm", ""] == 24
    assert frame.cells["esmm", ""] == 6
    assert "| ESMM | 6 | 104,000 | " in text
    assert "| ESMC (constraint=softmax) | 1 |" in text
    assert "All 13 cells together" in text


@pytest.mark.parametrize(
    ("name", "trains"),
    [
        ("cost", "-"),
        ("table_v", "4 models"),
        ("figure_7", "2 models in 6 configurations"),
        ("robust_size", "6 models, 3 more worlds"),
    ],
)
def test_what_an_exhibit_trains(name: str, trains: str) -> None:
    assert EXHIBITS.get(name).trains() == trains
