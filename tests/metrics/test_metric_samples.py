"""Samples: pairing by seed, Student's t for few seeds, relative improvements, means over cities, Holm by key."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from bench.metrics.compare import (
    Contrast,
    Estimate,
    Sample,
    adjust,
    combine,
    difference,
    estimate,
    one,
    relative,
    sample,
)
from bench.metrics.delong import cluster_variance, influence


def drawn(rng, seeds, n_users=100, user_sd=0.1, seed_sd=0.01, mean=0.7, shared=None):
    """A sample whose users and seeds scatter around ``mean`` as told, users' ``shared`` effects [U] added."""
    effects = rng.normal(0, user_sd, n_users) + (0 if shared is None else shared)
    areas = mean + effects.mean() + rng.normal(0, seed_sd, len(seeds))
    sums = np.tile((effects - effects.mean()) / n_users, (len(seeds), 1))
    return Sample(areas, sums, tuple(seeds))


def test_sample_holds_area_and_sums_of_each_seed():
    rng = np.random.default_rng(0)
    users, labels = rng.integers(0, 30, 400) * 7 + 3, rng.random(400)
    scores = {5: rng.random(400), 2: rng.random(400)}
    found = sample(scores, labels, users)
    assert found.seeds == (2, 5)
    for place, seed in enumerate(found.seeds):
        area, rows = influence(scores[seed], labels)
        assert found.areas[place] == area
        assert found.sums[place].tolist() == pytest.approx([rows[users == user].sum() for user in np.unique(users)])
    codes = np.unique(users, return_inverse=True)[1]
    parts = Sample.of({seed: one(row, labels, codes, 30) for seed, row in scores.items()})
    assert (parts.areas.tolist(), parts.sums.tolist()) == (found.areas.tolist(), found.sums.tolist())


def test_users_without_rows_have_a_sum_of_0():
    _, sums = one(np.array([0.1, 0.2, 0.3]), np.array([0, 1, 1]), np.array([0, 3, 3]), 5)
    assert sums.shape == (5,)
    assert not sums[[1, 2, 4]].any()


def test_bad_samples_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Sample.of({})
    with pytest.raises(ValueError, match="each once"):
        Sample(np.zeros(2), np.zeros((2, 3)), (1, 1))
    with pytest.raises(ValueError, match=r"must be \[2\]"):
        Sample(np.zeros(3), np.zeros((2, 3)), (1, 2))
    with pytest.raises(ValueError, match="from 0 to 1, but 2 was found"):
        one(np.array([0.1, 0.2]), np.array([0, 1]), np.array([0, 2]), 2)
    with pytest.raises(ValueError, match="one shape"):
        one(np.array([0.1, 0.2]), np.array([0, 1]), np.array([0]), 2)


def test_degrees_of_freedom_are_those_of_welch_and_satterthwaite():
    found = drawn(np.random.default_rng(1), seeds=range(3))
    v_users, v_seeds = cluster_variance(found.sums[0]), found.areas.var(ddof=1) / 3
    dof = (v_users + v_seeds) ** 2 / (v_users**2 / 99 + v_seeds**2 / 2)
    ours = estimate(found)
    assert 3 < dof < 90
    assert ours.dof == pytest.approx(dof, rel=1e-12)
    assert ours.se == pytest.approx(math.sqrt(v_users + v_seeds), rel=1e-12)
    assert ours.hi - ours.mean == pytest.approx(t.ppf(0.975, dof) * ours.se, rel=1e-9)
    narrow = estimate(found, level=0.5)
    assert narrow.mean - narrow.lo == pytest.approx(t.ppf(0.75, dof) * ours.se, rel=1e-9)


def test_one_seed_has_the_degrees_of_freedom_of_its_users():
    assert estimate(drawn(np.random.default_rng(1), seeds=[4])).dof == pytest.approx(99)


