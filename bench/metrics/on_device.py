"""The metrics of rows that lie on an accelerator, computed there by torch.

Rows are sorted once. What is counted is counted in int64, so AUCs are exact; probabilities are summed in float64, in an
order that is the same each time. The host waits for a few numbers of each metric, never for a row or a user.
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.metrics._arrays import NOT_LABELS, NOT_PROBABILITIES, require_one_shape
from bench.metrics.ece import BINS


class RowsOnDevice:
    """As :class:`bench.metrics.evaluate.Rows`: ``p`` [n], ``y`` [n] (bool) and ``users`` [n], tensors of one device."""

    def __init__(self, p: Tensor, y: Tensor, users: Tensor) -> None:
        require_one_shape(p, y, users)
        self.p, self.y, self.users = p, y, users
        found = torch.stack([y.sum(), p.isnan().sum(), ((p < 0) | (p > 1)).sum()]).tolist()
        self.n = len(p)
        self.n_pos: int = found[0]
        self.has_nan, self.has_others = found[1] > 0, found[2] > 0

    @staticmethod
    def positive(labels: Tensor) -> Tensor:
        """As :func:`bench.metrics._arrays.positive`."""
        require_one_shape(labels)
        found = labels == 1
        if not (found | (labels == 0)).all():
            raise ValueError(NOT_LABELS)
        return found

    @cached_property
    def ordered(self) -> _Ordered:
        p, order = torch.sort(self.p)
        return _Ordered(p, self.y[order], self.users[order])

    def auc(self) -> float:
        """As :func:`bench.metrics.auc.auc`."""
        if self.has_nan or not 0 < self.n_pos < self.n:
            return math.nan
        p, y, _ = self.ordered
        twice_wins = _Ties(y, _starts(p)).twice_wins.sum().item()
        return twice_wins / (2 * self.n_pos * (self.n - self.n_pos))

    def gauc(self) -> float:
        """As :func:`bench.metrics.gauc.gauc`, every user weighing 1."""
        if self.has_nan or not 0 < self.n_pos < self.n:
            return math.nan
        users, order = torch.sort(self.ordered.users, stable=True)  # within a user the order stays that of p
        starts = _starts(users, self.ordered.p[order])
        ties = _Ties(self.ordered.y[order], starts)
        of_user = _starts(users[starts[:-1]])  # where the ties of each user start
        positives, negatives = ties.positives[of_user].diff(), ties.negatives[of_user].diff()
        # Negatives of earlier users lie below in this order, and are no pairs.
        twice_wins = _before(ties.twice_wins)[of_user].diff() - 2 * positives * ties.negatives[of_user[:-1]]
        pairs = positives * negatives
        areas = torch.where(pairs > 0, twice_wins.double() / (2 * pairs), 0.0)
        total, count = torch.stack([areas.sum(), (pairs > 0).sum().double()]).tolist()
        return float(total / count) if count else math.nan

    def log_loss(self) -> float:
        """As :func:`bench.metrics.log_loss.log_loss`."""
        self._require_probabilities()
        exact = self.p.double()
        return float(-torch.where(self.y, exact.log(), (-exact).log1p()).mean())

    def ece(self) -> float:
        """As :func:`bench.metrics.ece.ece`."""
        self._require_probabilities()
        if not self.n or self.has_nan:
            return math.nan
        p, y, _ = self.ordered
        full = -(-torch.arange(1, BINS + 1, device=p.device) * self.n // BINS)
        ends = pad(torch.searchsorted(p, p[full - 1], right=True), (1, 0))
        expected = [p[start:end].sum(dtype=torch.float64) for start, end in itertools.pairwise(ends.tolist())]
        return float((torch.stack(expected) - _before(y)[ends].diff()).abs().sum()) / self.n

    def pcoc(self) -> float:
        """As :func:`bench.metrics.pcoc.pcoc`."""
        self._require_probabilities()
        return float(self.p.sum(dtype=torch.float64)) / self.n_pos if self.n_pos else math.nan

    def _require_probabilities(self) -> None:
        if self.has_others:
            raise ValueError(NOT_PROBABILITIES)


class _Ordered(NamedTuple):
    """Rows from the lowest probability to the highest, each column [n]."""

    p: Tensor
    y: Tensor
    users: Tensor


class _Ties:
    """Rows in order, ``y`` [n], whose g groups of equal values begin at ``starts`` [g + 1], the last of which is n.

    ``positives`` and ``negatives`` [g + 1] count the rows before each start, ``twice_wins`` [g] the pairs of a positive
    of the group and a negative before it, twice, and of one in the group, once.
    """

    def __init__(self, y: Tensor, starts: Tensor) -> None:
        self.positives = _before(y)[starts]
        self.negatives = starts - self.positives
        self.twice_wins = self.positives.diff() * (self.negatives[:-1] + self.negatives[1:])


def _starts(*columns: Tensor) -> Tensor:
    """Where each of the g runs of equal rows of ``columns`` [n] starts, and n behind them, [g + 1]; n at least 1."""
    differs = [column[1:] != column[:-1] for column in columns]
    inner = torch.stack(differs).any(0).nonzero().flatten() + 1
    return pad(pad(inner, (1, 0)), (0, 1), value=len(columns[0]))


def _before(values: Tensor) -> Tensor:
    """The sum of what is before each place of ``values`` [n], of integers or booleans, and of all, [n + 1]."""
    return pad(values.cumsum(0), (1, 0))
