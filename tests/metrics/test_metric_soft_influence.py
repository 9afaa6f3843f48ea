"""The AUC against true probabilities and its influence: pair by pair, by row weights, and by drawing labels."""

import numpy as np
import pytest

from bench.metrics.auc import auc
from bench.metrics.delong import cluster_variance, influence


def by_pairs(scores, p, weights=None):
    """Σ w_i w_j p_i (1 - p_j) K / Σ w_i w_j p_i (1 - p_j), one pair after the other."""
    weights = np.ones(len(p)) if weights is None else weights
    right = pairs = 0.0
    for i in range(len(p)):
        for j in range(len(p)):
            if i == j:
                continue
            pair = weights[i] * weights[j] * p[i] * (1 - p[j])
            pairs += pair
            right += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return right / pairs


def world(n, seed=0):
    """Rows of probabilities with a few that are certain, and scores with ties."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 2.0, n)
    p[:4] = [0, 1, 0, 1]
    scores = np.round(p + rng.normal(0, 0.4, n), int(rng.integers(0, 3)))
    return rng.permutation(np.stack([scores, p], axis=1)).T


def test_by_hand():
    # pairs (i over j): 0.5 · (0.8 + 0.2) + 0.2 · (0.5 + 0.2) + 0.8 · (0.5 + 0.8) = 1.68
    # in right order: 2 over 1: 0.2 · 0.5, 3 over 1: 0.8 · 0.5, 3 over 2: 0.8 · 0.8, together 1.14
    area, found = influence(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.2, 0.8]))
    assert area == pytest.approx(1.14 / 1.68, rel=1e-14)
    # row 1 is in the pairs 0.5 · (0.8 + 0.2) and 0.5 · (0.2 + 0.8), and in right order in the latter, 0.1 + 0.4
    assert found[0] == pytest.approx((0.5 - 1.14 / 1.68 * 1.0) / 1.68, rel=1e-13)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matches_pair_counting(seed, dtype):
    scores, p = world(40, seed)
    p = p.astype(dtype)
    area, _ = influence(scores.astype(dtype), p)
    assert area == pytest.approx(by_pairs(scores.astype(dtype), p.astype(float)), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_influence_is_the_derivative_by_the_weight_of_a_row(seed):
    scores, p = world(25, seed)
    _, found = influence(scores, p)
    step = 1e-4
    for row in range(25):
        change = np.zeros(25)
        change[row] = step
        derivative = (by_pairs(scores, p, 1 + change) - by_pairs(scores, p, 1 - change)) / (2 * step)
        assert found[row] == pytest.approx(derivative, abs=1e-9)
    assert np.abs(found).max() > 0.01
    assert found.sum() == pytest.approx(0, abs=1e-14)


def test_certain_labels_give_what_0_and_1_give():
    rng = np.random.default_rng(1)
    scores, labels = np.round(rng.normal(size=500), 1), (rng.random(500) < 0.1).astype(np.uint8)
    area, found = influence(scores, labels)
    for same in (labels.astype(bool), labels.astype(np.float32)):
        again, rows = influence(scores, same)
        assert (again, rows.tolist()) == (area, found.tolist())
    nearly, rows = influence(scores, np.clip(labels, 1e-9, 1 - 1e-9))
    assert nearly == pytest.approx(area, abs=1e-6)
    assert rows == pytest.approx(found, abs=1e-6)


def test_is_the_mean_over_draws_of_the_labels():
    """4000 draws: pairs in right order over pairs within 4 standard errors, the mean AUC too (its bias is smaller)."""
    scores, p = world(300, 7)
    area, _ = influence(scores, p)
    rng = np.random.default_rng(8)
    areas, pairs = [], []
    for _ in range(4000):
        labels = rng.random(300) < p
        areas.append(auc(scores, labels))
        pairs.append(labels.sum() * (~labels).sum())
    areas, pairs = np.array(areas), np.array(pairs)
    error = np.std(areas) / np.sqrt(4000)
    assert error < 6e-4
    assert (areas * pairs).mean() / pairs.mean() == pytest.approx(area, abs=4 * error)
    assert areas.mean() == pytest.approx(area, abs=4 * error)


def test_error_is_that_of_drawing_users_and_far_below_that_of_labels():
    """Over 1000 draws of 100 users the AUC varies as estimated (within 10 %), a third of what labels add."""
    rng = np.random.default_rng(9)

    def draw():
        users = np.repeat(np.arange(100), 6)
        taste = rng.normal(-2.5, 1.0, 100)[users] + rng.normal(0, 0.5, 600)
        return users, taste + rng.normal(0, 1.0, 600), 1 / (1 + np.exp(-taste))

    areas, soft, hard = [], [], []
    for _ in range(1000):
        users, scores, p = draw()
        area, rows = influence(scores, p)
        areas.append(area)
        soft.append(cluster_variance(np.bincount(users, weights=rows)))
        hard.append(cluster_variance(np.bincount(users, weights=influence(scores, rng.random(600) < p)[1])))
    assert np.sqrt(np.mean(soft)) == pytest.approx(np.std(areas), rel=0.10)
    assert np.mean(soft) < np.mean(hard) / 3


def test_only_the_order_matters():
    scores, p = world(400, 3)
    area, found = influence(scores, p)
    again, rows = influence(np.exp(scores), p)
    assert again == pytest.approx(area, abs=1e-14)
    assert rows == pytest.approx(found, abs=1e-16)
    assert influence(-scores, p)[0] == pytest.approx(1 - area, abs=1e-14)
    assert influence(np.ones(400), p)[0] == pytest.approx(0.5, abs=1e-14)


def test_infinite_scores_are_scores():
    area, _ = influence(np.array([-np.inf, -np.inf, 0.0, np.inf, np.inf]), np.array([0.1, 0.2, 0.5, 0.7, 0.6]))
    assert area == pytest.approx(influence(np.array([1, 1, 2, 3, 3]), np.array([0.1, 0.2, 0.5, 0.7, 0.6]))[0])


@pytest.mark.parametrize(
    ("scores", "p"),
    [([0.4], [0.5]), ([0.1, 0.2], [0.0, 0.0]), ([0.1, 0.2], [1.0, 1.0]), ([0.1, np.nan], [0.4, 0.5]), ([], [])],
    ids=["one row has no pair", "never", "always", "NaN score", "empty"],
)
def test_undefined_is_nan(scores, p):
    area, found = influence(np.array(scores), np.array(p))
    assert np.isnan(area)
    assert found.shape == (len(p),)
    assert np.isnan(found).all()


@pytest.mark.parametrize("p", [[0.2, 1.1], [-0.1, 0.5], [0.5, np.nan], [0, 2]])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        influence(np.array([0.1, 0.2]), np.array(p))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        influence(np.array([0.1, 0.2]), np.array([1, 0, 1]))
