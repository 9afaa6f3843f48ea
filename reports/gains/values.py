"""By how much an AUC of one model exceeds that of another: paired by city, averaged over cities, tested together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.metrics._arrays import Array
from bench.metrics.compare import Contrast, Estimate, Sample, adjust, combine, difference, estimate, relative
from reports import style, supply
from reports.effects import sign
from reports.measures import MEASURES, MIN_CLASS, Entry, measured
from reports.study import Study, natural

#: The place of a mean over cities.
MEAN = "mean"

#: The AUCs of the paper's tables against observed labels, and the same against the true probabilities.
OBSERVED = {"auc/ctr/exposed": "CTR-AUC", "auc/ctcvr/exposed": "CTCVR-AUC", "auc/cvr/clicked": "CVR-AUC"}
TRUE = {measure: measure.replace("auc", "truth", 1) for measure in OBSERVED}

#: What a table says of :data:`TRUE`.
TRUTH = """\
An AUC *against the truth* is what labels drawn from the simulation's own probabilities would give on average: the same
quantity without the noise of the labels, which is why its intervals are narrower."""


class Gain(NamedTuple):
    """A comparison: how far ``first`` is above ``second`` in the AUC ``measure``, in percent of the second or, where
    ``absolute``, as a difference."""

    measure: str
    first: Entry
    second: Entry
    absolute: bool = False

    def of(self, measure: str) -> Gain:
        """The same in another AUC."""
        return self._replace(measure=measure)


class Extra(NamedTuple):
    """Some other comparison that is tested along, e.g. of two gains."""

    name: str
    measure: str
    unit: str = "percentage points"


#: What is compared, and where: a city or the mean over cities.
Place = tuple[Gain | Extra, str]
Contrasts = Mapping[Place, Contrast]


@dataclass(frozen=True, eq=False)
class Gains:
    """AUCs of a study by city and entry. A city without one of two models is no part of their comparison."""

    study: Study

    def sample(self, city: str, measure: str, entry: Entry) -> Sample | None:
        """None where it is not stored, withheld or undefined."""
        found = measured(self.study, city).sample(measure, *entry)
        return None if found is None or any(map(math.isnan, found.areas)) else found

    def estimates(self, measure: str, entry: Entry) -> dict[str, Estimate]:
        """By city."""
        found = {city: self.sample(city, measure, entry) for city in self.study.cities}
        return {city: estimate(sample) for city, sample in found.items() if sample is not None}

    def shared(self, measure: str, entries: Iterable[Entry]) -> list[str]:
        """The cities that means are taken over: those with every entry that any city has."""
        found = [set(self.estimates(measure, entry)) for entry in entries]
        common = set.intersection(*(cities for cities in found if cities)) if any(found) else set()
        return sorted(common, key=natural)

    def mean(self, measure: str, entry: Entry, cities: Iterable[str]) -> Estimate | None:
        """The mean over ``cities``; None where one of them lacks it, or there is none."""
        found, wanted = self.estimates(measure, entry), list(cities)
        return combine([found[city] for city in wanted]) if wanted and set(wanted) <= found.keys() else None

    def by_city(self, gain: Gain) -> dict[str, Contrast]:
        """Not adjusted."""
        compare = difference if gain.absolute else relative
        found = {}
        for city, first, second in self._pairs(gain):
            contrast = compare(first, second)
            if not math.isnan(contrast.difference):
                found[city] = contrast
        return found

    def samples(self, gain: Gain) -> dict[str, Sample]:
        """The gain in percent by city as a sample over all users, so that gains can be compared with each other."""
        found = {}
        for city, first, second in self._pairs(gain):
            if sample := percent(first, second):
                found[city] = _over_all_users(sample, gain.measure, measured(self.study, city).columns)
        return found

    def _pairs(self, gain: Gain) -> Iterator[tuple[str, Sample, Sample]]:
        for city in self.study.cities:
            first, second = (self.sample(city, gain.measure, entry) for entry in (gain.first, gain.second))
            if first is not None and second is not None:
                yield city, first, second


def percent(first: Sample, second: Sample) -> Sample | None:
    """:func:`bench.metrics.compare.relative` as a sample; None without a common seed, or where the second is 0."""
    seeds = sorted(set(first.seeds) & set(second.seeds))
    if not seeds:
        return None
    (areas, sums), (other_areas, other_sums) = first.take(seeds), second.take(seeds)
    level = float(other_areas.mean())
    if level == 0:
        return None
    ratio = float(areas.mean()) / level
    spread = 100 / level * (areas - ratio * other_areas)
    return Sample(100 * (ratio - 1) + spread, 100 / level * (sums - ratio * other_sums), tuple(seeds))


def averaged(by_city: Mapping[str, Contrast]) -> dict[str, Contrast]:
    """With the mean over cities, under :data:`MEAN`; nothing of nothing."""
    return {**by_city, MEAN: combine(by_city.values())} if by_city else {}


def compared(first: Mapping[str, Sample], second: Mapping[str, Sample]) -> dict[str, Contrast]:
    """First minus second in the cities that have both."""
    return {city: difference(first[city], second[city]) for city in first if city in second}


def tested(parts: Iterable[tuple[Gain | Extra, Mapping[str, Contrast]]]) -> dict[Place, Contrast]:
    """All of these, by place, Holm-corrected together."""
    return adjust({(key, place): contrast for key, places in parts for place, contrast in places.items()})


def only_mean(by_city: Mapping[str, Contrast]) -> dict[str, Contrast]:
    """The mean over cities alone."""
    return {place: contrast for place, contrast in averaged(by_city).items() if place == MEAN}


def signs(contrasts: Contrasts, key: Gain | Extra) -> dict[str, int]:
    """By city: 1 significantly better, -1 significantly worse, 0 the data do not tell."""
    return {place: sign(found) for (of, place), found in contrasts.items() if of == key and place != MEAN}


def main_entry(study: Study, model: str) -> Entry:
    """The configuration that a model is compared by: the preset's, or its only other one."""
    found = {study.variants[r.key] for r in study.records if r.cell.model == model and r.key in study.main}
    return model, "" if "" in found or not found else min(found)


