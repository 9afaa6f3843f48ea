"""GAUC by hand, against a loop over users with scikit-learn, where it is undefined, and the error over users."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.metrics.delong import cluster_variance
from bench.metrics.gauc import gauc, gauc_by_user

# user 7: AUC 1 of 1 pair; user 8: (0.6 > 0.4), (0.6 < 0.9) of 2 pairs = 0.5; user 9: one class, left out
SCORES = np.array([0.2, 0.4, 0.3, 0.6, 0.9, 0.5, 0.1])
LABELS = np.array([0, 0, 1, 1, 0, 1, 1])
USERS = np.array([7, 8, 7, 8, 8, 9, 9])


def test_by_hand():
    assert gauc(SCORES, LABELS, USERS) == 0.75


def test_weighted_by_impressions_by_hand():
    assert gauc(SCORES, LABELS, USERS, np.ones(7)) == pytest.approx((2 * 1.0 + 3 * 0.5) / 5)


def test_weighted_by_clicks_by_hand():
    clicks = np.array([0, 1, 1, 1, 1, 1, 1])  # user 7: 1, user 8: 3
    assert gauc(SCORES, LABELS, USERS, clicks) == pytest.approx((1 * 1.0 + 3 * 0.5) / 4)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ids", ["dense", "negative", "sparse", "unsigned", "text"])
def test_random_ties_match_a_loop_over_users(seed, ids):
    rng = np.random.default_rng(seed)
    n = 400
    user = rng.integers(0, 60, n)
    users = {
        "dense": user.astype(np.int32),
        "negative": (user - 30).astype(np.int8),
        "sparse": user * 10**15,
        "unsigned": user.astype(np.uint64) + np.uint64(2**63),
        "text": np.char.add("u", user.astype(str)),
    }[ids]
    scores = (rng.integers(0, 12, n) / 12).astype(np.float32)
    labels = (rng.random(n) < 0.2).astype(np.uint8)
    weights = rng.integers(0, 4, n)
    areas, weight = [], []
    for u in range(60):
        rows = user == u
        if len(set(labels[rows])) == 2:
            areas.append(roc_auc_score(labels[rows], scores[rows]))
            weight.append(weights[rows].sum())
    assert 0 < len(areas) < 60
    assert gauc(scores, labels, users) == pytest.approx(np.mean(areas), abs=1e-12)
    assert gauc(scores, labels, users, weights) == pytest.approx(np.average(areas, weights=weight), abs=1e-12)


def test_order_between_users_does_not_matter():
    shifted = SCORES + 10.0 * USERS
    assert gauc(shifted, LABELS, USERS) == gauc(SCORES, LABELS, USERS)


def test_constant_scores_give_half():
    assert gauc(np.zeros(7), LABELS, USERS) == 0.5


@pytest.mark.parametrize(
    ("scores", "labels", "users"),
    [([], [], []), ([0.1, 0.2], [0, 1], [1, 2]), ([0.1, np.nan], [0, 1], [1, 1])],
    ids=["empty", "one class per user", "NaN score"],
)
def test_undefined_is_nan(scores, labels, users):
    assert np.isnan(gauc(np.array(scores), np.array(labels), np.array(users)))


def test_weights_of_zero_are_undefined_and_negative_ones_refused():
    assert np.isnan(gauc(SCORES, LABELS, USERS, np.zeros(7)))
    with pytest.raises(ValueError, match="negative"):
        gauc(SCORES, LABELS, USERS, np.full(7, -1.0))


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        gauc(SCORES, LABELS, USERS[:-1])


def test_influence_by_hand():
    """AUCs 1 and 0.5 around their mean 0.75, over two users; one class or no rows have no influence."""
    value, sums = gauc_by_user(SCORES, LABELS, USERS - 7, 4)
    assert value == 0.75
    assert sums.tolist() == [0.25 / 2, -0.25 / 2, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_influences_belong_to_the_value_and_sum_to_zero(seed):
    rng = np.random.default_rng(seed)
    scores, labels, users = rng.integers(0, 9, 400) / 9, rng.random(400) < 0.2, rng.integers(0, 60, 400)
    value, sums = gauc_by_user(scores, labels, users.astype(np.int32), 60)
    assert value == gauc(scores, labels, users)
    classes = [len(set(labels[users == user])) for user in range(60)]
    assert sums.sum() == pytest.approx(0, abs=1e-14)
    assert ((sums != 0) <= (np.array(classes) == 2)).all() and np.count_nonzero(sums) > 20
    # without one user the mean moves by the influence, times B / (B - 1)
    out = int(np.argmax(np.abs(sums)))
    of_both = classes.count(2)
    rest = gauc(scores[users != out], labels[users != out], users[users != out])
    assert value - rest == pytest.approx(sums[out] * of_both / (of_both - 1), rel=1e-10)


def test_error_matches_a_bootstrap_over_users():
    """Within 10 %: 1500 draws of 400 users give the error to 2 %; a third of the users have one class only."""
    rng = np.random.default_rng(11)
    users = np.repeat(np.arange(400), rng.integers(2, 12, 400))
    labels = rng.random(users.size) < 0.25
    scores = labels * rng.normal(1, 1, 400)[users] + rng.normal(size=users.size)
    _, sums = gauc_by_user(scores, labels, users, 400)
    assert 0.5 < np.count_nonzero(sums) / 400 < 0.9
    areas = np.array([gauc(scores[users == user], labels[users == user], users[users == user]) for user in range(400)])
    drawn = [np.nanmean(areas[rng.integers(0, 400, 400)]) for _ in range(1500)]
    assert np.sqrt(cluster_variance(sums)) == pytest.approx(np.std(drawn, ddof=1), rel=0.10)


@pytest.mark.parametrize(
    ("scores", "labels", "users"),
    [([], [], []), ([0.1, 0.2], [0, 1], [1, 2]), ([0.1, np.nan], [0, 1], [1, 1])],
    ids=["empty", "one class per user", "NaN score"],
)
def test_undefined_has_no_influence(scores, labels, users):
    value, sums = gauc_by_user(np.array(scores), np.array(labels), np.array(users, dtype=int), 3)
    assert np.isnan(value) and sums.shape == (3,) and np.isnan(sums).all()


def test_one_user_of_both_classes_has_a_value_without_error():
    value, sums = gauc_by_user(np.array([0.1, 0.2, 0.3]), np.array([0, 1, 0]), np.array([1, 1, 0]), 2)
    assert value == 1.0 and np.isnan(sums).all()


@pytest.mark.parametrize("shift", [-1, 2])
def test_users_outside_are_refused(shift):
    with pytest.raises(ValueError, match="users must be numbers from 0 to 3"):
        gauc_by_user(SCORES, LABELS, USERS - 7 + shift, 4)
