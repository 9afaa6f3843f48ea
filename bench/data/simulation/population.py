"""Who lives in a city: items with features and tastes on a ring, users with the same, and each user's pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import stats

from bench.data.simulation.settings import City, Floats, Ints, Settings

HEADS = 3  # click, cart, buy
CATEGORIES = 20
PRICE_LEVELS = 5
GENDERS = (0.1, 0.45, 0.45)  # unknown, female, male
AGES = 6
CONSUMPTION_LEVELS = 5
ACTIVITY_LEVELS = 4
PARTS_OF_DAY = 6  # four hours each


@dataclass(frozen=True, eq=False)
class World:
    """What all users of a city share. A latent is a taste of ``taste_dim`` and, last, a main effect.

    ``item_features`` [I] each, ``location`` [I] ascending in [0, 1), ``item_latent`` [3, I, taste_dim + 1],
    ``user_tables`` by feature [levels, 3, taste_dim + 1], ``hour_category`` [24, categories].
    """

    item_features: dict[str, Ints]
    price: Floats
    location: Floats
    item_latent: Floats
    user_tables: dict[str, Floats]
    hour_category: Floats


@dataclass(frozen=True, eq=False)
class Users:
    """Users of a block: features and ``visit_rate`` [U], ``location`` [U], ``latent`` [3, U, taste_dim + 1]."""

    features: dict[str, Ints]
    visit_rate: Floats
    location: Floats
    latent: Floats


@dataclass(frozen=True, eq=False)
class Pool:
    """What users may be shown: ``item`` [U, P]; log odds ``click``, ``cart``, ``buy`` without intercept, and
    ``score`` of the logging policy, all [U, P]."""

    item: Ints
    click: Floats
    cart: Floats
    buy: Floats
    score: Floats


def draw_world(settings: Settings, city: City, rng: Generator) -> World:
    """The items of a city and how features make tastes."""
    n = city.items
    brands = max(4, min(1000, n // 4))
    brand_category = rng.integers(0, CATEGORIES, brands)
    location = np.sort(rng.random(n, dtype=np.float32))
    brand = np.floor(brands * rng.random(n) ** 1.5).astype(np.int64)
    category = brand_category[brand]
    price = np.exp(3.4 + 0.3 * rng.standard_normal(CATEGORIES)[category] + 0.4 * rng.standard_normal(n))
    features = {
        "brand": brand,
        "category": category,
        "price_level": np.argsort(np.argsort(price)) * PRICE_LEVELS // n,
        "item_district": _district(location, settings.districts),
    }
    levels = {
        "brand": brands,
        "category": CATEGORIES,
        "price_level": PRICE_LEVELS,
        "item_district": settings.districts,
    }
    tables = {name: level_table(count, HEADS, settings.taste_dim + 1, rng) for name, count in levels.items()}
    user_levels = {
        "gender": len(GENDERS),
        "age": AGES,
        "consumption": CONSUMPTION_LEVELS,
        "activity": ACTIVITY_LEVELS,
        "user_district": settings.districts,
    }
    hours = rng.standard_normal((24, 1)) * settings.hour_effect
    parts = rng.standard_normal((PARTS_OF_DAY, CATEGORIES)) * settings.category_hour_effect
    return World(
        item_features=features,
        price=np.round(price, 2).astype(np.float32),
        location=location,
        item_latent=_latents(settings, tables, features, rng),
        user_tables={
            name: level_table(count, HEADS, settings.taste_dim + 1, rng) for name, count in user_levels.items()
        },
        hour_category=(hours + np.repeat(parts, 24 // PARTS_OF_DAY, axis=0)).astype(np.float32),
    )


def draw_users(settings: Settings, world: World, n: int, rng: Generator) -> Users:
    """``n`` users. The activity level is the quarter in which the user's visit rate lies."""
    location = rng.random(n, dtype=np.float32)
    visit_rate = rng.standard_gamma(settings.visit_shape, n, dtype=np.float32)
    quarters = stats.gamma.ppf(np.arange(1, ACTIVITY_LEVELS) / ACTIVITY_LEVELS, settings.visit_shape)
    features = {
        "gender": np.searchsorted(np.cumsum(GENDERS)[:-1], rng.random(n), side="right"),
        "age": np.floor(AGES * rng.beta(2.0, 2.0, n)).astype(np.int64),
        "consumption": np.floor(CONSUMPTION_LEVELS * rng.beta(2.0, 2.0, n)).astype(np.int64),
        "activity": np.searchsorted(quarters, visit_rate),
        "user_district": _district(location, settings.districts),
    }
    return Users(features, visit_rate, location, _latents(settings, world.user_tables, features, rng))


