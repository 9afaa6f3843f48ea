"""AUC within each user, averaged over users."""

from __future__ import annotations

import numpy as np

from bench.metrics._arrays import Array, Bool, Float, Int, positive


def gauc(scores: Array, labels: Array, users: Array, weights: Array | None = None) -> float:
    """The weighted mean of the users' AUCs (ESM² Eq. 13; ties count half, see :func:`bench.metrics.auc.auc`).

    Users with one class only are left out, since they have no AUC.

    Args:
        scores: [n], any order-preserving score.
        labels: [n], 0 or 1.
        users: [n], the user of each row.
        weights: [n], not negative; a user weighs the sum over their rows: ones for weighting by impressions, the
            click labels for weighting by clicks. None weighs every user 1, as the ESM² paper does.

    Returns:
        NaN where no user has both classes, all of those weigh 0, or a score is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or a weight is negative.
    """
    is_positive = positive(labels, scores, users, *([] if weights is None else [weights]))
    if weights is not None and (weights < 0).any():
        raise ValueError("weights must not be negative, but some are.")
    if np.isnan(scores).any() or not users.size:
        return float("nan")

    user = _codes(users)
    n_users = int(user.max()) + 1
    both, areas = _areas(scores, is_positive, user, n_users)
    weight = np.ones(n_users) if weights is None else np.bincount(user, weights=weights, minlength=n_users)
    total = weight[both].sum()
    return float((weight[both] * areas).sum() / total) if total > 0 else float("nan")


def gauc_by_user(scores: Array, labels: Array, users: Array, n_users: int) -> tuple[float, Float]:
    """The GAUC with all users weighing 1 and the influence [n_users] of each user on it.

    What :meth:`bench.metrics.compare.Sample.of` takes, as of an AUC. GAUC = Σ b a / Σ b with b = 1 for the B users of
    both classes, 0 for others, so one of AUC a has the influence (a - GAUC) / B and one of a single class 0.

    Args:
        users: [n], numbers from 0 to ``n_users`` - 1.

    Returns:
        NaNs as influences where the value is NaN, and with one user of both classes, which tells no spread.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or a user lies outside its range.
    """
    is_positive = positive(labels, scores, users)
    if users.size and not 0 <= int(users.min()) <= int(users.max()) < n_users:
        raise ValueError(
            f"users must be numbers from 0 to {n_users - 1}, but {users.min()} to {users.max()} are there."
        )
    influences = np.full(n_users, np.nan)
    if np.isnan(scores).any() or not users.size:
        return float("nan"), influences
    both, areas = _areas(scores, is_positive, users.astype(np.int64, copy=False), n_users)
    if not areas.size:
        return float("nan"), influences
    value = float(areas.sum() / areas.size)
    if areas.size > 1:
        influences[:] = 0
        influences[both] = (areas - value) / areas.size
    return value, influences


def _areas(scores: Array, is_positive: Bool, user: Array, n_users: int) -> tuple[Bool, Float]:
    """Which users [n_users] have both classes, and the AUC of each of those in their order."""
    n_pos = np.bincount(user[is_positive], minlength=n_users)
    n_neg = np.bincount(user, minlength=n_users) - n_pos
    both: Bool = (n_pos > 0) & (n_neg > 0)
    n_pos, n_neg = n_pos * both, n_neg * both

    # One integer key that sorts by user, then by score: the AUC of all users is one search in sorted keys.
    rows = both[user]
    key = user[rows].astype(np.int64)
    key <<= 32
    key += _ordinals(scores[rows])
    positives, negatives = np.sort(key[is_positive[rows]]), np.sort(key[~is_positive[rows]])
    twice_below = np.searchsorted(negatives, positives, side="left") + np.searchsorted(negatives, positives, "right")
    owner = np.repeat(np.arange(n_users), n_pos)
    twice_below -= 2 * (np.cumsum(n_neg) - n_neg)[owner]
    wins = np.bincount(owner, weights=twice_below, minlength=n_users)[both]
    return both, np.asarray(wins / (2 * n_pos[both] * n_neg[both]))


def _ordinals(scores: Array) -> Int:
    """Integers [n] of 32 bits that are ordered, and equal, as the scores [n] are. Float32 needs no sort."""
    if scores.dtype != np.float32:
        return np.unique(scores, return_inverse=True)[1]
    bits = (scores + np.float32(0)).view(np.int32)  # -0 becomes 0
    return np.asarray(np.where(bits < 0, np.bitwise_xor(bits, np.int32(0x7FFFFFFF)), bits))


def _codes(users: Array) -> Array:
    """Small non-negative integers [n], equal where the users are equal. Integers close together need no sort."""
    if np.can_cast(users.dtype, np.int64):
        lowest, highest = int(users.min()), int(users.max())
        if highest - lowest < 4 * users.size:
            return np.subtract(users, lowest, dtype=np.int64) if lowest else users
    return np.unique(users, return_inverse=True)[1]
