"""Expected calibration error."""

from __future__ import annotations

import numpy as np

from bench.metrics._arrays import Array, Float, positive, require_probabilities
from bench.metrics._order import Order


def ece(probabilities: Array, labels: Array, bins: int = 15) -> float:
    """Mean over rows of |mean probability - share of positives| of the row's bin.

    Bins hold equal counts of rows in the order of the probability: bin b has the rows from b·n/bins to
    (b+1)·n/bins. Rows with the same probability stay together, in the bin of the first of them, so a bin may be
    larger than others, or empty.

    Args:
        probabilities: [n], in [0, 1].
        labels: [n], 0 or 1.
        bins: how many.

    Returns:
        NaN without rows or where a probability is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, a probability lies outside [0, 1], or bins < 1.
    """
    is_positive = positive(labels, probabilities)
    return binned_error(probabilities, is_positive.astype(np.float64), bins)


def binned_error(probabilities: Array, outcomes: Float, bins: int) -> float:
    """:func:`ece` against ``outcomes`` [n], which may be any number per row.

    Raises:
        ValueError: a probability lies outside [0, 1] or bins < 1.
    """
    require_probabilities(probabilities)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, but got {bins}.")
    if not outcomes.size or np.isnan(probabilities).any():
        return float("nan")
    order = Order(probabilities)
    excess = (probabilities.astype(np.float64) - outcomes)[order.rows]
    of_bin = np.repeat(order.first * bins // outcomes.size, order.counts)
    return float(np.abs(np.bincount(of_bin, weights=excess)).sum() / outcomes.size)
