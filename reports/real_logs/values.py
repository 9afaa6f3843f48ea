"""AUCs of a log's models with bootstrap intervals over users, and the paired differences that the exhibit tells."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import NamedTuple

import numpy as np

from bench.metrics._arrays import Array
from bench.metrics.bootstrap import RESAMPLES, Bootstrap, bootstrap, difference, estimate
from bench.metrics.compare import Contrast, Estimate, adjust
from bench.metrics.spaces import TARGETS, mask
from reports import style
from reports.gains import calibrated
from reports.measures import MIN_CLASS, Entry, measured
from reports.predictions import finite
from reports.study import Study

#: What AUCs are taken of, with what their positives are.
POSITIVES = {"ctr": "clicks", "ctcvr": "purchases", "cvr": "purchases", "ctcar": "carts", "car": "carts"}

#: What the others are compared with, the first that is stored and has the AUC: plain models that learn CVR from clicked
#: rows alone; and, for carts, the one of them that predicts carts, then the plainest of the others.
BASELINES = ("shared_bottom", "dnn", "mmoe", "ple", "gbdt", "dbmtl", "aitm", "esm2_chain")

#: A bootstrap visits about so many rows at most, unless that leaves fewer than FEWEST resamples.
WORK = 200_000_000
FEWEST = 200


class Space(NamedTuple):
    """The test rows of an AUC: how many, how many positives, of how many users, and of how many with a positive."""

    rows: int
    positives: int
    users: int
    users_with_positive: int


class Pair(NamedTuple):
    """A comparison: AUC of a probability, first minus second entry."""

    probability: str
    first: Entry
    second: Entry


@dataclass(frozen=True, eq=False)
class Results:
    """What a log's cells give. ``spaces``: by probability; ``found``: by probability and entry, where there is an AUC.

    ``entries``: the ``main`` configuration of every model, and those with another Sample Calibration.
    """

    study: Study
    city: str
    entries: list[Entry]
    main: frozenset[Entry]
    spaces: Mapping[str, Space]
    found: Mapping[str, Mapping[Entry, Bootstrap]]

    @property
    def shown(self) -> list[str]:
        """The probabilities with an AUC of some model."""
        return [probability for probability in POSITIVES if self.found.get(probability)]

    def baseline(self, probability: str) -> Entry | None:
        """What the other models' AUCs of it are compared with."""
        models = {entry[0]: entry for entry in self.found.get(probability, {}) if entry in self.main}
        return next((models[model] for model in BASELINES if model in models), None)

    def estimate(self, probability: str, entry: Entry) -> Estimate | None:
        one = self.found.get(probability, {}).get(entry)
        return None if one is None else estimate(one)

    def seeds(self, entry: Entry) -> int:
        """How many of its AUCs are means over."""
        return max((len(of_all[entry].seeds) for of_all in self.found.values() if entry in of_all), default=0)

    @cached_property
    def contrasts(self) -> dict[Pair, Contrast]:
        """All models against the baseline, and with against without Sample Calibration; Holm-corrected together."""
        return adjust(
            {
                pair: difference(by_entry[pair.first], by_entry[pair.second])
                for probability, by_entry in self.found.items()
                for pair in self._pairs(probability)
                if pair.first in by_entry and pair.second in by_entry
            }
        )

    def against_baseline(self, probability: str) -> dict[Entry, Contrast]:
        return {
            pair.first: contrast
            for pair, contrast in self.contrasts.items()
            if pair.probability == probability and pair.second == self.baseline(probability)
        }

    @property
    def calibrated(self) -> list[tuple[Entry, Entry]]:
        """The entries of a model with and without Sample Calibration, where both are stored."""
        pairs = []
        for model in dict.fromkeys(model for model, _ in self.entries):
            with_it, without = (calibrated.entry(self.study, model, mode) for mode in ("copy", "none"))
            if with_it in self.entries and without in self.entries:
                pairs.append((with_it, without))
        return pairs

    def reach(self, probability: str) -> float:
        """Half of an AUC's interval, the median over models."""
        found = [estimate(one) for one in self.found[probability].values()]
        return _middle((each.hi - each.lo) / 2 for each in found)

    def resolution(self, probability: str) -> float:
        """Half of the interval of a difference from the baseline, the median over models; NaN without any."""
        return _middle((each.hi - each.lo) / 2 for each in self.against_baseline(probability).values())

    def between_seeds(self, probability: str) -> float:
        """Standard deviation of a model's AUC over seeds, the median over models; NaN of one seed."""
        found = [one.areas.std(ddof=1) for one in self.found[probability].values() if one.areas.size > 1]
        return _middle(map(float, found))

    def title(self, entry: Entry) -> str:
        """What a table calls it: ``ESMC⁻`` without Sample Calibration."""
        if entry not in self.main:
            for mode in calibrated.MODES:
                if entry == calibrated.entry(self.study, entry[0], mode):
                    return calibrated.title(entry[0], mode)
        return style.title(*entry)

    def _pairs(self, probability: str) -> list[Pair]:
        baseline = self.baseline(probability)
        main = [entry for entry in self.entries if entry in self.main and entry != baseline]
        pairs = [] if baseline is None else [Pair(probability, entry, baseline) for entry in main]
        return pairs + [Pair(probability, *pair) for pair in self.calibrated]


