"""When users come and how much they see: visits that add up to the city's exposures exactly.

Visits of the warm-up come in addition, before the first day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.data.simulation.settings import DAY, City, Floats, Ints

#: Visits start at least this long before midnight, so that a visit with all its events lies in one day.
LAST_START = 900
#: No visit is longer: 48 exposures and a search after them take less than ``LAST_START`` seconds.
MAX_LENGTH = 48
MIN_LENGTH = 4
#: Weight of each hour in the visits: lunch and dinner, as of a takeaway platform (judgement).
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 7, 8, 8, 12, 18, 14, 8, 6, 6, 9, 16, 16, 10, 8, 7, 5, 3], dtype=np.float64)


class VisitSettings(Protocol):
    """The knobs that visits depend on."""

    @property
    def days(self) -> int: ...
    @property
    def warmup_days(self) -> int: ...
    @property
    def visit_length(self) -> float: ...
    @property
    def visit_length_shape(self) -> float: ...
    @property
    def visit_gap(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def pool(self) -> int: ...
    @property
    def block_users(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Quota:
    """What falls to each block of users, all [blocks]; ``warmup_…`` before the first day, the others from it on."""

    users: Ints
    visits: Ints
    exposures: Ints
    warmup_visits: Ints
    warmup_exposures: Ints


@dataclass(frozen=True, eq=False)
class Visits:
    """Visits of a block ordered by user and time, all [V]: ``user`` within the block, ``turn`` (0 for a user's
    first), ``start`` in seconds since the first day (below 0 in the warm-up), ``length`` in exposures."""

    user: Ints
    turn: Ints
    start: Ints
    length: Ints

    @property
    def main(self) -> NDArray[np.bool_]:
        """Whether each visit [V] lies on one of the city's days, not in the warm-up."""
        return self.start >= 0


def quota(settings: VisitSettings, city: City) -> Quota:
    """Users, visits and exposures of every block: shares of the city's totals, whole numbers that add up.

    The warm-up has as many visits per day as the days after it, rounded per block, of the same mean length.
    """
    blocks = -(-city.users // settings.block_users)
    bounds = np.minimum(np.arange(blocks + 1) * settings.block_users, city.users)
    total = max(1, round(city.exposures / mean_length(settings, city)))
    visits = np.diff(total * bounds // city.users)
    exposures = np.diff(city.exposures * bounds // city.users)
    warmup_visits = np.rint(visits * settings.warmup_days / settings.days).astype(np.int64)
    return Quota(
        users=np.diff(bounds),
        visits=visits,
        exposures=exposures,
        warmup_visits=warmup_visits,
        warmup_exposures=exposures * warmup_visits // np.maximum(visits, 1),
    )


def mean_length(settings: VisitSettings, city: City) -> float:
    """Mean exposures per visit: ``visit_length``, or less where a user's pool is small."""
    return min(settings.visit_length, 0.6 * min(settings.pool, settings.window, city.items))


def draw_visits(
    settings: VisitSettings,
    visit_rate: Floats,
    days: int,
    n: int,
    exposures: int,
    longest: int,
    rng: Generator,
    least: int = 0,
    hours: Floats = HOURS,
) -> Visits:
    """``n`` visits in ``days`` with ``exposures`` in all, none longer than ``longest``, given to users by rate [U].

    Every user has ``least`` visits first; ``hours`` [24] weighs the hours of the day.
    """
    count = least + rng.multinomial(n - least * len(visit_rate), _shares(visit_rate))
    user = np.repeat(np.arange(len(visit_rate)), count)
    first = np.repeat(np.cumsum(count) - count, count)
    turn = np.arange(n) - first
    start = rng.integers(0, days, n) * DAY
    start += rng.choice(24, n, p=hours / hours.sum()) * 3600 + rng.integers(0, 3600, n)
    start = start[np.lexsort((start, user))]
    start = _spread(start, user, turn, np.repeat(count, count), settings.visit_gap, days * DAY)
    return Visits(user, turn, start, _lengths(settings, n, exposures, min(longest, MAX_LENGTH), rng))


def preceded(main: Visits, warmup: Visits, days: int) -> Visits:
    """``main`` with the visits of ``warmup``, drawn over ``days``, before it."""
    user = np.concatenate((warmup.user, main.user))
    start = np.concatenate((warmup.start - days * DAY, main.start))
    order = np.lexsort((start, user))
    user = user[order]
    turn = np.arange(len(user)) - np.searchsorted(user, user)
    return Visits(user, turn, start[order], np.concatenate((warmup.length, main.length))[order])


def _shares(weights: Floats) -> Floats:
    weights = weights.astype(np.float64)
    shares: Floats = weights / weights.sum()
    return shares


def _spread(start: Ints, user: Ints, turn: Ints, count: Ints, gap: int, horizon: int) -> Ints:
    """Move starts of the same user apart by ``gap`` seconds, keep them before ``horizon`` and off midnight."""
    apart = user * (4 * horizon) + start - gap * turn
    later = np.maximum.accumulate(apart) - user * (4 * horizon) + gap * turn
    latest = horizon - gap * (count - turn)
    start = np.minimum(later, latest)
    return np.minimum(start, (start // DAY + 1) * DAY - LAST_START)


def _lengths(settings: VisitSettings, n: int, exposures: int, longest: int, rng: Generator) -> Ints:
    """Lengths [n] between ``MIN_LENGTH`` and ``longest`` that add up to ``exposures``."""
    weights = rng.standard_gamma(settings.visit_length_shape, n)
    length = MIN_LENGTH + rng.multinomial(exposures - MIN_LENGTH * n, _shares(weights))
    while (over := int(np.maximum(length - longest, 0).sum())) > 0:
        length = np.minimum(length, longest)
        room = np.repeat(np.arange(n), longest - length)
        length += np.bincount(rng.choice(room, over, replace=False), minlength=n)
    return length
