"""The gap between conversion and its chain-rule estimate (ESMC Eq. 7 to 10, 15 and 16), on simulated data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.metrics._arrays import Array, Float, require_probabilities, soft, sum_by_user

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Gap:
    """True and estimated conversion after a click in one case, and the terms of the chain rule that they consist of.

    ``truth`` = E[R] = ``truth_left`` · ``truth_right``, ``estimate`` = E[R̂] = ``estimate_left`` · ``estimate_right``,
    ``gap`` = truth - estimate (Eq. 9). ``…_sums`` [U] are their influences summed by user:
    :func:`bench.metrics.delong.cluster_variance` of them is the variance over users, and
    ``Sample.of({seed: (found.gap, found.gap_sums), …})`` makes a sample of :mod:`bench.metrics.compare`.
    """

    truth: float
    estimate: float
    gap: float
    truth_left: float
    truth_right: float
    estimate_left: float
    estimate_right: float
    truth_sums: Float
    estimate_sums: Float
    gap_sums: Float


def gap(
    case: Literal["bad", "good"],
    p_click: Array,
    p_cart: Array,
    p_purchase: Array,
    cvr: Array,
    car: Array | None,
    users: Array,
    n_users: int,
) -> Gap:
    """The gap over the exposures of one case, every mean weighted by the true ``p_click`` (rates are per click).

    Bad case: the item lies in the user's cart from an earlier visit X₁. The cart has happened, so the right term of
    the truth, E_X₁[A/C], is 1 and the left one is E[R|A] = E[p_purchase] (Eq. 7). Good case: it does not, the right
    term is E[p_cart] and the left one E[p_purchase] / E[p_cart] (Eq. 10). The estimate takes the cart from the
    current visit in both: E[R̂] / E[Â] and E[Â] (Eq. 8). As in the paper, means of quotients are quotients of means.

    Args:
        case: which one.
        p_click, p_cart, p_purchase: [n], true probabilities, the last two given a click; ``p_cart`` is that of the
            current visit, so 0 in the bad case.
        cvr: [n], predicted purchase given a click.
        car: [n], predicted cart given a click, or None for models without it: terms of the estimate are NaN.
        users, n_users: [n], numbers from 0 to ``n_users`` - 1.

    Returns:
        NaNs without rows or clicks; NaN of what a prediction of NaN enters, and of left terms over a cart rate of 0.

    Raises:
        ValueError: the case is unknown, shapes differ, a probability lies outside [0, 1], a user lies outside, or
            ``p_cart`` is not 0 in the bad case.
    """
    if case not in ("bad", "good"):
        raise ValueError(f"case must be 'bad' or 'good', but got {case!r}.")
    predicted = [cvr] if car is None else [cvr, car]
    click, cart, purchase = (soft(column, p_click, users, *predicted) for column in (p_click, p_cart, p_purchase))
    for column in predicted:
        require_probabilities(column)
    if case == "bad" and cart.any():
        raise ValueError("p_cart must be 0 in the bad case, where the item is in the cart, but others were found.")

    total = float(click.sum())
    weights = click / total if total > 0 else np.full(click.size, NAN)

    def mean(values: Array) -> float:
        return float(weights @ values.astype(np.float64)) if total > 0 else NAN

    def sums(values: Array) -> Float:
        if not total > 0:
            return np.full(n_users, NAN)
        return sum_by_user(weights * (values - mean(values)), users, n_users)

    truth, estimate = mean(purchase), mean(cvr)
    truth_right = 1.0 if case == "bad" and total > 0 else mean(cart)
    estimate_right = NAN if car is None else mean(car)
    truth_sums, estimate_sums = sums(purchase), sums(cvr)
    return Gap(
        truth=truth,
        estimate=estimate,
        gap=truth - estimate,
        truth_left=_ratio(truth, truth_right),
        truth_right=truth_right,
        estimate_left=_ratio(estimate, estimate_right),
        estimate_right=estimate_right,
        truth_sums=truth_sums,
        estimate_sums=estimate_sums,
        gap_sums=truth_sums - estimate_sums,
    )


def _ratio(whole: float, part: float) -> float:
    return whole / part if part != 0 else NAN
