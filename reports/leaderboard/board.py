"""Ranks of models over complete blocks, and the tests that say which of them can be told apart.

Friedman's test comes first; where it finds no difference, nothing is told apart. Pairs are then compared by Wilcoxon's
signed-rank test with Holm's correction, whose answer for two models does not depend on the others (Benavoli et al.,
JMLR 2016). Over few blocks it can find nothing: N blocks allow no p-value below 2 / 2^N, times the number of pairs. It
is then replaced by Nemenyi's test on mean ranks (Demšar, JMLR 2006). Which of the two is taken depends on the numbers
of models and blocks alone, never on the AUCs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from bench.metrics._arrays import Float
from bench.metrics.compare import holm
from reports.aucs import ALPHA
from reports.leaderboard.blocks import MIN_BLOCKS, MIN_MODELS

Test = Literal["wilcoxon", "nemenyi"]


@dataclass(frozen=True, eq=False)
class Board:
    """``values`` and ``ranks`` are [blocks N, models k], the model of the best mean rank first; rank 1 is best, equal
    AUCs share the mean of their ranks. ``test`` is None where there are too few models or blocks.

    ``p_values`` [k, k] are of pairs, corrected for their number; ``lead`` [k, k] is above 0 where the row's model is
    ahead by the test's own statistic. Friedman's statistic and p-value are NaN without a test.
    """

    values: pd.DataFrame
    ranks: pd.DataFrame
    test: Test | None
    statistic: float
    friedman_p: float
    p_values: Float
    lead: Float

    @property
    def models(self) -> list[str]:
        return [str(model) for model in self.values.columns]

    @property
    def n_blocks(self) -> int:
        return len(self.values)

    @property
    def n_pairs(self) -> int:
        return math.comb(len(self.models), 2)

    @property
    def mean_ranks(self) -> pd.Series[float]:
        return self.ranks.mean()

    def interval(self, model: str) -> tuple[float, float]:
        """95 % interval of the mean rank (Student's t over blocks), within 1 and k; NaN for a single block."""
        ranks = self.ranks[model]
        if len(ranks) < 2:
            return math.nan, math.nan
        half = float(stats.t.ppf(1 - ALPHA / 2, len(ranks) - 1) * ranks.std(ddof=1) / math.sqrt(len(ranks)))
        return max(1.0, ranks.mean() - half), min(float(len(self.models)), ranks.mean() + half)

    @cached_property
    def behind(self) -> pd.Series[float]:
        """Mean over blocks of a model's AUC minus that of the block's best: 0 for one that is always best."""
        return self.values.sub(self.values.max(axis=1), axis=0).mean()

    @cached_property
    def wins(self) -> pd.Series[float]:
        """In how many blocks a model is best; equal ones share a block."""
        best = self.values.eq(self.values.max(axis=1), axis=0)
        return best.div(best.sum(axis=1), axis=0).sum()

    def better(self, first: str, second: str) -> bool:
        """Whether ``first`` is significantly better than ``second``."""
        place = self.models.index(first), self.models.index(second)
        return self.differs and bool(self.p_values[place] < ALPHA and self.lead[place] > 0)

    @property
    def differs(self) -> bool:
        """Whether Friedman's test finds any difference."""
        return self.friedman_p < ALPHA

    @cached_property
    def groups(self) -> list[list[str]]:
        """Largest groups of which no two models can be told apart, the best mean rank first; none of one model."""
        models = self.models
        alike = {a: {b for b in models if b != a and not (self.better(a, b) or self.better(b, a))} for a in models}
        groups = [sorted(group, key=models.index) for group in _cliques(alike, set(), set(models), set())]
        return sorted((group for group in groups if len(group) > 1), key=lambda g: [models.index(model) for model in g])

    @property
    def critical_difference(self) -> float:
        """Nemenyi: mean ranks that differ by more are told apart (Demšar, section 3.2.2)."""
        k, n = len(self.models), self.n_blocks
        return float(stats.studentized_range.ppf(1 - ALPHA, k, np.inf)) * math.sqrt(k * (k + 1) / (12 * n))


def rank(values: pd.DataFrame) -> Board:
    """The board of AUCs [blocks N, models k] without a hole."""
    ranks = values.rank(axis=1, ascending=False)
    order = ranks.mean().sort_values(kind="stable").index
    values, ranks = values[order], ranks[order]
    n, k = values.shape
    nothing = np.full((k, k), math.nan)
    if n < MIN_BLOCKS or k < MIN_MODELS:
        return Board(values, ranks, None, math.nan, math.nan, nothing, nothing)
    with np.errstate(invalid="ignore"):  # all equal: the statistic is 0 / 0
        statistic, friedman_p = stats.friedmanchisquare(*values.to_numpy().T)
    test: Test = "wilcoxon" if wilcoxon_floor(n, math.comb(k, 2)) < ALPHA else "nemenyi"
    p_values, lead = _wilcoxon(values) if test == "wilcoxon" else _nemenyi(values, ranks)
    return Board(values, ranks, test, float(statistic), float(friedman_p), p_values, lead)


def wilcoxon_floor(n_blocks: int, n_pairs: int = 1) -> float:
    """Smallest p-value of the exact two-sided signed-rank test, after Holm's correction over ``n_pairs``."""
    return min(1.0, n_pairs * 2.0 ** (1 - n_blocks))


def blocks_needed(n_pairs: int) -> int:
    """With how many blocks that test can reach p < 0.05."""
    return next(n for n in range(1, 1000) if wilcoxon_floor(n, n_pairs) < ALPHA)


def _wilcoxon(values: pd.DataFrame) -> tuple[Float, Float]:
    """P-values after Holm's correction, and sums of signed ranks."""
    from scikit_posthocs import posthoc_wilcoxon  # takes a second to import

    long = values.melt(var_name="model", value_name="auc")  # by model, blocks in their order
    models = values.columns
    with np.errstate(invalid="ignore"):  # equal in every block: the statistic is 0 / 0, and p = 1
        found = posthoc_wilcoxon(long, val_col="auc", group_col="model").loc[models, models].to_numpy()
    p_values = np.ones_like(found)
    upper = np.triu_indices_from(found, 1)
    p_values[upper] = holm(np.nan_to_num(found[upper], nan=1.0).tolist())
    p_values.T[upper] = p_values[upper]
    auc = values.to_numpy()
    differences = auc[:, :, None] - auc[:, None, :]
    same = differences == 0  # left out of the ranking
    ranks = stats.rankdata(abs(differences), axis=0) - same.sum(axis=0)
    return p_values, (np.sign(differences) * ranks).sum(axis=0)


def _nemenyi(values: pd.DataFrame, ranks: pd.DataFrame) -> tuple[Float, Float]:
    """P-values for all pairs together, and differences of mean ranks."""
    from scikit_posthocs import posthoc_nemenyi_friedman

    means = ranks.mean().to_numpy()
    return posthoc_nemenyi_friedman(values.to_numpy()).to_numpy(), means[None, :] - means[:, None]


def _cliques(alike: dict[str, set[str]], chosen: set[str], open_: set[str], done: set[str]) -> Iterator[set[str]]:
    """Maximal cliques that hold ``chosen`` (Bron and Kerbosch, CACM 1973, with a pivot)."""
    if not open_ and not done:
        yield chosen
        return
    pivot = max(open_ | done, key=lambda model: len(alike[model] & open_))
    for model in open_ - alike[pivot]:
        yield from _cliques(alike, chosen | {model}, open_ & alike[model], done & alike[model])
        open_, done = open_ - {model}, done | {model}
