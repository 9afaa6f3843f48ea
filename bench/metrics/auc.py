"""Area under the ROC curve, exact (no bins)."""

from __future__ import annotations

from bench.metrics._arrays import Array, positive
from bench.metrics._ranked import Ranked


def auc(scores: Array, labels: Array) -> float:
    """The share of (positive, negative) pairs in which the positive scores higher; a tie counts half.

    ESMC Eq. 20 and ESM² Eq. 12 print ``I(p > n)``, by which a tie counts nothing: a constant score would get
    0, not 0.5. Without ties the two are equal. Half is the Mann-Whitney statistic and what scikit-learn gives.

    Args:
        scores: [n], any order-preserving score.
        labels: [n], 0 or 1.

    Returns:
        NaN where a class is missing or a score is NaN.

    Raises:
        ValueError: shapes differ or a label is neither 0 nor 1.
    """
    return Ranked(scores, positive(labels, scores)).auc()
