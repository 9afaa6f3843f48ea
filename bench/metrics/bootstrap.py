"""Percentile intervals of AUCs by a bootstrap over users, for tests too small to trust a normal approximation.

A resample draws as many users as there are, with replacement; a user brings all of their rows, once per draw (Davison
and Hinkley, *Bootstrap Methods and their Application*, 1997, 3.8). Its AUC is exact: the share of pairs of a positive
and a negative in right order, a tie half, each row counted as often as its user was drawn. Resamples without a
positive or without a negative have no AUC; they are left out and counted.

Two sources of chance are added, as in :mod:`bench.metrics.compare`. Users: a resample is the mean of the seeds' AUCs
over the same users. Seeds: it is moved by a draw of Student's t with S - 1 degrees of freedom times the standard error
between seeds, sqrt(variance / S); where users do not matter, the interval is thus that of the t-test. With one seed it
says nothing about other seeds.

The same ``draw`` gives the same users to all models, so differences are paired.

Cost: rows are sorted once; a resample then takes a number of steps that grows with the rows, or with users times
distinct scores of positives where these are fewer. On two shared cores, 1000 resamples of 100,000 rows took 0.1 s with
2 % positives and 0.8 s with 50 %, of a million rows 2 s with 2 %. Resamples are made in blocks, so memory does not grow
with their number. Where that is too slow, take fewer, or :mod:`bench.metrics.compare`, which needs none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from bench.metrics._arrays import Array, Float, positive
from bench.metrics._student import two_sided, welch
from bench.metrics.auc import auc
from bench.metrics.compare import Contrast, Estimate

#: How many resamples, unless said otherwise.
RESAMPLES = 1000

#: Numbers in an array of a block of resamples, of which there are about five: 32 MB each.
_BLOCK = 1 << 22


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A model's AUCs: ``areas`` [S] of the rows as they are, ``resampled`` [S, B] (NaN where a class is absent).

    ``n_users`` were drawn from; ``draw`` is the seed of the drawing, equal for what is to be paired.

    Raises:
        ValueError: there is no seed, a seed is there twice, or shapes differ.
    """

    areas: Float
    resampled: Float
    seeds: tuple[int, ...]
    n_users: int
    draw: int

    def __post_init__(self) -> None:
        count = len(self.seeds)
        if not count or len(set(self.seeds)) < count:
            raise ValueError(f"seeds must be at least one, each once, but got {list(self.seeds)}.")
        if self.areas.shape != (count,) or self.resampled.ndim != 2 or len(self.resampled) != count:
            found = f"{self.areas.shape}, {self.resampled.shape}"
            raise ValueError(f"areas and resampled must be [{count}] and [{count}, resamples], but got {found}.")

    @property
    def left_out(self) -> int:
        """How many resamples have no AUC."""
        return int(np.isnan(self.resampled).any(axis=0).sum())


def bootstrap(
    scores: Mapping[int, Array], labels: Array, users: Array, resamples: int = RESAMPLES, draw: int = 0
) -> Bootstrap:
    """The AUCs of a model from its scores [n] by seed, as they are and over resamples of users.

    Args:
        labels: [n], 0 or 1.
        users: [n], of any type.

    Raises:
        ValueError: there is no seed, shapes differ, or a label is neither 0 nor 1.
    """
    seeds = tuple(sorted(scores))
    if not seeds:
        raise ValueError("a bootstrap must have at least one seed, but got none.")
    distinct, codes = np.unique(users, return_inverse=True)
    resampled = [resample_auc(scores[seed], labels, codes, distinct.size, resamples, draw) for seed in seeds]
    areas = np.array([auc(scores[seed], labels) for seed in seeds])
    return Bootstrap(areas, np.stack(resampled), seeds, distinct.size, draw)


