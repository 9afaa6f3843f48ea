"""Quantities with intervals, by city and model: computed from each other seed by seed, averaged, compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.metrics._arrays import Array, Float, sum_by_user
from bench.metrics.compare import Contrast, Estimate, Sample, adjust, combine, difference, estimate
from reports.measures import Entry
from reports.study import Study


class Key(NamedTuple):
    """A comparison: of a quantity of ``entry`` with that of ``other``, or with 0."""

    quantity: str
    entry: Entry
    other: Entry | None = None


@dataclass(frozen=True, eq=False)
class Pooled:
    """Samples by city, entry and quantity. Where one is missing or undefined, that city is left out."""

    samples: Mapping[str, Mapping[Entry, Mapping[str, Sample]]]

    def estimates(self, quantity: str, entry: Entry) -> dict[str, Estimate]:
        """By city."""
        found = {city: self._sample(city, quantity, entry) for city in self.samples}
        all_found = {city: estimate(sample) for city, sample in found.items() if sample is not None}
        return {city: value for city, value in all_found.items() if not math.isnan(value.mean)}

    def mean(self, quantity: str, entry: Entry) -> Estimate | None:
        """Mean over cities."""
        found = self.estimates(quantity, entry)
        return combine(found.values()) if found else None

    def contrasts(self, key: Key) -> dict[str, Contrast]:
        """By city, paired; not adjusted."""
        found: dict[str, Contrast] = {}
        for city in self.samples:
            first = self._sample(city, key.quantity, key.entry)
            other = None if key.other is None else self._sample(city, key.quantity, key.other)
            if first is not None and (other is not None or key.other is None):
                zero = 0.0, np.zeros(first.sums.shape[1])
                found[city] = difference(first, constant(zero, first) if other is None else other)
        return {city: contrast for city, contrast in found.items() if not math.isnan(contrast.difference)}

    def compare(self, keys: Iterable[Key]) -> dict[Key, Contrast]:
        """Means over cities of the comparisons that can be made, Holm-corrected over all of them."""
        found = {key: by_city for key in keys if (by_city := self.contrasts(key))}
        return adjust({key: combine(by_city.values()) for key, by_city in found.items()})

    def _sample(self, city: str, quantity: str, entry: Entry) -> Sample | None:
        return self.samples[city].get(entry, {}).get(quantity)


def weighted_mean(values: Array, weights: Array, user: Array, n_users: int) -> tuple[float, Float]:
    """The mean of ``values`` [n] by ``weights`` [n], and its influences summed by user; NaNs without weight."""
    total = float(weights.sum(dtype=np.float64))
    if not total > 0:
        return math.nan, np.full(n_users, math.nan)
    share = weights / np.float64(total)
    mean = float(share @ values.astype(np.float64))
    return mean, sum_by_user(share * (values - mean), user, n_users)


def constant(value: tuple[float, Float], like: Sample) -> Sample:
    """A statistic of the data alone, as a sample with the seeds of another."""
    return Sample.of(dict.fromkeys(like.seeds, value))


def minus(first: Sample, second: Sample) -> Sample:
    """Their difference; as in all that follows, seed by seed, and the second must have the seeds of the first."""
    areas, sums = second.take(first.seeds)
    return Sample(first.areas - areas, first.sums - sums, first.seeds)


def size(sample: Sample) -> Sample:
    """Its absolute value, where its mean is not close to 0: the sign is taken as known."""
    sign = math.copysign(1.0, float(sample.areas.mean()))
    return Sample(sign * sample.areas, sign * sample.sums, sample.seeds)


def ratio(first: Sample, second: Sample) -> Sample:
    """First over second, by the delta method; NaN where the second is 0."""
    areas, sums = second.take(first.seeds)
    below = np.where(areas == 0, math.nan, areas)
    found = first.areas / below
    return Sample(found, (first.sums - found[:, None] * sums) / below[:, None], first.seeds)


def log_ratio(first: Sample, second: Sample) -> Sample:
    """log(first / second), by the delta method; NaN where either is not above 0."""
    areas, sums = second.take(first.seeds)
    above, below = (np.where(each > 0, each, math.nan) for each in (first.areas, areas))
    return Sample(np.log(above / below), first.sums / above[:, None] - sums / below[:, None], first.seeds)


COLUMNS = [
    "dataset", "preset", "city", "model", "variant", "measure", "against_model", "against_variant", "value", "lo",
    "hi", "p_value", "p_adjusted", "n_seeds", "n_cities",
]  # fmt: skip


def tidy_frame(
    study: Study, pooled: Pooled, measures: Mapping[str, Iterable[Entry]], compared: Mapping[Key, Contrast]
) -> pd.DataFrame:
    """Every estimate and comparison, by city and as the mean over cities (``city`` is "mean"): COLUMNS.

    Args:
        measures: by quantity the entries to list.
        compared: from :meth:`Pooled.compare`; one without ``other`` is with 0.
    """
    rows: list[tuple[object, ...]] = []
    for quantity, entries in measures.items():
        for entry in entries:
            by_city = pooled.estimates(quantity, entry)
            for city, e in [*by_city.items(), *([("mean", combine(by_city.values()))] if by_city else [])]:
                cities = len(by_city) if city == "mean" else 1
                rows.append((city, *entry, quantity, "", "", e.mean, e.lo, e.hi, math.nan, math.nan, e.n_seeds, cities))
    for key, mean in compared.items():
        of_cities = pooled.contrasts(key)
        other = ("0", "") if key.other is None else key.other
        for city, c in [*of_cities.items(), ("mean", mean)]:
            cities, p = (len(of_cities), c.p_adjusted) if city == "mean" else (1, math.nan)
            rest = c.difference, c.lo, c.hi, c.p_value, p, c.n_seeds, cities
            rows.append((city, *key.entry, f"difference of {key.quantity}", *other, *rest))
    frame = pd.DataFrame(rows, columns=COLUMNS[2:])
    frame.insert(0, "preset", study.preset)
    frame.insert(0, "dataset", study.dataset)
    return frame
