"""What the users of the simulated shop do: funnel, truth, histories, events, splits."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from shop_tables import make, shop
from six_cities_tables import DAY, Columns, Tables

from bench.data.ecommerce.behaviour import Intercepts, behave, chances, seen_before
from bench.data.ecommerce.settings import PUBLISHED, START
from bench.data.ecommerce.shop import Shop, solve
from bench.data.ecommerce.write import EVENTS
from bench.data.tables import LABELS, SPLITS

SPAN = 1 << 32


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return make(tmp_path_factory.mktemp("shop") / "a", block_users=1500, dense=8)


@pytest.fixture(scope="module")
def small() -> Shop:
    return shop(0.0001, dense=0, block_users=700)


@pytest.fixture(scope="module")
def intercepts(small: Shop) -> Intercepts:
    return solve(small, PUBLISHED)


def main_events(tables: Tables, action: str) -> Columns:
    chosen = (tables.events["time"] >= START) & (tables.events["action"] == action)
    return {name: column[chosen] for name, column in tables.events.items()}


def deviation(label: np.ndarray, p: np.ndarray) -> float:
    """Standard deviations between the number of positives and its expectation."""
    p = p.astype(np.float64)
    return float((label.sum() - p.sum()) / np.sqrt((p * (1 - p)).sum()))


def test_nothing_comes_without_a_click(tables: Tables) -> None:
    x = tables.exposures
    for label in ("cart", "wish", "purchase"):
        assert x[label].any()
        assert (x[label] <= x["click"]).all()


def test_truth_is_calibrated(tables: Tables) -> None:
    x, truth = tables.exposures, tables.truth
    clicked = x["click"] == 1
    for label, space in (("click", np.ones_like(clicked)), ("cart", clicked), ("purchase", clicked)):
        p = truth[f"p_{label}"]
        assert (p > 0).all()
        assert (p < 1).all()
        assert abs(deviation(x[label][space], p[space])) < 4
        bands = np.searchsorted(np.quantile(p[space], [0.25, 0.5, 0.75, 0.9]), p)
        parts = [bands == band for band in range(5)] + [
            x["position"] < 3,
            tables.users["purchases_90d"][x["user"]] > 20,
        ]
        checked = [
            abs(deviation(x[label][rows & space], p[rows & space])) for rows in parts if p[rows & space].sum() > 10
        ]
        assert len(checked) >= 3
        assert max(checked) < 4


def test_chances_follow_the_stated_log_odds(small: Shop, intercepts: Intercepts) -> None:
    at, settings, block = intercepts, small.settings, small.block(0)
    log = small.log(block, 0, at)
    category = small.world.item_features["category"]
    for row in range(0, len(log["cell"]), 397):
        user, slot = divmod(int(log["cell"][row]), settings.pool)
        visit, item = log["visit"][row], block.pool.item[user, slot]
        assert user == block.visits.user[visit]
        odds = []
        for head, (taste, bias) in enumerate(zip(settings.taste, settings.bias, strict=True)):
            mine, its = block.users.latent[head, user], small.world.item_latent[head, item]
            odds.append(taste * mine[:-1] @ its[:-1] / np.sqrt(8) + bias * (mine[-1] + its[-1]))
        hour = small.world.hour_category[block.visits.start[visit] // 3600 % 24, category[item]]
        click = at.click + odds[0] + hour - 0.3 * np.log1p(log["position"][row])
        cart, wish = expit(at.cart + odds[1]), expit(at.wish_alone + odds[2])
        action = 1 - (1 - cart) * (1 - wish)
        buy = action * expit(at.buy_action + odds[3]) + (1 - action) * expit(at.buy_other + odds[3])
        found = [log[f"p_{name}"][row] for name in ("click", "cart", "purchase")]
        np.testing.assert_allclose(found, (expit(click), cart, buy), rtol=1e-4)


def test_outcomes_come_by_their_chances() -> None:
    """Of 400,000 equal rows with chances that one can multiply by hand."""
    n = 400_000
    p = {"click": 0.5, "browse": 0.4, "repeat": 0.1, "cart": 0.3}
    p |= {"wish_cart": 0.6, "wish_alone": 0.2, "buy_action": 0.5, "buy_other": 0.1}
    came = behave({name: np.full(n, value) for name, value in p.items()}, np.random.default_rng(0))
    click, cart, wish, buy = (came[name] for name in ("click", "cart", "wish", "purchase"))
    expected = {
        "click": (click, 0.5),
        "browse": (came["browse"], 0.5 * 0.4),
        "repeat": (came["repeat"], 0.5 * 0.1),
        "cart": (cart, 0.5 * 0.3),
        "cart and wish": (cart & wish, 0.5 * 0.3 * 0.6),
        "wish": (wish, 0.5 * (0.3 * 0.6 + 0.7 * 0.2)),
        "purchase after an action": (buy & (cart | wish), 0.5 * (0.3 + 0.7 * 0.2) * 0.5),
        "purchase without": (buy & ~cart & ~wish, 0.5 * 0.7 * 0.8 * 0.1),
    }
    for name, (outcome, share) in expected.items():
        assert outcome.mean() == pytest.approx(share, abs=0.003), name
        assert not (outcome & ~click).any()


def test_browsing_and_repeated_clicks_grow_with_the_cart_affinity(small: Shop, intercepts: Intercepts) -> None:
    shown = small.block(0).shown
    p = chances(small.settings, intercepts, shown)
    order = np.argsort(shown["cart"])
    for outcome in ("browse", "repeat"):
        assert (np.diff(p[outcome][order]) >= 0).all()
        assert p[outcome][order[-1000:]].mean() > 3 * p[outcome][order[:1000]].mean()
    flat = chances(small.settings.model_copy(update={"interest": 0.0}), intercepts, shown)
    assert np.ptp(flat["browse"]) == 0


def test_what_is_shown_first_is_preferred_and_never_twice_in_a_visit(tables: Tables) -> None:
    x = tables.exposures
    assert len(np.unique(x["visit"] * SPAN + x["item"])) == len(x["visit"])
    early, late = x["preference"][x["position"] == 0], x["preference"][x["position"] == 15]
    assert early.mean() > late.mean() + 0.3
    assert np.corrcoef(x["preference"], np.log(tables.truth["p_click"]))[0, 1] > 0.4


def test_seen_before_sums_the_earlier_rows_of_the_cell() -> None:
    cell, count = np.array([3, 1, 3, 3, 1, 2]), np.array([1, 2, 0, 5, 1, 7])
    np.testing.assert_array_equal(seen_before(cell, count), [0, 0, 1, 1, 2, 0])


def test_features_of_earlier_visits_know_the_past_only(tables: Tables) -> None:
    x, events = tables.exposures, tables.events
    sample = np.random.default_rng(0).choice(tables.manifest.counts["users"], 150, replace=False)
    log: dict[tuple[int, int, str], list[int]] = {}
    mine = np.isin(events["user"], sample)
    for user, item, time, action in zip(
        *(events[n][mine].tolist() for n in ("user", "item", "time", "action")), strict=True
    ):
        log.setdefault((user, item, action), []).append(time)
    start = x["time"][np.flatnonzero(np.diff(x["visit"], prepend=-1))][x["visit"]]
    rows = np.flatnonzero(np.isin(x["user"], sample))
    for feature, action in (("clicks_before", "click"), ("browses_before", "browse")):
        times = [log.get((x["user"][row], x["item"][row], action), []) for row in rows]
        expected = [sum(t < start[row] for t in past) for row, past in zip(rows, times, strict=True)]
        np.testing.assert_array_equal(x[feature][rows], expected)
        assert max(expected) >= 2
        assert sum(map(len, times)) > sum(expected)  # there were later ones to leave out


def test_every_label_is_one_event(tables: Tables) -> None:
    x, clicks = tables.exposures, main_events(tables, "click")
    for label in LABELS:
        found = main_events(tables, label)
        keys = np.sort(found["visit"] * SPAN + found["item"])
        labelled = np.sort((x["visit"] * SPAN + x["item"])[x[label] == 1])
        np.testing.assert_array_equal(np.unique(keys), labelled)
        if label != "click":
            assert len(keys) == len(labelled)
    assert len(clicks["visit"]) == tables.manifest.counts["clicks"] + tables.manifest.counts["repeated_clicks"]
    assert set(tables.events["domain"]) == {"recommendation"}
    assert set(tables.events["action"]) == {*LABELS, "browse"}
    browses = main_events(tables, "browse")
    assert len(browses["visit"]) == tables.manifest.counts["browses"]
    assert np.isin(browses["visit"] * SPAN + browses["item"], clicks["visit"] * SPAN + clicks["item"]).all()


def test_events_follow_their_exposure_at_the_stated_delays(tables: Tables) -> None:
    x, events = tables.exposures, tables.events
    assert (np.diff(events["user"]) >= 0).all()
    assert (np.diff(events["time"])[np.diff(events["user"]) == 0] >= 0).all()
    keys = x["visit"] * SPAN + x["item"]
    order = np.argsort(keys)
    for action in ("click", "cart", "wish", "purchase", "browse"):
        found = main_events(tables, action)
        row = order[np.searchsorted(keys[order], found["visit"] * SPAN + found["item"])]
        assert set(found["time"] - x["time"][row]) == {delay for delay, of in EVENTS.values() if of == action}
        np.testing.assert_array_equal(found["user"], x["user"][row])
        np.testing.assert_array_equal((found["time"] - START) // DAY, (x["time"][row] - START) // DAY)


def test_the_warmup_leaves_events_only(tables: Tables) -> None:
    x, events, counts = tables.exposures, tables.events, tables.manifest.counts
    before = events["time"] < START
    assert before.sum() == counts["warmup_events"]
    assert 1.7 < before.sum() / (~before).sum() < 2.3  # twice as many days
    assert events["time"].min() >= START - 20 * DAY
    assert x["time"].min() >= START
    assert not np.isin(events["visit"][before], x["visit"]).any()
    pairs = np.unique(np.stack((events["visit"], events["user"])), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]  # an id belongs to one user


def test_without_warmup_nobody_has_a_past_on_the_first_day(tmp_path: Path, tables: Tables) -> None:
    bare = make(tmp_path / "a", scale=0.0001, dense=0, warmup_days=0)
    assert bare.manifest.counts["warmup_events"] == 0
    means = []
    for each in (bare, tables):
        first_day = each.exposures["time"] < START + DAY
        means.append(each.exposures["clicks_before"][first_day].mean())
    assert means[0] < 0.1 * means[1]


def test_splits_are_whole_visits_in_order_of_days(tables: Tables) -> None:
    x, manifest = tables.exposures, tables.manifest
    day = (x["time"] - START) // DAY
    assert (day.min(), day.max()) == (0, 9)
    expected = np.where(day < 7, "train", np.where(day < 8, "valid", "test"))
    np.testing.assert_array_equal(x["split"].astype(str), expected)
    first = np.flatnonzero(np.diff(x["visit"], prepend=-1))
    np.testing.assert_array_equal(x["split"], x["split"][first][x["visit"]])
    for split in SPLITS:
        low, high = manifest.split_range[split]
        times = x["time"][x["split"] == split]
        assert low <= times.min() <= times.max() <= high
    assert manifest.time_range == (manifest.split_range["train"][0], manifest.split_range["test"][1])
    start = datetime.datetime.fromtimestamp(manifest.time_range[0], tz=datetime.UTC)
    assert start.isoformat() == "2019-09-02T00:00:00+00:00"
    for row in first[::97]:
        start = datetime.datetime.fromtimestamp(int(x["time"][row]), tz=datetime.UTC)
        assert (x["hour"][row], x["weekday"][row]) == (start.hour, start.weekday())


def test_a_block_does_not_depend_on_the_others(small: Shop, intercepts: Intercepts) -> None:
    first, second = (small.log(small.block(index), index, intercepts) for index in (0, 1))
    fresh = shop(0.0001, dense=0, block_users=700)
    again = fresh.log(fresh.block(1), 1, intercepts)
    for name, column in second.items():
        np.testing.assert_array_equal(column, again[name])
    assert not np.array_equal(first["cell"][:100], second["cell"][:100])


def test_other_intercepts_leave_what_is_shown_and_the_draws(small: Shop, intercepts: Intercepts) -> None:
    block = small.block(0)
    before = small.log(block, 0, intercepts)
    after = small.log(block, 0, intercepts._replace(buy_other=intercepts.buy_other + 3.0))
    for name in ("cell", "click", "cart", "wish", "browse", "repeat", "clicks_before"):
        np.testing.assert_array_equal(before[name], after[name])
    assert after["purchase"].sum() > 2 * before["purchase"].sum()
    assert (after["purchase"] >= before["purchase"]).all()