def resample_auc(
    scores: Array, labels: Array, users: Array, n_users: int, resamples: int = RESAMPLES, draw: int = 0
) -> Float:
    """AUCs [resamples] of resamples of users, NaN where a class is absent; all NaN where a score is.

    The users of a resample depend on ``draw``, its number and ``n_users`` only.

    Args:
        scores: [n], any order-preserving score.
        labels: [n], 0 or 1.
        users: [n], numbers from 0 to ``n_users`` - 1.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or a user lies outside.
    """
    is_positive = positive(labels, scores, users)
    if users.size and not 0 <= users.min() <= users.max() < n_users:
        raise ValueError(
            f"users must be numbers from 0 to {n_users - 1}, but {users.min()} to {users.max()} are there."
        )
    found = np.full(resamples, math.nan)
    if not 0 < int(is_positive.sum()) < labels.size or np.isnan(scores).any():
        return found
    # Rows are only told apart by which positives they score below: one line per distinct score of a positive, and a
    # last one for negatives above them all.
    levels = np.unique(scores[is_positive])
    level = np.searchsorted(levels, scores)
    tied = ~is_positive & (levels[np.minimum(level, levels.size - 1)] == scores)

    def by_level(rows: Array) -> csr_matrix:
        """How many of these rows each user has at each level, [levels + 1, users]."""
        shape = (levels.size + 1, n_users)
        return csr_matrix((np.ones(int(rows.sum())), (level[rows], users[rows])), shape=shape)

    positives, negatives, ties = by_level(is_positive), by_level(~is_positive), by_level(tied)
    rng = np.random.default_rng(draw)
    block = max(1, _BLOCK // max(levels.size + 1, n_users))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = [np.bincount(rng.integers(0, n_users, n_users), minlength=n_users) for _ in range(size)]
        times = np.ascontiguousarray(np.array(drawn, dtype=np.float64).T)
        below = np.cumsum(negatives @ times, axis=0)
        pairs = (total := positives @ times).sum(axis=0) * below[-1]
        below -= (ties @ times) / 2
        right = np.einsum("lb,lb->b", total, below)
        np.divide(right, pairs, out=found[start : start + size], where=pairs > 0)
    return found


def estimate(found: Bootstrap, level: float = 0.95) -> Estimate:
    """The mean over seeds with its percentile interval; ``se`` and ``dof`` as in :mod:`bench.metrics.compare`, with the
    variance of the resamples for that over users.

    NaNs where no resample has an AUC.
    """
    mean = float(found.areas.mean())
    se, dof, lo, hi = _spread(found.areas, found.resampled, found, level)
    return Estimate(mean, lo, hi, se, len(found.seeds), dof)


def difference(first: Bootstrap, second: Bootstrap, level: float = 0.95) -> Contrast:
    """First minus second over their common seeds, with the percentile interval of the paired differences.

    The p-value is that of Student's t for the difference over its standard error.

    Returns:
        NaNs without a common seed, or where no resample has an AUC.

    Raises:
        ValueError: the two were not drawn alike.
    """
    kinds = [(each.n_users, each.draw, each.resampled.shape[1]) for each in (first, second)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"both must have the same (users, draw, resamples), but got {kinds[0]} and {kinds[1]}.")
    seeds = sorted(set(first.seeds) & set(second.seeds))
    if not seeds:
        return Contrast(math.nan, math.nan, math.nan, math.nan, math.nan, n_seeds=0)
    mine, theirs = ([each.seeds.index(seed) for seed in seeds] for each in (first, second))
    areas = first.areas[mine] - second.areas[theirs]
    se, dof, lo, hi = _spread(areas, first.resampled[mine] - second.resampled[theirs], first, level)
    mean = float(areas.mean())
    p_value = two_sided(mean, se, dof)
    return Contrast(mean, lo, hi, p_value, p_value, se, len(seeds), dof)


def _spread(areas: Float, resampled: Float, of: Bootstrap, level: float) -> tuple[float, float, float, float]:
    """Standard error, its degrees of freedom, and both ends of the interval, from [S] and [S, B]."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but got {level}.")
    values = resampled[:, ~np.isnan(resampled).any(axis=0)]
    n_seeds, used = values.shape
    if used < 2:
        return math.nan, math.nan, math.nan, math.nan
    means = values.mean(axis=0)
    variances, dofs = [float(means.var(ddof=1))], [of.n_users - 1.0]
    if n_seeds > 1:
        variances.append(float(areas.var(ddof=1)) / n_seeds)
        dofs.append(n_seeds - 1.0)
        rng = np.random.default_rng([of.draw, n_seeds])
        means += math.sqrt(variances[1]) * rng.standard_t(n_seeds - 1, used)
    lo, hi = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return *welch(variances, dofs), float(lo), float(hi)