def draw_pool(settings: Settings, world: World, users: Users, rng: Generator) -> Pool:
    """Each user's pool: Gumbel top-k over click taste (with popularity) and distance among the nearest items."""
    n_items = len(world.location)
    window = min(settings.window, n_items)
    middle = np.searchsorted(world.location, users.location)
    near = (middle[:, None] - window // 2 + np.arange(window)) % n_items
    gap = np.abs(users.location[:, None] - world.location[near])
    distance = np.minimum(gap, 1.0 - gap) / (window / (2 * n_items))

    click = _affinity(settings, 0, users, world, near)
    draw = settings.pool_taste * click - settings.pool_distance * distance + gumbel(near.shape, rng)
    chosen = np.argsort(-draw, axis=1)[:, : settings.pool]
    item = np.take_along_axis(near, chosen, axis=1)
    click = np.take_along_axis(click, chosen, axis=1)
    noise = settings.policy_noise * rng.standard_normal(item.shape, dtype=np.float32)
    return Pool(
        item=item,
        click=click + settings.distance_effect * np.take_along_axis(distance, chosen, axis=1),
        cart=_affinity(settings, 1, users, world, item),
        buy=_affinity(settings, 2, users, world, item),
        score=settings.policy_taste * (click + noise),
    )


def gumbel(shape: tuple[int, ...], rng: Generator) -> Floats:
    """Standard Gumbel noise: adding it to scores and taking the top k draws k without replacement."""
    draws = rng.standard_exponential(shape, dtype=np.float32)
    draws += np.float32(1e-20)
    np.log(draws, out=draws)
    return np.negative(draws, out=draws)


def _district(location: Floats, districts: int) -> Ints:
    return np.minimum((location * districts).astype(np.int64), districts - 1)


def level_table(levels: int, heads: int, width: int, rng: Generator) -> Floats:
    """What each level of a feature adds to a latent [levels, heads, width]: mean 0 and variance 1 over levels."""
    draws = rng.standard_normal((levels, heads, width))
    draws -= draws.mean(axis=0)
    table: Floats = (draws / draws.std(axis=0)).astype(np.float32)
    return table


def _latents(settings: Settings, tables: Mapping[str, Floats], features: Mapping[str, Ints], rng: Generator) -> Floats:
    """Latents [3, n, taste_dim + 1] of unit variance, ``explained`` of it by features; heads are correlated.

    User and item latents of neighbouring heads correlate by the root of rho, so their products, the
    affinities, correlate by rho.
    """
    n = len(next(iter(features.values())))
    noise = rng.standard_normal((n, HEADS, settings.taste_dim + 1), dtype=np.float32)
    by_features = np.sum([table[features[name]] for name, table in tables.items()], axis=0) / math.sqrt(len(tables))
    own = math.sqrt(settings.explained) * by_features + math.sqrt(1.0 - settings.explained) * noise
    click, cart, buy = np.moveaxis(own, 1, 0)
    cart = math.sqrt(settings.rho_click_cart) * click + math.sqrt(1.0 - settings.rho_click_cart) * cart
    buy = math.sqrt(settings.rho_cart_buy) * cart + math.sqrt(1.0 - settings.rho_cart_buy) * buy
    return np.stack((click, cart, buy)).astype(np.float32)


def affinity(user: Floats, items: Floats, taste: float, bias: float) -> Floats:
    """Log odds [U, P] of users with latents ``user`` [U, taste_dim + 1] for ``items`` [U, P, taste_dim + 1].

    The product of tastes, of spread ``taste``, and both main effects, each of spread ``bias``.
    """
    product = np.einsum("uk,upk->up", user[:, :-1], items[..., :-1]) / math.sqrt(user.shape[-1] - 1)
    main = user[:, None, -1] + items[..., -1]
    log_odds: Floats = taste * product + bias * main
    return log_odds


def _affinity(settings: Settings, head: int, users: Users, world: World, item: Ints) -> Floats:
    return affinity(users.latent[head], world.item_latent[head][item], settings.taste[head], settings.bias[head])
