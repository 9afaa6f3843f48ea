"""Sentences that exhibits with gains share."""

from __future__ import annotations

from collections.abc import Iterable

from bench.metrics.compare import Contrast
from reports import effects
from reports.gains.values import MEAN, OBSERVED, TRUE, Contrasts, Extra, Gain

#: What a sentence calls an AUC.
NAMES = OBSERVED | {TRUE[measure]: f"{name} against the truth" for measure, name in OBSERVED.items()}


def verdict(signs: Iterable[int]) -> str:
    """What comparisons say of a statement of the paper: 1 is significantly as it says, -1 significantly not."""
    found = list(signs)
    against, agreeing = found.count(-1), found.count(1)
    rest = "; the others are not significant" if 0 in found else ""
    if against:
        also = f" and agrees with it in {agreeing}" if agreeing else ""
        whole = "" if against == len(found) else f" in {against} of {len(found)} comparisons{also}{rest}"
        return f"This **contradicts** the paper{whole}."
    if not agreeing:
        return "The data neither confirm nor contradict the paper."
    return (
        f"This agrees with the paper in {agreeing} of {len(found)} comparisons{rest}."
        if rest
        else "This agrees with the paper."
    )


def limit_verdict(contrast: Contrast, least: float) -> str:
    """Whether a gain of more than ``least`` percent holds, by the interval."""
    if contrast.lo > least:
        return f"Our interval lies above {least:g} %. {verdict([1])}"
    if contrast.hi < least:
        return f"Our interval lies below {least:g} %. {size_verdict(contrast, inside=False)}"
    return f"Our interval holds {least:g} %. {verdict([0])}"


def size_verdict(contrast: Contrast, inside: bool) -> str:
    """Of a gain whose published size lies ``inside`` our interval or not."""
    sign = effects.sign(contrast)
    if sign > 0 and not inside:
        return "The direction agrees with the paper, the size **contradicts** it."
    return verdict([sign if inside else -1])


def percent(contrast: Contrast | None) -> str:
    """``+0.123 % [+0.100, +0.146]``, not bold."""
    text = effects.effect(contrast, 3).replace("**", "")
    head, space, rest = text.partition(" ")
    return f"{head} %{space}{rest}" if contrast is not None else "not measured"


def told(contrasts: Contrasts, key: Gain | Extra) -> str:
    """``+0.123 % [+0.100, +0.146], p = 0.01``: the mean over cities."""
    found = contrasts.get((key, MEAN))
    return percent(found) if found is None else f"{percent(found)}, {effects.p_text(found.p_adjusted)}"


def listed(names: Iterable[str]) -> str:
    """``A, B and C``; ``none`` of none."""
    *first, last = [*names] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
