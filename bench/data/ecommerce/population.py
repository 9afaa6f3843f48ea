"""Who lives in the shop: items with features and tastes, users with the same, and what each user may be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy import stats

from bench.data.ecommerce.settings import Settings
from bench.data.simulation.population import affinity, gumbel, level_table
from bench.data.simulation.settings import Floats, Ints

HEADS: tuple[str, ...] = ("click", "cart", "wish", "buy")
CATEGORIES = 40
PRICE_LEVELS = 5
GENDERS = (0.1, 0.45, 0.45)  # unknown, female, male
USER_LEVELS = {"gender": len(GENDERS), "age": 6, "purchasing_power": 5, "city_tier": 5, "activity": 4}
PARTS_OF_DAY = 6  # four hours each
#: Latents are made for so many items at once.
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class World:
    """What all users of the shop share. A latent is a taste of ``taste_dim`` and, last, a main effect.

    ``item_features`` [I] each, ``price`` [I], ``popularity`` [I] on the log scale, ``item_latent``
    [4, I, taste_dim + 1], ``user_tables`` by feature [levels, 4, taste_dim + 1], ``hour_category`` [24, categories].
    """

    item_features: dict[str, Ints]
    price: Floats
    popularity: Floats
    item_latent: Floats
    user_tables: dict[str, Floats]
    hour_category: Floats


@dataclass(frozen=True, eq=False)
class Users:
    """Users of a block: features, ``visit_rate`` and ``purchases_90d`` [U], ``latent`` [4, U, taste_dim + 1]."""

    features: dict[str, Ints]
    visit_rate: Floats
    purchases_90d: Ints
    latent: Floats


@dataclass(frozen=True, eq=False)
class Pool:
    """What users may be shown: ``item`` [U, P]; ``log_odds`` without intercept of each head [4, U, P]; and
    ``preference``, the platform's noisy score of the user for the item, [U, P]."""

    item: Ints
    log_odds: Floats
    preference: Floats


