"""The gap of the chain rule: by hand, its terms, and its errors against draws of users."""

import math

import numpy as np
import pytest

from bench.metrics.compare import Sample, estimate
from bench.metrics.delong import cluster_variance
from bench.metrics.gap import gap

CLICK = np.array([0.1, 0.3, 0.2])
CART = np.array([0.5, 0.8, 0.4])
PURCHASE = np.array([0.3, 0.6, 0.2])
CVR = np.array([0.2, 0.4, 0.1])
CAR = np.array([0.6, 0.5, 0.2])
USERS = np.array([0, 2, 2])
NONE = np.zeros(3)


def world(rng, n_users=150, per_user=4):
    users = np.repeat(np.arange(n_users), per_user)
    taste = rng.normal(0, 1.0, n_users)[users] + rng.normal(0, 0.5, users.size)
    click, cart, purchase = (1 / (1 + np.exp(base - taste)) for base in (2.0, 0.5, 1.0))
    noise = rng.normal(0, 0.8, users.size)
    return click, cart, purchase, 1 / (1 + np.exp(1.5 - taste + noise)), 1 / (1 + np.exp(0.6 - taste - noise)), users


def test_good_case_by_hand():
    # weighted by click: purchase 0.03 + 0.18 + 0.04, cart 0.05 + 0.24 + 0.08, cvr 0.02 + 0.12 + 0.02, car 0.25, of 0.6
    found = gap("good", CLICK, CART, PURCHASE, CVR, CAR, USERS, 4)
    assert found.truth == pytest.approx(0.25 / 0.6)
    assert found.estimate == pytest.approx(0.16 / 0.6)
    assert found.gap == pytest.approx(0.09 / 0.6)
    assert (found.truth_left, found.truth_right) == pytest.approx((0.25 / 0.37, 0.37 / 0.6))
    assert (found.estimate_left, found.estimate_right) == pytest.approx((0.16 / 0.25, 0.25 / 0.6))
    # user 0: 0.1 · (0.3 - truth) / 0.6; the users without rows stay 0
    assert found.truth_sums == pytest.approx([(0.03 - 0.1 * 0.25 / 0.6) / 0.6, 0, -(0.03 - 0.1 * 0.25 / 0.6) / 0.6, 0])


def test_bad_case_has_its_cart_already():
    found = gap("bad", CLICK, NONE, PURCHASE, CVR, CAR, USERS, 4)
    assert (found.truth_left, found.truth_right) == (found.truth, 1.0)
    assert found.truth == pytest.approx(0.25 / 0.6)
    assert (found.estimate_left, found.estimate_right) == pytest.approx((0.16 / 0.25, 0.25 / 0.6))


@pytest.mark.parametrize("case", ["bad", "good"])
@pytest.mark.parametrize("seed", range(5))
def test_products_of_the_terms_are_truth_and_estimate(case, seed):
    click, cart, purchase, cvr, car, users = world(np.random.default_rng(seed))
    found = gap(case, click, cart if case == "good" else 0 * cart, purchase, cvr, car, users, 150)
    assert found.truth_left * found.truth_right == pytest.approx(found.truth, rel=1e-15)
    assert found.estimate_left * found.estimate_right == pytest.approx(found.estimate, rel=1e-15)
    assert found.gap == found.truth - found.estimate
    assert found.truth == pytest.approx(np.average(purchase, weights=click), rel=1e-13)
    assert found.estimate_right == pytest.approx(np.average(car, weights=click), rel=1e-13)


def test_perfect_predictions_leave_no_gap():
    found = gap("good", CLICK, CART, PURCHASE, PURCHASE, CART, USERS, 3)
    assert found.gap == 0
    assert not found.gap_sums.any()
    assert (found.truth_left, found.truth_right) == (found.estimate_left, found.estimate_right)


def test_models_without_a_cart_rate_have_no_terms():
    found = gap("good", CLICK, CART, PURCHASE, CVR, None, USERS, 3)
    assert math.isnan(found.estimate_left)
    assert math.isnan(found.estimate_right)
    assert found.gap == gap("good", CLICK, CART, PURCHASE, CVR, CAR, USERS, 3).gap