def test_p_value_is_students():
    rng = np.random.default_rng(2)
    found = difference(drawn(rng, range(3)), drawn(rng, range(3), mean=0.72))
    assert found.p_value == found.p_adjusted
    assert found.p_value == pytest.approx(2 * t.sf(abs(found.difference) / found.se, found.dof), rel=1e-9)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_levels_are_between_0_and_1(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimate(drawn(np.random.default_rng(1), seeds=[4]), level)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_intervals_of_three_seeds_cover(share):
    """1500 draws of 3 seeds with ``share`` of the variance theirs: 95 % intervals cover in 91 to 97 %.

    The normal quantile covers in less than 89 % once seeds prevail.
    """
    rng = np.random.default_rng(3)
    user_sd, seed_sd = 0.01 * math.sqrt((1 - share) * 100), 0.01 * math.sqrt(share * 3)
    covered = normal = 0
    for _ in range(1500):
        found = estimate(drawn(rng, range(3), user_sd=user_sd, seed_sd=seed_sd))
        covered += found.lo < 0.7 < found.hi
        normal += abs(found.mean - 0.7) < norm.ppf(0.975) * found.se
    assert 0.91 <= covered / 1500 <= 0.97
    assert normal / 1500 < 0.89 or share < 0.9


def test_seeds_are_paired_by_their_numbers():
    rng = np.random.default_rng(4)
    a, b = drawn(rng, [1, 2, 3, 9]), drawn(rng, [3, 8, 1])
    found = difference(a, b)
    changes = np.array([a.areas[0] - b.areas[2], a.areas[2] - b.areas[0]])  # seeds 1 and 3; b keeps its own order
    cluster = cluster_variance((a.sums - b.sums[0])[0])
    assert b.seeds == (3, 8, 1)
    assert found.n_seeds == 2
    assert found.difference == pytest.approx(changes.mean(), rel=1e-12)
    assert found.se == pytest.approx(math.sqrt(cluster + changes.var(ddof=1) / 2), rel=1e-12)


def test_no_common_seed_gives_nan():
    rng = np.random.default_rng(5)
    for found in (f(drawn(rng, [1, 2]), drawn(rng, [3])) for f in (difference, relative)):
        assert found.n_seeds == 0
        assert all(math.isnan(x) for x in (found.difference, found.lo, found.hi, found.p_value, found.p_adjusted))


def test_other_users_are_refused():
    rng = np.random.default_rng(6)
    for compare in (difference, relative):
        with pytest.raises(ValueError, match="100 and 99 of them"):
            compare(drawn(rng, [1]), drawn(rng, [1], n_users=99))


def test_rounding_is_no_difference():
    """The same order of rows from other scores can give an AUC that differs in its last digits."""
    rng = np.random.default_rng(7)
    a = drawn(rng, [1, 2])
    b = Sample(a.areas + 2e-16, a.sums * (1 + 1e-15), a.seeds)
    assert not np.array_equal(a.sums, b.sums)
    assert difference(a, b).p_value == 1.0
    assert relative(a, b).p_value == 1.0


def test_relative_by_hand():
    a = Sample(np.array([0.8]), np.array([[0.02, -0.02, 0.0]]), (1,))
    b = Sample(np.array([0.5]), np.array([[0.01, 0.0, -0.01]]), (1,))
    found = relative(a, b)
    assert found.difference == pytest.approx(60)
    # influences on the ratio: (a - 1.6 b) / 0.5, in percent
    sums = 200 * np.array([0.02 - 0.016, -0.02, 0.016])
    assert found.se == pytest.approx(math.sqrt(1.5 * (sums**2).sum()), rel=1e-12)
    assert found.hi - 60 == pytest.approx(t.ppf(0.975, 2) * found.se, rel=1e-9)


def test_relative_error_is_that_of_the_ratio_of_means():
    """3000 draws: its standard deviation is what is estimated, within 6 %; pairing by user makes it small."""
    rng = np.random.default_rng(8)
    values, errors, unpaired = [], [], []
    for _ in range(3000):
        shared = rng.normal(0, 0.3, 100)
        a, b = (drawn(rng, range(5), user_sd=0.05, seed_sd=0.005, mean=m, shared=shared) for m in (0.8, 0.7))
        found = relative(a, b)
        values.append(found.difference)
        errors.append(found.se)
        unpaired.append(100 / 0.7 * math.hypot(estimate(a).se, estimate(b).se))
    assert math.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.06)
    assert np.mean(values) == pytest.approx(100 * (8 / 7 - 1), abs=4 * np.std(values) / math.sqrt(3000) + 0.02)
    assert np.mean(errors) < np.mean(unpaired) / 3


