"""How a difference between two models is told: in a cell of a table, and in words."""

from __future__ import annotations

import math

from bench.metrics.compare import Contrast, Estimate
from reports.aucs import ALPHA
from reports.markdown import MISSING

#: What the marks of :func:`effect` mean, for the text above a table.
READING = f"""\
Differences are paired (same test users, same seeds), with their 95 % interval over test users and seeds; **bold** is
significant (p < {ALPHA} after Holm's correction over all differences of this exhibit)."""


def sign(contrast: Contrast | None) -> int:
    """1 or -1 where the first is significantly better or worse than the second, 0 where the data do not tell."""
    if contrast is None or not contrast.p_adjusted < ALPHA:
        return 0
    return 1 if contrast.difference > 0 else -1


def effect(contrast: Contrast | None, digits: int = 4) -> str:
    """``+0.0012 [-0.0003, +0.0027]``, bold where significant; "-" where it is unknown."""
    if contrast is None or math.isnan(contrast.difference):
        return MISSING
    text = f"{contrast.difference:+.{digits}f}"
    text = f"**{text}**" if sign(contrast) else text
    return text if math.isnan(contrast.lo) else f"{text} [{contrast.lo:+.{digits}f}, {contrast.hi:+.{digits}f}]"


def value(found: Estimate | None, digits: int = 4) -> str:
    """``0.7312 ± 0.0021``: a mean and half of its 95 % interval; "-" where it is unknown."""
    if found is None or math.isnan(found.mean):
        return MISSING
    mean = f"{found.mean:.{digits}f}"
    return mean if math.isnan(found.lo) else f"{mean} ± {(found.hi - found.lo) / 2:.{digits}f}"


def p_text(p: float) -> str:
    """``p = 0.03``, ``p < 0.001``."""
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def words(contrast: Contrast | None) -> str:
    """``better``, ``worse``, ``not distinguishable`` or ``not measured``, of the first against the second."""
    if contrast is None or math.isnan(contrast.difference):
        return "not measured"
    return {1: "better", -1: "worse", 0: "not distinguishable"}[sign(contrast)]