def lacking(study: Study, entries: Mapping[Entry, str], exhibit: str) -> Iterator[str]:
    """Which of these entries, by what they are called, a city has not stored, and what trains them or why not."""
    stored = {(r.cell.city, r.cell.model, study.variants[r.key]) for r in study.records}
    parts = []
    for city in study.cities:
        impossible = supply.left_out_of(study, city)
        missing = [t for entry, t in entries.items() if (city, *entry) not in stored and entry[0] not in impossible]
        if missing:
            parts.append(f"{style.city_title(city)}: {', '.join(missing)}")
    if parts:
        yield f'Not stored, printed as "-": {"; ".join(parts)}. {supply.command(study, exhibit)} trains them.'
    if left_out := [*supply.left_out(study, {model for model, _ in entries})]:
        yield f"Left out, since the data cannot supply it: {'; '.join(left_out)}."


def withheld(study: Study, measures: Iterable[str]) -> Iterator[str]:
    """Which AUCs are withheld for too few labels of a class."""
    parts = []
    for measure in measures:
        for city in study.cities:
            rows, positives = measured(study, city).counts.get(measure, (math.inf, math.inf))
            if positives < MIN_CLASS or rows - positives < MIN_CLASS:
                name = f"{MEASURES[measure].title} of {style.city_title(city)}"
                parts.append(f"{name} ({positives:,} positives of {rows:,} rows)")
    if parts:
        yield f"Withheld, for fewer than {MIN_CLASS} positives or negatives: {'; '.join(parts)}."


def seeds(gains: Gains, entries: Iterable[Entry]) -> Iterator[str]:
    """On how many seeds intervals rest."""
    counts = {e.n_seeds for entry in entries for measure in OBSERVED for e in gains.estimates(measure, entry).values()}
    if counts:
        text = f"Seeds per model and city: {min(counts)}" + (f" to {max(counts)}" if len(counts) > 1 else "")
        yield f"{text}; with one seed an interval covers the choice of test users only." if 1 in counts else f"{text}."


def mean_heading(study: Study, cities: Sequence[str]) -> str:
    """Of a column of means over ``cities``."""
    return "Mean" if list(cities) == study.cities else f"Mean of cities {', '.join(cities) or 'none'}"


COLUMNS = [
    "dataset", "preset", "city", "model", "variant", "measure", "against_model", "against_variant", "unit", "value",
    "lo", "hi", "p_value", "p_adjusted", "n_seeds", "n", "n_pos", "published",
]  # fmt: skip


def level_rows(
    gains: Gains, entries: Sequence[Entry], measures: Iterable[str], published: Mapping[tuple[str, str, Entry], float]
) -> Iterator[list[object]]:
    """CSV rows of AUCs by city and as the mean over cities; ``published`` by measure, city or mean, and entry."""
    nan, study = math.nan, gains.study
    for measure in measures:
        shared = gains.shared(measure, entries)
        for entry in entries:
            found: dict[str, Estimate] = dict(gains.estimates(measure, entry))
            if (mean := gains.mean(measure, entry, shared)) is not None:
                found[MEAN] = mean
            for place, e in found.items():
                n, n_pos = (nan, nan) if place == MEAN else measured(study, place).counts[measure]
                printed = published.get((measure, place, entry), nan)
                place_of = [study.dataset, study.preset, place, *entry, measure, "", "", "AUC"]
                yield [*place_of, e.mean, e.lo, e.hi, nan, nan, e.n_seeds, n, n_pos, printed]


def gain_rows(study: Study, contrasts: Contrasts, published: Mapping[Place, float]) -> Iterator[list[object]]:
    """CSV rows of comparisons; an extra one has its name in place of a model."""
    for (key, place), c in contrasts.items():
        if isinstance(key, Gain):
            names = [*key.first, key.measure, *key.second, "AUC" if key.absolute else "percent"]
        else:
            names = [key.name, "", key.measure, "", "", key.unit]
        rest = [c.difference, c.lo, c.hi, c.p_value, c.p_adjusted, c.n_seeds, math.nan, math.nan]
        yield [study.dataset, study.preset, place, *names, *rest, published.get((key, place), math.nan)]


def frame(rows: Iterable[Sequence[object]]) -> pd.DataFrame:
    """The rows of a CSV."""
    return pd.DataFrame([list(row) for row in rows], columns=COLUMNS)


def _over_all_users(sample: Sample, measure: str, columns: Mapping[str, Array]) -> Sample:
    """With a column for every user of the city, so that AUCs over other rows can be compared by user."""
    users = np.unique(columns["user"])
    chosen = np.unique(columns["user"][MEASURES[measure].chosen(columns)])
    sums = np.zeros((len(sample.seeds), users.size))
    sums[:, np.searchsorted(users, chosen)] = sample.sums
    return Sample(sample.areas, sums, sample.seeds)
