"""True and estimated conversion in the bad and the good case, by city and model (ESMC Eq. 7 to 10, 15 and 16)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from bench.data.tables import TRUTH
from bench.metrics._arrays import Array, Float
from bench.metrics.compare import Sample
from bench.metrics.gap import gap
from reports.measures import Entry
from reports.pooled import Pooled, constant, log_ratio, minus, ratio, size, weighted_mean
from reports.predictions import Predictions, main_entries, predictions
from reports.study import Study

Case = Literal["bad", "good"]
CASES: tuple[Case, ...] = ("bad", "good")

#: Models with Sample Calibration, and what it is compared with.
CALIBRATED = ("esms", "esmc")
UNCALIBRATED = {"calibration": "none"}


@dataclass(frozen=True, eq=False)
class Gaps:
    """``pooled`` holds, for each case (``truth/bad``):

    - ``truth`` = E[R] and ``estimate`` = E[R̂], their left and right terms (``truth_left``), ``gap`` and its ``size``;
    - ``log_factor`` = log(estimate / truth), the sum of ``log_factor_left`` and ``log_factor_right``, and the sizes of
      these two, ``size_left`` and ``size_right``;

    and of both cases: ``gap/all`` over all clicks; log(bad case / good case) of the truth (``log_true_contrast``), of
    the estimate (``log_contrast``), and the second less the first (``log_contrast_error``).

    ``bad_share`` is the share of clicks in the bad case by city.
    """

    entries: list[Entry]
    pooled: Pooled
    bad_share: dict[str, float]

    def main(self, model: str) -> Entry | None:
        """The configuration that a model is compared by; None where it is not stored."""
        return next((entry for entry in self.entries if entry[0] == model), None)

    def uncalibrated(self, model: str) -> Entry | None:
        """The same model without Sample Calibration, where both are stored."""
        return next((entry for entry in self.entries if entry[0] == model and entry != self.main(model)), None)

    def has_terms(self, entry: Entry) -> bool:
        """Whether the model predicts carts, and so has a left and a right term."""
        return bool(self.pooled.estimates("estimate_right/good", entry))


def study_gaps(study: Study) -> Gaps:
    """The gaps of all models, and of those with Sample Calibration also without it. Cities without truth are absent."""
    without = {model: study.variant_of(UNCALIBRATED) for model in CALIBRATED}
    stored = {(record.cell.model, study.variants[record.key]) for record in study.records}
    entries: list[Entry] = []
    for model, variant in main_entries(study):
        entries += [(model, variant), (model, without.get(model, variant))]
    entries = [entry for entry in dict.fromkeys(entries) if entry in stored]
    samples: dict[str, Mapping[Entry, Mapping[str, Sample]]] = {}
    shares = {}
    for city in study.cities:
        found = predictions(study, city, entries)
        if found is not None:
            samples[city] = dict(_of_city(found))
            p_click, bad = found.columns["p_click"], found.columns["p_cart"] == 0
            shares[city] = weighted_mean(bad, p_click, found.user, found.n_users)[0]
    present = [entry for entry in entries if any(entry in of_city for of_city in samples.values())]
    return Gaps(present, Pooled(samples), shares)


class _Rows(NamedTuple):
    """The test rows of a case."""

    chosen: Array
    p_click: Array
    p_cart: Array
    p_purchase: Array
    user: Array
    n_users: int

    @classmethod
    def of(cls, found: Predictions, chosen: Array) -> _Rows:
        p_click, p_cart, p_purchase = (found.columns[name][chosen] for name in TRUTH)
        return cls(chosen, p_click, p_cart, p_purchase, found.user[chosen], found.n_users)

    def mean(self, values: Array) -> tuple[float, Float]:
        """Per click."""
        return weighted_mean(values, self.p_click, self.user, self.n_users)


def _of_city(found: Predictions) -> Iterator[tuple[Entry, dict[str, Sample]]]:
    bad = found.columns["p_cart"] == 0
    rows: dict[Case, _Rows] = {"bad": _Rows.of(found, bad), "good": _Rows.of(found, ~bad)}
    whole = _Rows.of(found, np.ones_like(bad))
    for entry, seeds in found.cells.items():
        samples: dict[str, Sample] = {}
        for case in CASES:
            samples |= {f"{name}/{case}": sample for name, sample in _of_case(case, rows[case], seeds).items()}
        errors = {seed: whole.p_purchase.astype(np.float64) - columns["cvr"] for seed, columns in seeds.items()}
        samples["gap/all"] = Sample.of({seed: whole.mean(error) for seed, error in errors.items()})
        samples["log_true_contrast"] = log_ratio(samples["truth/bad"], samples["truth/good"])
        samples["log_contrast"] = log_ratio(samples["estimate/bad"], samples["estimate/good"])
        samples["log_contrast_error"] = minus(samples["log_contrast"], samples["log_true_contrast"])
        yield entry, samples


def _of_case(case: Case, rows: _Rows, seeds: Mapping[int, Mapping[str, Array]]) -> dict[str, Sample]:
    chosen, p_click, p_cart, p_purchase, user, n_users = rows
    parts = {
        seed: gap(case, p_click, p_cart, p_purchase, columns["cvr"][chosen], None, user, n_users)
        for seed, columns in seeds.items()
    }
    truth = Sample.of({seed: (part.truth, part.truth_sums) for seed, part in parts.items()})
    estimate = Sample.of({seed: (part.estimate, part.estimate_sums) for seed, part in parts.items()})
    difference = Sample.of({seed: (part.gap, part.gap_sums) for seed, part in parts.items()})
    # in the bad case the cart has happened
    right = constant((1.0, np.zeros(n_users)) if case == "bad" else rows.mean(p_cart), truth)
    found = {
        "truth": truth,
        "estimate": estimate,
        "gap": difference,
        "size": size(difference),
        "log_factor": log_ratio(estimate, truth),
        "truth_right": right,
        "truth_left": ratio(truth, right),
    }
    if all("car" in columns for columns in seeds.values()):
        found |= _terms(found, Sample.of({seed: rows.mean(columns["car"][chosen]) for seed, columns in seeds.items()}))
    return found


def _terms(found: Mapping[str, Sample], right: Sample) -> dict[str, Sample]:
    """The terms of the estimate, which takes the cart from the current visit, and how far they are off."""
    off_right = log_ratio(right, found["truth_right"])
    off_left = minus(found["log_factor"], off_right)
    return {
        "estimate_right": right,
        "estimate_left": ratio(found["estimate"], right),
        "log_factor_right": off_right,
        "log_factor_left": off_left,
        "size_right": size(off_right),
        "size_left": size(off_left),
    }
