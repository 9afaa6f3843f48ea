"""Scores in order, and those of the positives: all that an AUC and a calibration error need of a sort."""

from __future__ import annotations

import itertools

import numpy as np

from bench.metrics._arrays import Array, Bool, Float, Int


class Ranked:
    """``ordered`` [n] are the scores from the lowest to the highest, ``positives`` [m] those of the positives.

    Values are sorted, not their places: that is several times as fast, and takes no more memory than the scores.
    """

    def __init__(self, scores: Array, is_positive: Bool) -> None:
        self.ordered: Array = np.sort(scores)
        self.positives: Array = np.sort(scores[is_positive])

    @property
    def has_nan(self) -> bool:
        """Whether a score is NaN: those are sorted behind all others."""
        return bool(np.isnan(self.ordered[-1:]).any())

    def auc(self) -> float:
        """As :func:`bench.metrics.auc.auc`."""
        n, m = self.ordered.size, self.positives.size
        if not 0 < m < n or self.has_nan:
            return float("nan")
        below = np.searchsorted(self.ordered, self.positives, side="left").sum()
        not_above = np.searchsorted(self.ordered, self.positives, side="right").sum()
        # Twice the rows below, ties half; the pairs of two positives among them are m².
        return (int(below + not_above) - m * m) / (2 * m * (n - m))

    def binned_error(self, bins: int) -> float:
        """As :func:`bench.metrics.ece.ece`, of probabilities."""
        n = self.ordered.size
        if not n or self.has_nan:
            return float("nan")
        ends = bin_ends(self.ordered, bins)
        observed = np.searchsorted(self.positives, self.ordered[ends - 1], side="right")
        excess = sums_between(self.ordered, ends) - np.diff(observed, prepend=0)
        return float(np.abs(excess).sum() / n)


def bin_ends(ordered: Array, bins: int) -> Int:
    """The place behind the last row of each bin [bins], for bins of equal counts in which ties stay together.

    Bin b of the rows ``ordered`` [n], n at least 1, starts at b·n/bins, and equal values belong to the bin of the
    first of them.
    """
    full = -(-np.arange(1, bins + 1) * ordered.size // bins)
    return np.searchsorted(ordered, ordered[full - 1], side="right")


def sums_between(values: Array, ends: Int) -> Float:
    """Sums in float64 of the parts of ``values`` [n] that end at ``ends`` [k], the first from 0."""
    parts = itertools.pairwise([0, *ends.tolist()])
    return np.array([values[start:end].sum(dtype=np.float64) for start, end in parts])
