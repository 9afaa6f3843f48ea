"""Stores of the ESM² paper's shop: made-up cells with wishes, of which a test says how well each knows the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fake_store import Columns, make_cell, store_cell, store_manifest

from bench.core.cell import Cell
from bench.core.config import PRESETS
from bench.core.seeding import derive
from bench.results.store import Store
from reports.exhibit import Exhibit
from reports.study import Study, load_studies

#: Model and changes of the preset → how well it knows the truth: 1 is average, 4 is well.
Skills = Mapping[tuple[str, tuple[tuple[str, Any], ...]], float]

#: Changes the predictions of a cell after all else.
Twist = Callable[[Cell, Columns], Columns]


def entry(model: str, **changes: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """A key of Skills."""
    return model, tuple(changes.items())


def fill(
    folder: Path,
    skills: Skills,
    dataset: str = "ecommerce",
    city: str = "shop",
    seeds: int = 2,
    rows: int = 2500,
    twist: Twist = lambda cell, columns: {},
    wishes: bool = True,
    counts: dict[str, int] | None = None,
    **how: Any,
) -> Study:
    """The study of a store with these cells, whose errors are the same but for their size and a little noise."""
    store = Store(folder / "runs")
    store_manifest(store.out, make_cell(city, dataset=dataset), counts)
    for (model, changes), skill in skills.items():
        config = PRESETS["esm2"].model_copy(update=dict(changes))
        for seed in range(seeds):
            cell = make_cell(city, model, seed, dataset=dataset, config=config)

            def change(cell: Cell, columns: Columns, skill: float = skill) -> Columns:
                found = _scores(cell, columns, skill) | ({"wish": _wish(cell, columns)} if wishes else {})
                return found | twist(cell, columns | found)

            store_cell(store, cell, rows=rows, change=change, **how)
    (study,) = load_studies(store, store.scan())
    return study


def build(exhibit: Exhibit, study: Study, folder: Path) -> tuple[str, pd.DataFrame]:
    """Its Markdown and its CSV."""
    folder.mkdir()
    text = exhibit.build(study, folder)
    names = ["variant", "against_model", "against_variant"]
    frame = pd.read_csv(folder / f"{exhibit.name}.csv", dtype=dict.fromkeys(names, str))
    known = [name for name in names if name in frame]
    return text, frame.assign(**{name: frame[name].fillna("") for name in known})


def predictions(study: Study, model: str, variant: str = "") -> list[Columns]:
    """Of every seed."""
    chosen = [r for r in study.records if (r.cell.model, study.variants[r.key]) == (model, variant)]
    return [study.store.predictions(record.key) for record in sorted(chosen, key=lambda record: record.cell.seed)]


def levels(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of values, by model, variant and measure."""
    return frame[frame.p_value.isna()].set_index(["model", "variant", "measure"]).sort_index()


def line(text: str, start: str) -> str:
    """The only line that starts so."""
    (found,) = [each for each in text.splitlines() if each.startswith(start)]
    return found


def lower(model: str, by: float = 3.0) -> Twist:
    """Let a model score purchases low."""

    def twist(cell: Cell, columns: Columns) -> Columns:
        low = np.where(columns["purchase"] == 1, by, 1).astype(np.float32)
        return {n: columns[n] / low for n in ("cvr", "ctcvr")} if cell.model == model else {}

    return twist


def _wish(cell: Cell, rows: Columns) -> np.ndarray:
    """The same for all cells of a city."""
    rng = np.random.default_rng(derive(1, cell.dataset, cell.city))
    return ((rows["click"] == 1) & (rng.random(rows["click"].size) < 0.2)).astype(np.uint8)


def _scores(cell: Cell, rows: Columns, skill: float) -> Columns:
    """The truth with an error of the city, 1 / ``skill``, and a small one of the seed, on the logit scale."""
    of_city = np.random.default_rng(derive(0, cell.city))
    of_seed = np.random.default_rng(derive(cell.seed, cell.model, str(cell.config)))

    def guess(p: np.ndarray) -> np.ndarray:
        logit = np.log(p + 1e-4) - np.log1p(-p + 1e-4)
        error = of_city.normal(0, 1 / skill, p.size) + of_seed.normal(0, 0.02, p.size)
        return (1 / (1 + np.exp(-logit - error))).astype(np.float32)

    ctr, cvr = guess(rows["p_click"]), guess(rows["p_purchase"])
    return {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr}
