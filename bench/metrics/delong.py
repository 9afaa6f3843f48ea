"""Standard errors of an AUC from the influence of each row (DeLong, DeLong and Clarke-Pearson, 1988)."""

from __future__ import annotations

import numpy as np

from bench.metrics._arrays import Array, Float, positive, soft
from bench.metrics._order import Order


def influence(scores: Array, labels: Array) -> tuple[float, Float]:
    """The AUC (ties half) and the influence [n] of each row on it, for 0/1 labels or true probabilities.

    With labels p, AUC = Σ p_i (1 - p_j) K(s_i, s_j) / Σ p_i (1 - p_j) over the pairs of two rows, with K = 1, 1/2, 0
    where row i scores higher, the same, lower. For 0/1 labels that is the AUC. For probabilities it is the expected
    number of pairs in right order over the expected number of pairs, when labels are drawn independently: the AUC
    without the noise of the draw.

    The influence of a row is the derivative of this ratio by the row's weight; influences sum to 0. For 0/1 labels
    with m positives and n negatives it is DeLong's: (V10 - AUC) / m of a positive, V10 the share of negatives
    below it, (V01 - AUC) / n of a negative, V01 the share of positives above it.

    Args:
        scores: [n], any order-preserving score.
        labels: [n], in [0, 1].

    Returns:
        NaNs where there is no pair (a class is missing) or a score is NaN.

    Raises:
        ValueError: shapes differ or a label lies outside [0, 1].
    """
    weights = soft(labels, scores)
    total, total_q = float(weights.sum()), float((1 - weights).sum())
    if weights.size < 2 or not total > 0 or not total_q > 0 or np.isnan(scores).any():
        return float("nan"), np.full(weights.size, np.nan)
    order = Order(scores)
    p = weights[order.rows]
    q = 1 - p
    below_p, below_q = order.midsums(p), order.midsums(q)
    of_itself = float(p @ q)
    pairs = total * total_q - of_itself
    area = (float(p @ below_q) - of_itself / 2) / pairs
    # p · (below_q - area · Q) + q · ((P - below_p) - area · P) - p · q · (1 - 2 area), without new arrays
    below_q -= area * total_q
    below_q *= p
    np.subtract(total * (1 - area), below_p, out=below_p)
    below_p *= q
    below_q += below_p
    p *= q
    p *= 1 - 2 * area
    below_q -= p
    below_q /= pairs
    found = np.empty(weights.size)
    found[order.rows] = below_q
    return area, found


def variance(influences: Float, labels: Array) -> float:
    """DeLong's variance of an AUC, for independent rows: var(V10) / m + var(V01) / n.

    Returns:
        NaN where a class has fewer than two rows.
    """
    is_positive = positive(labels, influences)
    total = 0.0
    for part in (influences[is_positive], influences[~is_positive]):
        if part.size < 2:
            return float("nan")
        total += part.size / (part.size - 1) * float(np.square(part).sum())
    return total


def cluster_variance(sums: Float) -> float:
    """Variance of a statistic whose rows depend on each other within users: U / (U - 1) · Σ s².

    Args:
        sums: [U], influences summed within each user.

    Returns:
        NaN for fewer than two users.
    """
    users = sums.size
    return users / (users - 1) * float(np.square(sums).sum()) if users > 1 else float("nan")
