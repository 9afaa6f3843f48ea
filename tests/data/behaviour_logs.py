"""Random behaviour logs, and Sample Calibration row by row: the definition, in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from tiny_tables import Columns

from bench.data.tables import ACTIONS, DOMAINS

DAY = 86400


class Match(NamedTuple):
    """The cart of a purchase."""

    cart: int | None
    domain: str
    visit: int | None
    days: float


class _Step(NamedTuple):
    """A cart that opens, or a purchase (``exposure`` None: known from events only) that takes one."""

    order: tuple
    opens: bool
    exposure: int | None
    domain: str
    visit: int | None
    time: int


def records(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def random_log(seed: int) -> tuple[Columns, Columns]:
    """Exposures and events of three users, with ties, duplicates, searches, and visits before the first exposure.

    They are sound funnel tables. Half of the logs have a domain for every exposure.
    """
    rng = np.random.default_rng(seed)
    visits = int(rng.integers(3, 50))
    start = np.sort(rng.integers(0, rng.integers(2, 25), visits)) * DAY
    owner = rng.integers(0, 3, visits)
    visit = np.repeat(np.arange(visits), rng.integers(1, 5, visits))
    n = len(visit)
    first = np.r_[True, visit[1:] != visit[:-1]]
    click, label = rng.random(n) < 0.9, rng.random(n)
    exposures = {
        "exposure": rng.permutation(n),
        "user": owner[visit],
        "item": rng.integers(0, 3, n),
        "visit": visit,
        "time": start[visit] + np.where(first, 0, rng.integers(0, 3, n)),
        "position": np.arange(n),
        "split": np.array(["train", "valid", "test"])[np.searchsorted((0.8, 0.9), visit / visits, side="right")],
        "click": click.astype(int),
        "cart": (click & (label > 0.1) & (label < 0.4)).astype(int),
        "wish": np.zeros(n, dtype=int),
        "purchase": (click & ((label > 0.35) & (label < 0.6) | (label < 0.12))).astype(int),
    }
    if seed % 2:
        exposures["domain"] = np.where(rng.random(n) < 0.8, *DOMAINS)
    return {name: column.tolist() for name, column in exposures.items()}, _random_events(rng, exposures, owner, start)


def _random_events(rng: np.random.Generator, exposures: Mapping[str, Any], owner: Any, start: Any) -> Columns:
    """Most carts and purchases of exposures, and as many others: in their visits, in visits of their own, in none."""
    rows: list[tuple] = []
    for row in records(exposures):
        for action in ("click", "cart", "purchase"):
            if row[action] and rng.random() < 0.9:
                domain = DOMAINS[int(rng.random() < 0.1)]
                rows.append((row["user"], row["item"], row["time"] + rng.integers(0, 2), row["visit"], action, domain))
    for _ in range(rng.integers(1, 80)):
        kind, visit, item = rng.random(), int(rng.integers(0, len(owner))), rng.integers(0, 4)
        user, time = owner[visit], start[visit] + rng.integers(-2, 4)
        if kind > 0.2:
            user, time = rng.integers(0, 3), rng.integers(-10, 25) * DAY + rng.integers(0, 2)
            visit = None if kind > 0.8 else 1000 + 10 * int(user) + int(rng.integers(0, 8))  # type: ignore[assignment]
        action = ACTIONS[rng.choice(4, p=[0.1, 0.6, 0.1, 0.2])]
        rows.append((user, item, time, visit, action, DOMAINS[rng.integers(0, 2)]))
    names = ("user", "item", "time", "visit", "action", "domain")
    order = rng.permutation(len(rows))
    return {
        name: [row[i] if isinstance(row[i], str | None) else int(row[i]) for row in (rows[j] for j in order)]
        for i, name in enumerate(names)
    }


def by_hand(
    exposures: Mapping[str, Any], events: Mapping[str, Any], domain: str, window_days: float | None
) -> dict[int, Match | None]:
    """The bad-case purchases with their carts: one stack of open carts per user and item."""
    stacks: dict[tuple, list[_Step]] = defaultdict(list)
    found: dict[int, Match | None] = {}
    for key, step in sorted(_steps(exposures, events, domain), key=lambda pair: pair[1].order):
        if step.opens:
            stacks[key].append(step)
            continue
        last = stacks[key][-1] if stacks[key] else None
        fits = last is not None and (window_days is None or step.time - last.time <= window_days * DAY)
        if step.exposure is not None:
            found[step.exposure] = None
        if fits or (last is not None and step.exposure is None):
            stacks[key].pop()
        if fits and step.exposure is not None:
            assert last is not None
            found[step.exposure] = Match(last.exposure, last.domain, last.visit, (step.time - last.time) / DAY)
    return found


def _steps(
    exposures: Mapping[str, Any], events: Mapping[str, Any], domain: str
) -> Iterator[tuple[tuple[int, int], _Step]]:
    shown = [{"domain": "recommendation"} | row for row in records(exposures)]
    logged = sorted(records(events), key=lambda row: (row["time"], row["domain"]))

    def place(row: Mapping[str, Any]) -> tuple:
        return row["user"], row["item"], row["visit"] if row["visit"] is not None else f"second {row['time']}"

    shown_carts = {place(row) for row in shown if row["cart"]}
    shown_purchases = {place(row) for row in shown if row["purchase"]}
    carted = shown_carts | {place(row) for row in logged if row["action"] == "cart"}
    bought = shown_purchases | {place(row) for row in logged if row["action"] == "purchase"}
    for row in shown:
        step = _Step(
            (row["time"], 1, row["exposure"]), *(True, row["exposure"], row["domain"], row["visit"], row["time"])
        )
        offered = domain == "global" or row["domain"] == "recommendation"
        if row["split"] != "train":
            continue
        if row["purchase"] and place(row) not in carted:
            yield place(row)[:2], step._replace(opens=False)
        elif row["cart"] and place(row) not in bought and offered:
            yield place(row)[:2], step
    stop = min((row["time"] for row in shown if row["split"] != "train"), default=float("inf"))
    seen = set()
    for row in logged:
        visit = -1 if row["visit"] is None else row["visit"]
        step = _Step((row["time"], 0, visit), True, None, row["domain"], row["visit"], row["time"])
        offered = domain == "global" or row["domain"] == "recommendation"
        if row["time"] >= stop or place(row) in seen:
            continue
        if row["action"] == "cart" and offered and place(row) not in shown_carts | bought:
            seen.add(place(row))
            yield place(row)[:2], step
        elif row["action"] == "purchase" and place(row) not in shown_purchases | carted:
            seen.add(place(row))
            yield place(row)[:2], step._replace(opens=False)
