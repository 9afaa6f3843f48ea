"""Sample spaces, targets, and the names and rows of ``evaluate``."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bench.core.errors import UserError
from bench.metrics.ece import ece
from bench.metrics.evaluate import METRICS, evaluate
from bench.metrics.gauc import gauc
from bench.metrics.log_loss import log_loss
from bench.metrics.pcoc import pcoc
from bench.metrics.spaces import TARGETS, mask, target

LABELS = {
    "click": np.array([0, 1, 1, 1], dtype=np.uint8),
    "cart": np.array([0, 0, 1, 1], dtype=np.uint8),
    "purchase": np.array([0, 1, 0, 1], dtype=np.uint8),
}


def funnel(n=3000, seed=0):
    """Labels drawn from known probabilities, 100 users, and noisy predictions of all five probabilities."""
    rng = np.random.default_rng(seed)
    truth = {"p_click": rng.uniform(0.1, 0.5, n), "p_cart": rng.random(n), "p_purchase": rng.random(n)}
    click = rng.random(n) < truth["p_click"]
    labels = {
        "click": click.astype(np.uint8),
        "cart": (click & (rng.random(n) < truth["p_cart"])).astype(np.uint8),
        "purchase": (click & (rng.random(n) < truth["p_purchase"])).astype(np.uint8),
    }
    probabilities = {
        name: np.clip(goal.true_probability(truth) + rng.normal(0, 0.1, n), 0.01, 0.99).astype(np.float32)
        for name, goal in TARGETS.items()
    }
    return probabilities, labels, rng.integers(0, 100, n), truth


def test_masks():
    assert mask("exposed", LABELS).tolist() == [True] * 4
    assert mask("clicked", LABELS).tolist() == [False, True, True, True]
    assert mask("unclicked", LABELS).tolist() == [True, False, False, False]
    assert mask("carted", LABELS).tolist() == [False, False, True, True]


def test_unclicked_rows_are_for_the_truth_only():
    assert {space for goal in TARGETS.values() for space in goal.spaces} == {"exposed", "clicked"}


def test_labels_of_targets():
    found = {
        name: goal.label(LABELS)[mask(goal.spaces[0], LABELS)].astype(int).tolist() for name, goal in TARGETS.items()
    }
    assert found == {
        "ctr": [0, 1, 1, 1],
        "cvr": [1, 0, 1],
        "car": [0, 1, 1],
        "ctcvr": [0, 1, 0, 1],
        "ctcar": [0, 0, 1, 1],
    }


def test_a_purchase_counts_for_ctcvr_only_with_its_click():
    labels = {"click": np.array([0, 1]), "purchase": np.array([1, 1])}
    assert target("ctcvr").label(labels).tolist() == [False, True]


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="Did you mean 'clicked'"):
        mask("click", LABELS)
    with pytest.raises(UserError, match="Did you mean 'ctcvr'"):
        evaluate({"ctvr": np.zeros(4)}, LABELS, np.arange(4))
    with pytest.raises(UserError, match="unknown metric"):
        evaluate({}, LABELS, np.arange(4), metrics=["f1"])


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="one length"):
        evaluate({"ctr": np.zeros(3)}, LABELS, np.arange(4))


def test_every_metric_is_the_pure_function_over_its_space():
    probabilities, labels, users, _ = funnel()
    found = evaluate(probabilities, labels, users)
    assert set(found) == {
        f"{metric}/{name}/{space}"
        for metric in METRICS
        for name, space in [
            ("ctr", "exposed"),
            ("ctcvr", "exposed"),
            ("ctcar", "exposed"),
            ("cvr", "clicked"),
            ("car", "clicked"),
        ]
    }
    clicked = labels["click"] == 1
    for name, label, rows in [
        ("ctr", labels["click"], slice(None)),
        ("ctcvr", labels["purchase"], slice(None)),
        ("ctcar", labels["cart"], slice(None)),
        ("cvr", labels["purchase"], clicked),
        ("car", labels["cart"], clicked),
    ]:
        space = "clicked" if rows is clicked else "exposed"
        p, y, u = probabilities[name][rows], label[rows], users[rows]
        expected = {
            "auc": roc_auc_score(y, p),
            "gauc": gauc(p, y, u),
            "log_loss": log_loss(p, y),
            "ece": ece(p, y),
            "pcoc": pcoc(p, y),
        }
        for metric, value in expected.items():
            got = found[f"{metric}/{name}/{space}"]
            assert (got.n, got.n_pos) == (y.size, int(y.sum()))
            assert got.value == pytest.approx(value, abs=1e-12)


def test_ceiling_is_the_auc_of_the_true_probability():
    probabilities, labels, users, truth = funnel()
    found = evaluate(probabilities, labels, users, truth)
    clicked = labels["click"] == 1
    expected = {
        "ctr/exposed": roc_auc_score(labels["click"], truth["p_click"]),
        "ctcvr/exposed": roc_auc_score(labels["purchase"], truth["p_click"] * truth["p_purchase"]),
        "ctcar/exposed": roc_auc_score(labels["cart"], truth["p_click"] * truth["p_cart"]),
        "cvr/clicked": roc_auc_score(labels["purchase"][clicked], truth["p_purchase"][clicked]),
        "car/clicked": roc_auc_score(labels["cart"][clicked], truth["p_cart"][clicked]),
    }
    for name, ceiling in expected.items():
        assert found[f"ceiling/{name}"].value == pytest.approx(ceiling, abs=1e-12)
        share = (found[f"auc/{name}"].value - 0.5) / (ceiling - 0.5)
        assert found[f"ceiling_share/{name}"].value == pytest.approx(share, abs=1e-12)
        assert found[f"ceiling/{name}"].n == found[f"auc/{name}"].n


def test_perfect_and_constant_predictions_cover_all_and_none_of_the_way():
    _, labels, users, truth = funnel()
    exact = evaluate({"ctr": truth["p_click"]}, labels, users, truth, metrics=())
    assert exact["ceiling_share/ctr/exposed"].value == 1.0
    constant = evaluate({"ctr": np.full(users.size, 0.3)}, labels, users, truth)
    assert constant["ceiling_share/ctr/exposed"].value == 0.0


def test_undefined_and_infinite_values_are_none_with_their_rows():
    labels = {"click": np.array([1, 0, 0]), "cart": np.zeros(3), "purchase": np.zeros(3)}
    found = evaluate({"ctr": np.array([0.0, 0.5, 0.5]), "cvr": np.full(3, 0.5)}, labels, np.arange(3))
    assert found["log_loss/ctr/exposed"].value is None  # infinite
    assert found["auc/ctr/exposed"].value == 0.0
    assert found["gauc/ctr/exposed"].value is None
    auc = found["auc/cvr/clicked"]
    assert (auc.value, auc.n, auc.n_pos) == (None, 1, 0)


def test_no_rows_at_all():
    none = np.empty(0)
    found = evaluate({"ctr": none, "cvr": none}, dict.fromkeys(LABELS, none), none, None)
    assert {(m.value, m.n, m.n_pos) for m in found.values()} == {(None, 0, 0)}
    assert len(found) == 10
