"""Predictions against the true probabilities, which simulated data have: no noise of labels.

The AUC against them is :func:`bench.metrics.delong.influence` with the probabilities as labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.metrics._arrays import Array, Float, require_probabilities, soft
from bench.metrics._order import Order
from bench.metrics.ece import BINS, binned_error


def soft_pcoc(predicted: Array, truth: Array) -> float:
    """Sum of ``predicted`` [n] over sum of ``truth`` [n]: 1 is calibrated, above 1 predicts too many.

    Returns:
        NaN where the truth sums to 0 or a prediction is NaN.

    Raises:
        ValueError: shapes differ or a probability lies outside [0, 1].
    """
    true = _checked(predicted, truth)
    total = float(true.sum())
    return float(predicted.sum(dtype=np.float64)) / total if total > 0 else float("nan")


def soft_ece(predicted: Array, truth: Array, bins: int = BINS) -> float:
    """Mean over rows of |mean of ``predicted`` - mean of ``truth``| of the row's bin.

    Bins and ties as in :func:`bench.metrics.ece.ece`, with the true probability in place of the label.

    Returns:
        NaN without rows or where a prediction is NaN.

    Raises:
        ValueError: shapes differ, a probability lies outside [0, 1], or bins < 1.
    """
    return binned_error(predicted, soft(truth, predicted), bins)


def mae(predicted: Array, truth: Array) -> float:
    """Mean absolute difference of ``predicted`` [n] and ``truth`` [n].

    Returns:
        NaN without rows or where a prediction is NaN.

    Raises:
        ValueError: shapes differ or a probability lies outside [0, 1].
    """
    true = _checked(predicted, truth)
    return float(np.abs(predicted - true).mean()) if true.size else float("nan")


def rank_correlation(predicted: Array, truth: Array) -> float:
    """Spearman's correlation of ``predicted`` [n] and ``truth`` [n]; equal values share their mean rank.

    Returns:
        NaN where either is constant (or has fewer than two rows) or a prediction is NaN.

    Raises:
        ValueError: shapes differ or a probability lies outside [0, 1].
    """
    true = _checked(predicted, truth)
    if not true.size or np.isnan(predicted).any():
        return float("nan")
    return _pearson(Order(predicted).ranks(), Order(true).ranks())


class LogOddsCorrelation(NamedTuple):
    """``value`` over the rows whose log odds are finite, and how many rows ``left_out`` were not."""

    value: float
    left_out: int


def log_odds_correlation(predicted: Array, truth: Array) -> LogOddsCorrelation:
    """Pearson's correlation of the log odds of ``predicted`` [n] and ``truth`` [n].

    A row where either is exactly 0 or 1 has no finite log odds: it is left out and counted. Float32 rounds to 1
    everything above 1 - 3e-8, so give float64 made from log-probabilities.

    Returns:
        A value of NaN where either is constant (or has fewer than two rows) or a prediction is NaN.

    Raises:
        ValueError: shapes differ or a probability lies outside [0, 1].
    """
    true, guess = _checked(predicted, truth), predicted.astype(np.float64)
    inside = (true > 0) & (true < 1) & (guess != 0) & (guess != 1)
    true, guess = true[inside], guess[inside]
    value = _pearson(np.log(guess) - np.log1p(-guess), np.log(true) - np.log1p(-true))
    return LogOddsCorrelation(value, int(inside.size - true.size))


def _checked(predicted: Array, truth: Array) -> Float:
    """``truth`` as float64, once both are known to be probabilities of one shape; NaN passes in ``predicted``."""
    true = soft(truth, predicted)
    require_probabilities(predicted)
    return true


def _pearson(first: Float, second: Float) -> float:
    """Correlation of two columns [n]; NaN where one is constant, without rows, or NaN."""
    if not first.size or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    x, y = first - first.mean(), second - second.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))
