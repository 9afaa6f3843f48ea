"""Checks of printed figures: the values that a figure can stand for, and whether another figure follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from reports import style

#: A printed figure; the decimals it is written with tell how exact it is.
Printed = Decimal | int

#: What the ESMC paper calls a model where it is not what we call it.
PAPER_NAMES = {"esm2_chain": "ESMM²"}


class Verdict(StrEnum):
    """How a printed figure stands to the ones that it is computed from."""

    FOLLOWS = "follows"
    #: Only if digits that are not printed happen to fit.
    WITHIN = "follows within rounding"
    #: Cutting the computed value gives it, rounding does not.
    CUT = "cut, not rounded"
    NOT = "does not follow"


class Range(NamedTuple):
    """A number as printed or computed from printed ones, and the lowest and highest value that it can stand for."""

    point: Fraction
    low: Fraction
    high: Fraction


class Entry(NamedTuple):
    """One printed figure or statement that was checked; ``found`` is None for a statement."""

    where: str
    printed: str
    recomputed: str
    verdict: Verdict
    remark: str
    found: Range | None


def unit(printed: Printed) -> Fraction:
    """One unit of the last printed place: 0.01 for 1.20, a million for 61e6."""
    return Fraction(10) ** (0 if isinstance(printed, int) else int(printed.as_tuple().exponent))


def exact(printed: Printed) -> Range:
    """A figure that stands for itself alone, such as a full count."""
    return Range(Fraction(printed), Fraction(printed), Fraction(printed))


def rounded(printed: Printed) -> Range:
    """Everything that rounds to it: half a unit of its last place to both sides."""
    value, half = Fraction(printed), unit(printed) / 2
    return Range(value, value - half, value + half)


def rounded_or_cut(printed: Printed) -> Range:
    """Everything that rounds to it or is cut to it."""
    value = Fraction(printed)
    return Range(value, value - unit(printed) / 2, value + unit(printed))


def combine(function: Callable[..., Fraction], *ranges: Range) -> Range:
    """A function of numbers, over all that they can stand for; it must rise or fall in each of them throughout."""
    corners = [function(*corner) for corner in product(*((found.low, found.high) for found in ranges))]
    return Range(function(*(found.point for found in ranges)), min(corners), max(corners))


def mean(ranges: Sequence[Range]) -> Range:
    points, lows, highs = zip(*ranges, strict=True)
    return Range(*(sum(values, Fraction()) / len(ranges) for values in (points, lows, highs)))


def gain(new: Range, old: Range) -> Range:
    """Relative increase in percent."""
    return combine(lambda a, b: 100 * (a / b - 1), new, old)


def difference(first: Range, second: Range) -> Range:
    return combine(lambda a, b: a - b, first, second)


def can_exceed(first: Range, second: Range) -> bool:
    """Whether values that the two stand for are in this order."""
    return first.high > second.low


def judge(printed: Printed, found: Range) -> Verdict:
    """Whether a printed figure follows. What the figures give as they are printed goes first."""
    value, one = Fraction(printed), unit(printed)
    low, high = value - one / 2, value + one / 2
    if low <= found.point <= high:
        return Verdict.FOLLOWS
    if value <= found.point < value + one:
        return Verdict.CUT
    if found.low <= high and found.high >= low:
        return Verdict.WITHIN
    if found.low < value + one and found.high >= value:
        return Verdict.CUT
    return Verdict.NOT


@dataclass
class Check:
    """A property that some figures of a table must have, and what came of it."""

    paper: str
    table: str
    what: str
    #: Why it must hold, printed above the entries that do not.
    why: str
    entries: list[Entry] = field(default_factory=list)

    def number(self, where: str, printed: Printed, found: Range, unit_name: str = "", remark: str = "") -> None:
        """Check a printed figure against what others give for it."""
        verdict = judge(printed, found)
        if verdict is Verdict.NOT and judge(printed, combine(lambda value: 10 * value, found)) is not Verdict.NOT:
            remark = remark or "the digits are right, the decimal point is one place off"
        places = 1 + max(0, 0 if isinstance(printed, int) else -int(printed.as_tuple().exponent))
        text = show(found, places)
        self.entries.append(Entry(where, f"{printed}{unit_name}", f"{text}{unit_name}", verdict, remark, found))

    def statement(self, where: str, printed: str, recomputed: str, holds: bool, remark: str = "") -> None:
        """Check what the paper says in words."""
        verdict = Verdict.FOLLOWS if holds else Verdict.NOT
        self.entries.append(Entry(where, printed, recomputed, verdict, remark, None))

    def count(self, verdict: Verdict) -> int:
        return sum(entry.verdict is verdict for entry in self.entries)


def show(found: Range, places: int) -> str:
    """``0.068 (0.067 to 0.070)``; the value alone where there is nothing between the two ends."""
    point, low, high = (f"{float(value):.{places}f}" for value in found)
    return point if low == high else f"{point} ({low} to {high})"


def auc_text(found: Range) -> str:
    return f"{float(found.point):.5f}"


def sides(first: Range, second: Range) -> str:
    return f"{auc_text(first)} against {auc_text(second)}"


def paper_name(model: str) -> str:
    """The name of a model in the ESMC paper."""
    return PAPER_NAMES.get(model, style.title(model))
