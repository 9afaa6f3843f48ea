"""The page of real logs: figures recomputed from the store, words that follow them, and a real log's carts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_store import Columns, StoreMaker, make_cell, store_cell, store_manifest
from sklearn.metrics import roc_auc_score

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.registry import SOURCES
from bench.data.source import SourceOptions
from bench.data.tables import read_manifest
from bench.results.store import Store
from reports import style
from reports.builder import build_report
from reports.exhibits.real_logs import COLUMNS, RealLogs
from reports.real_logs import values
from reports.study import load_studies

SHARED = Path(os.environ.get("ESM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cikm19_taobao"
NONE = PRESETS["esmc"].model_copy(update={"calibration": "none"})
NOTES: dict[str, float | int | str] = {"bad_cases": 40, "matched_carts": 10, "changed_labels": 10}
DAY = 86_400

#: user, item, visit, day, action: two purchases with a cart in their visit, one with a cart two days before (and one
#: of another item), one with a cart on the day after, one without.
EVENTS = (
    (1, 1, 10, 3, "cart"), (1, 1, 10, 3, "purchase"),
    (2, 1, 20, 4, "cart"), (2, 1, 20, 4, "purchase"),
    (3, 1, 30, 1, "cart"), (3, 1, 31, 3, "purchase"), (3, 2, 32, 2, "cart"),
    (4, 1, 40, 3, "purchase"), (4, 1, 41, 4, "cart"),
    (5, 1, 50, 3, "purchase"),
)  # fmt: skip


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn, but not rendered: that takes most of the time of a page."""
    monkeypatch.setattr(style, "save", lambda drawing, path: None)


def cell_of(model: str, seed: int = 0, dataset: str = "shop", **more: object) -> Cell:
    return make_cell("a", model, seed, dataset=dataset, **more)  # type: ignore[arg-type]


def with_carts(cell: Cell, columns: Columns) -> Columns:
    """Carts are told as well as CVR tells purchases; models of clicks and purchases tell none."""
    if cell.model in ("shared_bottom", "esmm"):
        return {}
    rng = np.random.default_rng(cell.seed)
    car = 1 / (1 + np.exp(-2.0 * columns["cart"] - rng.normal(0, 1.5, columns["cart"].size)))
    return {"car": car.astype(np.float32), "ctcar": (car * columns["ctr"]).astype(np.float32)}


def all_clicked(cell: Cell, columns: Columns) -> Columns:
    return {"click": np.ones_like(columns["click"])}


def write_tables(folder: Path, events: Sequence[tuple[int, int, int, int, str]] = EVENTS) -> None:
    """Exposures of three splits, of which the test has two purchases, and the events."""
    split = ["train"] * 5 + ["valid"] * 2 + ["test"] * 3
    n = len(split)
    exposures = {
        "exposure": range(n),
        "user": [1, 1, 2, 2, 3, 1, 2, 4, 5, 5],
        "item": [1] * n,
        "visit": range(100, 100 + n),
        "time": [day * DAY for day in range(n)],
        "position": [0] * n,
        "split": split,
        "click": [1, 0, 1, 1, 0, 1, 1, 1, 1, 0],
        "cart": [1, 0, 1, 0, 0, 0, 0, 1, 0, 0],
        "wish": [0] * n,
        "purchase": [1, 0, 0, 1, 0, 0, 0, 1, 1, 0],
    }
    pq.write_table(pa.table({name: list(values) for name, values in exposures.items()}), folder / "exposures.parquet")
    names = ("user", "item", "visit", "time", "action")
    columns = dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
    columns["time"] = [day * DAY for day in columns["time"]]
    columns["domain"] = ["recommendation"] * len(events)
    pq.write_table(pa.table(columns), folder / "events.parquet")


