"""A log in which nothing is suspicious, small enough to plant things in, and its description."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny_tables import ITEM, USER, write_tables

from bench.data.describe.describe import describe
from bench.data.describe.results import Description
from bench.data.tables import Feature, read_manifest, write_manifest

DAY = 86_400
#: 2023-11-06, a Monday.
START = 19_667 * DAY
DAYS, USERS, ITEMS, VISITS, SHOWN = 10, 150, 40, 1000, 4
COLOR = Feature(name="color", table="exposures")
PRICE = Feature(name="price", table="exposures", kind="numeric")


def clean_log() -> dict[str, dict[str, np.ndarray]]:
    """Exposures and events of ten days: visits of four exposures, mostly in the evening, none of them over midnight."""
    rng = np.random.default_rng(0)
    hours = 1 + np.cos(2 * np.pi * (np.arange(24) - 19) / 24)
    start = np.sort(np.repeat(np.arange(DAYS), VISITS // DAYS) * DAY + _seconds(rng, hours, VISITS)) + START
    n = VISITS * SHOWN
    visit = np.repeat(np.arange(VISITS), SHOWN)
    time = start[visit] + 5 * np.tile(np.arange(SHOWN), VISITS)
    item = rng.integers(0, ITEMS, n)
    click = rng.random(n) < 0.2 + 0.3 * item / ITEMS
    exposures = {
        "user": rng.integers(0, USERS, VISITS)[visit],
        "item": item,
        "visit": visit,
        "time": time,
        "position": np.tile(np.arange(SHOWN), VISITS),
        "split": np.array(["train", "valid", "test"])[np.searchsorted((6, 8), (time - START) // DAY, side="right")],
        "click": click.astype(int),
        "cart": (click & (rng.random(n) < 0.4)).astype(int),
        "purchase": (click & (rng.random(n) < 0.3)).astype(int),
        "color": np.array(["red", "green", "blue"])[rng.integers(0, 3, n)],
        "price": rng.integers(100, 10_000, n) / 100,
    }
    return {"exposures": exposures, "events": events_of(exposures)}


def events_of(exposures: dict[str, Any]) -> dict[str, np.ndarray]:
    """A second after an exposure, one event for each of its labels."""
    parts = [np.flatnonzero(exposures[label]) for label in ("click", "cart", "purchase")]
    rows = np.concatenate(parts)
    return {
        **{name: exposures[name][rows] for name in ("user", "item", "visit")},
        "time": exposures["time"][rows] + 1,
        "action": np.repeat(["click", "cart", "purchase"], [len(part) for part in parts]),
        "domain": np.full(len(rows), "recommendation"),
    }


def _seconds(rng: np.random.Generator, hours: np.ndarray, n: int) -> np.ndarray:
    """Seconds of a day that leave a minute until midnight."""
    hour = rng.choice(24, n, p=hours / hours.sum())
    return hour * 3600 + rng.integers(0, 3540, n)


def described(
    folder: Path, tables: dict[str, Any], features: Sequence[Feature] = (USER, ITEM, COLOR, PRICE), **manifest: Any
) -> Description:
    """The description of ``tables``, written into ``folder`` with ``manifest`` changed."""
    write_tables(folder, features, **tables)
    write_manifest(folder, read_manifest(folder).model_copy(update=manifest))
    with tempfile.TemporaryDirectory() as scratch:
        return describe(folder, Path(scratch), threads=2)
