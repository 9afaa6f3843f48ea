"""Metrics of tensors against those of numpy arrays, which have references of their own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch._subclasses import FakeTensorMode

from bench.metrics import torch_metrics
from bench.metrics.ece import BINS
from bench.metrics.evaluate import METRICS, Rows, evaluate
from bench.metrics.on_device import RowsOnDevice
from bench.metrics.spaces import LABELS, TARGETS, mask, target
from bench.metrics.torch_metrics import FunnelMetrics

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA])]
#: AUCs are exact, but for the order in which the users' are added.
TOLERANCE = {"auc": 0.0, "gauc": 4e-15}


def draw(seed: int) -> tuple[Any, Any, Any]:
    """Random rows: few or many, with ties or without, of one class or two, of few users, many, or any numbers."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([0, 1, 2, 5, BINS - 1, BINS, 40, 300, 3000]))
    levels = int(rng.choice([1, 3, 20, 1 << 30]))
    p = rng.integers(0, levels, n, endpoint=True) / levels  # 0 and 1 among them
    if rng.random() < 0.5:
        p = 0.001 + 0.998 * p  # then log loss is finite
    p = p.astype(rng.choice([np.float32, np.float64]))
    p[p == 0] *= rng.choice([1.0, -1.0], n)[p == 0].astype(p.dtype)
    if rng.random() < 0.1:
        p[rng.random(n) < 0.05] = rng.choice([np.nan, -np.nan])
    y = rng.random(n) < rng.choice([0, 0.02, 0.5, 1])
    users = rng.integers(0, rng.choice([1, 7, 1000]), n)
    if rng.random() < 0.5:
        users = rng.choice(np.array([-(1 << 62), -5, 0, 3, 1 << 40, (1 << 63) - 1]), n)
    return p, y, users.astype(np.int32) if abs(users).max(initial=0) < 1000 else users


