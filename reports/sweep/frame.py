"""CSV rows that the exhibits of a swept knob share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pandas as pd

from bench.metrics.compare import Estimate
from reports import style
from reports.measures import Entry
from reports.sweep.values import MEAN, MEASURES, SELECTION, Contrasts, Key, Sweep, published

COLUMNS = [
    "dataset", "preset", "city", "model", "variant", "measure", "against", "value", "lo", "hi", "p_value", "p_adjusted",
    "n_seeds", "published",
]  # fmt: skip


def curve_rows(sweep: Sweep, more: Sequence[Entry] = (), mean: str = MEAN) -> Iterator[list[object]]:
    """CSV rows of every AUC, of each city and of their ``mean`` (empty: none), of its difference, and of validation."""
    base = next(iter(sweep.entries.values()))
    cities = [(city, [city]) for city in sweep.cities]
    for entry in (*sweep.entries.values(), *more):
        for measure in MEASURES:
            for place, parts in cities + ([(mean, sweep.whole(measure))] if mean else []):
                if (found := sweep.level(measure, parts, entry)) is not None:
                    yield _row(sweep, place, entry, measure, found, published(sweep, place, entry, measure))
                change = None if entry == base else sweep.contrast(measure, parts, entry, base)
                if change is not None and place != MEAN:  # those of MEAN are tested
                    key = Key(place, measure, entry, base)
                    yield from contrast_rows(sweep, {key: replace(change, p_adjusted=math.nan)})
    for city in sweep.cities:
        for at, area in sweep.valid(city).items():
            nan = math.nan
            yield _row(sweep, city, sweep.entries[at], f"valid/{SELECTION}", Estimate(area, nan, nan, nan, 0))


def contrast_rows(sweep: Sweep, contrasts: Contrasts) -> Iterator[list[object]]:
    """CSV rows of differences, tested or not."""
    for key, found in contrasts.items():
        identity = [
            sweep.study.dataset,
            sweep.study.preset,
            key.place,
            *key.first,
            key.measure,
            style.title(*key.second),
        ]
        yield [
            *identity, found.difference, found.lo, found.hi, found.p_value, found.p_adjusted, found.n_seeds, math.nan,
        ]  # fmt: skip


def frame(rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """The rows of a CSV, each once."""
    return pd.DataFrame([list(row) for row in rows], columns=COLUMNS).drop_duplicates()


def _row(
    sweep: Sweep, place: str, entry: Entry, measure: str, found: Estimate, published: float = math.nan
) -> list[object]:
    identity = [sweep.study.dataset, sweep.study.preset, place, *entry, measure, ""]
    return [*identity, found.mean, found.lo, found.hi, math.nan, math.nan, found.n_seeds, published]
