"""Exposures by local day and hour."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import duckdb
import numpy as np

from bench.data.calibration import DAY
from bench.data.describe.results import Day, Steps, Times
from bench.data.logs.local_time import day_of, local_sql, offsets
from bench.data.sql import fetch
from bench.data.tables import Manifest


def zone_of(manifest: Manifest) -> str:
    """The time zone that the days of a log are counted in."""
    return str(manifest.settings.get("time_zone") or "UTC")


def local_seconds(
    connection: duckdb.DuckDBPyConnection, manifest: Manifest, tables: Iterable[str]
) -> Callable[[str], str]:
    """A function that gives SQL of the local second of a column of epoch seconds, for the times in ``tables``."""
    found = [connection.execute(f"SELECT min(time), max(time) FROM {table}").fetchall()[0] for table in tables]
    known = [int(second) for range_ in found for second in range_ if second is not None]
    changes = offsets(zone_of(manifest), min(known), max(known))
    return lambda column: local_sql(column, changes)


def times_of(connection: duckdb.DuckDBPyConnection, manifest: Manifest) -> Times:
    """Days and hours, from the table ``per_hour``."""
    found = fetch(connection, "SELECT * FROM per_hour ORDER BY hour, split")
    days: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(Steps.model_fields, 0))
    splits: dict[int, Counter[str]] = defaultdict(Counter)
    hours = np.zeros(24, dtype=np.int64)
    ends: dict[int, tuple[int, int]] = {}
    for row in range(len(found["hour"])):
        hour, n = int(found["hour"][row]), int(found["exposures"][row])
        day = hour // 24
        hours[hour % 24] += n
        splits[day][str(found["split"][row])] += n
        for step in Steps.model_fields:
            days[day][step] += int(found[step][row])
        first, last = int(found["first"][row]) - day * DAY, int(found["last"][row]) - day * DAY
        before = ends.get(day, (first, last))
        ends[day] = min(before[0], first), max(before[1], last)
    known: list[Any] = [Day(day=day_of(day), split=splits[day].most_common(1)[0][0], **days[day]) for day in days]
    firsts, lasts = zip(*ends.values(), strict=True)
    first, last = connection.execute("SELECT min(time), max(time) FROM exposures").fetchall()[0]
    return Times(
        time_zone=zone_of(manifest),
        days=tuple(known),
        hours=tuple(int(n) for n in hours),
        first_second=firsts[0],
        last_second=lasts[-1],
        usual_first_second=int(np.median(firsts)),
        usual_last_second=int(np.median(lasts)),
        span=(int(first), int(last)),
    )
