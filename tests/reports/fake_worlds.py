"""Worlds of made-up cells, in which a test says how well each model knows the truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from fake_store import Columns, make_cell, store_cell, store_manifest

from bench.core.cell import Cell
from bench.core.seeding import derive
from bench.data.source import SourceOptions
from bench.data.sources.six_cities import SixCities
from bench.results.store import Store
from reports.exhibit import World
from reports.robustness.axes import CITY, MODELS
from reports.study import Study, load_studies

SCALE = 0.0003

#: By model and world, how well a model knows the truth: 1 is average, 4 is well.
Skill = Callable[[str, World], float]

#: The rates of a world come out this much above what its knobs ask for.
SHIFT = 0.01


def source_of(world: World) -> SixCities:
    return SixCities(SourceOptions(scale=SCALE)).varied(world.knobs, world.size)


def store_world(
    store: Store, world: World, skill: Skill, models: Iterable[str] = MODELS, seeds: int = 2, rows: int = 1200
) -> None:
    """Manifest and cells of a world. Seeds differ little, so that even two of them tell models apart."""
    source = source_of(world)
    _manifest(store, source, round(55_200 * world.size), rows)
    for model in models:
        for seed in range(seeds):
            cell = make_cell(CITY, model, seed, dataset=source.label)
            store_cell(store, cell, rows=rows, change=lambda cell, rows: _scores(cell, rows, skill(cell.model, world)))


def fill(folder: Path, worlds: Iterable[World], skill: Skill, **how: Any) -> Study:
    """The study of the default world where all of these are stored."""
    store = Store(folder / "runs")
    for world in worlds:
        store_world(store, world, skill, **how)
    return study_of(store)


def study_of(store: Store) -> Study:
    """The study of the default world."""
    label = source_of(World()).label
    (study,) = (study for study in load_studies(store, store.scan()) if study.dataset == label)
    return study


def _manifest(store: Store, source: SixCities, exposures: int, rows: int) -> None:
    cell = make_cell(CITY, dataset=source.label)
    counts = {"exposures": exposures, "test_exposures": rows, "test_clicks": rows // 10, "test_purchases": rows // 50}
    store_manifest(store.out, cell, counts)
    path = store.out / "data" / "tables" / cell.fingerprint / "manifest.json"
    knobs = source.settings.model_dump(mode="json")
    rates = ("bad_case_share", "same_visit_conversion", "search_cart_share")
    achieved = {name: knobs[name] + SHIFT for name in rates}
    settings = {"scale": source.scale, "seed": 0, "knobs": knobs, "achieved": achieved}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"settings": settings}), encoding="utf-8")


def _scores(cell: Cell, rows: Columns, skill: float) -> Columns:
    """Probabilities with an error of the model, 1 / ``skill``, and a small one of the seed, on the logit scale."""
    own = np.random.default_rng(derive(0, cell.model, cell.dataset))
    of_seed = np.random.default_rng(derive(cell.seed, cell.model))

    def guess(p: np.ndarray) -> np.ndarray:
        logit = np.log(p + 1e-4) - np.log1p(-p + 1e-4)
        error = own.normal(0, 1 / skill, p.size) + of_seed.normal(0, 0.02, p.size)
        return (1 / (1 + np.exp(-logit - error))).astype(np.float32)

    ctr, cvr = guess(rows["p_click"]), guess(rows["p_purchase"])
    return {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr}
