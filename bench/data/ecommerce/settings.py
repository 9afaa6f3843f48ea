"""What the ESM² paper publishes about its data, and every knob of the simulation with where its value comes from."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from bench.data.simulation.settings import City

#: Raise it when the same settings give other data than before.
GENERATOR_VERSION = 1

#: 2019-09-02 00:00 UTC, a Monday: the paper's days lie in September 2019. The shop lives on the clock of UTC.
START = 1_567_382_400
FIRST_WEEKDAY = 0

#: Weight of each hour in the visits: an evening peak, as of a shop (judgement).
HOURS = np.array([5, 3, 2, 1, 1, 1, 2, 4, 6, 8, 10, 10, 10, 10, 9, 9, 9, 9, 10, 12, 15, 16, 14, 9], dtype=np.float64)


Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Published(NamedTuple):
    """ESM² Table 1; ``cart`` and ``wish`` per click are of its section 3.1. An action is a cart or a wish, or both."""

    users: int
    items: int
    exposures: int
    clicks: int
    actions: int
    purchases: int
    cart: float
    wish: float

    @property
    def size(self) -> City:
        """The shop as a city, not yet scaled."""
        click, purchase = self.clicks / self.exposures, self.purchases / self.exposures
        return City(self.users, self.items, self.exposures, click, purchase)


PUBLISHED = Published(13_383_415, 10_399_095, 326_325_042, 20_637_192, 2_501_776, 226_918, cart=0.1, wish=0.035)


class Settings(BaseModel):
    """Every knob. "Judgement" marks what the paper does not state; those were set once, before any model was trained.

    Tastes are on the logit scale, and of the sizes that the six cities have. Met are the rates of :data:`PUBLISHED`:
    clicks per exposure and, per click, carts, wishes, actions and purchases. Section 3.1 also says that 12 % of the
    carted and 31 % of the wished items are bought "eventually". Within a visit that can't hold: 10 % * 12 % + 3.5 % *
    31 % = 2.3 % of the clicks, less what is both, would be more than the 1.1 % that are bought. It is not aimed at.
    Nor are its 9 % of the actions that are bought: Table 1 gives that figure if every purchase follows an action, and
    Table 8 has purchases without one; with ``oaction_share`` of them, 6.3 % are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # rates that the intercepts are solved for
    oaction_share: float = Field(
        0.3, gt=0.0, lt=1.0, description="share of purchases without cart and wish; judgement: Table 8 has both paths"
    )
    browse_rate: float = Field(0.4, gt=0.0, lt=1.0, description="looks at the detail page per click; judgement")
    repeat_rate: float = Field(0.15, gt=0.0, lt=1.0, description="repeated clicks per click; judgement")

    # time
    days: int = Field(
        10, gt=0, description="ESM² 4.1.1: several consecutive days of September 2019; ten is a judgement"
    )
    warmup_days: int = Field(
        20,
        ge=0,
        description="days simulated before the first one, so that histories exist on it; judgement. Only their "
        "behaviour events are kept; no rate or count of exposures and visits includes them",
    )
    train_days: int = Field(7, gt=0, description="first days; judgement")
    valid_days: int = Field(
        1, gt=0, validate_default=True, description="next day, the rest is the test split; judgement"
    )
    visit_length: float = Field(16.0, ge=8.0, le=20.0, description="mean exposures per visit; judgement")
    visit_length_shape: float = Field(8.0, gt=0.0, description="gamma shape of the spread of visit lengths; judgement")
    visit_shape: float = Field(
        0.7,
        gt=0.0,
        description="gamma shape of users' visit rates; judgement. A user of the log has a visit on its days at least",
    )
    visit_gap: int = Field(1800, ge=1800, description="least seconds between two starts; the usual session limit")

    # choice of what a user may be shown; judgement throughout
    window: int = Field(256, ge=8, description="random items that a user's pool is chosen from")
    pool: int = Field(48, ge=8, description="items of them that the platform may show the user")
    pool_taste: float = Field(1.0, description="weight of the click taste in choosing the pool")
    popularity: float = Field(1.0, ge=0.0, description="spread of the items' log popularity in choosing the pool")

    # tastes; order: click, cart, wish, buy; judgement throughout, as in the six cities (wish as cart)
    taste_dim: int = Field(8, gt=0, description="dimensions of a latent taste")
    taste: tuple[float, float, float, float] = Field(
        (1.0, 1.2, 1.2, 1.0), description="spread of the affinity of user and item"
    )
    bias: tuple[float, float, float, float] = Field(
        (0.5, 0.5, 0.5, 0.5), description="spread of users' and of items' main effects"
    )
    explained: float = Field(0.5, ge=0.0, le=1.0, description="share of latent variance that categories determine")
    rho_click_cart: float = Field(0.5, ge=0.0, le=1.0, description="correlation of click and cart affinity")
    rho_cart_wish: float = Field(0.5, ge=0.0, le=1.0, description="correlation of cart and wish affinity")
    rho_cart_buy: float = Field(0.5, ge=0.0, le=1.0, description="correlation of cart and buy affinity")

    # logging policy, context and interest; judgement throughout
    policy_taste: float = Field(0.5, description="weight of the platform's score in the ranking")
    policy_noise: float = Field(1.0, description="spread of the platform's error about a user's taste of an item")
    position_effect: float = Field(-0.3, description="effect of log(1 + position) on the click")
    hour_effect: float = Field(0.1, description="spread of the hours' effects on the click")
    category_hour_effect: float = Field(0.3, description="spread over a category's parts of the day, on the click")
    interest: float = Field(1.0, description="effect of the cart affinity on browsing and on a repeated click")

    # purchases of the last three months: drawn, not counted in the log, which has far fewer; judgement throughout, so
    # that the groups of Figure 7 have users
    purchases_median: float = Field(
        8.0, gt=0.0, le=1000.0, description="median of the users' rates of purchase in three months"
    )
    purchases_spread: float = Field(1.3, ge=0.0, le=3.0, description="spread of the logs of these rates")
    purchases_truth: float = Field(
        0.7, ge=0.0, le=1.0, description="correlation of that log with buy main effect and visit rate together"
    )

    # dense features
    dense: int = Field(250, ge=0, le=999, description="dense features of users, and of items; ESM² Table 6: up to 500")
    informative: int = Field(
        24, ge=0, description="of each of them those that tell a taste, the others are noise; judgement: few matter"
    )
    reliability: tuple[Share, Share] = Field(
        (0.5, 0.9), description="bounds of the share of their variance that is the taste's; judgement"
    )

    # computation
    block_users: int = Field(4096, gt=0, description="users simulated, and written as a row group, at once")
    block_items: int = Field(16384, gt=0, description="items written as a row group at once")
    pilot_blocks: int = Field(8, gt=0, description="blocks that the intercepts are solved on")

    @field_validator("valid_days")
    @classmethod
    def _leave_test_days(cls, valid_days: int, others: ValidationInfo) -> int:
        days, train_days = others.data.get("days", 0), others.data.get("train_days", 0)
        if days and train_days + valid_days >= days:
            raise ValueError(f"of {days} days, {train_days} of training and these must leave one for the test")
        return valid_days
