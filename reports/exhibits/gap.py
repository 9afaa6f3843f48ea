"""The gap of probability space confusion (ESMC Eq. 7-10, 15-16)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from bench.metrics.compare import Contrast, Estimate
from reports import style
from reports.effects import READING, effect, sign, value
from reports.exhibit import Demand, Exhibit
from reports.gap.plots import draw_means, draw_terms
from reports.gap.values import CALIBRATED, CASES, Gaps, study_gaps
from reports.gap.words import claims
from reports.markdown import MISSING, details, picture, table
from reports.measures import Entry
from reports.pooled import Key, tidy_frame
from reports.study import Study
from reports.supply import is_log
from reports.wording import Compared, uneven

INTRODUCTION = """\
The paper derives that ESM² must be off where an item was put into the cart on an earlier visit. It measures none of
this, so no published figure stands beside ours. Here the test rows are simulated, their true probabilities are known,
and its expectations can be taken. **Bad case**: the item lies in the user's cart from an earlier visit. **Good case**:
all other exposures. Means are per click: exposures count by their true click probability. E[R] is the true CVR, E[R̂]
the predicted one. The **gap** (Eq. 9) is E[R] − E[R̂]: above 0 a model predicts too few purchases, below 0 too many."""

MEANS = """\
Means over cities, with 95 % intervals over test users and seeds; bold gaps differ from 0 (p < 0.05 after Holm's
correction over all comparisons of this exhibit). {share} of all clicks are bad cases. A model that is right over all
clicks (last column) pays for a gap in one case with an opposite one in the other."""

TERMS = """\
E[R] is a product of two terms. In the **bad case** the cart has happened: the true right term is 1, the left one
E[R|A] is the true CVR (Eq. 7). In the **good case** they are the true cart rate E[A] and E[R] / E[A] (Eq. 10). A model
takes the cart from the current visit in both: its right term is its predicted cart rate E[Â], its left one E[R̂] / E[Â]
(Eq. 8). *Off by* is the model's value over the true one, and the two multiply to E[R̂] / E[R]; bold differs from 1.
Models that predict no cart are not listed. No bad case adds a cart in its own visit, so labels as logged teach
E[Â] = 0 there; Sample Calibration (Eq. 14, 15) gives a cart to those that were bought, and so teaches at most E[R], not
1. Left terms grow without bound where E[Â] goes to 0; that of ESMS is 1 by construction, one tower predicts both."""

CONTRAST = """\
Whether a model tells the cases apart at all: its mean CVR in the bad case over that in the good case. Below the true
ratio it treats them too much alike."""

SIZES = f"""\
{READING}
Here they are differences of the size of the gap, first model minus second: below 0 the first is closer to the truth.
Errors of terms are absolute logarithms of *off by*."""

BY_CITY = "Gap ± half of its 95 % interval, below the truth. Single cities are not tested."

#: Second models of the comparisons of sizes; those with Sample Calibration are also compared with themselves without.
PAIRS = (("esm2_chain", "esmm"), ("esms", "esm2_chain"), ("esmc", "esm2_chain"))
SIZE_COLUMNS = {
    "size/bad": "Gap, bad case",
    "size/good": "Gap, good case",
    "size_right/bad": "Right term, bad case",
    "size_left/bad": "Left term, bad case",
}
#: Tested against 0 for every model.
TESTED = (
    *("gap/bad", "gap/good", "gap/all", "log_contrast", "log_contrast_error"),
    *("log_factor_left/bad", "log_factor_right/bad", "log_factor_left/good", "log_factor_right/good"),
)
SHOWN = tuple(f"{name}/{case}" for name in ("truth", "estimate", "log_factor") for case in CASES)
SHOWN_TERMS = tuple(
    f"{name}/{case}" for name in ("truth_left", "estimate_left", "truth_right", "estimate_right") for case in CASES
)


class GapExhibit(Exhibit):
    name = "gap"
    title = "The gap of probability space confusion (ESMC Eq. 7-10, 15-16)"
    needs = "stored predictions"
    order = 32
    paper = "esmc"
    demands = (
        Demand(("shared_bottom", "mmoe", "esmm", "esm2", "esm2_chain", "esms", "esmc")),
        Demand(("esms", "esmc"), ({"calibration": "none"},)),
    )

    def build(self, study: Study, folder: Path) -> str:
        gaps = study_gaps(study)
        if not gaps.entries:
            if is_log(study):
                return "Nothing to show: a log has no true probabilities."
            return (
                f"{INTRODUCTION}\n\nNothing to show: no cell with CVR predictions and true probabilities is stored."
                " Only simulated cities have the truth; `bench run --exhibit gap` trains them."
            )
        compared = gaps.pooled.compare(_keys(gaps))
        measures = dict.fromkeys(SHOWN, gaps.entries) | dict.fromkeys(SHOWN_TERMS, _with_terms(gaps))
        self.write_csv(tidy_frame(study, gaps.pooled, measures, compared), folder)
        share = sum(gaps.bad_share.values()) / len(gaps.bad_share)
        parts = [INTRODUCTION, *_missing(study, gaps, self.demands)]
        parts += ["#### What holds", "\n".join(f"- {line}" for line in claims(gaps, compared))]
        parts += ["#### The gap", MEANS.format(share=f"{share:.1%}"), *uneven(gaps.pooled, "gap/good", gaps.entries)]
        parts.append(_means_table(gaps, compared))
        path = self.picture_path(study, folder, "means")
        draw_means(study, gaps, path)
        parts.append(picture(path.name, "true and predicted CVR of every model in the bad and the good case"))
        if _with_terms(gaps):
            parts += ["#### Left and right terms", TERMS, *_term_tables(gaps, compared)]
            path = self.picture_path(study, folder, "terms")
            draw_terms(study, gaps, _with_terms(gaps), path)
            parts.append(picture(path.name, "how far the left and right terms of every model are off"))
        parts += ["#### The two cases apart", CONTRAST, _contrast_table(gaps, compared)]
        if sizes := _size_rows(compared):
            parts += ["#### Models compared", SIZES, table(["Comparison", *SIZE_COLUMNS.values()], sizes)]
        parts.append(details("The gap by city", f"{BY_CITY}\n\n{_city_table(gaps)}"))
        return "\n\n".join(parts)


def _with_terms(gaps: Gaps) -> list[Entry]:
    return [entry for entry in gaps.entries if gaps.has_terms(entry)]


def _keys(gaps: Gaps) -> Iterator[Key]:
    """Every comparison of the exhibit."""
    for quantity, entry in product(TESTED, gaps.entries):
        yield Key(quantity, entry)
    pairs = [(gaps.main(first), gaps.main(second)) for first, second in PAIRS]
    pairs += [(gaps.main(model), gaps.uncalibrated(model)) for model in CALIBRATED]
    for (first, second), quantity in product(pairs, SIZE_COLUMNS):
        if first is not None and second is not None:
            yield Key(quantity, first, second)


def _missing(study: Study, gaps: Gaps, demands: tuple[Demand, ...]) -> list[str]:
    wanted = [(m, study.variant_of(change)) for d in demands for m in d.models for change in d.changes]
    lacking = [style.title(*entry) for entry in wanted if entry not in gaps.entries]
    return [f"Not stored: {', '.join(lacking)}; `bench run --exhibit gap` trains them."] if lacking else []


def _means_table(gaps: Gaps, compared: Compared) -> str:
    pooled = gaps.pooled
    rows = [["Truth, E[R]", *(text for case in CASES for text in (_truth(gaps, f"truth/{case}"), "")), "", ""]]
    for entry in gaps.entries:
        cells = []
        for case in CASES:
            gap = effect(compared.get(Key(f"gap/{case}", entry)), 3)
            cells += [value(pooled.mean(f"estimate/{case}", entry), 3), gap]
        whole = effect(compared.get(Key("gap/all", entry)), 3)
        rows.append([style.title(*entry), *cells, whole, str(len(pooled.estimates("estimate/good", entry)))])
    header = ["Model", "Bad case: E[R̂]", "gap", "Good case: E[R̂]", "gap", "All clicks: gap", "Cities"]
    return table(header, rows)


def _truth(gaps: Gaps, quantity: str) -> str:
    """A mean of the truth: the same for all models that are stored for the most cities."""
    most = max(gaps.entries, key=lambda entry: len(gaps.pooled.estimates(quantity, entry)))
    found = gaps.pooled.mean(quantity, most)
    return value(found, 3) if found is None or found.se > 0 else f"{found.mean:g}"


def _term_tables(gaps: Gaps, compared: Compared) -> Iterator[str]:
    pooled = gaps.pooled
    for case in CASES:
        truth = [_truth(gaps, f"truth_{side}/{case}") for side in ("left", "right")]
        rows = [["Truth", *truth, "1", "1", "1"]]
        for entry in _with_terms(gaps):
            terms = [value(pooled.mean(f"estimate_{side}/{case}", entry), 3) for side in ("left", "right")]
            off = [_factor(compared.get(Key(f"log_factor_{side}/{case}", entry))) for side in ("left", "right")]
            rows.append([style.title(*entry), *terms, *off, _factor(pooled.mean(f"log_factor/{case}", entry))])
        header = [f"{case.capitalize()} case", "Left term", "Right term", "Left off by", "Right off by", "E[R̂] / E[R]"]
        yield table(header, rows)


def _factor(found: Contrast | Estimate | None) -> str:
    """``0.57 [0.55, 0.60]`` from a logarithm, bold where it is tested and differs from 1."""
    if found is None:
        return MISSING
    mean = found.mean if isinstance(found, Estimate) else found.difference
    bold = "**" if isinstance(found, Contrast) and sign(found) else ""
    text = f"{bold}{_power(mean)}{bold}"
    return text if math.isnan(found.lo) else f"{text} [{_power(found.lo)}, {_power(found.hi)}]"


def _power(logarithm: float) -> str:
    """Three significant digits; intervals of few seeds can reach beyond what is worth printing."""
    if abs(logarithm) > 12:
        return "> 100,000" if logarithm > 0 else "< 0.00001"
    return f"{math.exp(logarithm):.3g}"


def _contrast_table(gaps: Gaps, compared: Compared) -> str:
    rows = [
        [
            style.title(*entry),
            _factor(compared.get(Key("log_contrast", entry))).replace("**", ""),
            _factor(gaps.pooled.mean("log_true_contrast", entry)),
            _factor(compared.get(Key("log_contrast_error", entry))),
        ]
        for entry in gaps.entries
    ]
    return table(["Model", "Predicted: bad / good", "True: bad / good", "Predicted / true"], rows)


def _size_rows(compared: Compared) -> list[list[str]]:
    pairs = dict.fromkeys((key.entry, key.other) for key in compared if key.other is not None)
    return [
        [
            f"{style.title(*first)} − {style.title(*second)}",
            *(effect(compared.get(Key(quantity, first, second)), 3) for quantity in SIZE_COLUMNS),
        ]
        for first, second in pairs
        if second is not None
    ]


def _city_table(gaps: Gaps) -> str:
    cities = list(gaps.pooled.samples)
    rows = []
    for case in CASES:
        truths = {c: e for entry in gaps.entries for c, e in gaps.pooled.estimates(f"truth/{case}", entry).items()}
        rows.append([f"Truth E[R], {case}", *(value(truths.get(city), 3) for city in cities)])
    for entry, case in product(gaps.entries, CASES):
        found = gaps.pooled.estimates(f"gap/{case}", entry)
        rows.append([f"{style.title(*entry)}, {case}", *(value(found.get(city), 3) for city in cities)])
    shares = [f"{gaps.bad_share[city]:.1%}" for city in cities]
    return table(["Model, case", *map(style.city_title, cities)], [*rows, ["Clicks in the bad case", *shares]])
