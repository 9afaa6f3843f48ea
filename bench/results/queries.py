"""Tidy frames over stored records: one row per observation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.core.config import variant
from bench.core.record import Record

IDENTITY = ["dataset", "city", "model", "preset", "variant", "seed", "key"]
METRIC_COLUMNS = [*IDENTITY, "split", "metric", "probability", "space", "value", "n", "n_pos"]
CURVE_COLUMNS = [*IDENTITY, "task", "step", "rows", "loss"]


def metrics_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Every stored metric: METRIC_COLUMNS. ``auc/cvr/clicked`` is split; undefined values are NaN."""
    rows = []
    for record in records:
        identity = _identity(record)
        for split, metrics in record.metrics.items():
            for name, found in metrics.items():
                metric, probability, space = (*name.split("/", 2), "", "")[:3]
                rows.append((*identity, split, metric, probability, space, found.value, found.n, found.n_pos))
    frame = pd.DataFrame(rows, columns=METRIC_COLUMNS)
    return frame.astype({"value": float})


def cost_frame(records: Iterable[Record]) -> pd.DataFrame:
    """What every cell cost: IDENTITY and the fields of :class:`bench.core.record.Cost`."""
    rows = [dict(zip(IDENTITY, _identity(record), strict=True)) | record.cost.model_dump() for record in records]
    return pd.DataFrame(rows)


def curve_frame(records: Iterable[Record]) -> pd.DataFrame:
    """Training losses by task: CURVE_COLUMNS; ``rows`` counts training rows seen."""
    rows = [
        (*_identity(record), task, point.step, point.rows, loss)
        for record in records
        for point in record.curve
        for task, loss in point.losses.items()
    ]
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def _identity(record: Record) -> tuple[Any, ...]:
    cell = record.cell
    return cell.dataset, cell.city, cell.model, *variant(cell.config), cell.seed, record.key
