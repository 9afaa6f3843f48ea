"""Expected calibration error."""

from __future__ import annotations

import numpy as np

from bench.metrics._arrays import Array, Float, positive, require_probabilities
from bench.metrics._ranked import Ranked, bin_ends, sums_between

#: How many bins, unless said otherwise.
BINS = 15


def ece(probabilities: Array, labels: Array, bins: int = BINS) -> float:
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
    _require(probabilities, bins)
    return Ranked(probabilities, is_positive).binned_error(bins)


def binned_error(probabilities: Array, outcomes: Float, bins: int) -> float:
    """:func:`ece` against ``outcomes`` [n], which may be any number per row.

    Raises:
        ValueError: a probability lies outside [0, 1] or bins < 1.
    """
    _require(probabilities, bins)
    if not outcomes.size or np.isnan(probabilities).any():
        return float("nan")
    rows = np.argsort(probabilities)
    ordered = probabilities[rows]
    ends = bin_ends(ordered, bins)
    excess = sums_between(ordered, ends) - sums_between(outcomes[rows], ends)
    return float(np.abs(excess).sum() / outcomes.size)


def _require(probabilities: Array, bins: int) -> None:
    require_probabilities(probabilities)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, but got {bins}.")
