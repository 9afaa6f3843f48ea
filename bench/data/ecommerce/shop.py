"""The shop as blocks of users, and the intercepts that meet the published rates.

A block depends on settings, scale, seed and its index only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.optimize import brentq
from scipy.special import expit

from bench.core.seeding import derive
from bench.data.ecommerce.behaviour import Columns, Intercepts, behave, chances, seen_before, show
from bench.data.ecommerce.dense import Column, draw_columns, draw_values
from bench.data.ecommerce.population import Pool, Users, World, draw_pool, draw_users, draw_world
from bench.data.ecommerce.settings import HOURS, Published, Settings
from bench.data.simulation.settings import City, Floats
from bench.data.simulation.visits import Quota, Visits, draw_visits, preceded, quota

#: Log odds of every intercept lie within.
_BOUND = 60.0


@dataclass(frozen=True, eq=False)
class Block:
    """Users with their pools and visits, and what is shown in them (:func:`show`), before anything happened."""

    users: Users
    pool: Pool
    visits: Visits
    shown: Columns


class Shop:
    """The shop of ``size``, already scaled, that can be simulated block by block in any order."""

    def __init__(self, settings: Settings, size: City, seed: int) -> None:
        self.settings, self.size, self.seed = settings, size, seed
        self.quota: Quota = quota(settings, size)
        self.world: World = draw_world(settings, size.items, self._rng("items"))
        self.user_columns: list[Column] = draw_columns(settings, "user", self._rng("dense", "user"))
        self.item_columns: list[Column] = draw_columns(settings, "item", self._rng("dense", "item"))

    def __len__(self) -> int:
        return len(self.quota.users)

    def block(self, index: int) -> Block:
        """Block ``index``. Every user has a visit on the days; those of the warm-up come in addition."""
        rng, share, settings = self._rng("block", index), self.quota, self.settings
        users = draw_users(settings, self.world, int(share.users[index]), rng)
        pool = draw_pool(settings, self.world, users, rng)
        longest = pool.item.shape[1]
        n, exposures = int(share.visits[index]), int(share.exposures[index])
        visits = draw_visits(settings, users.visit_rate, settings.days, n, exposures, longest, rng, 1, HOURS)
        if n := int(share.warmup_visits[index]):
            days, exposures = settings.warmup_days, int(share.warmup_exposures[index])
            earlier = draw_visits(settings, users.visit_rate, days, n, exposures, longest, rng, hours=HOURS)
            visits = preceded(visits, earlier, days)
        return Block(users, pool, visits, show(settings, self.world, pool, visits, rng))

    def log(self, block: Block, index: int, intercepts: Intercepts) -> Columns:
        """What happens in block ``index``: its ``shown`` with the outcomes, the three true probabilities, and
        ``clicks_before`` and ``browses_before``: those of this user and item in earlier visits, repeats included."""
        p = chances(self.settings, intercepts, block.shown)
        came = behave(p, self._rng("behaviour", index))
        truth = {f"p_{name}": p[name].astype(np.float32) for name in ("click", "cart", "purchase")}
        clicks = came["click"].astype(np.int64) + came["repeat"]
        before = {
            "clicks_before": seen_before(block.shown["cell"], clicks).astype(np.int32),
            "browses_before": seen_before(block.shown["cell"], came["browse"].astype(np.int64)).astype(np.int32),
        }
        placed = {name: block.shown[name] for name in ("visit", "cell", "position")}
        return placed | came | truth | before

    def user_values(self, block: Block, index: int) -> dict[str, Floats]:
        """The dense columns of the users of block ``index``."""
        return draw_values(self.user_columns, block.users.latent, self._rng("dense", "user", index))

    def item_values(self, start: int, stop: int) -> dict[str, Floats]:
        """The dense columns of the items from ``start``, where a row group begins, to ``stop``."""
        latent = self.world.item_latent[:, start:stop]
        return draw_values(self.item_columns, latent, self._rng("dense", "item", start))

    def _rng(self, *purpose: str | int) -> Generator:
        return Generator(np.random.PCG64(derive(self.seed, *purpose)))


def solve(shop: Shop, published: Published) -> Intercepts:
    """Intercepts that meet the rates of ``published`` on the exposures of the pilot blocks, without the warm-up.

    Wishes have two, with and without a cart, so that carts, wishes and their union are met; purchases have two, so that
    ``oaction_share`` of them come without an action. They are means of true probabilities, so nothing is drawn.
    """
    settings = shop.settings
    pilot = [shop.block(index) for index in range(min(settings.pilot_blocks, len(shop)))]
    mains = [block.visits.main[block.shown["visit"]] for block in pilot]
    click_odds, cart_odds, wish_odds, buy_odds = (
        np.concatenate([block.shown[head][main] for block, main in zip(pilot, mains, strict=True)]).astype(np.float64)
        for head in ("click", "cart", "wish", "buy")
    )
    interest = settings.interest * cart_odds
    cart, wish = published.cart, published.wish
    action = published.actions / published.clicks
    purchase = published.purchases / published.clicks

    click = _intercept(click_odds, np.ones_like(click_odds), published.clicks / published.exposures)
    clicked = expit(click + click_odds)
    at_cart = _intercept(cart_odds, clicked, cart)
    p_cart = expit(at_cart + cart_odds)
    wish_alone = _intercept(wish_odds, clicked * (1.0 - p_cart), (action - cart) / (1.0 - cart))
    p_action = p_cart + (1.0 - p_cart) * expit(wish_alone + wish_odds)
    after, without = (1.0 - settings.oaction_share) * purchase / action, settings.oaction_share * purchase
    return Intercepts(
        click=click,
        browse=_intercept(interest, clicked, settings.browse_rate),
        repeat=_intercept(interest, clicked, settings.repeat_rate),
        cart=at_cart,
        wish_cart=_intercept(wish_odds, clicked * p_cart, (cart + wish - action) / cart),
        wish_alone=wish_alone,
        buy_action=_intercept(buy_odds, clicked * p_action, after),
        buy_other=_intercept(buy_odds, clicked * (1.0 - p_action), without / (1.0 - action)),
    )


def _intercept(log_odds: Floats, weight: Floats, rate: float) -> float:
    """The intercept with which the mean chance of rows with these ``log_odds`` and weights [N] is ``rate``."""
    total = weight.sum()
    return float(brentq(lambda x: np.sum(weight * expit(x + log_odds)) / total - rate, -_BOUND, _BOUND, xtol=1e-9))
