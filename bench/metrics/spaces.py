"""Sample spaces, and which probability is measured against which label over which of them.

Columns are numpy arrays or torch tensors; what is made of them is of the same kind.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bench.core.errors import unknown
from bench.metrics._arrays import Array

if TYPE_CHECKING:
    from torch import Tensor

Column = TypeVar("Column", Array, "Tensor")

#: Sample space → the label that its rows have, and which; ``exposed`` takes all rows. ``unclicked`` is for measures
#: against the truth: nothing was observed there.
SPACES: dict[str, tuple[str, int] | None] = {
    "exposed": None,
    "clicked": ("click", 1),
    "unclicked": ("click", 0),
    "carted": ("cart", 1),
}

#: Labels that metrics read, as in the funnel tables.
LABELS: tuple[str, ...] = ("click", "cart", "purchase")


def mask(space: str, labels: Mapping[str, Column]) -> Column:
    """The rows [n] of a sample space, as booleans.

    Raises:
        UserError: the sample space is unknown.
    """
    if space not in SPACES:
        raise unknown("sample space", space, SPACES)
    required = SPACES[space]
    if required is None:
        return labels["click"] >= 0
    label, value = required
    chosen: Column = labels[label] == value
    return chosen


@dataclass(frozen=True)
class Target:
    """What a probability predicts: that all ``events`` happen, for the rows of each of ``spaces``.

    ``truth`` names the true probabilities whose product it estimates.
    """

    events: tuple[str, ...]
    spaces: tuple[str, ...]
    truth: tuple[str, ...]

    def label(self, labels: Mapping[str, Column]) -> Column:
        """True [n] where all events happened."""
        return reduce(operator.and_, (labels[event] == 1 for event in self.events))

    def true_probability(self, truth: Mapping[str, Column]) -> Column:
        """The probability [n] that a perfect model gives, as float64.

        ``truth`` holds p_cart and p_purchase given a click.
        """
        first, *others = (truth[name] for name in self.truth)
        exact = first.astype(np.float64) if isinstance(first, np.ndarray) else first.double()
        return reduce(operator.mul, others, exact)


TARGETS: dict[str, Target] = {
    "ctr": Target(("click",), ("exposed",), ("p_click",)),
    "cvr": Target(("purchase",), ("clicked",), ("p_purchase",)),
    "car": Target(("cart",), ("clicked",), ("p_cart",)),
    "ctcvr": Target(("click", "purchase"), ("exposed",), ("p_click", "p_purchase")),
    "ctcar": Target(("click", "cart"), ("exposed",), ("p_click", "p_cart")),
}


def target(probability: str) -> Target:
    """The target of a probability.

    Raises:
        UserError: the probability is unknown.
    """
    if probability not in TARGETS:
        raise unknown("probability", probability, TARGETS)
    return TARGETS[probability]
