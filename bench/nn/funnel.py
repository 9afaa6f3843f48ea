"""Probabilities of the funnel in log space: products and complements without clamping.

A probability p is kept as the pair (log p, log(1-p)). From a logit both are exact; a product or a mixture of
such pairs gives an exact pair again, so that no p is ever rounded to 0 or 1 before its logarithm is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class LogProb(NamedTuple):
    """log p and log(1-p), of the same shape."""

    yes: Tensor
    no: Tensor

    @classmethod
    def from_logit(cls, logit: Tensor) -> LogProb:
        """p = sigmoid(logit)."""
        return cls(F.logsigmoid(logit), F.logsigmoid(-logit))

    def times(self, other: LogProb) -> LogProb:
        """p q; the complement is (1-p) + p (1-q) (ESMC Eq. 13)."""
        return LogProb(self.yes + other.yes, torch.logaddexp(self.no, self.yes + other.no))

    def mix(self, if_yes: LogProb, if_no: LogProb) -> LogProb:
        """p q + (1-p) r: the law of total probability (ESM² Eq. 3)."""
        return LogProb(
            torch.logaddexp(self.yes + if_yes.yes, self.no + if_no.yes),
            torch.logaddexp(self.yes + if_yes.no, self.no + if_no.no),
        )

    def divide(self, whole: LogProb) -> LogProb:
        """p / w: the conditional probability of a part, given the whole that it lies in.

        Where p > w, which no part can be, it is clipped at 1: log p is 0 there, and log(1-p) is -inf.
        """
        yes = (self.yes - whole.yes).clamp_max(0.0)
        near_one = yes > -0.6931471805599453
        far, near = yes.masked_fill(near_one, -1.0), yes.masked_fill(~near_one, -0.5)
        return LogProb(yes, torch.where(near_one, (-near.expm1()).log(), (-far.exp()).log1p()))

    def cross_entropy(self, label: Tensor) -> Tensor:
        """-y log p - (1-y) log(1-p) per row, label 0 or 1 (ESMC Eq. 2)."""
        return -torch.where(label > 0, self.yes, self.no)

    def probability(self) -> Tensor:
        """p, at most 1 (rounding may leave log p a hair above 0)."""
        return self.yes.clamp_max(0.0).exp()
