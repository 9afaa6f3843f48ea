"""The hundreds of numbers that a platform keeps about users and items: few tell something, most are noise.

The first informative ones are noisy observations of main effects, as accumulated click, cart and conversion rates
are (ESM² 3.3), the next of single coordinates of the tastes. All have marginals of the same kinds, and the numbers in
their names are drawn: neither tells which ones matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.special import ndtr

from bench.data.ecommerce.population import HEADS
from bench.data.ecommerce.settings import Settings
from bench.data.simulation.settings import Floats

SHAPES: tuple[str, ...] = ("normal", "lognormal", "uniform", "heavy")
#: One in so many columns has missing values.
_MISSING_EVERY = 5


class Column(NamedTuple):
    """A dense feature. ``reliability`` is the share of its variance, before it takes its ``shape``, that is the
    latent's: of ``head`` (by number) and ``coordinate`` (``taste_dim``: main effect). Noise has reliability 0."""

    name: str
    head: int
    coordinate: int
    reliability: float
    shape: str
    unit: float
    missing: float


def draw_columns(settings: Settings, prefix: str, rng: Generator) -> list[Column]:
    """The ``dense`` columns ``prefix_000`` … in the order of their names."""
    columns = []
    for rank, place in enumerate(rng.permutation(settings.dense)):
        turn, head = divmod(rank, len(HEADS))
        columns.append(
            Column(
                name=f"{prefix}_{place:03d}",
                head=head,
                coordinate=(turn - 1) % (settings.taste_dim + 1),
                reliability=rng.uniform(*settings.reliability) * (rank < settings.informative),
                shape=SHAPES[(rank + turn) % len(SHAPES)],
                unit=10.0 ** rng.uniform(-2.0, 3.0),
                missing=rng.uniform(0.01, 0.08) * (rank % _MISSING_EVERY == _MISSING_EVERY - 1),
            )
        )
    return sorted(columns)


def draw_values(columns: Sequence[Column], latent: Floats, rng: Generator) -> dict[str, Floats]:
    """Values [n] of every column for users or items with these latents [4, n, taste_dim + 1]; NaN is missing."""
    return {column.name: _values(column, latent, rng) for column in columns}


def told(columns: Sequence[Column]) -> dict[str, dict[str, Any]]:
    """What the informative columns observe, for the manifest."""
    return {
        column.name: {
            "head": HEADS[column.head],
            "coordinate": column.coordinate,
            "reliability": column.reliability,
            "shape": column.shape,
        }
        for column in columns
        if column.reliability
    }


def _values(column: Column, latent: Floats, rng: Generator) -> Floats:
    n = latent.shape[1]
    x: Floats = rng.standard_normal((n,), dtype=np.float32) * np.float32(math.sqrt(1.0 - column.reliability))
    if column.reliability:
        x = x + latent[column.head, :, column.coordinate] * np.float32(math.sqrt(column.reliability))
    if column.shape == "lognormal":
        x = np.exp(x)
    elif column.shape == "uniform":
        x = ndtr(x)
    elif column.shape == "heavy":
        x = np.sinh(x * np.float32(1.5))
    values: Floats = (column.unit * x).astype(np.float32)
    values[rng.random(n, dtype=np.float32) < column.missing] = np.nan
    return values