def draw_world(settings: Settings, items: int, rng: Generator) -> World:
    """The items of the shop and how categories make tastes."""
    levels = {"brand": max(4, min(1000, items // 4)), "category": CATEGORIES}
    levels |= {"shop": max(4, min(2000, items // 8)), "price_level": PRICE_LEVELS}
    brand_category = rng.integers(0, CATEGORIES, levels["brand"])
    brand, shop = (np.floor(levels[name] * rng.random(items) ** 1.5).astype(np.int64) for name in ("brand", "shop"))
    category = brand_category[brand]
    price = np.exp(3.4 + 0.6 * rng.standard_normal(CATEGORIES)[category] + 0.6 * rng.standard_normal(items))
    level = np.argsort(np.argsort(price)) * PRICE_LEVELS // items
    features = {"brand": brand, "category": category, "shop": shop, "price_level": level}
    width = settings.taste_dim + 1
    tables = {name: level_table(count, len(HEADS), width, rng) for name, count in levels.items()}
    latent = np.empty((len(HEADS), items, width), dtype=np.float32)
    for start in range(0, items, _CHUNK):
        some = slice(start, start + _CHUNK)
        latent[:, some] = _latents(settings, tables, {name: codes[some] for name, codes in features.items()}, rng)
    hours = rng.standard_normal((24, 1)) * settings.hour_effect
    parts = rng.standard_normal((PARTS_OF_DAY, CATEGORIES)) * settings.category_hour_effect
    return World(
        item_features=features,
        price=np.round(price, 2).astype(np.float32),
        popularity=np.float32(settings.popularity) * rng.standard_normal(items, dtype=np.float32),
        item_latent=latent,
        user_tables={name: level_table(count, len(HEADS), width, rng) for name, count in USER_LEVELS.items()},
        hour_category=(hours + np.repeat(parts, 24 // PARTS_OF_DAY, axis=0)).astype(np.float32),
    )


def draw_users(settings: Settings, world: World, n: int, rng: Generator) -> Users:
    """``n`` users. The activity level is the quarter in which the user's visit rate lies."""
    visit_rate = rng.standard_gamma(settings.visit_shape, n)
    rank = stats.gamma.cdf(visit_rate, settings.visit_shape)
    features = {
        "gender": np.searchsorted(np.cumsum(GENDERS)[:-1], rng.random(n), side="right"),
        "activity": np.minimum((USER_LEVELS["activity"] * rank).astype(np.int64), USER_LEVELS["activity"] - 1),
    }
    for name in ("age", "purchasing_power", "city_tier"):
        features[name] = np.floor(USER_LEVELS[name] * rng.beta(2.0, 2.0, n)).astype(np.int64)
    features = {name: features[name] for name in USER_LEVELS}
    latent = _latents(settings, world.user_tables, features, rng)
    active = stats.norm.ppf(np.clip(rank, 1e-9, 1.0 - 1e-9))
    told = (latent[HEADS.index("buy"), :, -1] + active) / math.sqrt(2.0)
    own = math.sqrt(1.0 - settings.purchases_truth**2) * rng.standard_normal(n)
    log_rate = math.log(settings.purchases_median) + settings.purchases_spread * (settings.purchases_truth * told + own)
    return Users(features, visit_rate, rng.poisson(np.exp(log_rate)), latent)


def draw_pool(settings: Settings, world: World, users: Users, rng: Generator) -> Pool:
    """Each user's pool: Gumbel top-k over click taste and popularity among ``window`` random items, all different.

    The k-th random item is of the k-th of ``window`` equal parts of all items.
    """
    n_items = len(world.price)
    window = min(settings.window, n_items)
    bounds = np.arange(window + 1) * n_items // window
    draw = rng.random((len(users.visit_rate), window))
    near = bounds[:-1] + np.floor(draw * np.diff(bounds)).astype(np.int64)
    click = affinity(users.latent[0], world.item_latent[0][near], settings.taste[0], settings.bias[0])
    weight = settings.pool_taste * click + world.popularity[near] + gumbel(near.shape, rng)
    item = np.take_along_axis(near, np.argsort(-weight, axis=1)[:, : settings.pool], axis=1)
    heads = zip(users.latent, world.item_latent, settings.taste, settings.bias, strict=True)
    log_odds = np.stack([affinity(user, latent[item], taste, bias) for user, latent, taste, bias in heads])
    noise = np.float32(settings.policy_noise) * rng.standard_normal(item.shape, dtype=np.float32)
    return Pool(item=item, log_odds=log_odds, preference=log_odds[0] + noise)


def _latents(settings: Settings, tables: Mapping[str, Floats], features: Mapping[str, Ints], rng: Generator) -> Floats:
    """Latents [4, n, taste_dim + 1] of unit variance, ``explained`` of it by features; cart goes with the others.

    User and item latents of two heads correlate by the root of rho, so their products, the affinities, correlate
    by rho. Click and wish, click and buy, wish and buy go together through the cart only.
    """
    n = len(next(iter(features.values())))
    noise = rng.standard_normal((n, len(HEADS), settings.taste_dim + 1), dtype=np.float32)
    by_features = np.sum([table[features[name]] for name, table in tables.items()], axis=0) / math.sqrt(len(tables))
    own = math.sqrt(settings.explained) * by_features + math.sqrt(1.0 - settings.explained) * noise
    click, cart, wish, buy = np.moveaxis(own, 1, 0)
    cart = _mixed(click, cart, settings.rho_click_cart)
    wish = _mixed(cart, wish, settings.rho_cart_wish)
    buy = _mixed(cart, buy, settings.rho_cart_buy)
    return np.stack((click, cart, wish, buy)).astype(np.float32)


def _mixed(known: Floats, own: Floats, rho: float) -> Floats:
    mixed: Floats = math.sqrt(rho) * known + math.sqrt(1.0 - rho) * own
    return mixed
