"""What :func:`bench.data.describe.describe.describe` finds. Shares are of 1, times are seconds."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

#: Quantiles that are told of a distribution.
QUANTILES: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
#: Upper edges of the bins of times from cart to purchase; the last bin is open.
GAP_EDGES: tuple[int, ...] = (60, 300, 1800, 7200, 21_600, 86_400, 172_800, 345_600, 604_800, 1_209_600, 2_592_000)


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Steps(_Result):
    """Exposures, and how many of them have each label."""

    exposures: int = 0
    clicks: int = 0
    carts: int = 0
    wishes: int = 0
    purchases: int = 0


class Counts(Steps):
    """What a split, or the whole log, holds. ``purchases_without_cart``: in their visit, by their own label."""

    users: int = 0
    items: int = 0
    visits: int = 0
    purchases_without_click: int = 0
    purchases_without_cart: int = 0


class Day(Steps):
    """A local day; ``split``: the one of most of its exposures."""

    day: date
    split: str


class Times(_Result):
    """When things happened: ``days`` with exposures, exposures by local hour (24), local seconds of the first and the
    last day's ends: ``first`` and ``last`` second of the day with an exposure, and the median of all days."""

    time_zone: str
    days: tuple[Day, ...]
    hours: tuple[int, ...]
    first_second: int
    last_second: int
    usual_first_second: int
    usual_last_second: int
    span: tuple[int, int]


class Spread(_Result):
    """How many ``what`` a ``per`` has: ``visits`` per ``user``.

    ``top_share``: the share of all that the top 1 % of the owners have; ``tail``: (n, share of owners with n or more).
    """

    what: str
    per: str
    owners: int
    total: int
    mean: float
    quantiles: dict[float, int]
    largest: int
    top_share: float
    tail: tuple[tuple[int, float], ...]


class Gaps(_Result):
    """Times from cart to purchase: quantiles in seconds, and counts by the bins of ``GAP_EDGES``."""

    purchases: int
    quantiles: dict[float, float]
    bins: tuple[int, ...]


class Carts(_Result):
    """Purchases and the last cart of the same user and item before them.

    ``same_visit``: with a cart in their visit (the good case); the others are the bad case, of which ``earlier`` have
    a cart before. ``earlier_day``: the last cart lies on an earlier local day. ``days``: purchases by the number of
    days since then. What needs times is None where a log has none.
    """

    purchases: int
    same_visit: int
    earlier: int | None
    earlier_day: int | None
    days: dict[int, int] | None
    same_gaps: Gaps | None
    earlier_gaps: Gaps | None


class Column(_Result):
    """A feature, over the exposures (of a ``multi`` one, over all of their values).

    ``distinct``: values that occur (about so many where the numbers are ``rounded``); ``top``: the most frequent one;
    ``unknown``: by split, the share of rows with a value that no training row has; ``auc``: by label (click of the
    exposures, purchase of the clicks), how well the value alone tells it: AUC on the validation rows of the rate that
    the value has in training, None where too few rows have the label; ``mirrors``: labels that it repeats.
    """

    name: str
    table: str
    kind: str
    missing: float
    distinct: int
    rounded: bool
    top: str
    top_share: float
    unknown: dict[str, float | None]
    auc: dict[str, float | None]
    mirrors: tuple[str, ...]


class Clues(_Result):
    """More numbers that tell whether a log can be trusted; None where it cannot be asked.

    ``busiest_user``, ``busiest_item``: most exposures of one; ``repeated``: exposures beyond the first of the same
    user, item and second; ``before_exposure``: by label, (labelled exposures whose user and item have such an event,
    those whose last one lies before the exposure); ``late_events``: events more than a day after the last exposure;
    ``long_visits``: visits longer than a day; ``unseen_purchases``: purchases of the behaviour log whose user never
    was shown the item.
    """

    busiest_user: int
    busiest_item: int
    repeated: int | None
    before_exposure: dict[str, tuple[int, int]]
    late_events: int | None
    long_visits: int | None
    unseen_purchases: int | None


class Finding(_Result):
    """Something suspicious: what was seen, what it means, and what to do."""

    kind: str
    seen: str
    means: str
    remedy: str


class Description(_Result):
    """All of it. ``splits``: counts by split, and of ``all``; ``events``: by action and domain; ``log_carts``:
    :class:`Carts` of the purchases in the behaviour log, shown or not, None without one."""

    dataset: str
    city: str
    fingerprint: str
    origin: str
    lacks: dict[str, str]
    notes: tuple[str, ...]
    manifest_counts: dict[str, int]
    settings: dict[str, Any]
    splits: dict[str, Counts]
    events: dict[str, dict[str, int]]
    times: Times | None
    spreads: tuple[Spread, ...]
    carts: Carts | None
    log_carts: Carts | None
    columns: tuple[Column, ...]
    clues: Clues
    findings: tuple[Finding, ...] = ()