def results(study: Study, city: str) -> Results:
    """Read and resample every cell of a log that is shown."""
    columns = measured(study, city, ()).columns
    kept = {study.variant_of({"calibration": mode}) for mode in calibrated.MODES}
    work = []
    for record in study.of_city(city):
        entry = record.cell.model, study.variants[record.key]
        if record.key in study.main or entry[1] in kept:
            work.append((record, entry))
    stored = {entry for _, entry in work}
    main = frozenset(entry for record, entry in work if record.key in study.main)
    entries = [(m, v) for m in style.in_order(m for m, _ in stored) for v in sorted(v for n, v in stored if n == m)]
    if not columns:
        return Results(study, city, entries, main, {}, {})
    chosen = {probability: mask(TARGETS[probability].spaces[0], columns) for probability in POSITIVES}
    labels = {probability: TARGETS[probability].label(columns)[rows] for probability, rows in chosen.items()}
    users = {probability: columns["user"][rows] for probability, rows in chosen.items()}
    spaces = {probability: _space(labels[probability], users[probability]) for probability in POSITIVES}
    defined = [probability for probability, space in spaces.items() if why_withheld(probability, space) is None]
    scores: dict[tuple[str, Entry], dict[int, Array]] = {}
    for record, entry in work:
        for probability, column in finite(study, record, columns["exposure"], defined).items():
            scores.setdefault((probability, entry), {})[record.cell.seed] = column[chosen[probability]]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        made = threads.map(
            lambda key: bootstrap(scores[key], labels[key[0]], users[key[0]], resamples(spaces[key[0]].rows)), scores
        )
        by_key = dict(zip(scores, made, strict=True))
    found: dict[str, dict[Entry, Bootstrap]] = {}
    for probability in defined:
        of_all = {entry: by_key[probability, entry] for entry in entries if (probability, entry) in by_key}
        if of_all:
            found[probability] = of_all
    return Results(study, city, entries, main, spaces, found)


def resamples(rows: int) -> int:
    """How many resamples an AUC over so many rows gets."""
    return min(RESAMPLES, max(FEWEST, WORK // max(rows, 1)))


def why_withheld(probability: str, space: Space) -> str | None:
    """Why there is no AUC over these rows, in a few words; None where there is one."""
    negatives = space.rows - space.positives
    if space.rows and not negatives:
        return "every exposure is a click, so there is nothing to tell apart" if probability == "ctr" else "no negative"
    if min(space.positives, negatives) < MIN_CLASS:
        return (
            f"{space.positives:,} {POSITIVES[probability]} in {space.rows:,} rows; it takes {MIN_CLASS} of each class"
        )
    return None


def _space(labels: Array, users: Array) -> Space:
    bought = np.unique(users[labels])
    return Space(int(labels.size), int(labels.sum()), int(np.unique(users).size), int(bought.size))


def _middle(values: Iterable[float]) -> float:
    found = list(values)
    return median(found) if found else math.nan
