"""Who lives in the simulated shop: items, users, pools, dense features, and the intercepts that the solver finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from shop_tables import shop

from bench.data.ecommerce.behaviour import chances
from bench.data.ecommerce.dense import SHAPES, Column, draw_columns, draw_values, told
from bench.data.ecommerce.population import HEADS, USER_LEVELS, draw_users, draw_world
from bench.data.ecommerce.settings import PUBLISHED, Settings
from bench.data.ecommerce.shop import Shop, solve


@pytest.fixture(scope="module")
def small() -> Shop:
    return shop(0.0003, block_users=1500)


def latents(n: int, **knobs: float) -> np.ndarray:
    settings = Settings.model_validate(knobs)
    return draw_world(settings, n, np.random.default_rng(3)).item_latent


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("knob", "pair"), [("click_cart", (0, 1)), ("cart_wish", (1, 2)), ("cart_buy", (1, 3))])
def test_latents_correlate_by_the_root_of_rho(rho: float, knob: str, pair: tuple[int, int]) -> None:
    latent = latents(4000, explained=0.0, **{f"rho_{knob}": rho})
    assert latent.shape == (4, 4000, 9)
    assert latent.var() == pytest.approx(1.0, abs=0.02)
    one, other = (latent[head].ravel() for head in pair)
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(rho**0.5, abs=0.03)


@pytest.mark.parametrize("explained", [0.0, 0.5, 1.0])
def test_categories_explain_the_stated_share_of_item_latents(explained: float) -> None:
    world = draw_world(Settings(explained=explained), 600, np.random.default_rng(4))
    names = ("category", "shop", "price_level", "brand")
    columns = [np.eye(world.item_features[name].max() + 1)[world.item_features[name]] for name in names]
    design, target = np.concatenate(columns, axis=1), world.item_latent.transpose(1, 0, 2).reshape(600, -1)
    fitted = design @ np.linalg.lstsq(design, target, rcond=None)[0]
    share = 1 - (target - fitted).var(axis=0).sum() / target.var(axis=0).sum()
    chance = np.linalg.matrix_rank(design) / 600
    assert share == pytest.approx(explained + (1 - explained) * chance, abs=0.06)


def test_pools_hold_distinct_items_and_prefer_popular_and_liked_ones(small: Shop) -> None:
    block, world = small.block(0), small.world
    item = block.pool.item
    assert item.shape == (1500, 48)
    assert all(len(set(row)) == 48 for row in item.tolist())
    assert item.min() < 20
    assert item.max() >= small.size.items - 20
    assert world.popularity[item].mean() > 0.3
    liked = block.pool.log_odds[0].mean()
    assert liked > 0.5
    error = block.pool.preference - block.pool.log_odds[0]
    assert error.std() == pytest.approx(1.0, abs=0.02)


def test_a_small_shop_shows_all_it_has() -> None:
    tiny = shop(1e-6)  # 10 items become 20
    item = tiny.block(0).pool.item
    assert item.shape == (13, 20)
    np.testing.assert_array_equal(np.sort(item, axis=1), np.tile(np.arange(20), (13, 1)))


def test_every_user_has_a_visit_and_the_quota_is_met(small: Shop) -> None:
    exposures = users = 0
    for index in range(len(small)):
        visits = small.block(index).visits
        count = np.bincount(visits.user[visits.main], minlength=small.quota.users[index])
        assert count.min() >= 1
        exposures += visits.length[visits.main].sum()
        users += len(count)
        assert np.bincount(visits.user[~visits.main], minlength=len(count)).min() == 0
    assert (exposures, users) == (small.size.exposures, small.size.users) == (97_898, 4015)


def test_users_bought_very_differently_in_three_months() -> None:
    settings = Settings(explained=0.0)  # so that latents are normal
    rng = np.random.default_rng(1)
    users = draw_users(settings, draw_world(settings, 100, rng), 40_000, rng)
    bought = users.purchases_90d
    assert np.median(bought) == pytest.approx(8, abs=1)
    shares = np.histogram(bought, [0, 11, 21, 51, np.inf])[0] / len(bought)
    assert shares.min() > 0.05
    assert shares[0] == pytest.approx(0.56, abs=0.05)
    rank = 6 / np.pi * np.arcsin(0.7 / 2**0.5 / 2)  # Spearman's of a bivariate normal, but for the Poisson draw
    for cause in (users.latent[HEADS.index("buy"), :, -1], users.visit_rate):
        assert stats.spearmanr(bought, cause)[0] == pytest.approx(rank, abs=0.03)
    assert {name: values.max() + 1 for name, values in users.features.items()} == USER_LEVELS
    np.testing.assert_allclose(np.bincount(users.features["activity"]) / 40_000, 0.25, atol=0.01)


@pytest.fixture(scope="module")
def columns() -> list[Column]:
    return draw_columns(Settings(), "item", np.random.default_rng(5))


def by_rank(values: np.ndarray, latent: np.ndarray) -> float:
    known = ~np.isnan(values)
    return float(stats.spearmanr(values[known], latent[known])[0])


def test_dense_columns_are_named_in_order_whatever_they_tell(columns: list[Column]) -> None:
    assert [column.name for column in columns] == [f"item_{i:03d}" for i in range(250)]
    places = [i for i, column in enumerate(columns) if column.reliability]
    assert len(places) == 24
    assert places[0] > 0
    assert max(places) > 150
    observed = {(column.head, column.coordinate) for column in columns if column.reliability}
    assert len(observed) == 24
    assert observed >= {(head, 8) for head in range(4)}
    for shape in SHAPES:
        assert sum(column.shape == shape for column in columns if column.reliability) == 6
        assert sum(column.shape == shape for column in columns) == pytest.approx(250 / 4, abs=1)
    other = draw_columns(Settings(), "item", np.random.default_rng(6))
    assert [i for i, column in enumerate(other) if column.reliability] != places


def test_informative_columns_tell_their_latent_and_the_others_nothing(columns: list[Column]) -> None:
    n = 5000
    latent = np.random.default_rng(0).standard_normal((4, n, 9)).astype(np.float32)
    values = draw_values(columns, latent, np.random.default_rng(1))
    for column in columns:
        seen = values[column.name]
        assert seen.dtype == np.float32
        if column.reliability:
            assert 0.5 <= column.reliability <= 0.9
            pearson = column.reliability**0.5
            rank = 6 / np.pi * np.arcsin(pearson / 2)  # Spearman's of a bivariate normal
            assert by_rank(seen, latent[column.head, :, column.coordinate]) == pytest.approx(rank, abs=0.03)
    noise = [values[column.name] for column in columns if not column.reliability]
    found = [by_rank(seen, latent[head, :, k]) for seen in noise[:40] for head in range(4) for k in (0, 8)]
    assert np.abs(found).max() < 4.5 / n**0.5


def test_noise_has_marginals_and_gaps_of_the_same_kinds(columns: list[Column]) -> None:
    latent = np.random.default_rng(0).standard_normal((4, 5000, 9)).astype(np.float32)
    values = draw_values(columns, latent, np.random.default_rng(1))
    bends = {"normal": (0.0, 0.0), "lognormal": (6.0, 100.0), "uniform": (0.0, -1.2)}
    for column in columns:
        seen = values[column.name] / column.unit
        absent = np.isnan(seen).mean()
        assert absent == pytest.approx(column.missing, abs=0.015)
        assert absent == 0 or 0.005 < absent < 0.1
        known = seen[~np.isnan(seen)].astype(np.float64)
        if column.shape == "heavy":
            assert stats.kurtosis(known) > 10
        elif column.shape == "lognormal":
            assert known.min() > 0
            assert stats.skew(known) > 2
        else:
            skew, kurtosis = bends[column.shape]
            assert stats.skew(known) == pytest.approx(skew, abs=0.2)
            assert stats.kurtosis(known) == pytest.approx(kurtosis, abs=0.4)
    gaps = [sum(c.missing > 0 for c in columns if bool(c.reliability) is told) for told in (True, False)]
    assert gaps == [4, 46]


def test_the_manifest_learns_what_informative_columns_tell() -> None:
    column = Column("user_007", 3, 8, 0.7, "normal", 2.0, 0.0)
    noise = column._replace(name="user_008", reliability=0.0)
    expected = {"head": "buy", "coordinate": 8, "reliability": 0.7, "shape": "normal"}
    assert told([column, noise]) == {"user_007": expected}


@pytest.mark.parametrize("oaction_share", [0.1, 0.3, 0.8])
def test_the_solver_meets_every_rate_exactly(oaction_share: float) -> None:
    small = shop(0.0002, dense=0, block_users=900, oaction_share=oaction_share)
    p = {name: [] for name in ("click", "browse", "repeat", "cart", "wish", "action", "purchase", "other")}
    at = solve(small, PUBLISHED)
    for index in range(len(small)):
        block = small.block(index)
        chance = chances(small.settings, at, block.shown)
        click, main = chance["click"].astype(np.float64), block.visits.main[block.shown["visit"]]
        chance["wish"] = chance["cart"] * chance["wish_cart"] + (1 - chance["cart"]) * chance["wish_alone"]
        chance["other"] = (1 - chance["action"]) * chance["buy_other"]
        for name, values in p.items():
            values.append((click * (1 if name == "click" else chance[name]))[main])
    total = {name: np.concatenate(values).sum() for name, values in p.items()}
    assert len(np.concatenate(p["click"])) == small.size.exposures
    assert total["click"] / small.size.exposures == pytest.approx(20_637_192 / 326_325_042, rel=1e-5)
    rates = {"browse": 0.4, "repeat": 0.15, "cart": 0.1, "wish": 0.035, "action": 2_501_776 / 20_637_192}
    for name, rate in (rates | {"purchase": 226_918 / 20_637_192}).items():
        assert total[name] / total["click"] == pytest.approx(rate, rel=1e-5), name
    assert total["other"] / total["purchase"] == pytest.approx(oaction_share, rel=1e-5)