def alike(found: float, wanted: float, tolerance: float | None = None) -> bool:
    """Within the tolerance, by default a share of 1e-12; or both NaN."""
    if math.isnan(wanted) or math.isinf(wanted):
        return found == wanted or (math.isnan(found) and math.isnan(wanted))
    return abs(found - wanted) <= (1e-12 * max(1e-3, abs(wanted)) if tolerance is None else tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("block", range(10))
def test_rows_have_the_metrics_of_numpy(device: str, block: int) -> None:
    for seed in range(block * 60, (block + 1) * 60):
        columns = draw(seed)
        here, there = Rows(*columns), RowsOnDevice(*(torch.tensor(column, device=device) for column in columns))
        assert (here.n, here.n_pos) == (there.n, there.n_pos)
        for name, metric in METRICS.items():
            found, wanted = metric(there), metric(here)
            assert alike(found, wanted, TOLERANCE.get(name)), f"{name} of seed {seed} is {found}, but {wanted} by numpy"


def test_the_draws_have_all_that_is_odd() -> None:
    draws = [draw(seed) for seed in range(600)]
    values = {name: [metric(Rows(*columns)) for columns in draws] for name, metric in METRICS.items()}
    assert all(10 < np.isnan(found).sum() < 500 for found in values.values())
    assert 10 < np.isinf(values["log_loss"]).sum() < 500
    assert sum(np.signbit(p[p == 0]).any() and not np.signbit(p[p == 0]).all() for p, _, _ in draws) > 10
    assert {str(p.dtype) for p, _, _ in draws} == {"float32", "float64"}
    assert {str(users.dtype) for _, _, users in draws} == {"int32", "int64"}


@pytest.mark.parametrize("device", DEVICES)
def test_against_scikit_learn(device: str) -> None:
    rng = np.random.default_rng(3)
    p, users = (rng.integers(1, 400, 20_000) / 401).astype(np.float32), rng.integers(0, 500, 20_000)
    y = rng.random(20_000) < p
    rows = RowsOnDevice(*(torch.tensor(column, device=device) for column in (p, y, users)))
    assert rows.auc() == pytest.approx(roc_auc_score(y, p), abs=1e-13)
    assert rows.log_loss() == pytest.approx(log_loss(y, p.astype(np.float64)), rel=1e-12)
    own = [(y[users == user], p[users == user]) for user in range(500)]
    areas = [roc_auc_score(labels, scores) for labels, scores in own if 0 < labels.sum() < labels.size]
    assert rows.gauc() == pytest.approx(np.mean(areas), abs=1e-13)


@pytest.mark.parametrize("device", DEVICES)
def test_by_hand(device: str) -> None:
    """User 7: positives 0.5 and 0.9, negatives 0.5 and 0.1: 3.5 of 4 pairs. User -1: 0 of 1. User 3: one class."""
    rows = RowsOnDevice(
        torch.tensor([0.5, 0.5, 0.9, 0.1, 0.2, 0.3, 0.4], device=device),
        torch.tensor([1, 0, 1, 0, 1, 0, 1], device=device) == 1,
        torch.tensor([7, 7, 7, 7, -1, -1, 3], device=device),
    )
    assert rows.gauc() == (3.5 / 4 + 0) / 2
    assert rows.auc() == (2.5 + 3 + 1 + 2) / 12
    assert rows.pcoc() == pytest.approx(2.9 / 4, rel=1e-7)


def test_what_is_wrong_is_refused_as_by_numpy() -> None:
    y, users = torch.tensor([True, False]), torch.tensor([1, 1])
    for wrong in (-0.1, 1.1, math.inf):
        rows = RowsOnDevice(torch.tensor([wrong, 0.5]), y, users)
        for name in ("log_loss", "ece", "pcoc"):
            with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\]"):
                METRICS[name](rows)
        assert rows.auc() == float(wrong > 0.5)  # any score has an AUC
    for label in (2.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="labels must be 0 or 1"):
            RowsOnDevice.positive(torch.tensor([0.0, label]))
    with pytest.raises(ValueError, match="one shape"):
        RowsOnDevice.positive(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="one shape"):
        RowsOnDevice(torch.tensor([0.5, 0.5]), y, torch.tensor([1]))
    labels = dict.fromkeys(LABELS, torch.zeros(2))
    with pytest.raises(ValueError, match="one length"):
        evaluate({"ctr": torch.zeros(3)}, labels, users)
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        evaluate({"ctr": torch.zeros(2)}, labels | {"cart": torch.tensor([0, 3])}, users)


Columns = dict[str, Any]


def funnel(seed: int, n: int, dtype: Any = np.float32) -> tuple[Columns, Columns, Any, Columns]:
    """Probabilities, labels, users and truth of all targets."""
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(0.05, 0.6, n).astype(np.float32) for name in ("p_click", "p_cart", "p_purchase")}
    click, cart, purchase = (rng.random(n) < column for column in truth.values())
    labels = {
        name: column.astype(np.float32)
        for name, column in zip(LABELS, (click, click & cart, click & purchase), strict=True)
    }
    noisy = {name: goal.true_probability(truth) + rng.normal(0, 0.1, n) for name, goal in TARGETS.items()}
    probabilities = {name: column.clip(0.01, 0.99).astype(dtype) for name, column in noisy.items()}
    return probabilities, labels, rng.integers(0, 60, n, dtype=np.int32), truth


def sent(columns: Any, device: str) -> Any:
    if isinstance(columns, dict):
        return {name: torch.tensor(column, device=device) for name, column in columns.items()}
    return torch.tensor(columns, device=device)


def update(metrics: FunnelMetrics, probabilities: Columns, labels: Columns, users: Any) -> None:
    """Add the rows, in batches of 100."""
    for start in range(0, len(users), 100):
        batch = slice(start, start + 100)
        p, y = ({name: column[batch] for name, column in part.items()} for part in (probabilities, labels))
        metrics.update(p, y, users[batch])


