"""All metrics of one set of predictions, named ``metric/probability/sample space``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

import numpy as np

from bench.core.errors import unknown
from bench.core.record import Metric
from bench.metrics._arrays import Array, Bool, positive, require_probabilities
from bench.metrics._ranked import Ranked
from bench.metrics.auc import auc
from bench.metrics.ece import BINS
from bench.metrics.gauc import gauc
from bench.metrics.log_loss import log_loss
from bench.metrics.pcoc import pcoc
from bench.metrics.spaces import SPACES, mask, target


class Rows:
    """Probabilities, labels and users, all [n], of one sample space; sorted once for all metrics."""

    def __init__(self, p: Array, y: Bool, users: Array) -> None:
        self.p, self.y, self.users = p, y, users

    @cached_property
    def ranked(self) -> Ranked:
        return Ranked(self.p, self.y)

    def ece(self) -> float:
        require_probabilities(self.p)
        return self.ranked.binned_error(BINS)


#: Metric name → what it is of some rows.
METRICS: dict[str, Callable[[Rows], float]] = {
    "auc": lambda rows: rows.ranked.auc(),
    "gauc": lambda rows: gauc(rows.p, rows.y, rows.users),
    "log_loss": lambda rows: log_loss(rows.p, rows.y),
    "ece": Rows.ece,
    "pcoc": lambda rows: pcoc(rows.p, rows.y),
}


def evaluate(
    probabilities: Mapping[str, Array],
    labels: Mapping[str, Array],
    users: Array,
    truth: Mapping[str, Array] | None = None,
    metrics: Iterable[str] = tuple(METRICS),
) -> dict[str, Metric]:
    """Every metric of every probability over its sample spaces, e.g. ``auc/cvr/clicked``.

    With ``truth`` also ``ceiling/…``, the AUC of the true probability against the same labels, and
    ``ceiling_share/…`` = (AUC - 0.5) / (ceiling - 0.5), how much of the way from chance a model covers.

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
    columns = [users, *probabilities.values(), *labels.values(), *(truth or {}).values()]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"all columns must have one length, but got {sorted({len(c) for c in columns})}.")

    happened = {name: positive(column) for name, column in labels.items()}
    found: dict[str, Metric] = {}
    for probability, values in probabilities.items():
        goal = target(probability)
        for space in goal.spaces:
            chosen = slice(None) if SPACES[space] is None else mask(space, happened)
            rows = Rows(values[chosen], goal.label(happened)[chosen], users[chosen])
            results = {name: METRICS[name](rows) for name in wanted}
            if truth is not None and set(goal.truth) <= truth.keys():
                ceiling = auc(goal.true_probability({name: truth[name][chosen] for name in goal.truth}), rows.y)
                model = rows.ranked.auc()
                results["ceiling"] = ceiling
                results["ceiling_share"] = (model - 0.5) / (ceiling - 0.5) if ceiling != 0.5 else math.nan
            n, n_pos = int(rows.y.size), int(np.count_nonzero(rows.y))
            for name, value in results.items():
                kept = value if math.isfinite(value) else None
                found[f"{name}/{probability}/{space}"] = Metric(value=kept, n=n, n_pos=n_pos)
    return found
