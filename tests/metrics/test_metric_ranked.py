"""Sorted scores: areas and bins against brute force, ordinals of float32, and columns that are joined once."""

import numpy as np
import pytest
import torch

from bench.metrics._arrays import require_probabilities
from bench.metrics._ranked import Ranked, bin_ends, sums_between
from bench.metrics.evaluate import evaluate
from bench.metrics.gauc import _ordinals, gauc
from bench.metrics.torch_metrics import FunnelMetrics


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_area_is_the_share_of_pairs(seed, dtype):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(-4, 5, 60).astype(dtype), rng.random(60) < 0.3
    pairs = scores[labels][:, None].astype(float) - scores[~labels]
    assert Ranked(scores, labels).auc() == ((pairs > 0).sum() + (pairs == 0).sum() / 2) / pairs.size


def test_bins_by_hand():
    # starts of bins of 7 rows in 3: 0, 7/3, 14/3; groups start at 0, 1, 4, 6, so in bins 0, 0, 1, 2
    ordered = np.array([1, 2, 2, 2, 5, 5, 9])
    assert bin_ends(ordered, 3).tolist() == [4, 6, 7]
    assert sums_between(ordered, np.array([4, 6, 7])).tolist() == [7, 10, 9]
    assert bin_ends(np.zeros(4), 3).tolist() == [4, 4, 4]


@pytest.mark.parametrize("bins", [1, 3, 15, 40])
@pytest.mark.parametrize("seed", range(5))
def test_each_tied_group_lies_in_the_bin_of_its_first_row(seed, bins):
    ordered = np.sort(np.random.default_rng(seed).integers(0, 12, 30))
    bin_of = [int(np.flatnonzero(ordered == value)[0]) * bins // ordered.size for value in ordered]
    assert bin_ends(ordered, bins).tolist() == [sum(one <= b for one in bin_of) for b in range(bins)]


def test_ordinals_of_float32_are_ordered_and_equal_as_the_scores():
    edge = [-np.inf, -3.5, -1e-45, -0.0, 0.0, 1e-45, 0.25, np.nextafter(np.float32(0.25), np.float32(1)), 1, np.inf]
    scores = np.array(edge, dtype=np.float32)
    found = _ordinals(scores)
    assert found.dtype == np.int32
    assert (np.sign(np.diff(found.astype(np.int64))) == [1, 1, 1, 0, 1, 1, 1, 1, 1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_gauc_of_float32_is_that_of_the_same_numbers_in_float64(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=300).round(1).astype(np.float32)
    labels, users = rng.random(300) < 0.3, rng.integers(0, 40, 300)
    assert gauc(scores, labels, users) == gauc(scores.astype(np.float64), labels, users)


def test_a_nan_does_not_hide_what_is_no_probability():
    require_probabilities(np.array([np.nan, 0.0, 1.0]))
    require_probabilities(np.array([]))
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            require_probabilities(np.array([np.nan, wrong, 0.5]))


def test_labels_that_are_neither_0_nor_1_are_refused():
    labels = {"click": np.array([0, 2]), "cart": np.zeros(2), "purchase": np.zeros(2)}
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        evaluate({"ctr": np.array([0.1, 0.2])}, labels, np.arange(2))


def test_batches_are_joined_once_and_more_can_follow():
    metric = FunnelMetrics(("ctr",))
    for size in (3, 2):
        ones = torch.ones(size, dtype=torch.uint8)
        metric.update({"ctr": torch.full((size,), 0.5)}, dict.fromkeys(("click", "cart", "purchase"), ones), ones)
    first = metric.probabilities()["ctr"]
    assert first.size == 5
    assert np.shares_memory(first, metric.probabilities()["ctr"])
    one = torch.ones(1, dtype=torch.uint8)
    metric.update({"ctr": torch.tensor([0.25])}, dict.fromkeys(("click", "cart", "purchase"), one), one)
    assert metric.probabilities()["ctr"].tolist() == [0.5] * 5 + [0.25]
