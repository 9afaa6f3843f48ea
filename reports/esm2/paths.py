"""Table 8: whether ESM² gains more on one path than on the other."""

from __future__ import annotations

import numpy as np

from bench.metrics.compare import Contrast, Sample, difference
from reports.esm2.paper import Pair
from reports.esm2.values import Table
from reports.measures import MEASURES, Entry


def measure(probability: str, path: str) -> str:
    """``auc/cvr/daction``: the AUC of a probability on a path."""
    return f"auc/{probability}/{path}"


def lead_pair(first: Entry, second: Entry) -> Pair:
    """What the gain in CTCVR-AUC on DAction less that on OAction goes by."""
    return Pair("auc/ctcvr/daction less auc/ctcvr/oaction", first, second)


def lead(shown: Table, city: str, first: Entry, second: Entry) -> Contrast | None:
    """The gain of ``first`` over ``second`` in CTCVR-AUC on DAction less that on OAction, paired by user and seed."""
    gains = [_gain(shown, city, measure("ctcvr", path), first, second) for path in ("daction", "oaction")]
    if gains[0] is None or gains[1] is None:
        return None
    return difference(gains[0], gains[1])


def _gain(shown: Table, city: str, name: str, first: Entry, second: Entry) -> Sample | None:
    """The difference of two entries as a sample over all test users of the city."""
    one, other = (shown.sample(city, name, entry) for entry in (first, second))
    seeds = tuple(sorted(set(one.seeds) & set(other.seeds))) if one is not None and other is not None else ()
    if one is None or other is None or not seeds:
        return None
    (areas, sums), (other_areas, other_sums) = one.take(seeds), other.take(seeds)
    columns = shown.measured(city).columns
    users = np.unique(columns["user"])
    chosen = np.unique(columns["user"][MEASURES[name].chosen(columns)])
    spread = np.zeros((len(seeds), users.size))
    spread[:, np.searchsorted(users, chosen)] = sums - other_sums
    return Sample(areas - other_areas, spread, seeds)
