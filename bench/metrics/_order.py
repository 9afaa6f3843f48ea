"""The order of scores, ties kept together: what rank statistics are computed from."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from bench.metrics._arrays import Array, Float, Int


class Order:
    """The order of ``values`` [n], n at least 1, none of them NaN.

    ``rows`` [n] are the row numbers from the lowest value to the highest, ``first`` [g] the place in that order where
    each group of equal values starts.
    """

    def __init__(self, values: Array) -> None:
        self.rows: Int = np.argsort(values)
        ordered = values[self.rows]
        self.first: Int = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))

    @cached_property
    def counts(self) -> Int:
        """How many rows each group of equal values has, [g]."""
        return np.diff(self.first, append=self.rows.size)

    def midsums(self, ordered: Float) -> Float:
        """For each place [n] the sum of what lies below it, equal values (itself too) counted half.

        ``ordered`` [n] is what to sum, in the order of the rows.
        """
        total = np.cumsum(ordered)
        if self.first.size == total.size:
            total -= ordered / 2
            return total
        upto = total[self.first + self.counts - 1]
        below = np.append(0.0, upto[:-1])
        below += upto
        below /= 2
        return np.repeat(below, self.counts)

    def ranks(self) -> Float:
        """The rank of each row [n], from 1; equal values share their mean rank."""
        found = np.empty(self.rows.size)
        found[self.rows] = np.repeat(self.first + (self.counts + 1) / 2, self.counts)
        return found
