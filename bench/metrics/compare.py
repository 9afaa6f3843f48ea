"""Intervals of AUCs over users and seeds, differences between models, and which of them may be marked best.

Two sources of chance are added: the users that happened to be in the test rows (cluster-robust DeLong variance, U - 1
degrees of freedom) and the seeds that happened to be drawn (variance between seeds over their number, S - 1 degrees
of freedom). Intervals and tests use Student's t with the degrees of freedom of Welch and Satterthwaite for the sum,
(Σ v)² / Σ (v² / dof), so few seeds count as few where their variance prevails: simulated 95 % intervals of three seeds
cover in 92 to 95 % of draws, of two seeds in 87 to 95 %. With one seed the second term is unknown and taken as 0: the
interval then says nothing about other seeds.

A :class:`Sample` holds all that is needed of a model: make it once, then derive estimates and comparisons. Any
statistic with influences will do, not only an AUC.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, overload

import numpy as np

from bench.metrics._arrays import Array, Float, sum_by_user
from bench.metrics._student import quantile, two_sided, welch
from bench.metrics.delong import cluster_variance, influence

Pair = tuple[str, str]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a model scored: ``areas`` [S], one per seed, and influences summed by user, ``sums`` [S, U].

    Raises:
        ValueError: there is no seed, a seed is there twice, or shapes differ.
    """

    areas: Float
    sums: Float
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be at least one, each once, but got {list(self.seeds)}.")
        count = len(self.seeds)
        if self.areas.shape != (count,) or self.sums.ndim != 2 or len(self.sums) != count:
            found = f"{self.areas.shape}, {self.sums.shape}"
            raise ValueError(f"areas and sums must be [{count}] and [{count}, users], but got {found}.")

    @classmethod
    def of(cls, by_seed: Mapping[int, tuple[float, Float]]) -> Sample:
        """Of area and sums [U] by seed, each from :func:`one`."""
        seeds = tuple(sorted(by_seed))
        if not seeds:
            raise ValueError("a sample must have at least one seed, but got none.")
        return cls(np.array([by_seed[seed][0] for seed in seeds]), np.stack([by_seed[s][1] for s in seeds]), seeds)

    def take(self, seeds: Iterable[int]) -> tuple[Float, Float]:
        """Areas and sums of these ``seeds``, in their order."""
        places = [self.seeds.index(seed) for seed in seeds]
        return self.areas[places], self.sums[places]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval, standard error and degrees of freedom; NaN where undefined."""

    mean: float
    lo: float
    hi: float
    se: float
    n_seeds: int
    dof: float = math.inf


@dataclass(frozen=True)
class Contrast:
    """First against second model over their ``n_seeds`` common seeds: difference, interval and two-sided p-values.

    ``p_adjusted`` is ``p_value`` until :func:`adjust` corrects it for the number of contrasts.
    """

    difference: float
    lo: float
    hi: float
    p_value: float
    p_adjusted: float
    se: float = math.nan
    n_seeds: int = 1
    dof: float = math.inf


#: The name in earlier callers.
def one(scores: Array, labels: Array, users: Array, n_users: int) -> tuple[float, Float]:
    """The AUC of one seed's ``scores`` [n] and its influences summed by user [n_users].

    Args:
        scores, labels: [n], as in :func:`bench.metrics.delong.influence`; labels may be true probabilities.
        users: [n], numbers from 0 to ``n_users`` - 1.

    Raises:
        ValueError: shapes differ, a label lies outside [0, 1] or a user outside its range.
    """
    area, rows = influence(scores, labels)
    return area, sum_by_user(rows, users, n_users)


def sample(scores: Mapping[int, Array], labels: Array, users: Array) -> Sample:
    """The sample of a model from its scores [n] by seed, with labels as in :func:`one` and any users [n].

    Raises:
        ValueError: there is no seed, shapes differ, or a label lies outside [0, 1].
    """
    distinct, codes = np.unique(users, return_inverse=True)
    return Sample.of({seed: one(row, labels, codes, distinct.size) for seed, row in scores.items()})


def estimate(sample: Sample, level: float = 0.95) -> Estimate:
    """The mean over seeds with its two-sided interval: se² = variance over users + (variance between seeds) / S.

    The first is the cluster-robust variance of the seed-averaged influences.
    """
    mean = float(sample.areas.mean())
    se, dof = _error(sample.areas, sample.sums)
    reach = quantile(dof, level) * se
    return Estimate(mean, mean - reach, mean + reach, se, len(sample.seeds), dof)


def difference(first: Sample, second: Sample, level: float = 0.95) -> Contrast:
    """First minus second over their common seeds. Users and seeds are paired: the variance is that of differences.

    Returns:
        NaNs without a common seed. Identical samples get p = 1; p is NaN where the difference is, or where there is
        a difference without variance.

    Raises:
        ValueError: the samples have different numbers of users.
    """
    seeds = _common(first, second)
    if not seeds:
        return _contrast(math.nan, math.nan, math.nan, 0, level)
    (areas, sums), (other_areas, other_sums) = first.take(seeds), second.take(seeds)
    change = areas - other_areas
    return _contrast(float(change.mean()), *_error(change, sums - other_sums), len(seeds), level)


def relative(first: Sample, second: Sample, level: float = 0.95) -> Contrast:
    """First over second minus 1, in percent: the ratio of their means over common seeds, paired, by the delta method.

    Returns, raises:
        As :func:`difference`; also NaNs where the second mean is 0.
    """
    seeds = _common(first, second)
    areas, sums = first.take(seeds)
    other_areas, other_sums = second.take(seeds)
    mean = float(other_areas.mean()) if seeds else math.nan
    if math.isnan(mean) or mean == 0:
        return _contrast(math.nan, math.nan, math.nan, len(seeds), level)
    ratio = float(areas.mean()) / mean
    se, dof = _error(100 / mean * (areas - ratio * other_areas), 100 / mean * (sums - ratio * other_sums))
    return _contrast(100 * (ratio - 1), se, dof, len(seeds), level)


@overload
def combine(parts: Iterable[Estimate], level: float = 0.95) -> Estimate: ...
@overload
def combine(parts: Iterable[Contrast], level: float = 0.95) -> Contrast: ...
def combine(parts: Iterable[Estimate] | Iterable[Contrast], level: float = 0.95) -> Estimate | Contrast:
    """The mean of independent estimates or contrasts (of cities), all with equal weight: se² = Σ se² / k².

    Degrees of freedom are combined as those of users and seeds are. A part of NaN makes the mean NaN: leave it out
    first where the mean of the others is wanted. ``n_seeds`` is the fewest of any part; p-values are those of the
    mean, not adjusted.

    Raises:
        ValueError: there are no parts.
    """
    found: list[Estimate | Contrast] = list(parts)
    if not found:
        raise ValueError("parts must be at least one, but got none.")
    values = [part.mean if isinstance(part, Estimate) else part.difference for part in found]
    mean = math.fsum(values) / len(found)
    se, dof = welch([(part.se / len(found)) ** 2 for part in found], [part.dof for part in found])
    n_seeds = min(part.n_seeds for part in found)
    if isinstance(found[0], Estimate):
        reach = quantile(dof, level) * se
        return Estimate(mean, mean - reach, mean + reach, se, n_seeds, dof)
    return _contrast(mean, se, dof, n_seeds, level)


def adjust(contrasts: Mapping[Key, Contrast]) -> dict[Key, Contrast]:
    """The contrasts with ``p_adjusted`` by Holm's correction over all of them; intervals stay as they are."""
    adjusted = holm([contrast.p_value for contrast in contrasts.values()])
    return {key: replace(contrasts[key], p_adjusted=p) for key, p in zip(contrasts, adjusted, strict=True)}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of ``p_values``; NaNs stay NaN and do not count as tests."""
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for done, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - done) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def best_and_second(
    estimates: Mapping[str, Estimate], comparisons: Mapping[Pair, Contrast], alpha: float = 0.05
) -> tuple[str | None, str | None]:
    """The models that may be marked best and second best; None where no model may.

    The model of the highest mean is best when it is significantly better (adjusted p < alpha) than every model
    below it. The next one is second when there is a best and it is significantly better than every model below
    it in turn; the last model is never marked. Models without an estimate are left out.

    Args:
        estimates: by model.
        comparisons: over all pairs of models, ``itertools.combinations(estimates, 2)``, from :func:`adjust`.

    Raises:
        ValueError: a pair that is needed was not compared.
    """
    ranked = sorted((m for m in estimates if not math.isnan(estimates[m].mean)), key=lambda m: -estimates[m].mean)
    marks: list[str] = []
    for place, model in enumerate(ranked[:-1][:2]):
        if not all(_beats(model, other, comparisons, alpha) for other in ranked[place + 1 :]):
            break
        marks.append(model)
    best, second, *_ = [*marks, None, None]
    return best, second


def _beats(model: str, other: str, comparisons: Mapping[Pair, Contrast], alpha: float) -> bool:
    if (model, other) in comparisons:
        found, sign = comparisons[model, other], 1
    elif (other, model) in comparisons:
        found, sign = comparisons[other, model], -1
    else:
        raise ValueError(f"all pairs of models must be compared, but {model!r} and {other!r} were not.")
    return sign * found.difference > 0 and found.p_adjusted < alpha


def _common(first: Sample, second: Sample) -> list[int]:
    """The seeds that both have."""
    if first.sums.shape[1] != second.sums.shape[1]:
        counts = f"{first.sums.shape[1]} and {second.sums.shape[1]}"
        raise ValueError(f"samples must be over the same users, but got {counts} of them.")
    return sorted(set(first.seeds) & set(second.seeds))


def _error(areas: Float, sums: Float) -> tuple[float, float]:
    """Standard error of the mean of ``areas`` [S] and its degrees of freedom, from ``sums`` [S, U]."""
    n_seeds, n_users = sums.shape
    variances, dofs = [cluster_variance(sums.mean(axis=0))], [n_users - 1.0]
    if n_seeds > 1:
        variances.append(float(areas.var(ddof=1)) / n_seeds)
        dofs.append(n_seeds - 1.0)
    return welch(variances, dofs)


def _contrast(change: float, se: float, dof: float, n_seeds: int, level: float) -> Contrast:
    """The contrast of a difference with this error, and its test."""
    p_value, reach = two_sided(change, se, dof), quantile(dof, level) * se
    return Contrast(change, change - reach, change + reach, p_value, p_value, se, n_seeds, dof)
