"""ESM² against ESMM by the purchases of the user (ESM² Figure 7): AUCs, gains, and their trend over the groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bench.core.errors import UserError
from bench.metrics.compare import Contrast, Estimate, Sample, adjust, combine, difference, estimate
from reports.esm2_figures.knobs import MEASURES
from reports.esm2_figures.purchases import GROUPS, masks, purchases
from reports.measures import Entry, Measured, grouped, measured
from reports.pooled import constant
from reports.study import Study

BASE, MODEL = "esmm", "esm2"
MODELS = (BASE, MODEL)

#: What the two models differ by: in AUC, and in percent of ESMM's AUC.
DIFFERENCE, GAIN = "difference", "gain"

#: The place of a slope over the groups: by how much a quantity changes from one to the next, by least squares.
TREND = "trend"

#: Parts of the test rows whose shares are told.
PARTS = ("users", "exposures", "clicks", "purchases")


class Key(NamedTuple):
    """A ``quantity`` (a model, DIFFERENCE or GAIN) of a measure in a group, or its TREND over the groups."""

    measure: str
    group: str
    quantity: str


Tested = Mapping[Key, Contrast]


@dataclass(frozen=True, eq=False)
class Groups:
    """The two models by city and group, as far as they are stored.

    ``sizes`` counts PARTS by city and group; ``unknown`` are test rows of users whose purchases are not known, and
    ``problems`` says line by line why a city has no groups.
    """

    study: Study
    entries: Mapping[str, Entry]
    parts: Mapping[str, Mapping[str, Measured]]
    sizes: Mapping[str, Mapping[str, Mapping[str, int]]]
    unknown: int
    problems: Sequence[str]

    def size(self, group: str, part: str) -> int:
        """Over all cities."""
        return sum(sizes[group][part] for sizes in self.sizes.values())

    def share(self, group: str, part: str) -> float:
        """Of all groups, from 0 to 1; NaN where there is nothing."""
        total = sum(self.size(other, part) for other in GROUPS)
        return self.size(group, part) / total if total else math.nan

    def counts(self, measure: str, group: str) -> tuple[int, int]:
        """Rows and positives, over all cities."""
        found = [of_city[group].counts.get(measure, (0, 0)) for of_city in self.parts.values()]
        return sum(rows for rows, _ in found), sum(positives for _, positives in found)

    @cached_property
    def models(self) -> list[str]:
        """Those of the two that are stored."""
        return [m for m in MODELS if any(self._auc(c, k, g, m) for c in self.parts for k in MEASURES for g in GROUPS)]

    def cities(self, measure: str, groups: Sequence[str]) -> list[str]:
        """The cities in which every stored model has a value in all of ``groups``."""
        wanted = [(group, model) for group in groups for model in self.models]
        return [city for city in self.parts if wanted and all(self._auc(city, measure, *one) for one in wanted)]

    def known(self, measure: str) -> list[str]:
        """The groups with a value."""
        return [group for group in GROUPS if self.cities(measure, [group])]

    def sample(self, city: str, key: Key) -> Sample | None:
        """The quantity in a group of a city, or its trend; None where it is not known."""
        if key.group == TREND:
            samples = [self.sample(city, key._replace(group=group)) for group in self.known(key.measure)]
            return trend([each for each in samples if each is not None], self.known(key.measure))
        if key.quantity in MODELS:
            return self._auc(city, key.measure, key.group, key.quantity)
        base, model = (self._auc(city, key.measure, key.group, name) for name in MODELS)
        return None if base is None or model is None else _apart(model, base, key.quantity)

    def estimate(self, key: Key, cities: Sequence[str] | None = None) -> Estimate | None:
        """Averaged over ``cities``, those of :meth:`cities` when None."""
        found = [self.sample(city, key) for city in (self._cities(key) if cities is None else cities)]
        stored = [estimate(sample) for sample in found if sample is not None]
        return combine(stored) if stored else None

    def compare(self) -> dict[Key, Contrast]:
        """Every difference of the models, and every trend of an AUC and of the gain, against 0: averaged over cities
        and Holm-corrected over all of them."""
        found = {key: contrast for key in self._keys() if (contrast := self._against_zero(key)) is not None}
        return adjust(found)

    def _keys(self) -> Iterator[Key]:
        for measure in MEASURES:
            yield from (Key(measure, group, DIFFERENCE) for group in GROUPS)
            yield from (Key(measure, TREND, quantity) for quantity in (*MODELS, GAIN))

    def _against_zero(self, key: Key) -> Contrast | None:
        found = [sample for city in self._cities(key) if (sample := self.sample(city, key)) is not None]
        zeros = [constant((0.0, np.zeros(sample.sums.shape[1])), sample) for sample in found]
        contrasts = [difference(sample, zero) for sample, zero in zip(found, zeros, strict=True)]
        return combine(contrasts) if contrasts else None

    def _cities(self, key: Key) -> list[str]:
        return self.cities(key.measure, self.known(key.measure) if key.group == TREND else [key.group])

    def _auc(self, city: str, measure: str, group: str, model: str) -> Sample | None:
        found = self.parts[city][group].sample(measure, *self.entries.get(model, (model, "")))
        return None if found is None or any(map(math.isnan, found.areas)) else found


def groups_of(study: Study) -> Groups:
    """The groups of every city that knows the purchases of its users."""
    entries = {r.cell.model: (r.cell.model, study.variants[r.key]) for r in study.records if r.key in study.main}
    parts: dict[str, Mapping[str, Measured]] = {}
    sizes: dict[str, Mapping[str, Mapping[str, int]]] = {}
    unknown, problems = 0, []
    for city in study.cities:
        columns = measured(study, city, ()).columns
        if not columns:
            continue
        try:
            bought = purchases(study, city, columns["exposure"])
        except UserError as error:
            problems.append(str(error))
            continue
        rows = masks(bought)
        wanted = [entries[model] for model in MODELS if model in entries]
        parts[city] = grouped(study, city, rows, MEASURES, wanted)
        sizes[city] = {group: _sizes(columns, within) for group, within in rows.items()}
        unknown += int(np.isnan(bought).sum())
    return Groups(study, entries, parts, sizes, unknown, problems)


def trend(samples: Sequence[Sample], groups: Sequence[str]) -> Sample | None:
    """The least-squares slope of a quantity over the places of ``groups`` among all; None below two groups.

    Groups have no user in common, so the influences of their users stand side by side; the seeds are the same, so
    slopes are taken seed by seed.
    """
    seeds = sorted(set.intersection(*(set(sample.seeds) for sample in samples))) if samples else []
    if len(samples) < 2 or len(samples) < len(groups) or not seeds:
        return None
    weights = slope_weights(groups)
    taken = [sample.take(seeds) for sample in samples]
    areas = np.sum([weight * areas for weight, (areas, _) in zip(weights, taken, strict=True)], axis=0)
    sums = np.concatenate([weight * sums for weight, (_, sums) in zip(weights, taken, strict=True)], axis=1)
    return Sample(areas, sums, tuple(seeds))


def slope_weights(groups: Sequence[str]) -> list[float]:
    """What each group's value counts in the slope: (x - mean) / Σ (x - mean)², x its place among all groups."""
    order = list(GROUPS)
    places = np.array([order.index(group) for group in groups], dtype=float)
    places -= places.mean()
    return [float(weight) for weight in places / (places @ places)]


def _apart(first: Sample, second: Sample, quantity: str) -> Sample | None:
    """First minus second, or their ratio minus 1 in percent, over the seeds that both have.

    The second is linear in the AUCs about their means, so that its mean and error are those of
    :func:`bench.metrics.compare.relative`.
    """
    seeds = sorted(set(first.seeds) & set(second.seeds))
    if not seeds:
        return None
    (areas, sums), (other_areas, other_sums) = first.take(seeds), second.take(seeds)
    if quantity == DIFFERENCE:
        return Sample(areas - other_areas, sums - other_sums, tuple(seeds))
    mean = float(other_areas.mean())
    ratio = float(areas.mean()) / mean
    percent = 100 * (ratio - 1) + 100 / mean * (areas - ratio * other_areas)
    return Sample(percent, 100 / mean * (sums - ratio * other_sums), tuple(seeds))


def _sizes(columns: Mapping[str, np.ndarray], within: np.ndarray) -> dict[str, int]:
    click = within & (columns["click"] == 1)
    return {
        "users": int(np.unique(columns["user"][within]).size),
        "exposures": int(within.sum()),
        "clicks": int(click.sum()),
        "purchases": int((click & (columns["purchase"] == 1)).sum()),
    }