def test_sums_are_the_derivative_by_the_weight_of_a_user():
    click, cart, purchase, cvr, car, users = world(np.random.default_rng(1), n_users=12)
    found = gap("good", click, cart, purchase, cvr, car, users, 12)
    for user in range(12):
        lighter, heavier = (click * (1 + step * (users == user)) for step in (-1e-5, 1e-5))
        down, up = (gap("good", w, cart, purchase, cvr, car, users, 12) for w in (lighter, heavier))
        for name in ("truth", "estimate", "gap"):
            derivative = (getattr(up, name) - getattr(down, name)) / 2e-5
            assert getattr(found, f"{name}_sums")[user] == pytest.approx(derivative, abs=1e-9)
    assert np.abs(found.gap_sums).max() > 1e-3


def test_error_of_the_gap_is_that_of_drawing_users():
    """2000 draws of 150 users: the standard deviation of each is what its sums say, within 8 %."""
    rng = np.random.default_rng(2)
    names = ("truth", "estimate", "gap")
    values, variances = {name: [] for name in names}, {name: [] for name in names}
    for _ in range(2000):
        click, cart, purchase, cvr, car, users = world(rng)
        found = gap("good", click, cart, purchase, cvr, car, users, 150)
        for name in names:
            values[name].append(getattr(found, name))
            variances[name].append(cluster_variance(getattr(found, f"{name}_sums")))
    for name in names:
        assert np.sqrt(np.mean(variances[name])) == pytest.approx(np.std(values[name]), rel=0.08)


def test_gaps_of_seeds_make_a_sample():
    click, cart, purchase, cvr, car, users = world(np.random.default_rng(3))
    by_seed = {s: gap("good", click, cart, purchase, cvr**p, car, users, 150) for s, p in ((7, 1.0), (8, 1.1))}
    found = estimate(Sample.of({seed: (each.gap, each.gap_sums) for seed, each in by_seed.items()}))
    assert found.mean == pytest.approx((by_seed[7].gap + by_seed[8].gap) / 2)
    assert found.lo < found.mean < found.hi


@pytest.mark.parametrize("click", [np.zeros(3), np.empty(0)], ids=["no clicks", "no rows"])
def test_undefined_is_nan(click):
    n = click.size
    for case, cart in (("good", CART[:n]), ("bad", NONE[:n])):
        found = gap(case, click, cart, PURCHASE[:n], CVR[:n], CAR[:n], USERS[:n], 3)
        assert all(math.isnan(getattr(found, name)) for name in ("truth", "estimate", "gap"))
        assert all(
            math.isnan(getattr(found, f"{which}_{side}"))
            for which in ("truth", "estimate")
            for side in ("left", "right")
        )
        assert np.isnan(found.gap_sums).all()
        assert found.gap_sums.shape == (3,)


def test_a_cart_rate_of_0_has_no_left_term():
    found = gap("good", CLICK, NONE, NONE, CVR, NONE, USERS, 3)
    assert math.isnan(found.truth_left)
    assert math.isnan(found.estimate_left)
    assert (found.truth, found.truth_right, found.estimate_right) == (0, 0, 0)


def test_a_nan_prediction_spoils_the_estimate_only():
    found = gap("good", CLICK, CART, PURCHASE, np.array([0.1, np.nan, 0.2]), CAR, USERS, 3)
    assert math.isnan(found.estimate)
    assert math.isnan(found.gap)
    assert found.truth == pytest.approx(0.25 / 0.6)
    assert not np.isnan(found.truth_sums).any()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="'bad' or 'good'"):
        gap("ugly", CLICK, CART, PURCHASE, CVR, CAR, USERS, 3)
    with pytest.raises(ValueError, match="0 in the bad case"):
        gap("bad", CLICK, CART, PURCHASE, CVR, CAR, USERS, 3)
    with pytest.raises(ValueError, match="one shape"):
        gap("good", CLICK, CART, PURCHASE, CVR[:2], CAR, USERS, 3)
    with pytest.raises(ValueError, match="one shape"):
        gap("good", CLICK, CART, PURCHASE, CVR, CAR, USERS[:2], 3)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        gap("good", CLICK, CART, PURCHASE, 2 * CART, CAR, USERS, 3)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        gap("good", 4 * CLICK, CART, PURCHASE, CVR, CAR, USERS, 3)
    with pytest.raises(ValueError, match="from 0 to 1, but 2 was found"):
        gap("good", CLICK, CART, PURCHASE, CVR, CAR, USERS, 2)
