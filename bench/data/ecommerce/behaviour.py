"""What users do: in each visit the platform shows items, users click, look closer, cart, wish and buy.

Given the tastes of user and item, everything that happens at an exposure is independent of what happened before, so
all chances have closed forms. An action is a cart or a wish, or both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit

from bench.data.ecommerce.population import HEADS, Pool, World
from bench.data.ecommerce.settings import Settings
from bench.data.simulation.population import gumbel
from bench.data.simulation.settings import DAY, Floats, Ints
from bench.data.simulation.visits import Visits

Columns = dict[str, NDArray[Any]]

#: What is drawn at each exposure, in this order; all but the click need it. ``repeat`` is a second click.
OUTCOMES: tuple[str, ...] = ("click", "browse", "cart", "wish", "repeat", "purchase")


class Intercepts(NamedTuple):
    """Log odds at average taste: of a click; given it of a browse, a repeated click and a cart; of a wish with and
    without a cart; of a purchase after an action (``buy_action``) and without one (``buy_other``)."""

    click: float
    browse: float
    repeat: float
    cart: float
    wish_cart: float
    wish_alone: float
    buy_action: float
    buy_other: float


def show(settings: Settings, world: World, pool: Pool, visits: Visits, rng: Generator) -> Columns:
    """The exposures of a block by user, visit and position: the best of the pool by noisy score, none twice in a visit.

    ``visit`` indexes its visits, ``cell`` its pool flattened [U · P]; ``click``, ``cart``, ``wish`` and ``buy`` are log
    odds without intercept.
    """
    slots = pool.item.shape[1]
    score = np.float32(settings.policy_taste) * pool.preference[visits.user] + gumbel((len(visits.user), slots), rng)
    is_shown = np.arange(slots) < visits.length[:, None]
    visit, position = np.nonzero(is_shown)
    cell = visits.user[visit] * slots + np.argsort(-score, axis=1)[is_shown]
    odds = {head: pool.log_odds[code].ravel()[cell] for code, head in enumerate(HEADS)}
    hour = visits.start[visit] % DAY // 3600
    category = world.item_features["category"][pool.item.ravel()[cell]]
    odds["click"] = odds["click"] + world.hour_category[hour, category]
    odds["click"] += np.float32(settings.position_effect) * np.log1p(position, dtype=np.float32)
    return {"visit": visit, "cell": cell, "position": position.astype(np.int16), **odds}


def chances(settings: Settings, at: Intercepts, shown: Columns) -> dict[str, Floats]:
    """The probability of each outcome at each exposure, all but the click's given a click.

    ``wish_cart``, ``wish_alone``, ``buy_action`` and ``buy_other`` as their intercepts; ``action`` and ``purchase`` are
    mixed over what may happen before.
    """
    interest = np.float32(settings.interest) * shown["cart"]
    p = {
        "click": expit(at.click + shown["click"]),
        "browse": expit(at.browse + interest),
        "repeat": expit(at.repeat + interest),
        "cart": expit(at.cart + shown["cart"]),
        "wish_cart": expit(at.wish_cart + shown["wish"]),
        "wish_alone": expit(at.wish_alone + shown["wish"]),
        "buy_action": expit(at.buy_action + shown["buy"]),
        "buy_other": expit(at.buy_other + shown["buy"]),
    }
    p["action"] = p["cart"] + (1 - p["cart"]) * p["wish_alone"]
    p["purchase"] = p["action"] * p["buy_action"] + (1 - p["action"]) * p["buy_other"]
    return p


def behave(p: dict[str, Floats], rng: Generator) -> Columns:
    """Whether each of :data:`OUTCOMES` came, by the chances ``p``. How many numbers are drawn does not depend on p."""
    n = len(p["click"])
    draw = {outcome: rng.random(n, dtype=np.float32) for outcome in OUTCOMES}
    click = draw["click"] < p["click"]
    came = {outcome: click & (draw[outcome] < p[outcome]) for outcome in ("browse", "cart", "repeat")}
    wish = click & (draw["wish"] < np.where(came["cart"], p["wish_cart"], p["wish_alone"]))
    buy = np.where(came["cart"] | wish, p["buy_action"], p["buy_other"])
    return {"click": click, **came, "wish": wish, "purchase": click & (draw["purchase"] < buy)}


def seen_before(cell: Ints, count: Ints) -> Ints:
    """For every row [N] the sum of ``count`` over the earlier rows of its cell."""
    order = np.argsort(cell, kind="stable")
    sorted_cell, sorted_count = cell[order], count[order]
    before = np.cumsum(sorted_count) - sorted_count
    first = np.searchsorted(sorted_cell, sorted_cell)
    seen = np.empty_like(before)
    seen[order] = before - before[first]
    return seen
