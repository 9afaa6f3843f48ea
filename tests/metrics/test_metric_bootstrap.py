"""The bootstrap over users against resampling by hand, and how often its intervals cover what is simulated."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from bench.metrics import bootstrap as module
from bench.metrics import compare
from bench.metrics.auc import auc
from bench.metrics.bootstrap import Bootstrap, bootstrap, difference, estimate, resample_auc


def rows(seed, users=40, rate=0.3, ties=True):
    """Users that differ in how often they buy and in how they are scored: (scores, labels, users)."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rng.integers(1, 9, users))
    taste, bias = rng.normal(0, 1, (2, users))
    labels = (rng.random(user.size) < rate * np.exp(taste[user] / 2)).astype(int)
    scores = labels + taste[user] / 2 + bias[user] + rng.normal(size=user.size)
    return (np.round(scores, 1) if ties else scores).astype(np.float32), labels, user


def by_hand(scores, labels, users, n_users, resamples, draw):
    """One resample after the other, as scikit-learn's AUC with users' counts as weights."""
    rng = np.random.default_rng(draw)
    found = []
    for _ in range(resamples):
        weights = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)[users]
        both = len(np.unique(labels[weights > 0])) == 2
        found.append(roc_auc_score(labels, scores, sample_weight=weights) if both else np.nan)
    return np.array(found)


@pytest.mark.parametrize("seed", range(8))
def test_resamples_match_weighted_areas_by_hand(seed):
    scores, labels, users = rows(seed, ties=seed % 2 == 0)
    expected = by_hand(scores, labels, users, 40, 60, draw=seed)
    assert resample_auc(scores, labels, users, 40, 60, draw=seed) == pytest.approx(expected, abs=1e-12)


def test_a_resample_is_its_rows_repeated():
    scores, labels, users = rows(3)
    (found,) = resample_auc(scores, labels, users, 40, 1, draw=5)
    drawn = np.random.default_rng(5).integers(0, 40, 40)
    taken = np.concatenate([np.flatnonzero(users == user) for user in drawn])
    assert found == pytest.approx(auc(scores[taken], labels[taken]), abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    scores, labels, users = rows(1)
    whole = resample_auc(scores, labels, users, 40, 50)
    monkeypatch.setattr(module, "_BLOCK", 300)
    assert resample_auc(scores, labels, users, 40, 50).tolist() == whole.tolist()


def test_resamples_without_a_class_are_left_out_and_counted():
    """All positives belong to one of five users: a resample lacks them with probability (4/5)^5 = 0.33."""
    scores, labels = np.array([3.0, 1.0, 2.0, 0.0, 1.5, 2.5]), np.array([1, 1, 0, 0, 0, 0])
    users = np.array([0, 0, 1, 2, 3, 4])
    found = bootstrap({0: scores, 1: -scores}, labels, users, resamples=400)
    expected = by_hand(scores, labels, users, 5, 400, draw=0)
    assert found.left_out == np.isnan(expected).sum()
    assert 0.25 < found.left_out / 400 < 0.41
    one = estimate(bootstrap({0: scores}, labels, users, resamples=400))
    kept = expected[~np.isnan(expected)]
    assert (one.lo, one.hi) == pytest.approx(tuple(np.quantile(kept, [0.025, 0.975])))
    assert (one.mean, one.se, one.n_seeds) == (pytest.approx(auc(scores, labels)), pytest.approx(kept.std(ddof=1)), 1)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0]])
def test_one_class_is_unknown_in_every_resample(labels):
    found = bootstrap({0: np.arange(3.0)}, np.array(labels), np.arange(3), resamples=20)
    assert found.left_out == 20
    assert np.isnan([estimate(found).mean, estimate(found).lo, estimate(found).hi]).all()
    assert np.isnan([difference(found, found).difference, difference(found, found).p_value]).all()


def test_a_score_of_nan_and_one_user_are_unknown_or_certain():
    labels = np.array([0, 1, 1])
    assert np.isnan(resample_auc(np.array([0.0, np.nan, 1.0]), labels, np.arange(3), 3, 5)).all()
    alone = estimate(bootstrap({0: np.arange(3.0)}, labels, np.zeros(3, dtype=int), resamples=5))
    assert (alone.lo, alone.hi, alone.se) == (1.0, 1.0, 0.0)  # the same user every time


