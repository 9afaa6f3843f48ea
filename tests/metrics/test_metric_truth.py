"""Predictions against true probabilities: by hand, against scipy, and what is left out."""

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import pearsonr, spearmanr

from bench.metrics.ece import ece
from bench.metrics.truth import log_odds_correlation, mae, rank_correlation, soft_ece, soft_pcoc

ALL = [soft_pcoc, soft_ece, mae, rank_correlation, lambda guess, true: log_odds_correlation(guess, true).value]


def world(n=500, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 8, n)
    return np.clip(np.round(truth + rng.normal(0, 0.05, n), 2), 0.01, 0.99).astype(dtype), truth


def test_pcoc_by_hand():
    assert soft_pcoc(np.array([0.5, 0.25]), np.array([0.1, 0.4])) == pytest.approx(1.5)


def test_mae_by_hand():
    assert mae(np.array([0.5, 0.25, 1.0]), np.array([0.1, 0.5, 1.0])) == pytest.approx(0.65 / 3)


def test_ece_by_hand():
    # bins of two rows: |0.1 + 0.2 - 0.05 - 0.1| = 0.15 and |0.6 + 0.9 - 0.9 - 0.5| = 0.1
    guess, truth = np.array([0.9, 0.1, 0.6, 0.2]), np.array([0.5, 0.05, 0.9, 0.1])
    assert soft_ece(guess, truth, bins=2) == pytest.approx(0.25 / 4)
    assert soft_ece(truth, truth) == 0


@pytest.mark.parametrize("seed", range(5))
def test_ece_of_0_and_1_is_the_ece_of_labels(seed):
    guess, truth = world(200, seed)
    labels = np.random.default_rng(seed).random(200) < truth
    assert soft_ece(guess, labels.astype(float)) == ece(guess, labels)
    assert soft_ece(guess, truth) != soft_ece(guess, labels.astype(float))


def test_ece_bins_and_ties_match_a_loop():
    """A row's bin is that of the first row with its prediction."""
    guess, truth = world(203, 6)
    ordered = np.sort(guess)
    excess = np.zeros(15)
    for p, true in zip(guess, truth, strict=True):
        excess[int(np.searchsorted(ordered, p)) * 15 // 203] += p - true
    assert soft_ece(guess, truth) == pytest.approx(np.abs(excess).sum() / 203, rel=1e-12)


def test_labels_drawn_from_the_truth_make_the_same_calibration_noisier():
    """A calibrated prediction has a soft ECE near 0, where the ECE against its labels shows their noise."""
    rng = np.random.default_rng(5)
    truth = rng.uniform(0, 0.4, 20_000)
    guess = np.clip(truth + rng.normal(0, 1e-3, truth.size), 0, 1)
    assert soft_ece(guess, truth) < 2e-4
    assert ece(guess, rng.random(truth.size) < truth) > 3e-3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rank_correlation_is_spearmans(seed, dtype):
    guess, truth = world(300, seed, dtype)
    assert np.unique(guess).size < 100  # ties
    assert rank_correlation(guess, truth) == pytest.approx(spearmanr(guess, truth).statistic, abs=1e-12)


def test_log_odds_correlation_is_pearsons_of_log_odds():
    guess, truth = world()
    found = log_odds_correlation(guess, truth)
    assert found.value == pytest.approx(pearsonr(logit(guess), logit(truth)).statistic, abs=1e-12)
    assert found.left_out == 0
    odds = truth / (1 - truth)
    assert log_odds_correlation(3 * odds / (1 + 3 * odds), truth).value == pytest.approx(1, abs=1e-12)


def test_rows_without_finite_log_odds_are_left_out_and_counted():
    guess, truth = world()
    more_guess = np.append(guess, [0.0, 1.0, 0.3, 0.3, 1.0])
    more_truth = np.append(truth, [0.5, 0.5, 0.0, 1.0, 0.0])
    found = log_odds_correlation(more_guess, more_truth)
    assert found.left_out == 5
    assert found.value == pytest.approx(log_odds_correlation(guess, truth).value, abs=1e-14)


@pytest.mark.parametrize("metric", ALL)
def test_undefined_is_nan(metric):
    assert np.isnan(metric(np.array([]), np.array([])))
    assert np.isnan(metric(np.array([0.5, np.nan, 0.2]), np.array([0.1, 0.2, 0.3])))


def test_log_odds_correlation_with_nan_is_nan_not_left_out():
    found = log_odds_correlation(np.array([0.5, np.nan, 0.2]), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(found.value)
    assert found.left_out == 0


def test_a_truth_of_0_has_no_ratio_and_constants_no_correlation():
    guess, truth = np.linspace(0.1, 0.7, 7), np.full(7, 0.1)
    assert np.mean(logit(truth)) != logit(0.1)  # rounding must not look like variation
    assert np.isnan(soft_pcoc(guess, np.zeros(7)))
    for first, second in ((guess, truth), (truth, guess)):
        assert np.isnan(rank_correlation(first, second))
        assert np.isnan(log_odds_correlation(first, second).value)
    assert np.isnan(rank_correlation(guess[:1], truth[:1]))


@pytest.mark.parametrize("metric", ALL)
def test_what_is_no_probability_is_refused(metric):
    good = np.array([0.1, 0.5])
    for bad in (np.array([-0.1, 0.5]), np.array([0.5, 1.5])):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            metric(bad, good)
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            metric(good, bad)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metric(good, np.array([0.5, np.nan]))
    with pytest.raises(ValueError, match="one shape"):
        metric(good, np.array([0.5]))


def test_ece_refuses_no_bins():
    with pytest.raises(ValueError, match="at least 1"):
        soft_ece(np.array([0.1]), np.array([0.1]), bins=0)
