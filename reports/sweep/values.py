"""An AUC over the values of one knob: curves, paired differences, the best value, and what validation chooses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from bench.metrics.compare import Contrast, Estimate, Sample, adjust, combine, difference, estimate
from reports.effects import sign
from reports.measures import Entry, measured
from reports.study import Study

#: The AUCs of the paper's figures, against observed labels and against the true probabilities.
OBSERVED = {"auc/ctr/exposed": "CTR-AUC", "auc/ctcvr/exposed": "CTCVR-AUC", "auc/cvr/clicked": "CVR-AUC"}
TRUE = {"truth/ctr/exposed": "CTR-AUC", "truth/ctcvr/exposed": "CTCVR-AUC", "truth/cvr/clicked": "CVR-AUC"}
MEASURES = OBSERVED | TRUE

#: What selection goes by, on validation; it is judged by the same AUC on test, with and without the noise of labels.
SELECTION = "auc/ctcvr/exposed"
SELECTIONS = (SELECTION, "truth/ctcvr/exposed")

#: The place of a mean over cities.
MEAN = "mean"


class Key(NamedTuple):
    """What is compared, where: ``first`` minus ``second`` in ``measure``; ``place`` is a city or a mean of some."""

    place: str
    measure: str
    first: Entry
    second: Entry


Contrasts = dict[Key, Contrast]


class Optimum(NamedTuple):
    """The value of the highest mean among some, and all that are not significantly worse: any may be the best."""

    best: float
    kept: tuple[float, ...]
    among: tuple[float, ...]

    def __str__(self) -> str:
        others = "all" if self.kept == self.among else ", ".join(f"{at:g}" for at in self.kept)
        return f"{self.best:g} ({others})"


@dataclass(frozen=True, eq=False)
class Sweep:
    """A model over the values of a knob in some cities; ``entries`` are by value, rising."""

    study: Study
    entries: Mapping[float, Entry]
    cities: tuple[str, ...]

    def sample(self, city: str, measure: str, entry: Entry) -> Sample | None:
        """None where it is not stored, withheld or undefined."""
        found = measured(self.study, city).sample(measure, *entry)
        return None if found is None or any(map(math.isnan, found.areas)) else found

    def samples(self, city: str, measure: str) -> dict[float, Sample]:
        """What a city has, by value."""
        found = {at: self.sample(city, measure, entry) for at, entry in self.entries.items()}
        return {at: sample for at, sample in found.items() if sample is not None}

    def stored(self, cities: Iterable[str] | None = None) -> list[float]:
        """Values that some of ``cities`` (None: of all) has, rising."""
        chosen = self.cities if cities is None else cities
        return sorted({at for city in chosen for measure in MEASURES for at in self.samples(city, measure)})

    def whole(self, measure: str) -> list[str]:
        """The cities that a mean is taken over: those with every value that any city has, two at least."""
        found = {city: set(self.samples(city, measure)) for city in self.cities}
        union: set[float] = set().union(*found.values())
        return [city for city, values in found.items() if values == union and len(union) > 1]

    def curve(self, measure: str, cities: Sequence[str]) -> dict[float, Estimate]:
        """The AUC by value, averaged over ``cities``: one, or those of :meth:`whole`."""
        found = [{at: estimate(sample) for at, sample in self.samples(city, measure).items()} for city in cities]
        return {at: combine([curve[at] for curve in found]) for at in self.entries if found and at in found[0]}

    def level(self, measure: str, cities: Sequence[str], entry: Entry) -> Estimate | None:
        """The AUC of any model, averaged over ``cities``; None where one of them lacks it."""
        found = [self.sample(city, measure, entry) for city in cities]
        stored = [estimate(sample) for sample in found if sample is not None]
        return combine(stored) if stored and len(stored) == len(found) else None

    def contrast(self, measure: str, cities: Iterable[str], first: Entry, second: Entry) -> Contrast | None:
        """The paired difference of any two models, averaged over those of ``cities`` that have both."""
        pairs = [(self.sample(city, measure, first), self.sample(city, measure, second)) for city in cities]
        return average(difference(a, b) for a, b in pairs if a is not None and b is not None)

    def changes(self, measure: str, cities: Sequence[str], base: float) -> dict[float, Contrast]:
        """The paired difference to ``base`` by value, where it is known."""
        start = self.entries[base]
        found = {at: self.contrast(measure, cities, entry, start) for at, entry in self.entries.items()}
        return {at: contrast for at, contrast in found.items() if contrast is not None}

    def optimum(self, measure: str, cities: Sequence[str], among: Collection[float] | None = None) -> Optimum | None:
        """The best value over ``cities`` (``among`` some; None: of all), by differences of all pairs, Holm-corrected.

        None below two values.
        """
        wanted = self.entries if among is None else among
        curve = {at: found for at, found in self.curve(measure, cities).items() if at in wanted}
        if len(curve) < 2:
            return None
        best = max(curve, key=lambda at: curve[at].mean)
        found = {
            (a, b): self.contrast(measure, cities, self.entries[a], self.entries[b])
            for a, b in itertools.combinations(curve, 2)
        }
        pairs = adjust({pair: contrast for pair, contrast in found.items() if contrast is not None})
        losers = {
            b if sign(contrast) > 0 else a for (a, b), contrast in pairs.items() if sign(contrast) and best in (a, b)
        }
        return Optimum(best, tuple(at for at in curve if at not in losers), tuple(curve))

    def valid(self, city: str) -> dict[float, float]:
        """The AUC that selection goes by, on validation: by value, over the seeds that all values have."""
        places = {entry: at for at, entry in self.entries.items()}
        found: dict[float, dict[int, float]] = {}
        for record in self.study.of_city(city):
            at = places.get((record.cell.model, self.study.variants[record.key]))
            metric = record.metrics.get("valid", {}).get(SELECTION)
            if at is not None and metric is not None and metric.value is not None:
                found.setdefault(at, {})[record.cell.seed] = metric.value
        seeds = set.intersection(*map(set, found.values())) if found else set()
        return {at: math.fsum(found[at][seed] for seed in seeds) / len(seeds) for at in sorted(found) if seeds}

    def chosen(self, city: str) -> float | None:
        """The value that validation chooses in a city; None below two values."""
        found = self.valid(city)
        return max(found, key=lambda at: found[at]) if len(found) > 1 else None

    def regret(self, measure: str, cities: Iterable[str]) -> Contrast | None:
        """How much the best value of each city is above the one that validation chooses there, on average."""
        found = []
        for city in cities:
            best, chosen, samples = self.optimum(measure, [city]), self.chosen(city), self.samples(city, measure)
            if best is not None and chosen in samples:
                found.append(difference(samples[best.best], samples[chosen]))
        return average(found)

    def gain(self, measure: str, cities: Iterable[str], fixed: float) -> Contrast | None:
        """How much the values that validation chooses are above a ``fixed`` one for all cities, on average."""
        found = []
        for city in cities:
            chosen, samples = self.chosen(city), self.samples(city, measure)
            if chosen in samples and fixed in samples:
                found.append(difference(samples[chosen], samples[fixed]))
        return average(found)


def average(parts: Iterable[Contrast]) -> Contrast | None:
    """The average of independent contrasts, undefined ones left out; None where nothing is left."""
    found = [part for part in parts if not math.isnan(part.difference)]
    return combine(found) if found else None


def minus(first: Contrast, second: Contrast) -> Contrast:
    """The difference of two independent contrasts: their variances add."""
    half = combine([first, replace(second, difference=-second.difference)])
    return replace(half, difference=2 * half.difference, lo=2 * half.lo, hi=2 * half.hi, se=2 * half.se)


def untested(contrast: Contrast | None) -> Contrast | None:
    """The contrast without a corrected p-value: it is shown, but never called significant."""
    return None if contrast is None else replace(contrast, p_adjusted=math.nan)


def published(sweep: Sweep, place: str, entry: Entry, measure: str) -> float:
    """The paper's AUC of Table IV or V, NaN where it has none: of a city and a model in the preset's configuration."""
    if measure not in OBSERVED or entry[1]:
        return math.nan
    study, probability = sweep.study, measure.split("/")[1]
    found = study.published.auc(study.dataset, place, entry[0], probability)
    found = study.published.auc_v(study.dataset, place, entry[0], probability) if found is None else found
    return math.nan if found is None else found