def assert_alike(found: Any, wanted: Any) -> None:
    """Records of the same names, rows and values."""
    assert list(found) == list(wanted)
    for name, metric in wanted.items():
        own = found[name]
        assert (own.n, own.n_pos) == (metric.n, metric.n_pos), name
        assert (own.value is None) == (metric.value is None), name
        assert metric.value is None or own.value == pytest.approx(metric.value, rel=1e-12, abs=1e-15), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 9, 3000])
def test_evaluate_gives_the_same_records(device: str, dtype: Any, n: int) -> None:
    columns = funnel(n, n, dtype)
    wanted = evaluate(*columns)
    assert len(wanted) == 7 * len(TARGETS)
    assert all(metric.value is not None for metric in wanted.values()) == (n == 3000)
    assert_alike(evaluate(*(sent(part, device) for part in columns)), wanted)


@pytest.mark.parametrize("known", ["all", "some", "none"])
def test_funnel_metrics_of_a_device(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU tensors stand for those of CUDA. Truth comes as arrays that cannot be written, as those of mapped files."""
    *columns, every = funnel(1, 2500)
    for column in every.values():
        column.setflags(write=False)
    truth = {"all": every, "some": {"p_click": every["p_click"]}, "none": None}[known]
    metrics = FunnelMetrics(columns[0])
    update(metrics, *(sent(part, "cpu") for part in columns))
    wanted = evaluate(*columns, truth)
    assert metrics.results(truth) == wanted
    monkeypatch.setattr(torch_metrics, "on_cuda", lambda columns: True)
    monkeypatch.setattr(Rows, "__init__", None)  # numpy is not asked
    assert_alike(metrics.results(truth), wanted)
    assert_alike(metrics.results(metrics=("auc",)), {n: m for n, m in wanted.items() if n.startswith("auc/")})


@pytest.mark.gpu
@NO_CUDA
def test_funnel_metrics_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches do not make the host wait, and numpy is not asked."""
    *columns, truth = funnel(1, 250_000)
    wanted, metrics = evaluate(*columns, truth), FunnelMetrics(columns[0])
    tensors = [sent(part, "cuda") for part in columns]
    torch.cuda.set_sync_debug_mode("error")
    try:
        update(metrics, *tensors)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    monkeypatch.setattr(Rows, "__init__", None)
    assert_alike(metrics.results(truth), wanted)


def test_rows_that_lie_apart_are_measured_by_numpy() -> None:
    """A model that was fitted on the host predicts there."""
    with FakeTensorMode():
        there = torch.empty(2, device="cuda")
    assert torch_metrics.on_cuda([there, there])
    assert not torch_metrics.on_cuda([there, torch.zeros(2)])


def test_not_finite_are_named_where_they_lie() -> None:
    metrics = FunnelMetrics(("ctr", "cvr", "ctcvr"))
    rows = torch.full((3,), 0.5)
    labels = dict.fromkeys(LABELS, torch.zeros(3))
    metrics.update({"ctr": rows, "cvr": rows, "ctcvr": rows}, labels, rows)
    assert metrics.not_finite() == []
    for wrong in (math.nan, math.inf):
        metrics.update({"ctr": rows, "cvr": torch.tensor([0.5, wrong, 0.5]), "ctcvr": rows}, labels, rows)
        assert metrics.not_finite() == ["cvr"]
        assert FunnelMetrics(("ctr",)).not_finite() == []


def test_spaces_of_tensors() -> None:
    labels = {"click": torch.tensor([0, 1, 1]), "cart": torch.tensor([0, 0, 1]), "purchase": torch.tensor([1, 1, 0])}
    assert mask("exposed", labels).tolist() == [True] * 3
    assert mask("clicked", labels).tolist() == [False, True, True]
    assert mask("unclicked", labels).tolist() == [True, False, False]
    assert target("ctcvr").label(labels).tolist() == [False, True, False]
    truth = {"p_click": torch.tensor([0.1]), "p_purchase": torch.tensor([0.7])}
    exact = target("ctcvr").true_probability(truth)
    assert exact.item() == np.float64(np.float32(0.1)) * np.float64(np.float32(0.7))
    assert exact.dtype == torch.float64
