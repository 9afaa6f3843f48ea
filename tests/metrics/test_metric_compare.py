"""Intervals, paired tests, Holm's correction and the marks for best and second best."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from bench.metrics.auc import auc
from bench.metrics.compare import (
    Contrast,
    Estimate,
    adjust,
    best_and_second,
    difference,
    estimate,
    holm,
    sample,
)
from bench.metrics.delong import cluster_variance, influence


def auc_estimates(scores, labels, users, level=0.95):
    """The estimate of each model, from one array per seed."""
    return {model: estimate(sample(dict(enumerate(seeds)), labels, users), level) for model, seeds in scores.items()}


def compare(scores, labels, users, pairs):
    """The difference of each pair of models, Holm-adjusted over the pairs."""
    samples = {model: sample(dict(enumerate(seeds)), labels, users) for model, seeds in scores.items()}
    return adjust({(a, b): difference(samples[a], samples[b]) for a, b in pairs})


def world(rng, n_users=200, per_user=5):
    """Labels and one common score part that share a user's effect."""
    users = np.repeat(np.arange(n_users), per_user)
    labels = (rng.random(users.size) < 0.4).astype(np.uint8)
    common = labels + rng.normal(0, 0.7, n_users)[users] + rng.normal(size=users.size)
    return common, labels, users * 1000 + 5


def test_one_seed_has_the_cluster_robust_error_only():
    rng = np.random.default_rng(0)
    scores, labels, users = world(rng)
    found = auc_estimates({"m": [scores]}, labels, users)["m"]
    area, rows = influence(scores, labels)
    sums = [rows[users == u].sum() for u in np.unique(users)]
    assert found.mean == area
    assert found.se == pytest.approx(math.sqrt(cluster_variance(np.array(sums))), rel=1e-12)
    assert found.n_seeds == 1
    assert (found.lo, found.hi) == pytest.approx((area - 1.971956544 * found.se, area + 1.971956544 * found.se))
    narrow = auc_estimates({"m": [scores]}, labels, users, level=0.5)["m"]
    assert narrow.hi - narrow.mean == pytest.approx(student.ppf(0.75, 199) * found.se)


