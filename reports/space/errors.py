"""How far predicted CVR is from the truth over clicked, unclicked and all exposures, by city and model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.metrics._arrays import Array, Float
from bench.metrics.compare import Sample, one
from bench.metrics.spaces import mask
from bench.metrics.truth import log_odds_correlation, rank_correlation, soft_ece
from reports.measures import Entry, Measured, measured
from reports.pooled import Pooled, constant, log_ratio, minus, ratio, size, weighted_mean
from reports.predictions import Predictions, main_entries, predictions
from reports.study import Study

SPACES = ("clicked", "unclicked", "exposed")

#: Bins of a reliability curve, with equal numbers of rows.
BINS = 15

#: What is computed without intervals.
POINTS = ("rank", "log_odds", "ece")


@dataclass(frozen=True, eq=False)
class Errors:
    """``pooled`` holds, for each sample space, ``auc/clicked`` (against the true probabilities), its ``ceiling`` and
    ``share``, ``mean`` and ``true_mean`` CVR and ``log_pcoc``, the logarithm of their ratio; further ``auc_shift``,
    ``share_shift`` and ``log_pcoc_shift``, unclicked less clicked, and ``level_error``, the size of
    ``log_pcoc/unclicked``.

    ``points``: city, model, variant, seed, space and POINTS. ``curves``: city, model, variant, seed, space, bin,
    predicted and true mean CVR.
    """

    entries: list[Entry]
    pooled: Pooled
    points: pd.DataFrame
    curves: pd.DataFrame

    def entry(self, model: str) -> Entry | None:
        """The configuration that a model is compared by; None where it is not stored."""
        return next((entry for entry in self.entries if entry[0] == model), None)


class _Space(NamedTuple):
    """The rows of a sample space, and what the truth alone tells of them."""

    chosen: Array
    truth: Float
    user: Array
    n_users: int
    ceiling: tuple[float, Float]
    true_mean: tuple[float, Float]

    @classmethod
    def of(cls, found: Predictions, name: str) -> _Space:
        chosen = mask(name, found.columns)
        truth, user = found.columns["p_purchase"][chosen].astype(np.float64), found.user[chosen]
        ceiling = one(truth, truth, user, found.n_users)
        return cls(chosen, truth, user, found.n_users, ceiling, _mean(truth, user, found.n_users))


def study_errors(study: Study) -> Errors:
    """The errors of all models. Cities without truth are absent."""
    entries = main_entries(study)
    samples: dict[str, Mapping[Entry, Mapping[str, Sample]]] = {}
    points: list[dict[str, object]] = []
    curves: list[dict[str, object]] = []
    for city in study.cities:
        found = predictions(study, city, entries)
        if found is None:
            continue
        spaces = {name: _Space.of(found, name) for name in SPACES}
        auc = measured(study, city)
        samples[city] = {entry: _of_entry(entry, seeds, spaces, auc) for entry, seeds in found.cells.items()}
        cells = [(entry, seed, name) for entry, seeds in found.cells.items() for seed in seeds for name in SPACES]
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
            tasks = [(found.cells[entry][seed]["cvr"], spaces[name]) for entry, seed, name in cells]
            results = list(threads.map(lambda task: (_points(*task), list(_curve(*task))), tasks))
        for ((model, variant), seed, name), (values, bins) in zip(cells, results, strict=True):
            place = {"city": city, "model": model, "variant": variant, "seed": seed, "space": name}
            points.append(place | values)
            curves += [place | values for values in bins]
    present = [entry for entry in entries if any(entry in of_city for of_city in samples.values())]
    return Errors(present, Pooled(samples), pd.DataFrame(points), pd.DataFrame(curves))


def _of_entry(
    entry: Entry, seeds: Mapping[int, Mapping[str, Array]], spaces: Mapping[str, _Space], auc: Measured
) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for name, space in spaces.items():
        mean = Sample.of(
            {s: _mean(columns["cvr"][space.chosen], space.user, space.n_users) for s, columns in seeds.items()}
        )
        true_mean = constant(space.true_mean, mean)
        found |= {f"mean/{name}": mean, f"true_mean/{name}": true_mean, f"log_pcoc/{name}": log_ratio(mean, true_mean)}
        area = auc.sample(f"truth/cvr/{name}", *entry)
        if area is not None:
            area = _over_all_users(area, space)
            ceiling = constant(space.ceiling, area)
            share = ratio(_above_chance(area), _above_chance(ceiling))
            found |= {f"auc/{name}": area, f"ceiling/{name}": ceiling, f"share/{name}": share}
    for measure in ("auc", "share", "log_pcoc"):
        if f"{measure}/clicked" in found and f"{measure}/unclicked" in found:
            found[f"{measure}_shift"] = minus(found[f"{measure}/unclicked"], found[f"{measure}/clicked"])
    found["level_error"] = size(found["log_pcoc/unclicked"])
    return found


def _mean(values: Array, user: Array, n_users: int) -> tuple[float, Float]:
    return weighted_mean(values, np.ones(values.size), user, n_users)


def _over_all_users(sample: Sample, space: _Space) -> Sample:
    """The sample with a column for every user of the city, so that sample spaces can be compared by user."""
    sums = np.zeros((len(sample.seeds), space.n_users))
    sums[:, np.unique(space.user)] = sample.sums
    return Sample(sample.areas, sums, sample.seeds)


def _above_chance(sample: Sample) -> Sample:
    return Sample(sample.areas - 0.5, sample.sums, sample.seeds)


def _points(cvr: Array, space: _Space) -> dict[str, object]:
    predicted = cvr[space.chosen]
    values = rank_correlation(predicted, space.truth), log_odds_correlation(predicted, space.truth).value
    return dict(zip(POINTS, (*values, soft_ece(predicted, space.truth, BINS)), strict=True))


def _curve(cvr: Array, space: _Space) -> Iterator[dict[str, object]]:
    predicted = cvr[space.chosen].astype(np.float64)
    for number, rows in enumerate(np.array_split(np.argsort(predicted), BINS)):
        if rows.size:
            yield {"bin": number, "predicted": predicted[rows].mean(), "true": space.truth[rows].mean()}
