"""Student's t for a sum of independent errors that are known from few observations each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtr, stdtrit

#: Differences and errors below this are rounding, not findings: equal orders of rows can differ in the last digits.
RESOLUTION = 1e-12


def welch(variances: Sequence[float], dofs: Sequence[float]) -> tuple[float, float]:
    """Standard error of a sum and its degrees of freedom, (Σ v)² / Σ (v² / dof) (Welch 1938, Satterthwaite 1946)."""
    total = math.fsum(variances)
    if math.isnan(total):
        return math.nan, math.nan
    spread = math.fsum((v / total) ** 2 / dof for v, dof in zip(variances, dofs, strict=True) if v > 0)
    return math.sqrt(total), 1 / spread if spread > 0 else math.inf


def quantile(dof: float, level: float) -> float:
    """Standard errors from the middle of a two-sided interval to its end.

    Raises:
        ValueError: the level does not lie between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but got {level}.")
    return float(stdtrit(dof, (1 + level) / 2))


def two_sided(difference: float, se: float, dof: float) -> float:
    """p-value of a difference of 0; 1 where both are 0, NaN of a difference without error or of NaN."""
    if se > RESOLUTION:
        return 2 * float(stdtr(dof, -abs(difference) / se))
    return 1.0 if abs(difference) <= RESOLUTION and se <= RESOLUTION else math.nan
