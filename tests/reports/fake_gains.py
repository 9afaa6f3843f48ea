"""Cells of which a test says how well each knows the truth, with the same errors for all models of a city."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fake_store import Columns, make_cell, store_cell, store_manifest
from sklearn.metrics import roc_auc_score

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.seeding import derive
from bench.results.store import Store
from reports.exhibit import Exhibit
from reports.study import Study, load_studies

#: A model and its Sample Calibration.
Calibrated = tuple[str, str]

#: Changes the predictions of a cell after all else.
Twist = Callable[[Cell, Columns], Columns]


def fill(
    folder: Path,
    skills: Mapping[Any, float],
    cities: Sequence[str] = ("1", "2"),
    seeds: int = 2,
    rows: int = 1500,
    twist: Twist = lambda cell, columns: {},
    notes: Mapping[Any, dict[str, float | int | str]] | None = None,
    counts: dict[str, int] | None = None,
    **how: Any,
) -> Study:
    """The study of a store where models, or models with a calibration, know the truth as well as ``skills`` tells.

    ``notes`` are by the same names, ``counts`` those of every manifest.
    """
    store = Store(folder / "runs")
    dataset = how.pop("dataset", "six_cities-0.001")
    for city in cities:
        store_manifest(store.out, make_cell(city, dataset=dataset), counts)
        for name, skill in skills.items():
            model, mode = (name, "copy") if isinstance(name, str) else name
            config = PRESETS["esmc"].model_copy(update={"calibration": mode})
            for seed in range(seeds):
                cell = make_cell(city, model, seed, config=config, dataset=dataset)

                def change(cell: Cell, columns: Columns, skill: float = skill) -> Columns:
                    found = _scores(cell, columns, skill)
                    return found | twist(cell, columns | found)

                store_cell(store, cell, rows=rows, change=change, notes=(notes or {}).get(name), **how)
    return study_of(store)


def study_of(store: Store) -> Study:
    (study,) = load_studies(store, store.scan())
    return study


def build(exhibit: Exhibit, study: Study, folder: Path) -> tuple[str, pd.DataFrame]:
    """Its Markdown and its CSV."""
    folder.mkdir()
    text = exhibit.build(study, folder)
    path = folder / f"{exhibit.name}.csv"
    names = ["city", "variant", "against_variant", "against_model", "model"]
    frame = pd.read_csv(path, dtype=dict.fromkeys(names, str)) if path.exists() else pd.DataFrame()
    return text, frame.assign(**{name: frame[name].fillna("") for name in names}) if path.exists() else frame


def area(study: Study, city: str, model: str, probability: str, calibration: str = "copy") -> float:
    """The AUC by scikit-learn, its mean over seeds."""
    found = []
    for columns in predictions(study, city, model, calibration):
        click, bought = columns["click"] == 1, columns["purchase"] == 1
        label = {"ctr": click, "ctcvr": click & bought, "cvr": bought}[probability]
        chosen = click if probability == "cvr" else np.ones_like(click)
        found.append(roc_auc_score(label[chosen], columns[probability][chosen]))
    return float(np.mean(found))


def case_area(study: Study, city: str, model: str, cart: int) -> float:
    """The CVR-AUC on purchases with or without a cart, by scikit-learn, its mean over seeds."""
    found = []
    for columns in predictions(study, city, model):
        bought = columns["purchase"] == 1
        chosen = (columns["click"] == 1) & (~bought | (columns["cart"] == cart))
        found.append(roc_auc_score(bought[chosen], columns["cvr"][chosen]))
    return float(np.mean(found))


def predictions(study: Study, city: str, model: str, calibration: str = "copy") -> list[Columns]:
    """Of every seed."""
    return [
        study.store.predictions(record.key)
        for record in study.of_city(city)
        if (record.cell.model, record.cell.config.calibration) == (model, calibration)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction, by its definition."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    for rank, place in enumerate(order):
        adjusted[place] = max((len(p_values) - k) * p_values[order[k]] for k in range(rank + 1))
    return [min(1.0, p) for p in adjusted]


def _scores(cell: Cell, rows: Columns, skill: float) -> Columns:
    """The truth with an error of the city, 1 / ``skill``, and a small one of the seed, on the logit scale."""
    of_city = np.random.default_rng(derive(0, cell.city))
    of_seed = np.random.default_rng(derive(cell.seed, cell.model, cell.config.calibration))

    def guess(p: np.ndarray) -> np.ndarray:
        logit = np.log(p + 1e-4) - np.log1p(-p + 1e-4)
        error = of_city.normal(0, 1 / skill, p.size) + of_seed.normal(0, 0.01, p.size)
        return (1 / (1 + np.exp(-logit - error))).astype(np.float32)

    ctr, cvr, car = (guess(rows[name]) for name in ("p_click", "p_purchase", "p_cart"))
    return {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr, "car": car}
