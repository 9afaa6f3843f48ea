"""Recall, precision and F1 where the rows of the highest scores count as predicted positives (ESM² Tables 4 and 5).

How a cut at a share of the rows enters the standard error: the statistic selects the best share q of whatever rows
there are, so in other rows the cut lies elsewhere. With row weights w, hits T = Σ w a y and a the share of a row that
is selected (1 above the cut, 0 below), a row i with a little more weight adds a_i y_i to the hits, and makes room for
q more rows of which it takes a_i itself: q - a_i rows at the cut come in, of which a share r is positive.

    dT / dw_i = a_i y_i + (q - a_i) r        d(Σ w y) / dw_i = y_i        d(q Σ w) / dw_i = q

r is not observed at a point; it is taken as the share of positives in the ranks k/2 to 3k/2, where k is the cut's rank.
In simulated worlds of 2 to 50 % positives, standard errors are then within 6 % of the spread over draws of users once k
is 18. With a cut fixed at a score (r = 0, and a number of selected rows that varies) the error of recall would be 10 to
20 % too large at 2 % positives and over twice the true one at 50 %. Normal intervals need hits and misses: 95 % ones
cover in 92 to 97 % of draws from ten of both on, in 87 % with three hits, in half of them with one or none.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np

from bench.metrics._arrays import Array, Bool, Float, positive, sum_by_user

#: The cuts of the ESM² paper, as shares of the rows.
SHARES: tuple[float, ...] = (0.001, 0.006, 0.01)

Statistic = Literal["recall", "precision", "f1"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)


class Top(NamedTuple):
    """Recall, precision and F1 at one cut."""

    recall: float
    precision: float
    f1: float


def selected(rows: int, share: float) -> int:
    """How many of so many rows are predicted positives: ``share`` of them, half rounded up, at least 1.

    Raises:
        ValueError: the share does not lie in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], but got {share}.")
    return max(1, math.floor(round(share * rows, 6) + 0.5))


def top(scores: Array, labels: Array, share: float) -> Top:
    """Recall TP / (TP + FN), precision TP / (TP + FP) and F1 = 2 P R / (P + R) (ESM² Eq. 14-16) of the top rows.

    Rows that are tied at the cut count by the share of them that is selected: TP is the mean over all ways to break
    the tie. F1 is 2 TP / (selected + positives), the same and 0 where TP is.

    Args:
        scores: [n], any order-preserving score.
        labels: [n], 0 or 1.
        share: of the rows that are taken as positive predictions, see :func:`selected`.

    Returns:
        NaNs without rows or positives, or where a score is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or the share does not lie in (0, 1].
    """
    is_positive = positive(labels, scores)
    k, positives = selected(scores.size, share), int(np.count_nonzero(is_positive))
    if not positives or np.isnan(scores).any():
        return Top(math.nan, math.nan, math.nan)
    cut = np.partition(scores, scores.size - k)[scores.size - k]
    above, tied = scores > cut, scores == cut
    of_tied = (k - int(np.count_nonzero(above))) / int(np.count_nonzero(tied))
    hits = np.count_nonzero(is_positive & above) + of_tied * np.count_nonzero(is_positive & tied)
    return Top(float(hits / positives), float(hits / k), float(2 * hits / (k + positives)))


def influence(scores: Array, labels: Array, share: float, statistic: Statistic) -> tuple[float, Float]:
    """One of the statistics of :func:`top` and the influence [n] of each row on it, the cut moving with the rows.

    The influence is the derivative by the row's weight, as the head of this file derives it; influences sum to 0.

    Returns, raises:
        As :func:`top`; NaNs as influences where the value is.
    """
    values = top(scores, labels, share)
    value: float = getattr(values, statistic)
    if math.isnan(value):
        return value, np.full(scores.size, math.nan)
    is_positive = positive(labels, scores)
    n, positives = scores.size, int(np.count_nonzero(is_positive))
    k = selected(n, share)
    taken, rate = _cut(scores, is_positive, k)
    # The statistic is hits over a mass: that of the positives, of the selected rows, or the mean of both.
    of_positive, of_row, mass = {
        "recall": (value, 0.0, positives),
        "precision": (0.0, value, k),
        "f1": (value / 2, value / 2, (k + positives) / 2),
    }[statistic]
    found = taken * (is_positive - rate)
    found -= of_positive * is_positive
    found += k / n * (rate - of_row)
    found /= mass
    return value, found


def top_by_user(
    scores: Array, labels: Array, users: Array, n_users: int, share: float, statistic: Statistic
) -> tuple[float, Float]:
    """One of the statistics of :func:`top` and its influences summed by user [n_users].

    What :meth:`bench.metrics.compare.Sample.of` takes, as of an AUC.

    Args:
        users: [n], numbers from 0 to ``n_users`` - 1.

    Raises:
        ValueError: as :func:`top`, or a user lies outside its range.
    """
    value, rows = influence(scores, labels, share, statistic)
    return value, sum_by_user(rows, users, n_users)


def _cut(scores: Array, is_positive: Bool, k: int) -> tuple[Float, float]:
    """The share [n] of each row that is selected when the best ``k`` are, and the share of positives at the cut."""
    n, reach = scores.size, (k + 1) // 2
    low, at, high = max(0, n - k - reach), n - k, min(n - 1, n - k + reach)
    ordered = np.partition(scores, (low, at, high))
    taken = np.asarray(scores > ordered[at], dtype=np.float64)
    tied = scores == ordered[at]
    taken[tied] = (k - taken.sum()) / np.count_nonzero(tied)
    near = (scores >= ordered[low]) & (scores <= ordered[high])
    return taken, float(np.count_nonzero(is_positive & near) / np.count_nonzero(near))