def test_relative_and_difference_agree_where_the_models_are_near():
    rng = np.random.default_rng(9)
    a, b = drawn(rng, range(3), mean=0.7), drawn(rng, range(3), mean=0.7)
    assert relative(a, b).p_value == pytest.approx(difference(a, b).p_value, rel=0.1)
    assert relative(a, b).difference == pytest.approx(100 * difference(a, b).difference / b.areas.mean(), rel=1e-9)


def test_relative_to_0_is_nan():
    zero = Sample(np.zeros(1), np.array([[0.1, -0.1]]), (1,))
    found = relative(Sample(np.ones(1), np.array([[0.1, -0.1]]), (1,)), zero)
    assert math.isnan(found.difference)
    assert math.isnan(found.p_value)
    assert found.n_seeds == 1


def test_combined_estimates_by_hand():
    found = combine([Estimate(0.7, 0.6, 0.8, 0.03, 3, 4.0), Estimate(0.8, 0.7, 0.9, 0.04, 2, 50.0)])
    assert isinstance(found, Estimate)
    assert found.mean == pytest.approx(0.75)
    assert found.se == pytest.approx(0.025)
    assert found.n_seeds == 2
    dof = 25**2 / (9**2 / 4 + 16**2 / 50)
    assert found.dof == pytest.approx(dof)
    assert found.hi == pytest.approx(0.75 + t.ppf(0.975, dof) * 0.025)
    assert combine([Estimate(0.7, 0.6, 0.8, 0.03, 3)]).hi == pytest.approx(0.7 + norm.ppf(0.975) * 0.03)


def test_combined_contrasts_are_tested_as_their_mean():
    rng = np.random.default_rng(10)
    cities = [difference(drawn(rng, range(3), mean=0.71), drawn(rng, range(3))) for _ in range(6)]
    cities = list(adjust(dict(enumerate(cities))).values())
    found = combine(cities)
    assert found.difference == pytest.approx(np.mean([c.difference for c in cities]))
    assert found.se == pytest.approx(math.sqrt(sum(c.se**2 for c in cities)) / 6)
    assert found.p_value == pytest.approx(2 * t.sf(abs(found.difference) / found.se, found.dof), rel=1e-9)
    assert found.p_adjusted == found.p_value
    assert found.se < min(c.se for c in cities)


def test_combined_intervals_cover():
    """1000 draws of 4 cities with 3 seeds each: 95 % intervals of the mean difference cover in 93 to 97 %."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(1000):
        parts = [
            difference(drawn(rng, range(3), user_sd=0.05), drawn(rng, range(3), user_sd=0.05, mean=0.69))
            for _ in range(4)
        ]
        found = combine(parts)
        covered += found.lo < 0.01 < found.hi
    assert 0.93 <= covered / 1000 <= 0.97


def test_an_undefined_city_makes_the_mean_undefined():
    bad = Estimate(math.nan, math.nan, math.nan, math.nan, 3, math.nan)
    found = combine([Estimate(0.7, 0.6, 0.8, 0.03, 3, 4.0), bad])
    assert math.isnan(found.mean)
    assert math.isnan(found.se)
    with pytest.raises(ValueError, match="at least one"):
        combine([])


def test_adjust_corrects_over_all_keys():
    contrasts = {
        ("city 1", "a"): Contrast(0.1, 0.0, 0.2, 0.01, 0.01, 0.05, 3, 4.0),
        ("city 2", "a"): Contrast(0.2, 0.1, 0.3, 0.04, 0.04),
        ("city 3", "b"): Contrast(math.nan, math.nan, math.nan, math.nan, math.nan),
    }
    found = adjust(contrasts)
    assert list(found) == list(contrasts)
    assert found["city 1", "a"] == Contrast(0.1, 0.0, 0.2, 0.01, 0.02, 0.05, 3, 4.0)
    assert found["city 2", "a"].p_adjusted == 0.04
    assert math.isnan(found["city 3", "b"].p_adjusted)
    assert contrasts["city 1", "a"].p_adjusted == 0.01
    assert adjust({}) == {}