def test_seeds_add_their_variance():
    rng = np.random.default_rng(1)
    common, labels, users = world(rng)
    seeds = [common + rng.normal(size=common.size) for _ in range(3)]
    found = auc_estimates({"m": seeds}, labels, users)["m"]
    areas = [auc(s, labels) for s in seeds]
    averaged = np.mean([influence(s, labels)[1] for s in seeds], axis=0)
    cluster = cluster_variance(np.bincount((users - 5) // 1000, weights=averaged))
    assert found.mean == pytest.approx(np.mean(areas))
    assert found.se == pytest.approx(math.sqrt(cluster + np.var(areas, ddof=1) / 3), rel=1e-12)
    assert found.n_seeds == 3


def test_interval_covers_the_true_auc():
    """500 draws: 95 % intervals cover in 92.5 to 97.5 % (2.5 standard errors of the count)."""
    rng = np.random.default_rng(2)
    true = norm.cdf(1 / math.sqrt(2 * (0.7**2 + 1)))
    covered = 0
    for _ in range(500):
        scores, labels, users = world(rng)
        found = auc_estimates({"m": [scores]}, labels, users)["m"]
        covered += found.lo < true < found.hi
    assert 0.925 <= covered / 500 <= 0.975


def test_equal_models_are_rejected_as_often_as_the_level_says():
    """500 draws of two models with equal expected AUC: 2.5 to 7.5 % have p < 0.05."""
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(500):
        common, labels, users = world(rng, n_users=100)
        scores = {m: [common + rng.normal(size=common.size)] for m in "ab"}
        rejected += compare(scores, labels, users, [("a", "b")])["a", "b"].p_value < 0.05
    assert 0.025 <= rejected / 500 <= 0.075


def test_paired_difference_matches_a_bootstrap_over_users():
    """Standard error within 8 % of 1500 bootstrap draws; unpaired it would be far larger."""
    rng = np.random.default_rng(4)
    common, labels, users = world(rng)
    a, b = common + 0.3 * rng.normal(size=common.size), common + 0.5 * rng.normal(size=common.size)
    found = compare({"a": [a], "b": [b]}, labels, users, [("a", "b")])["a", "b"]
    rows = np.arange(1000).reshape(200, 5)
    drawn = [rows[rng.integers(0, 200, 200)].ravel() for _ in range(1500)]
    differences = [auc(a[d], labels[d]) - auc(b[d], labels[d]) for d in drawn]
    se = (found.hi - found.difference) / student.ppf(0.975, 199)
    assert found.difference == pytest.approx(auc(a, labels) - auc(b, labels), abs=1e-15)
    assert se == pytest.approx(np.std(differences, ddof=1), rel=0.08)
    assert found.p_value == pytest.approx(2 * student.sf(abs(found.difference) / se, 199), rel=1e-6)
    apart = auc_estimates({"a": [a], "b": [b]}, labels, users)
    assert se < 0.6 * math.hypot(apart["a"].se, apart["b"].se)


def test_seeds_are_matched_by_index_over_the_common_prefix():
    rng = np.random.default_rng(5)
    common, labels, users = world(rng)
    a = [common + rng.normal(size=common.size) for _ in range(3)]
    b = [common + rng.normal(size=common.size) for _ in range(2)]
    found = compare({"a": a, "b": b}, labels, users, [("a", "b")])["a", "b"]
    changes = np.array([auc(x, labels) - auc(y, labels) for x, y in zip(a[:2], b, strict=True)])
    averaged = np.mean(
        [influence(x, labels)[1] - influence(y, labels)[1] for x, y in zip(a[:2], b, strict=True)], axis=0
    )
    cluster = cluster_variance(np.bincount((users - 5) // 1000, weights=averaged))
    between = changes.var(ddof=1) / 2
    dof = (cluster + between) ** 2 / (cluster**2 / 199 + between**2)
    assert found.difference == pytest.approx(changes.mean())
    assert found.se == pytest.approx(math.sqrt(cluster + between), rel=1e-12)
    assert (found.hi - found.lo) / 2 == pytest.approx(student.ppf(0.975, dof) * found.se, rel=1e-9)


def test_turning_a_pair_round_turns_the_sign():
    rng = np.random.default_rng(6)
    common, labels, users = world(rng)
    scores = {"a": [common], "b": [common + rng.normal(size=common.size)]}
    found = compare(scores, labels, users, [("a", "b"), ("b", "a")])
    assert found["a", "b"].difference == -found["b", "a"].difference
    assert found["a", "b"].lo == pytest.approx(-found["b", "a"].hi)
    assert found["a", "b"].p_value == found["b", "a"].p_value
    assert found["a", "b"].p_adjusted == pytest.approx(min(1, 2 * found["a", "b"].p_value))


def test_identical_models_have_p_1():
    scores, labels, users = world(np.random.default_rng(7))
    found = compare({"a": [scores], "b": [scores]}, labels, users, [("a", "b")])["a", "b"]
    assert (found.difference, found.p_value, found.p_adjusted) == (0.0, 1.0, 1.0)


def test_undefined_aucs_give_nan():
    labels, users = np.zeros(3, dtype=np.uint8), np.arange(3)
    scores = {"a": [np.arange(3.0)], "b": [np.arange(3.0)[::-1]]}
    alone = auc_estimates(scores, labels, users)["a"]
    assert all(math.isnan(x) for x in (alone.mean, alone.lo, alone.hi, alone.se))
    found = compare(scores, labels, users, [("a", "b")])["a", "b"]
    assert all(math.isnan(x) for x in (found.difference, found.p_value, found.p_adjusted))


def test_one_user_gives_a_mean_without_an_interval():
    found = auc_estimates({"a": [np.array([0.1, 0.9, 0.5])]}, np.array([0, 1, 1]), np.zeros(3))["a"]
    assert found.mean == 1.0
    assert math.isnan(found.lo)


def test_a_difference_without_variance_is_not_called_significant():
    labels, users = np.array([0, 1, 0, 1]), np.arange(4)
    scores = {"right": [np.array([0.0, 1, 0, 1])], "wrong": [np.array([1.0, 0, 1, 0])]}
    found = compare(scores, labels, users, [("right", "wrong")])["right", "wrong"]
    assert found.difference == 1.0
    assert math.isnan(found.p_value)


def test_bad_input_is_refused():
    scores, labels, users = world(np.random.default_rng(8))
    with pytest.raises(ValueError, match="at least one seed"):
        auc_estimates({"a": []}, labels, users)
    with pytest.raises(ValueError, match="one shape"):
        auc_estimates({"a": [scores]}, labels, users[:-1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_nan_out_of_the_count():
    found = holm([0.02, math.nan, 0.01])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.02)


def marked(means, p_values):
    """best_and_second for models a, b, c, … with those means; ``p_values`` by pair, 0.001 where not given."""
    names = "abcd"[: len(means)]
    estimates = {m: Estimate(mean, mean, mean, 0.0, 1) for m, mean in zip(names, means, strict=True)}
    comparisons = {}
    for x, y in itertools.combinations(names, 2):
        difference, p = estimates[x].mean - estimates[y].mean, p_values.get(x + y, 0.001)
        comparisons[x, y] = Contrast(difference, difference, difference, p, p)
    return best_and_second(estimates, comparisons)


@pytest.mark.parametrize(
    ("means", "p_values", "expected"),
    [
        ([0.7, 0.9, 0.8], {}, ("b", "c")),
        ([0.7, 0.9, 0.8], {"bc": 0.2}, (None, None)),
        ([0.7, 0.9, 0.8], {"ab": 0.2}, (None, None)),
        ([0.7, 0.9, 0.8], {"ac": 0.05}, ("b", None)),
        ([0.7, 0.9, 0.8], {"ac": math.nan}, ("b", None)),
        ([0.9, 0.9, 0.8], {}, (None, None)),
        ([0.9, 0.8], {}, ("a", None)),
        ([0.9], {}, (None, None)),
        ([0.7, math.nan, 0.8], {}, ("c", None)),
        ([], {}, (None, None)),
    ],
)
def test_marks(means, p_values, expected):
    assert marked(means, p_values) == expected


def test_marks_need_all_pairs():
    estimates = {m: Estimate(x, x, x, 0.0, 1) for m, x in {"a": 0.8, "b": 0.7}.items()}
    with pytest.raises(ValueError, match="'a' and 'b' were not"):
        best_and_second(estimates, {})


def test_the_whole_way():
    rng = np.random.default_rng(9)
    common, labels, users = world(rng, n_users=2000)
    scores = {
        name: [common + sd * rng.normal(size=common.size) for _ in range(2)]
        for name, sd in {"noisy": 3.0, "best": 0.1, "good": 1.0}.items()
    }
    estimates = auc_estimates(scores, labels, users)
    found = best_and_second(estimates, compare(scores, labels, users, itertools.combinations(scores, 2)))
    assert found == ("best", "good")
