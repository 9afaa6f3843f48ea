"""Mean negative log-likelihood of 0/1 labels, in nats."""

from __future__ import annotations

import numpy as np

from bench.metrics._arrays import Array, positive, require_probabilities


def log_loss(probabilities: Array, labels: Array) -> float:
    """Log loss of ``probabilities`` [n] against ``labels`` [n], computed in float64, nothing clamped.

    A probability of exactly 0 for a positive (or 1 for a negative) costs infinity. Float32 rounds to 1 everything
    above 1 - 3e-8, so give float64 made from log-probabilities, or those themselves to :func:`log_loss_from_logs`.

    Returns:
        NaN without rows or where a probability is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or a probability lies outside [0, 1].
    """
    require_probabilities(probabilities)
    is_positive = positive(labels, probabilities)
    if not labels.size:
        return float("nan")
    exact = probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        of_positives = np.log(exact[is_positive])
        chosen = np.log1p(np.negative(exact, out=exact), out=exact)
    chosen[is_positive] = of_positives
    return float(-chosen.mean())


def log_loss_from_logs(log_p: Array, log_1mp: Array, labels: Array) -> float:
    """Log loss from log p [n] and log(1 - p) [n]: finite wherever those are, also where p rounds to 0 or 1.

    Returns:
        NaN without rows or where the chosen log-probability is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or a log-probability is above 0.
    """
    is_positive = positive(labels, log_p, log_1mp)
    if not labels.size:
        return float("nan")
    chosen = np.where(is_positive, log_p, log_1mp)
    if (chosen > 0).any():
        raise ValueError("log-probabilities must be at most 0, but others were found.")
    return float(-chosen.mean(dtype=np.float64))
