"""The bad and the good case of Table VI, and that the AUC over all purchases is their weighted mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from reports.gains.values import Gains
from reports.measures import Entry, measured
from reports.study import Study

Case = Literal["bad", "good"]

#: The AUC on the purchases of each case.
CASES: dict[Case, str] = {"bad": "auc/cvr/bad_case", "good": "auc/cvr/good_case"}

#: The AUC on all purchases.
WHOLE = "auc/cvr/clicked"


class PublishedCases(NamedTuple):
    """The paper's CVR-AUC on bad cases, good cases and all purchases, and its CTCVR-AUC."""

    city: str
    model: str
    bad: float
    good: float
    whole: float
    ctcvr: float

    @property
    def excess(self) -> float:
        """How far the AUC on all purchases lies above both cases; negative: below both; 0: between them."""
        return max(0.0, self.whole - max(self.bad, self.good)) + min(0.0, self.whole - min(self.bad, self.good))


def published_identity(study: Study) -> list[PublishedCases]:
    """Tables IV and VI side by side; nothing where the dataset is not the paper's."""
    found = []
    for city in study.published.table_vi.bad:
        for model in ("esm2_chain", "esms"):
            cases = [study.published.case_auc(study.dataset, case, city, model) for case in CASES]
            aucs = [study.published.auc(study.dataset, city, model, name) for name in ("cvr", "ctcvr")]
            known = [auc for auc in (*cases, *aucs) if auc is not None]
            if len(known) == len(CASES) + len(aucs):
                found.append(PublishedCases(city, model, *known))
    return found


def published_gaps(pairs: Sequence[PublishedCases]) -> dict[str, float]:
    """How far the paper's ESMS is above its ESMM² on all purchases and in each case, as means over cities."""
    found = {}
    for name in ("whole", "bad", "good"):
        sides = {model: [getattr(p, name) for p in pairs if p.model == model] for model in ("esms", "esm2_chain")}
        first, second = (math.fsum(aucs) / len(aucs) for aucs in sides.values())
        found[name] = first - second
    return found


def identity(gains: Gains, entries: Iterable[Entry]) -> dict[tuple[str, Entry], float]:
    """By city and entry, how far the AUC on all purchases is from the mean of the cases, weighted by purchases."""
    found = {}
    for city in gains.study.cities:
        counts = measured(gains.study, city).counts
        for entry in entries:
            samples = [gains.sample(city, measure, entry) for measure in (WHOLE, *CASES.values())]
            if all(sample is not None for sample in samples):
                whole, bad, good = (sample.areas for sample in samples if sample is not None)
                n_bad, n_good = (counts[measure][1] for measure in CASES.values())
                expected = (n_bad * bad + n_good * good) / (n_bad + n_good)
                found[city, entry] = float(abs(whole - expected).max())
    return found
