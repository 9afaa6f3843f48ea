"""The AUCs of ESMC Table IV for a study, with intervals, comparisons and published values.

Undefined or withheld values are NaN; ``n`` and ``n_pos`` are always there.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import pandas as pd

from bench.metrics.compare import Contrast, Estimate, adjust, best_and_second, difference, estimate
from bench.metrics.spaces import TARGETS
from reports import style
from reports.measures import MIN_CLASS, Entry, Measured, measured
from reports.study import Study

#: The three AUCs of ESMC Table IV: probability → the paper's name, in the paper's order.
AUCS: dict[str, str] = {"ctr": "CTR-AUC", "ctcvr": "CTCVR-AUC", "cvr": "CVR-AUC"}

ALPHA = 0.05

#: By (city, metric), comparisons by (first model, second model).
Pairs = dict[tuple[str, str], dict[tuple[str, str], Contrast]]

COLUMNS = [
    "city", "model", "metric", "mean", "lo", "hi", "n_seeds", "published", "dataset", "preset", "variant",
    "main", "n", "n_pos", "ceiling", "ceiling_share", "mark",
]  # fmt: skip


class Aucs(NamedTuple):
    """``table``: COLUMNS, one row per city, metric, model and variant that is stored; ``mark`` is best, second or "".

    ``pairs``: comparisons of the models in their main configuration, by (city, metric), Holm-adjusted within each;
    a pair is there once, its difference is first minus second. Models of the global domain are left out: they
    stand in Table V.
    """

    table: pd.DataFrame
    pairs: Pairs

    def beats(self, city: str, metric: str, first: str, second: str) -> bool:
        """Whether ``first`` is significantly better than ``second``."""
        pairs = self.pairs.get((city, metric), {})
        for pair, sign in (((first, second), 1), ((second, first), -1)):
            if pair in pairs:
                return sign * pairs[pair].difference > 0 and pairs[pair].p_adjusted < ALPHA
        return False


def metric_name(probability: str) -> str:
    """``auc/cvr/clicked``: the AUC of a probability over its sample space."""
    return f"auc/{probability}/{TARGETS[probability].spaces[0]}"


@lru_cache(maxsize=1)
def study_aucs(study: Study) -> Aucs:
    """The AUCs of every city and model. The last study is remembered: several exhibits read it."""
    rows: list[dict[str, object]] = []
    pairs: Pairs = {}
    for city in study.cities:
        found = measured(study, city)
        for probability in AUCS if found.samples else ():
            of_city, compared = _evaluate(study, city, probability, found)
            rows += of_city
            pairs[city, metric_name(probability)] = compared
    return Aucs(pd.DataFrame(rows, columns=COLUMNS).astype({"main": bool}), pairs)


def _evaluate(
    study: Study, city: str, probability: str, found: Measured
) -> tuple[list[dict[str, object]], dict[tuple[str, str], Contrast]]:
    """Rows of the table for one city and AUC, and the comparisons of its models; none where it is withheld."""
    metric = metric_name(probability)
    n, n_pos = found.counts[metric]
    withheld = min(n_pos, n - n_pos) < MIN_CLASS
    records = [record for record in study.of_city(city) if record.cell.model not in style.GLOBAL]
    entries: Counter[Entry] = Counter((record.cell.model, study.variants[record.key]) for record in records)
    main = {(record.cell.model, study.variants[record.key]) for record in records if record.key in study.main}
    samples = {entry: sample for entry in entries if (sample := found.sample(metric, *entry)) is not None}
    estimates = {entry: estimate(sample) for entry, sample in samples.items()}
    of_model = {entry[0]: sample for entry, sample in samples.items() if entry in main}
    pairs = itertools.combinations(of_model, 2)
    compared = adjust({(a, b): difference(of_model[a], of_model[b]) for a, b in pairs})
    best, second = best_and_second({m: estimates[m, v] for m, v in samples if (m, v) in main}, compared, ALPHA)
    marks: dict[str | None, str] = {second: "second", best: "best"}
    ceiling = _ceiling(study, city, probability) if samples else math.nan
    rows: list[dict[str, object]] = []
    for entry, stored in entries.items():
        model, variant = entry
        if entry not in found.samples or not (entry in samples or withheld):  # unreadable, or not finite
            continue
        value = estimates.get(entry, Estimate(math.nan, math.nan, math.nan, math.nan, stored))
        published = study.published.auc(study.dataset, city, model, probability) if entry in main else None
        rows.append(
            {
                "dataset": study.dataset,
                "preset": study.preset,
                "city": city,
                "model": model,
                "variant": variant,
                "main": entry in main,
                "metric": metric,
                "mean": value.mean,
                "lo": value.lo,
                "hi": value.hi,
                "n_seeds": value.n_seeds,
                "published": math.nan if published is None else published,
                "n": n,
                "n_pos": n_pos,
                "ceiling": ceiling,
                "ceiling_share": (value.mean - 0.5) / (ceiling - 0.5) if ceiling != 0.5 else math.nan,
                "mark": marks.get(model, "") if entry in main else "",
            }
        )
    return rows, compared


def _ceiling(study: Study, city: str, probability: str) -> float:
    """AUC of the true probabilities on the test rows, as the cells recorded it; NaN without a truth."""
    name = metric_name(probability).replace("auc/", "ceiling/", 1)
    values = [record.metrics.get("test", {}).get(name) for record in study.of_city(city)]
    return next((metric.value for metric in values if metric is not None and metric.value is not None), math.nan)
