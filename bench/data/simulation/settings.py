"""What is published about the six cities, and every knob of the simulation with where its value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.core.errors import UserError, unknown

#: Raise it when the same settings give other data than before.
GENERATOR_VERSION = 2

#: 2023-04-21 00:00 UTC, a Friday. The cities live on this clock: their hours and days are hours and days of UTC.
START = 1_682_035_200
FIRST_WEEKDAY = 4
DAY = 86_400

#: Fewer than these make no city: a visit needs something to choose from.
MIN_USERS, MIN_ITEMS, MIN_EXPOSURES = 2, 20, 100

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Knobs = TypeVar("Knobs", bound=BaseModel)


class City(NamedTuple):
    """A row of ESMC Table III; ``click`` and ``purchase`` are shares of the exposures."""

    users: int
    items: int
    exposures: int
    click: float
    purchase: float


PUBLISHED: dict[str, City] = {
    "1": City(6_000_000, 110_000, 1_004_000_000, 0.06096, 0.01093),
    "2": City(3_000_000, 56_000, 427_000_000, 0.06096, 0.01108),
    "3": City(4_000_000, 85_000, 507_000_000, 0.06076, 0.01067),
    "4": City(3_000_000, 68_000, 281_000_000, 0.06069, 0.00908),
    "5": City(1_000_000, 30_000, 216_000_000, 0.06083, 0.01044),
    "6": City(1_000_000, 36_000, 184_000_000, 0.06103, 0.01041),
}


def scaled(city: City, scale: float) -> City:
    """The city at ``scale``: users, items and exposures times it (but never fewer than makes a city)."""
    return city._replace(
        users=max(MIN_USERS, round(city.users * scale)),
        items=max(MIN_ITEMS, round(city.items * scale)),
        exposures=max(MIN_EXPOSURES, round(city.exposures * scale)),
    )


class Settings(BaseModel):
    """Every knob. "Judgement" marks what no paper states; those were set once, before any model was trained.

    Tastes are on the logit scale. The click and purchase shares come from :data:`PUBLISHED`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # rates that the intercepts are solved for
    same_visit_conversion: float = Field(
        0.85, gt=0.0, lt=1.0, description="share of recommendation carts bought in their visit; ESMC V-B: over 80 %"
    )
    bad_case_share: float = Field(
        0.23, ge=0.0, le=0.6, description="share of purchases whose cart lies in an earlier visit; judgement; 0: none"
    )
    search_cart_share: float = Field(
        1 / 3,
        ge=0.0,
        lt=1.0,
        description="least share of all carts that come from search; ESMC VI-D: a weight of 0.5 for the global domain "
        "'is in line with the distribution of traffic', read as one search cart per two of recommendation",
    )
    redeemed: float = Field(
        0.45,
        gt=0.0,
        le=1.0,
        description="bad cases per cart that waits for a later visit, judgement: where bad_case_share needs more "
        "waiting carts than search_cart_share gives, search brings more; where it needs fewer, users drop the rest",
    )
    wish_rate: float = Field(0.035, gt=0.0, lt=1.0, description="wishes per click; ESM² 3.1: 3.5 %")

    # time
    days: int = Field(20, description="ESMC VI-A: April 21 to May 10, 2023")
    warmup_days: int = Field(
        20,
        ge=0,
        description="days simulated before the first one, so that carts and histories exist on it; judgement. Only "
        "their behaviour events are kept; no rate or count of exposures and visits includes them",
    )
    train_days: int = Field(15, description="first days; judgement")
    valid_days: int = Field(2, description="next days, the rest is the test split; judgement")
    visit_length: float = Field(16.0, ge=8.0, le=32.0, description="mean exposures per visit; judgement")
    visit_length_shape: float = Field(8.0, description="gamma shape of the spread of visit lengths; judgement")
    visit_shape: float = Field(2.0, description="gamma shape of users' visit rates (negative binomial); judgement")
    visit_gap: int = Field(1800, ge=1800, description="least seconds between two starts; the usual session limit")
    cart_days: float = Field(7.0, gt=0.0, description="days until a cart expires; judgement")
    shop_window_days: float = Field(
        20.0, gt=0.0, description="days before a visit over which its orders and clicks in a shop count; judgement"
    )

    # geography and choice of what a user may be shown
    window: int = Field(128, description="nearest items that a user sees; judgement")
    pool: int = Field(64, description="items of them that the platform may show the user; judgement")
    districts: int = Field(10, description="districts of the ring; judgement")
    pool_taste: float = Field(1.0, description="weight of click taste and popularity in drawing the pool; judgement")
    pool_distance: float = Field(1.0, description="penalty of the window's border in drawing the pool; judgement")

    # tastes; order of the triples: click, cart, buy; judgement throughout
    taste_dim: int = Field(8, description="dimensions of a latent taste")
    taste: tuple[float, float, float] = Field((1.0, 1.2, 1.0), description="spread of the affinity of user and item")
    bias: tuple[float, float, float] = Field((0.5, 0.5, 0.5), description="spread of users' and of items' main effects")
    explained: float = Field(0.5, ge=0.0, le=1.0, description="share of latent variance that features determine")
    rho_click_cart: float = Field(0.5, ge=0.0, le=1.0, description="correlation of click and cart affinity")
    rho_cart_buy: float = Field(0.5, ge=0.0, le=1.0, description="correlation of cart and buy affinity")

    # logging policy and context effects; judgement throughout
    policy_taste: float = Field(0.5, description="weight of the estimated click taste in the ranking")
    policy_noise: float = Field(1.0, description="spread of the platform's error about a user's taste of an item")
    policy_cart: float = Field(3.0, description="ranking boost of items in the user's cart")
    click_cart: float = Field(2.5, description="effect on the click of the item lying in the cart")
    position_effect: float = Field(-0.3, description="effect of log(1 + position) on the click")
    distance_effect: float = Field(-0.5, description="effect of the distance, 1 at the window's border, on the click")
    hour_effect: float = Field(0.1, description="spread of the hours' effects on the click")
    category_hour_effect: float = Field(0.3, description="spread over a category's parts of the day, on the click")
    habit: float = Field(0.4, description="effect of log(1 + orders in the shop within its window) on click and cart")

    # search; judgement throughout
    search_cart_rate: float = Field(0.6, gt=0.0, lt=1.0, description="carts per search at average taste")
    search_buy_rate: float = Field(0.2, gt=0.0, lt=1.0, description="of those bought at once, at average taste")

    # computation
    block_users: int = Field(2048, gt=0, description="users simulated, and written as a row group, at once")
    pilot_blocks: int = Field(3, gt=0, description="blocks that the intercepts are solved on")
    pilot_rounds: int = Field(6, gt=0, description="updates of the intercepts")


def changed(settings: BaseModel) -> dict[str, Any]:
    """The knobs that differ from the defaults."""
    default = type(settings)()
    return {knob: value for knob, value in settings if value != getattr(default, knob)}


def settings_of(knobs: Mapping[str, Any], settings: type[Knobs]) -> Knobs:
    """The ``settings`` with these knobs other than the defaults.

    Raises:
        UserError: a knob is unknown, or refuses its value.
    """
    for name in knobs:
        if name not in settings.model_fields:
            raise unknown("knob of the simulation", name, settings.model_fields)
    try:
        return settings.model_validate(dict(knobs))
    except ValidationError as error:
        first = error.errors()[0]
        name, wanted = str(first["loc"][0]), first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"{name} is wrong: {wanted}, but got {first.get('input')!r}; give another value.") from None
