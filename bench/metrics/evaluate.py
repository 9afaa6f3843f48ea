"""All metrics of one set of predictions, named ``metric/probability/sample space``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from bench.core.errors import unknown
from bench.core.record import Metric
from bench.metrics._arrays import Array
from bench.metrics.auc import auc
from bench.metrics.ece import ece
from bench.metrics.gauc import gauc
from bench.metrics.log_loss import log_loss
from bench.metrics.pcoc import pcoc
from bench.metrics.spaces import mask, target

#: Metric name → function of probabilities, labels and users, all [n].
METRICS: dict[str, Callable[[Array, Array, Array], float]] = {
    "auc": lambda p, y, users: auc(p, y),
    "gauc": gauc,
    "log_loss": lambda p, y, users: log_loss(p, y),
    "ece": lambda p, y, users: ece(p, y),
    "pcoc": lambda p, y, users: pcoc(p, y),
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

    found: dict[str, Metric] = {}
    for probability, values in probabilities.items():
        goal = target(probability)
        for space in goal.spaces:
            rows = mask(space, labels)
            p, y, who = values[rows], goal.label(labels)[rows], users[rows]
            results = {name: METRICS[name](p, y, who) for name in wanted}
            if truth is not None and set(goal.truth) <= truth.keys():
                ceiling = auc(goal.true_probability(truth)[rows], y)
                model = results["auc"] if "auc" in results else auc(p, y)
                results["ceiling"] = ceiling
                results["ceiling_share"] = (model - 0.5) / (ceiling - 0.5) if ceiling != 0.5 else math.nan
            n, n_pos = int(y.size), int(y.sum())
            for name, value in results.items():
                kept = value if math.isfinite(value) else None
                found[f"{name}/{probability}/{space}"] = Metric(value=kept, n=n, n_pos=n_pos)
    return found
