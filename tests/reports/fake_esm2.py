"""Cells under the ESM² paper's protocol: swept knobs as good as a test wants them, and users with purchases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from fake_store import Columns, make_cell, make_rows, store_cell, store_manifest
from swept_cells import put

from bench.core.cell import Cell
from bench.core.config import PRESETS, validated
from bench.core.record import RECORD, Metric
from bench.core.seeding import derive
from bench.results.store import Store
from reports.esm2_figures.knobs import KNOBS

DATASET = "ecommerce"
CITY = "shop"

#: Rows of a cell whose users are grouped: enough purchases in every group.
ROWS = 9000

#: How good a model is at a value of a knob.
Quality = Callable[[str, float], float]


def esm2(seed: int = 0, model: str = "esm2", city: str = CITY, **changes: Any) -> Cell:
    config = validated(PRESETS["esm2"].model_dump() | changes)
    return make_cell(city, model, seed, dataset=DATASET, config=config)


def flat(knob: str, at: float) -> float:
    return 1.0


def fill(
    store: Store,
    quality: Quality = flat,
    valid: Callable[[str, str, float], float] = lambda auc, knob, at: 0.7,
    seeds: int = 2,
    leave_out: Mapping[str, tuple[float, ...]] = {},
    positives: int = 40,
    buy: float = 1.5,
    city: str = CITY,
) -> Store:
    """ESM² at every value of every knob, as good as ``quality`` says; the preset is stored as the first knob's."""
    store_manifest(store.out, esm2(city=city))
    done: set[str] = set()
    for knob in KNOBS:
        for at, change in knob.changes.items():
            for seed in range(seeds):
                cell = esm2(seed, city=city, **change)
                if cell.key in done or at in leave_out.get(knob.name, ()):
                    continue
                done.add(cell.key)
                put(store, cell, quality(knob.name, at), buy=buy)
                areas = {auc: valid(auc, knob.name, at) for auc in ("cvr/clicked", "ctcvr/exposed")}
                judge(store, cell, {f"auc/{auc}": area for auc, area in areas.items()}, positives)
    return store


def judge(store: Store, cell: Cell, valid: Mapping[str, float], positives: int) -> None:
    """Give a stored cell these metrics on validation."""
    record = store.record(cell.key)
    found = {name: Metric(value=area, n=1000, n_pos=positives) for name, area in valid.items()}
    changed = record.model_copy(update={"metrics": record.metrics | {"valid": found}})
    (store.cells / cell.key / RECORD).write_text(changed.model_dump_json(indent=1), encoding="utf-8")


#: How good the scores of a model are for a user with so many purchases.
Skill = Callable[[str, np.ndarray], np.ndarray]


def purchases_of(users: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Purchases by the number of a user: 0 to 10, 11 to 20, 21 to 50, above in turn."""
    low = np.array([0, 11, 21, 51])[users % 4]
    return (low + users // 4 % 10).astype(np.int64)


def store_groups(
    store: Store, skill: Skill, models: tuple[str, ...] = ("esmm", "esm2"), seeds: int = 2, rows: int = ROWS
) -> Store:
    """Both models, as good for every user as ``skill`` says; the tables are :func:`store_tables`."""
    for model in models:
        for seed in range(seeds):

            def scores(cell: Cell, columns: Columns) -> Columns:
                good = skill(cell.model, purchases_of(columns["user"]))
                shared = np.random.default_rng(derive(cell.seed, cell.city, cell.dataset))
                own = np.random.default_rng(derive(cell.seed, cell.model, cell.city))

                def guess(p: np.ndarray) -> np.ndarray:
                    logit = np.log(p + 1e-4) - np.log1p(-p + 1e-4)
                    noise = shared.normal(0, 1, p.size) / good + own.normal(0, 0.02, p.size)
                    return (1 / (1 + np.exp(-logit - noise))).astype(np.float32)

                ctr, cvr = guess(columns["p_click"]), guess(columns["p_purchase"])
                return {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr}

            store_cell(store, esm2(seed, model), rows=rows, change=scores)
    return store


def store_tables(store: Store, rows: int = ROWS, column: str = "purchases_90d", unknown: int | None = None) -> None:
    """Funnel tables of the same exposures in another order, under other ids of the users, and rows of other splits.

    The purchases of the user ``unknown`` are not known.
    """
    cell = esm2()
    store_manifest(store.out, cell)
    folder = store.out / "data" / "tables" / cell.fingerprint
    made = make_rows(cell, rows, 1.5)
    order = np.random.default_rng(5).permutation(rows)
    users = np.unique(made["user"])
    exposures = {"exposure": made["exposure"][order], "user": 7000 - made["user"][order].astype(np.int64)}
    known = {"user": 7000 - users.astype(np.int64), "bought": purchases_of(users)}
    with duckdb.connect() as connection:
        connection.register("exposures", pa.table(exposures))
        connection.register("users", pa.table(known))
        connection.execute(
            f"""COPY (SELECT exposure, "user", 'test' AS split FROM exposures UNION ALL
                SELECT exposure + {rows}, "user", 'train' FROM exposures)
                TO '{folder / "exposures.parquet"}' (FORMAT parquet)"""
        )
        value = "bought" if unknown is None else f'CASE WHEN "user" = {7000 - unknown} THEN NULL ELSE bought END'
        connection.execute(
            f"""COPY (SELECT "user", {value} AS {column} FROM users ORDER BY bought)
                TO '{folder / "users.parquet"}' (FORMAT parquet)"""
        )
