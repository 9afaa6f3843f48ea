"""Numbers and times in the words of a description."""

from __future__ import annotations

from reports.markdown import MISSING

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def number(value: float | None) -> str:
    """``1,234``; "-" for none."""
    return MISSING if value is None else f"{value:,.0f}"


def percent(part: float | None, whole: float | None = 1.0, digits: int = 1) -> str:
    """``12.3 %``; "-" where there is nothing to take it of, ``< 0.1 %`` where it would print as 0."""
    if part is None or not whole:
        return MISSING
    share, least = 100 * part / whole, 10.0**-digits
    return f"< {least:.{digits}f} %" if 0 < share < least / 2 else f"{share:.{digits}f} %"


def duration(seconds: float) -> str:
    """``2.5 hours``, ``1 day``: in the largest unit that it has one of."""
    for size, unit in _UNITS:
        if seconds >= size:
            value = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{value} {unit}" if value == "1" else f"{value} {unit}s"
    return "0 seconds"


def rough(low: float, high: float) -> str:
    """``1 – 6 M``: two numbers in millions or thousands."""
    size, unit = (1e6, " M") if high >= 1e6 else (1e3, " k") if high >= 1e3 else (1.0, "")
    return f"{low / size:,.4g} – {high / size:,.4g}{unit}"


def plural(count: int, what: str) -> str:
    """``1 day``, ``2 days``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