def test_refusals():
    scores, labels, users = rows(0)
    with pytest.raises(ValueError, match="from 0 to 3"):
        resample_auc(scores, labels, users, 4)
    with pytest.raises(ValueError, match="0 or 1"):
        resample_auc(scores, labels * 2, users, 40)
    with pytest.raises(ValueError, match="shape"):
        resample_auc(scores[1:], labels, users, 40)
    with pytest.raises(ValueError, match="at least one seed"):
        bootstrap({}, labels, users)
    first, other = (bootstrap({0: scores}, labels, users, resamples=10, draw=draw) for draw in (0, 1))
    with pytest.raises(ValueError, match="same"):
        difference(first, other)
    with pytest.raises(ValueError, match="level"):
        estimate(first, level=1.0)


def test_differences_are_paired_over_common_seeds():
    scores, labels, users = rows(4)
    better = scores + labels / 2
    first = bootstrap({0: better, 1: better, 5: -scores}, labels, users)
    second = bootstrap({0: scores, 1: scores}, labels, users)
    found = difference(first, second)
    paired = by_hand(better, labels, users, 40, 1000, 0) - by_hand(scores, labels, users, 40, 1000, 0)
    assert found.n_seeds == 2
    assert found.difference == pytest.approx(auc(better, labels) - auc(scores, labels))
    assert (found.lo, found.hi) == pytest.approx(tuple(np.quantile(paired, [0.025, 0.975])))
    assert found.se == pytest.approx(paired.std(ddof=1))
    assert found.p_value < 0.05
    same = difference(second, second)
    assert (same.difference, same.lo, same.hi, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert difference(Bootstrap(first.areas[2:], first.resampled[2:], (5,), 40, 0), second).n_seeds == 0


@pytest.mark.parametrize("count", [2, 3, 6])
def test_seeds_alone_give_the_interval_of_students_t(count):
    """Users that do not matter: every resample is the same. The ends are quantiles of 100,000 draws."""
    areas = np.random.default_rng(count).normal(0.7, 0.02, count)
    found = estimate(Bootstrap(areas, np.tile(areas[:, None], 100_000), tuple(range(count)), 50, 0))
    se = areas.std(ddof=1) / np.sqrt(count)
    assert (found.se, found.dof) == (pytest.approx(se), count - 1)
    reach = stats.t.ppf(0.975, count - 1) * se
    assert (found.lo, found.hi) == pytest.approx((found.mean - reach, found.mean + reach), abs=0.05 * reach)


def test_users_and_seeds_add_up():
    scores, labels, users = rows(6)
    noise = np.random.default_rng(0).normal(size=(4, labels.size))
    found = bootstrap({seed: scores + noise[seed] for seed in range(4)}, labels, users)
    over_users = found.resampled.mean(axis=0).var(ddof=1)
    assert estimate(found).se ** 2 == pytest.approx(over_users + found.areas.var(ddof=1) / 4)


def test_close_to_the_cluster_robust_interval():
    """Two unrelated methods, some hundred users: standard errors agree within a few percent."""
    scores, labels, users = rows(7, users=400)
    ours = estimate(bootstrap({0: scores}, labels, users, resamples=2000))
    theirs = compare.estimate(compare.sample({0: scores}, labels, users))
    assert ours.se == pytest.approx(theirs.se, rel=0.08)
    assert (ours.lo, ours.hi) == pytest.approx((theirs.lo, theirs.hi), abs=0.2 * theirs.se)


def test_coverage_of_simulated_users():
    """95 % intervals hold the AUC of 60,000 users in 90 to 98 % of 300 draws of 60 users (binomial sd 1.3 %)."""
    truth = auc(*rows(99, users=60_000, ties=False)[:2])
    covered = 0
    for seed in range(300):
        scores, labels, users = rows(1000 + seed, users=60, ties=False)
        found = estimate(bootstrap({0: scores}, labels, users, resamples=300, draw=seed))
        covered += found.lo <= truth <= found.hi
    assert 0.90 <= covered / 300 <= 0.98