def shop(
    out: Path, models: Sequence[str] = ("shared_bottom", "esmm", "esms", "esmc"), seeds: int = 1, **how: object
) -> Store:
    """A log with its funnel tables; ESMS and ESMC also without Sample Calibration."""
    store = Store(out)
    first = cell_of("esmm")
    store_manifest(out, first, origin="log", settings={"time_zone": "UTC"})
    write_tables(out / "data" / "tables" / first.fingerprint)
    for model in models:
        for seed in range(seeds):
            for config in (PRESETS["esmc"], NONE) if model in ("esms", "esmc") else (PRESETS["esmc"],):
                defaults = {"rows": 3000, "change": with_carts, "notes": NOTES}
                store_cell(store, cell_of(model, seed, config=config), **(defaults | how))  # type: ignore[arg-type]
    return store


def page(store: Store, folder: Path) -> tuple[str, pd.DataFrame]:
    """Text and CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    (study, *_) = load_studies(store, store.scan())
    text = RealLogs().build(study, folder)
    return text, pd.read_csv(folder / "real_logs.csv", keep_default_na=False, na_values=[""])


def scores(store: Store, probability: str, model: str, variant: str = "") -> dict[int, Mapping[str, np.ndarray]]:
    found = {}
    for record in store.scan().records:
        none = record.cell.config == NONE
        if record.cell.model == model and none == bool(variant):
            found[record.cell.seed] = store.predictions(record.key)
    return found


def test_aucs_and_differences_are_those_of_the_predictions(tmp_path: Path) -> None:
    store = shop(tmp_path / "runs", seeds=2)
    text, frame = page(store, tmp_path / "page")
    assert list(frame.columns) == COLUMNS
    aucs = frame[frame.quantity == "auc"].fillna({"variant": ""}).set_index(["name", "model", "variant"])
    for probability, label, model, variant in (
        ("ctr", "click", "shared_bottom", ""),
        ("cvr", "purchase", "esmc", "calibration=none"),
        ("ctcvr", "purchase", "esmm", ""),
        ("car", "cart", "esms", ""),
    ):
        by_seed = scores(store, probability, model, variant)
        areas = []
        for of in by_seed.values():
            rows = of["click"] == 1 if probability in ("cvr", "car") else np.ones(of["click"].size, dtype=bool)
            areas.append(roc_auc_score(of[label][rows] & of["click"][rows], of[probability][rows]))
        row = aucs.loc[(probability, model, variant)]
        assert row.value == pytest.approx(np.mean(areas), abs=1e-6)
        assert row.seed_sd == pytest.approx(np.std(areas, ddof=1), abs=1e-6)
        assert row.lo < row.value < row.hi
        assert (row.n_seeds, row.rows, row.positives) == (2, rows.sum(), (of[label] & of["click"]).sum())
        assert row.users == np.unique(of["user"][rows]).size
    pairs = frame[frame.quantity == "difference"]
    of_cvr = pairs[(pairs.name == "cvr") & (pairs.model == "esmm")].iloc[0]
    assert (of_cvr.against_model, of_cvr.n_seeds) == ("shared_bottom", 2)
    expected = aucs.loc[("cvr", "esmm", "")].value - aucs.loc[("cvr", "shared_bottom", "")].value
    assert of_cvr.value == pytest.approx(expected)
    # carts: without Shared Bottom and ESMM nothing plain is left of the list, so nothing is a baseline
    assert set(pairs[pairs.name == "car"].against_model) == {"esms", "esmc"}
    assert set(pairs[pairs.name == "car"].against_variant) == {"calibration=none"}
    assert pairs.p_adjusted.ge(pairs.p_value).all()
    assert f"ESMC | {aucs.loc[('ctr', 'esmc', '')].value:.3f} [" in text
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(linked) == 3
    assert all((tmp_path / "page" / name).stat().st_size > 5_000 for name in linked)


@pytest.mark.usefixtures("unsaved")
def test_the_words_follow_the_figures(tmp_path: Path) -> None:
    """ESMC knows the truth better than Shared Bottom; where all have the same scores, nothing is distinguishable."""
    text, frame = page(shop(tmp_path / "runs"), tmp_path / "page")
    ctr = frame[(frame.quantity == "difference") & (frame.name == "ctr") & (frame.against_model == "shared_bottom")]
    better = ctr[(ctr.value > 0) & (ctr.p_adjusted < 0.05)].model.tolist()
    assert "esmc" in better
    sentence = next(line for line in text.splitlines() if line.startswith("- **CTR-AUC** against Shared Bottom"))
    assert "better: " in sentence and "ESMC" in sentence and "worse" not in sentence
    assert "distinguishable**" not in sentence

    def same(cell: Cell, columns: Columns) -> Columns:
        given = np.random.default_rng(1).random(columns["ctr"].size).astype(np.float32)
        return {"ctr": given, "cvr": given, "ctcvr": given**2}

    text, frame = page(shop(tmp_path / "even", change=same), tmp_path / "page of even")
    assert "**Nothing is distinguishable**: none of 3 models stands out (CTR-AUC against Shared Bottom, CTCVR" in text
    assert "**With and without Sample Calibration nothing is distinguishable**" in text
    assert set(frame[frame.quantity == "difference"].value) == {0.0}


@pytest.mark.usefixtures("unsaved")
def test_calibration_that_matters_is_told(tmp_path: Path) -> None:
    def doctored(cell: Cell, columns: Columns) -> Columns:
        """ESMC with calibration knows the purchases."""
        known = columns["purchase"] * 0.5 if cell.model == "esmc" and cell.config != NONE else 0.0
        return {"cvr": (columns["cvr"] * 0.4 + known).astype(np.float32)}

    text, _ = page(shop(tmp_path / "runs", change=doctored), tmp_path / "page")
    assert "**CVR-AUC** with Sample Calibration: better for ESMC against ESMC⁻." in text
    assert "| ESMC − ESMC⁻ |" in text
    assert "40 purchases of exposures have no cart in their visit; Sample Calibration finds one for 10 (25.0%)." in text
    unchanged = {**NOTES, "matched_carts": 0, "changed_labels": 0}
    text, _ = page(shop(tmp_path / "none", notes=unchanged), tmp_path / "page of none")
    assert "**Sample Calibration** changes nothing here" in text
    assert "| ESMC − ESMC⁻ |" not in text


@pytest.mark.usefixtures("unsaved")
def test_sizes_and_carts_are_those_of_the_funnel_tables(tmp_path: Path) -> None:
    text, frame = page(shop(tmp_path / "runs"), tmp_path / "page")
    counts = frame[frame.quantity.isin(["count", "carts"])].set_index("name").value.to_dict()
    assert [counts[f"{split}: exposures"] for split in ("train", "valid", "test")] == [5, 2, 3]
    assert [counts[f"test: {name}"] for name in ("clicks", "carts", "purchases", "users")] == [2, 1, 2, 2]
    assert counts["train: purchases without a cart in their visit"] == 1
    assert "| Purchases | 2 | 0 | 2 |" in text
    assert "A network learns from 5 training rows in one pass of 1,024 rows a step: 1 steps." in text
    assert [counts[name] for name in ("purchases", "same visit", "earlier visit only", "earlier day")] == [5, 2, 1, 1]
    assert counts["days since: 2"] == 1
    assert "Of 5 purchases in the behaviour log, 40.0% have a cart in their visit, 20.0% only in an earlier one" in text
    assert "and 40.0% have none before them" in text
    assert "For 20.0% the last cart lies on an earlier day." in text
    assert "it is 2 days in the middle" in text


@pytest.mark.usefixtures("unsaved")
def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    text, frame = page(shop(tmp_path / "clicks", change=all_clicked), tmp_path / "page")
    assert "**CTR-AUC** is withheld: every exposure is a click" in text
    assert "Every exposure is a click, so CTCVR is CVR" in text
    assert "ctr" not in set(frame[frame.quantity == "auc"].name)
    text, frame = page(shop(tmp_path / "few", rows=300), tmp_path / "page of few")
    assert re.search(r"\*\*CVR-AUC\*\* is withheld: \d+ purchases in \d+ rows; it takes 30 of each class", text)
    assert "cvr" not in set(frame[frame.quantity == "auc"].name)
    assert "There are no two models to compare." in page(shop(tmp_path / "one", ["esmm"]), tmp_path / "page of one")[0]
    store = shop(tmp_path / "lost")
    (tmp_path / "lost" / "data" / "tables" / cell_of("esmm").fingerprint / "exposures.parquet").write_bytes(b"PAR1")
    text, frame = page(store, tmp_path / "page of lost")
    assert "count" not in set(frame.quantity)
    assert "auc" in set(frame.quantity)


def test_large_logs_get_fewer_resamples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [values.resamples(rows) for rows in (0, 200_000, 500_000, 10**9)] == [1000, 1000, 400, 200]
    monkeypatch.setattr(style, "save", lambda drawing, path: None)
    monkeypatch.setattr(values, "WORK", 3000 * 300)
    text, _ = page(shop(tmp_path / "runs", ["shared_bottom", "esmm"]), tmp_path / "page")
    assert next(line for line in text.splitlines() if "3,000 rows" in line).count("only 300 resamples") == 1
    assert "only" not in next(line for line in text.splitlines() if line.startswith("- **CVR-AUC**: "))


def test_only_logs_and_how_to_make_them(make_store: StoreMaker, tmp_path: Path) -> None:
    """A simulated city is no log; a report over both shows the log, once."""
    store = make_store(cities=("1",), models=("shared_bottom", "esmc"))
    (study, *_) = load_studies(store, store.scan())
    text = RealLogs().build(study, tmp_path)
    assert text.startswith("No log of a real shop is stored.")
    assert "`bench run --data NAME --data-dir FOLDER --seeds 3 --grid calibration=none,copy`" in text
    assert pd.read_csv(tmp_path / "real_logs.csv").empty
    shop(store.out)
    path = build_report(store.out, tmp_path / "report", ["real_logs"])
    assert path.read_text(encoding="utf-8").count("#### shop, preset esmc") == 1


@pytest.mark.usefixtures("unsaved")
@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample of cikm19_taobao is not there")
def test_the_carts_of_cikm19_are_those_of_the_raw_file(tmp_path: Path) -> None:
    """Counted from the raw file, without visits or funnel tables: a purchase is one of a user, item and day."""
    if "cikm19_taobao" not in SOURCES.names():
        pytest.skip("there is no reader of cikm19_taobao")
    source = SOURCES.get("cikm19_taobao")(SourceOptions(data_dir=SHARED))
    cell = make_cell(source.cities()[0], "esmm", dataset="cikm19_taobao")
    folder = tmp_path / "runs" / "data" / "tables" / cell.fingerprint
    folder.mkdir(parents=True)
    (tmp_path / "written").mkdir()
    source.write(source.cities()[0], folder)
    store = Store(tmp_path / "runs")
    store_cell(store, cell, rows=300)
    text, frame = page(store, tmp_path / "page")
    found = frame[frame.quantity == "carts"].set_index("name").value
    with duckdb.connect() as connection:
        days = connection.read_csv(str(SHARED / "ecomm_edge_train.txt.gz"), sep="\t", header=False).select(
            "column0 AS u, column1 AS i, column2 AS t, strptime(column3::VARCHAR, '%Y%m%d') AS d"
        )
        bought = set(days.filter("t = 4").select("u, i, d").fetchall())
        carts = days.filter("t = 3").select("u, i, d").fetchall()
    carted: dict[tuple[int, int], list[object]] = {}
    for user, item, day in carts:
        carted.setdefault((user, item), []).append(day)
    last = [max((d for d in carted.get((u, i), []) if d <= day), default=None) for u, i, day in bought]
    gaps = [(day - found).days for (_, _, day), found in zip(bought, last, strict=True) if found is not None]
    assert found["purchases"] == len(bought)
    assert found["same visit"] == gaps.count(0)
    assert found["earlier visit only"] == found["earlier day"] == len(gaps) - gaps.count(0)
    assert {f"days since: {n}": gaps.count(n) for n in set(gaps)} == found.filter(like="days since").to_dict()
    assert read_manifest(folder).origin == "log"
    assert f"{gaps.count(0) / len(bought):.1%} have a cart in their visit" in text
