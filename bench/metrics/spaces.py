"""Sample spaces, and which probability is measured against which label over which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from bench.core.errors import unknown
from bench.metrics._arrays import Array, Bool, Float

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


def mask(space: str, labels: Mapping[str, Array]) -> Bool:
    """The rows [n] of a sample space.

    Raises:
        UserError: the sample space is unknown.
    """
    if space not in SPACES:
        raise unknown("sample space", space, SPACES)
    required = SPACES[space]
    if required is None:
        return np.ones(len(labels["click"]), dtype=np.bool_)
    label, value = required
    return np.asarray(labels[label] == value)


@dataclass(frozen=True)
class Target:
    """What a probability predicts: that all ``events`` happen, for the rows of each of ``spaces``.

    ``truth`` names the true probabilities whose product it estimates.
    """

    events: tuple[str, ...]
    spaces: tuple[str, ...]
    truth: tuple[str, ...]

    def label(self, labels: Mapping[str, Array]) -> Bool:
        """1 [n] where all events happened."""
        return reduce(np.logical_and, (np.asarray(labels[event] == 1) for event in self.events))

    def true_probability(self, truth: Mapping[str, Array]) -> Float:
        """The probability [n] that a perfect model gives; ``truth`` holds p_cart and p_purchase given a click."""
        first, *others = (truth[name] for name in self.truth)
        return reduce(np.multiply, others, np.asarray(first, dtype=np.float64))


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
