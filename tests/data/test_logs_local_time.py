"""Local time in SQL against the zones themselves."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import duckdb
import pytest

from bench.data.logs.local_time import day_number, day_of, local_sql, offsets

FIRST, LAST = 1_700_000_000, 1_735_000_000


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_against_the_zone(zone: str) -> None:
    changes = offsets(zone, FIRST, LAST)
    rng = random.Random(0)
    seconds = [rng.randrange(FIRST, LAST) for _ in range(300)]
    seconds += [start + shift for start, _ in changes for shift in (-1, 0, 1) if FIRST <= start + shift <= LAST]
    found = duckdb.sql(f"SELECT {local_sql('t', changes)} FROM (SELECT unnest({seconds}) AS t)").fetchall()
    expected = [
        int(datetime.fromtimestamp(second, ZoneInfo(zone)).replace(tzinfo=UTC).timestamp()) for second in seconds
    ]
    assert [row[0] for row in found] == expected
    assert len(changes) == {"UTC": 1, "Asia/Kolkata": 1}.get(zone, 3)


def test_days() -> None:
    assert day_number(date(1970, 1, 2)) == 1
    assert day_of(day_number(date(2024, 2, 29))) == date(2024, 2, 29)
