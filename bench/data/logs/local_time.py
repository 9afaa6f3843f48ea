"""Local days and hours of epoch seconds in SQL, with the changes of a time zone's offset in the range of a log."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta

DAY = 86_400
_EPOCH = date(1970, 1, 1)


def offsets(zone: str, first: int, last: int) -> list[tuple[int, int]]:
    """(from second, offset in seconds) of a zone in [first, last]; the first entry holds at ``first``."""
    place = zoneinfo.ZoneInfo(zone)

    def offset(second: int) -> int:
        delta = datetime.fromtimestamp(second, UTC).astimezone(place).utcoffset() or timedelta()
        return int(delta.total_seconds())

    found = [(first, offset(first))]
    for start in range(first, last + 1, DAY):
        stop = min(start + DAY, last)
        if offset(stop) == found[-1][1]:
            continue
        low, high = start, stop
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == found[-1][1] else (low, middle)
        found.append((high, offset(high)))
    return found


def local_sql(column: str, changes: list[tuple[int, int]]) -> str:
    """SQL: epoch seconds of ``column`` shifted so that they read as local time."""
    later = "".join(f" WHEN {column} >= {second} THEN {offset}" for second, offset in reversed(changes[1:]))
    first = changes[0][1]
    return f"({column} + CASE{later} ELSE {first} END)" if later else f"({column} + {first})"


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def day_of(number: int) -> date:
    """The day that is ``number`` days after 1970-01-01."""
    return _EPOCH + timedelta(days=number)
