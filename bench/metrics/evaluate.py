"""All metrics of one set of predictions, named ``metric/probability/sample space``.

Of numpy arrays they are computed by numpy, of tensors by torch, on the device where these lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from bench.core.errors import unknown
from bench.core.record import Metric
from bench.metrics._arrays import Array, Bool, positive, require_probabilities
from bench.metrics._ranked import Ranked
from bench.metrics.ece import BINS
from bench.metrics.gauc import gauc
from bench.metrics.log_loss import log_loss
from bench.metrics.on_device import RowsOnDevice
from bench.metrics.pcoc import pcoc
from bench.metrics.spaces import SPACES, Column, mask, target


class Rows:
    """Probabilities, labels and users, all [n], of one sample space; sorted once for all metrics."""

    #: Labels [n] as booleans.
    positive = staticmethod(positive)

    def __init__(self, p: Array, y: Bool, users: Array) -> None:
        self.p, self.y, self.users = p, y, users
        self.n, self.n_pos = int(y.size), int(np.count_nonzero(y))

    @cached_property
    def ranked(self) -> Ranked:
        return Ranked(self.p, self.y)

    def auc(self) -> float:
        return self.ranked.auc()

    def gauc(self) -> float:
        return gauc(self.p, self.y, self.users)

    def log_loss(self) -> float:
        return log_loss(self.p, self.y)

    def ece(self) -> float:
        require_probabilities(self.p)
        return self.ranked.binned_error(BINS)

    def pcoc(self) -> float:
        return pcoc(self.p, self.y)


#: Metric name → what it is of some rows.
METRICS: dict[str, Callable[[Rows | RowsOnDevice], float]] = {
    "auc": lambda rows: rows.auc(),
    "gauc": lambda rows: rows.gauc(),
    "log_loss": lambda rows: rows.log_loss(),
    "ece": lambda rows: rows.ece(),
    "pcoc": lambda rows: rows.pcoc(),
}


def evaluate(
    probabilities: Mapping[str, Column],
    labels: Mapping[str, Column],
    users: Column,
    truth: Mapping[str, Column] | None = None,
    metrics: Iterable[str] = tuple(METRICS),
) -> dict[str, Metric]:
    """Every metric of every probability over its sample spaces, e.g. ``auc/cvr/clicked``.

    With ``truth`` also ``ceiling/…``, the AUC of the true probability against the same labels, and
    ``ceiling_share/…`` = (AUC - 0.5) / (ceiling - 0.5), how much of the way from chance a model covers.

    All columns are arrays, or all are tensors of one device.

    Args:
        probabilities: some of ctr, cvr, car, ctcvr, ctcar, each [n]; float64 keeps those near 1 apart from 1.
        labels: click, cart, purchase, each [n], 0 or 1.
        users: [n].
        truth: p_click, p_cart, p_purchase (the last two given a click), each [n], as far as known.
        metrics: which of :data:`METRICS`.

    Returns:
        Metrics with their rows; ``value`` is None where it is undefined, or infinite (log loss).

    Raises:
        UserError: a metric or a probability is unknown.
        ValueError: lengths differ, a label is neither 0 nor 1, or a probability lies outside [0, 1].
    """
    wanted = tuple(metrics)
    for name in wanted:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    columns: list[Array | Tensor] = [users, *probabilities.values(), *labels.values(), *(truth or {}).values()]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"all columns must have one length, but got {sorted({len(c) for c in columns})}.")

    kind: Any = RowsOnDevice if isinstance(users, Tensor) else Rows
    happened = {name: kind.positive(column) for name, column in labels.items()}
    found: dict[str, Metric] = {}
    for probability, values in probabilities.items():
        goal = target(probability)
        for space in goal.spaces:
            chosen = slice(None) if SPACES[space] is None else mask(space, happened)
            rows = kind(values[chosen], goal.label(happened)[chosen], users[chosen])
            results = {name: METRICS[name](rows) for name in wanted}
            if truth is not None and set(goal.truth) <= truth.keys():
                true = goal.true_probability({name: truth[name][chosen] for name in goal.truth})
                model, ceiling = rows.auc(), kind(true, rows.y, rows.users).auc()
                results["ceiling"] = ceiling
                results["ceiling_share"] = (model - 0.5) / (ceiling - 0.5) if ceiling != 0.5 else math.nan
            for name, value in results.items():
                kept = value if math.isfinite(value) else None
                found[f"{name}/{probability}/{space}"] = Metric(value=kept, n=rows.n, n_pos=rows.n_pos)
    return found
