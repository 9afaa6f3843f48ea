"""What can be measured of a cell from its predictions: statistics of a probability over some of the test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bench.data.tables import TRUTH
from bench.metrics._arrays import Array
from bench.metrics.compare import one
from bench.metrics.gauc import gauc_by_user
from bench.metrics.spaces import TARGETS, mask
from bench.metrics.top import SHARES, STATISTICS, top_by_user

#: Columns of a city's test rows: labels, users, and the truth of a simulated one.
Columns = Mapping[str, Array]

#: Of scores [n], labels [n], users [n] and their number: the value and its influences summed by user [n_users].
Statistic = Callable[[Array, Array, Array, int], tuple[float, Array]]

#: An AUC over fewer positives or negatives is withheld.
MIN_CLASS = 30


@dataclass(frozen=True)
class Measure:
    """A ``statistic`` (the AUC unless said otherwise) of ``probability`` over the rows ``chosen`` [n].

    ``label`` is in 0/1 or the true probability, [n]. ``needs`` are columns that a city may lack; it then lacks the
    measure. With fewer rows of a class than ``fewest`` (positives, negatives) it is withheld: MIN_CLASS of both for
    AUCs and GAUCs. Recall, precision and F1 have a value as soon as there is a positive; how many of them were hit is
    for the reader to judge, see :mod:`bench.metrics.top`.
    """

    title: str
    probability: str
    chosen: Callable[[Columns], Array]
    label: Callable[[Columns], Array]
    statistic: Statistic = one
    needs: tuple[str, ...] = ()
    fewest: tuple[int, int] = (MIN_CLASS, MIN_CLASS)


def _observed(probability: str) -> Measure:
    goal = TARGETS[probability]
    (space,) = goal.spaces
    return Measure(f"{probability.upper()}-AUC", probability, partial(mask, space), goal.label)


def _true(probability: str, space: str) -> Measure:
    title = f"{probability.upper()}-AUC against the truth, {space}"
    goal = TARGETS[probability]
    return Measure(title, probability, partial(mask, space), goal.true_probability, needs=TRUTH, fewest=(0, 0))


def _case(title: str, cart: int) -> Measure:
    """Positives are the purchases of one case, negatives the clicked rows without purchase (ESMC Table VI)."""

    def chosen(rows: Columns) -> Array:
        return np.asarray((rows["click"] == 1) & ((rows["purchase"] == 0) | (rows["cart"] == cart)))

    return Measure(title, "cvr", chosen, TARGETS["cvr"].label)


def _path(probability: str, action: bool) -> Measure:
    """Over the rows with a cart or a wish (DAction), or over those of the space without either (OAction)."""
    base = _observed(probability)

    def chosen(rows: Columns) -> Array:
        return np.asarray(base.chosen(rows) & (((rows["cart"] == 1) | (rows["wish"] == 1)) == action))

    title = f"{base.title}, {'DAction' if action else 'OAction'} path"
    return replace(base, title=title, chosen=chosen, needs=("wish",))


#: By name, what every study is measured by. ``auc`` is taken against the observed labels, ``truth`` against the true
#: probabilities: the AUC that labels drawn from them give on average.
AUCS: dict[str, Measure] = {
    "auc/ctr/exposed": _observed("ctr"),
    "auc/ctcvr/exposed": _observed("ctcvr"),
    "auc/cvr/clicked": _observed("cvr"),
    "auc/cvr/bad_case": _case("CVR-AUC, bad cases", cart=0),
    "auc/cvr/good_case": _case("CVR-AUC, good cases", cart=1),
    "truth/ctr/exposed": _true("ctr", "exposed"),
    "truth/ctcvr/exposed": _true("ctcvr", "exposed"),
    "truth/cvr/clicked": _true("cvr", "clicked"),
    "truth/cvr/unclicked": _true("cvr", "unclicked"),
    "truth/cvr/exposed": _true("cvr", "exposed"),
}

#: GAUC with users weighing 1 (ESM² Eq. 13, Table 3).
GAUCS: dict[str, Measure] = {
    f"g{name}": replace(AUCS[name], title=AUCS[name].title.replace("AUC", "GAUC"), statistic=gauc_by_user)
    for name in ("auc/ctr/exposed", "auc/ctcvr/exposed", "auc/cvr/clicked")
}

#: Recall, precision and F1 at the top 0.1 %, 0.6 % and 1 % of the rows (ESM² Tables 4 and 5), as "f1@0.6/cvr/clicked".
TOPS: dict[str, Measure] = {
    f"{statistic}@{100 * share:g}/{space}": replace(
        AUCS[f"auc/{space}"],
        title=f"{space.partition('/')[0].upper()}@top{100 * share:g}%, {statistic.replace('f1', 'F1')}",
        statistic=partial(top_by_user, share=share, statistic=statistic),
        fewest=(1, 0),
    )
    for space in ("cvr/clicked", "ctcvr/exposed")
    for share in SHARES
    for statistic in STATISTICS
}

#: AUCs by path (ESM² Table 8).
PATHS: dict[str, Measure] = {
    f"auc/{probability}/{path}": _path(probability, path == "daction")
    for probability in ("cvr", "ctcvr")
    for path in ("oaction", "daction")
}

MEASURES: dict[str, Measure] = AUCS | GAUCS | TOPS | PATHS
