"""A store of cells with made-up predictions, of any size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.cell import SCHEMA_VERSION, Cell
from bench.core.config import PRESETS, Config, variant
from bench.core.record import PREDICTIONS, Cost, CurvePoint, Failure, Metric, Record, Split
from bench.core.seeding import derive
from bench.data.tables import TRUTH
from bench.metrics.evaluate import evaluate
from bench.results.store import Store

MODELS = ("shared_bottom", "mmoe", "esmm", "esm2", "esm2_chain", "esms", "esmc")

#: ``make_store(cities, models, seeds)`` of the fixture, see conftest.
StoreMaker = Callable[..., Store]

#: Columns of a cell's predictions by name.
Columns = dict[str, np.ndarray]

#: How well a model knows the truth; the higher, the better its AUC.
SKILL = dict(zip(MODELS, (0.5, 0.6, 0.7, 1.0, 1.1, 1.5, 2.0), strict=True))


def make_cell(
    city: str = "1",
    model: str = "esmc",
    seed: int = 0,
    dataset: str = "six_cities-0.001",
    config: Config = PRESETS["esmc"],
    fingerprint: str = "",
    test: bool = True,
) -> Cell:
    fingerprint = fingerprint or f"print-{dataset}-{city}"
    return Cell(dataset=dataset, fingerprint=fingerprint, city=city, model=model, config=config, seed=seed, test=test)


def make_rows(cell: Cell, rows: int, buy: float) -> dict[str, np.ndarray]:
    """Test rows of a city: the same for all its models and seeds. ``buy`` scales purchases."""
    rng = np.random.default_rng(derive(0, cell.dataset, cell.city, cell.fingerprint))
    p_click = 0.3 * rng.beta(1.0, 2.0, rows)
    p_cart = 0.7 * rng.beta(1.0, 1.5, rows)
    p_purchase = np.clip(buy * rng.beta(1.0, 3.0, rows), 0, 1)
    click = rng.random(rows) < p_click
    columns = {
        "exposure": np.arange(rows, dtype=np.int64),
        "user": rng.integers(0, max(2, rows // 15), rows).astype(np.int32),
        "click": click.astype(np.uint8),
        "cart": (click & (rng.random(rows) < p_cart)).astype(np.uint8),
        "purchase": (click & (rng.random(rows) < p_purchase)).astype(np.uint8),
    }
    truth = {"p_click": p_click, "p_cart": p_cart, "p_purchase": p_purchase}
    return columns | {name: values.astype(np.float32) for name, values in truth.items()}


def make_scores(cell: Cell, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(derive(cell.seed, cell.model, cell.city, *variant(cell.config)))
    skill = SKILL.get(cell.model, 1.0)

    def guess(p: np.ndarray) -> np.ndarray:
        logit = np.log(p + 1e-4) - np.log1p(-p + 1e-4)
        return (1 / (1 + np.exp(-logit - rng.normal(0, 1 / skill, p.size)))).astype(np.float32)

    ctr, cvr = guess(rows["p_click"]), guess(rows["p_purchase"])
    return {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr}


def store_cell(
    store: Store,
    cell: Cell,
    rows: int = 1200,
    buy: float = 1.5,
    created: str = "2025-01-02",
    change: Callable[[Cell, Columns], Columns] | None = None,
    notes: dict[str, float | int | str] | None = None,
    valid: float | None = None,
    truth: bool = True,
) -> Record:
    """Publish a cell with made-up predictions, metrics computed from them, and a falling curve.

    ``change`` gives columns of the predictions that are stored in place of the made-up ones, or added to them;
    ``valid`` is a CTCVR-AUC on validation. ``truth``: the true probabilities are known, which they never are of a log.
    """
    columns = make_rows(cell, rows, buy)
    scores = make_scores(cell, columns)
    if not truth:
        columns = {name: values for name, values in columns.items() if name not in TRUTH}
    metrics: dict[str, Metric] = evaluate(
        scores,
        {name: columns[name] for name in ("click", "cart", "purchase")},
        columns["user"],
        {name: columns[name] for name in TRUTH if truth},
    )
    total = rows * (7 + int(cell.city) if cell.city.isdigit() else 7)
    losses = {"ctr": 0.25, "ctcvr": 0.06} | ({"ctcar": 0.08, "constraint": 0.01} if cell.model == "esmc" else {})
    level = SKILL.get(cell.model, 1.0) * np.random.default_rng(derive(cell.seed, cell.city)).uniform(0.8, 1.2)
    curve = [
        CurvePoint(
            step=int(100 * share),
            rows=int(total * share),
            losses={name: end * (1 + float(np.exp(-4 * share)) / level) for name, end in losses.items()},
        )
        for share in np.linspace(0.02, 1, 50)
    ]
    found = None if valid is None else Metric(value=valid, n=rows, n_pos=int(columns["purchase"].sum()))
    chosen_by: dict[Split, dict[str, Metric]] = {} if found is None else {"valid": {"auc/ctcvr/exposed": found}}
    record = Record(
        schema_version=SCHEMA_VERSION,
        key=cell.key,
        cell=cell,
        metrics=({"test": metrics} if cell.test else {"valid": metrics}) | chosen_by,
        curve=curve,
        cost=Cost(
            parameters=100_000 + 1000 * len(cell.model),
            train_rows=total,
            train_seconds=2.0,
            train_rows_per_second=total / 2,
            predict_rows_per_second=total * 3.0,
            wall_seconds=3.0 + cell.seed,
            peak_memory_mb=900.0,
            device="cpu",
        ),
        notes=notes or {},
        versions={"python": "3.11", "torch": "2.13.0"},
        files={},
        created=created,
    )
    with store.publishing(cell.key) as staging:
        if cell.test:
            stored = columns | scores
            pq.write_table(pa.table(stored | (change(cell, stored) if change else {})), staging / PREDICTIONS)
        (staging / "model.safetensors").write_bytes(b"weights of " + cell.model.encode())
        return store.seal(staging, record)


def store_manifest(
    out: Path,
    cell: Cell,
    counts: dict[str, int] | None = None,
    origin: str = "simulated",
    settings: dict[str, Any] | None = None,
) -> None:
    folder = out / "data" / "tables" / cell.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "version": 1,
        "dataset": cell.dataset,
        "city": cell.city,
        "fingerprint": cell.fingerprint,
        "origin": origin,
        "features": [],
        "counts": counts if counts is not None else {"exposures": 1000, "visits": 50, "clicks": 61, "purchases": 11},
        "time_range": [0, 1],
        "split_range": {},
        "settings": settings or ({"scale": 0.001} if origin == "simulated" else {}),
        "checksums": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def make_failure(cell: Cell, reason: str = "the loss became NaN") -> Failure:
    return Failure(key=cell.key, cell=cell, reason=reason, traceback="Traceback", created="2025-01-03")
