"""ESMC Table VI: bad case and good case."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain, product
from pathlib import Path

from bench.metrics.compare import Contrast
from reports import effects, style
from reports.exhibit import Demand, Exhibit
from reports.gains import case_words
from reports.gains.cases import CASES, WHOLE, Case, identity, published_gaps, published_identity
from reports.gains.plots import draw_levels
from reports.gains.values import (
    MEAN,
    Contrasts,
    Extra,
    Gain,
    Gains,
    Place,
    averaged,
    compared,
    frame,
    gain_rows,
    lacking,
    level_rows,
    main_entry,
    mean_heading,
    only_mean,
    seeds,
    tested,
    withheld,
)
from reports.markdown import MISSING, beside, details, picture, table
from reports.measures import Entry, measured
from reports.published import CaseAucs, is_published
from reports.study import Study

READING = """\
A purchase is a **good case** if its item was put into the cart in the visit of the purchase, and a **bad case** if not
(the paper: on an earlier visit; a log also has purchases without any cart, which count here). Both AUCs have the same
negatives, the clicked exposures without purchase; the paper speaks of purchases alone, which have no AUC. *Improvement*
is the relative increase of ESMS over ESM² chain, in percent, as in the paper, whose ESMM² is our ESM² chain."""

DIFFERENCES = """\
Differences of every model from ESM² chain and from ESMM, as means over cities, in AUC."""

PAPER_CANNOT = """\
The published table cannot come from this definition. With the same negatives, the CVR-AUC over all purchases is the
mean of the two cases' AUCs, weighted by their numbers of purchases, so it lies between them. In the paper it lies
outside in {outside} of {total} cases (cities times models): {where}. For example, {example}. The same holds of
differences: ESMS is above ESMM² by {whole:+.4f} over all purchases, but by {bad:+.4f} on bad and {good:+.4f} on good
cases, as means over cities. Its Table VI must rest on other negatives, which the paper does not tell{ctcvr}; so neither
its AUCs nor the size of its improvements can be compared with ours."""

BASES = ("esm2_chain", "esmm")
LEAD = "improvement in the bad case less that in the good case"


class TableVI(Exhibit):
    name = "table_vi"
    title = "ESMC Table VI: bad case and good case"
    needs = "stored predictions"
    order = 24
    paper = "esmc"
    demands = (Demand(("shared_bottom", "mmoe", "esmm", "esm2", "esm2_chain", "esms", "esmc")),)

    def build(self, study: Study, folder: Path) -> str:
        gains = Gains(study)
        wanted = style.in_order([*study.models, *(model for demand in self.demands for model in demand.models)])
        titles = {main_entry(study, model): style.title(*main_entry(study, model)) for model in wanted}
        entries = [entry for entry in titles if any(gains.estimates(measure, entry) for measure in CASES.values())]
        absent = [*lacking(study, titles, self.name), *withheld(study, CASES.values())]
        if not entries:
            return "\n\n".join(["No AUC to show.", *absent])
        found = tested(_comparisons(gains, entries))
        levels, improvements = _published_levels(study), _published_gains(study)
        rows = chain(
            level_rows(gains, entries, (WHOLE, *CASES.values()), levels), gain_rows(study, found, improvements)
        )
        self.write_csv(frame(rows), folder)
        claims = "\n".join(f"- {line}" for line in case_words.claims(gains, found, entries, improvements, LEAD))
        parts = [f"{READING} {effects.READING}", "#### What holds", claims, "#### Purchases by case", _counts(study)]
        path = self.picture_path(study, folder)
        draw_levels(gains, CASES, entries, levels, f"CVR-AUC by case, mean over cities: {study.title}", path)
        parts.append(picture(path.name, "CVR-AUC of every model on bad-case and on good-case purchases"))
        for case in CASES:
            parts += [f"#### {case.capitalize()} case", _case_table(gains, found, entries, case, levels, improvements)]
        parts += [f"#### Models compared\n\n{DIFFERENCES}", _difference_table(study, found, entries)]
        parts += [*_impossible(study), *_own_identity(gains, entries), *absent, *seeds(gains, entries)]
        return "\n\n".join(parts)


def improvement(study: Study, measure: str) -> Gain:
    """Of ESMS over ESM² chain."""
    return Gain(measure, main_entry(study, "esms"), main_entry(study, "esm2_chain"))


def _comparisons(gains: Gains, entries: list[Entry]) -> Iterator[tuple[Gain | Extra, Mapping[str, Contrast]]]:
    """The improvement in each city, and all differences of models as means over cities."""
    own = {case: improvement(gains.study, measure) for case, measure in CASES.items()}
    for gain in own.values():
        yield gain, averaged(gains.by_city(gain))
    yield Extra(LEAD, WHOLE), averaged(compared(gains.samples(own["bad"]), gains.samples(own["good"])))
    for measure, entry, base in product(CASES.values(), entries, BASES):
        if entry[0] != base:
            gain = Gain(measure, entry, main_entry(gains.study, base), absolute=True)
            yield gain, only_mean(gains.by_city(gain))


def _published_levels(study: Study) -> dict[tuple[str, str, Entry], float]:
    """The paper's AUCs by measure, city or mean, and entry."""
    found: dict[tuple[str, str, Entry], float] = {}
    for model, (case, measure) in product(("esm2_chain", "esms"), CASES.items()):
        entry = main_entry(study, model)
        by_city = {}
        for city in study.published.table_vi.bad:
            if (auc := study.published.case_auc(study.dataset, case, city, model)) is not None:
                by_city[city] = auc
        found |= {(measure, city, entry): auc for city, auc in by_city.items()}
        if by_city:
            found[measure, MEAN, entry] = math.fsum(by_city.values()) / len(by_city)
    return found


def _published_gains(study: Study) -> dict[Place, float]:
    """The paper's improvements, as printed, and their means."""
    found: dict[Place, float] = {}
    lead: Extra = Extra(LEAD, WHOLE)
    table_vi = study.published.table_vi
    by_case: dict[Case, dict[str, CaseAucs]] = {"bad": table_vi.bad, "good": table_vi.good}
    for case, cities in by_case.items():
        if is_published(study.dataset):
            gain = improvement(study, CASES[case])
            found |= {(gain, city): row.improvement for city, row in cities.items()}
            found[gain, MEAN] = math.fsum(row.improvement for row in cities.values()) / len(cities)
    for place in [*table_vi.bad, MEAN] if found else ():
        bad, good = (found[improvement(study, CASES[case]), place] for case in ("bad", "good"))
        found[lead, place] = bad - good
    return found


def _counts(study: Study) -> str:
    """Test purchases of each case, and the share of bad cases on the test days and on all days."""
    cities = study.cities
    counts = {case: [measured(study, city).counts.get(measure) for city in cities] for case, measure in CASES.items()}
    rows = [
        [f"{case.capitalize()} cases", *(MISSING if found is None else f"{found[1]:,}" for found in counts[case])]
        for case in counts
    ]
    shares = [
        MISSING if bad is None or good is None or not bad[1] + good[1] else f"{bad[1] / (bad[1] + good[1]):.1%}"
        for bad, good in zip(*counts.values(), strict=True)
    ]
    rows.append(["Share of bad cases", *shares])
    rows.append(["Share of bad cases, all days", *(_all_days(study, city) for city in cities)])
    return table(["Purchases on the test days", *map(style.city_title, cities)], rows)


def _all_days(study: Study, city: str) -> str:
    manifest = study.manifest(city)
    bad, all_of = (
        (None, None) if manifest is None else (manifest.counts.get(n) for n in ("bad_case_purchases", "purchases"))
    )
    return f"{bad / all_of:.1%}" if bad is not None and all_of else MISSING


def _case_table(
    gains: Gains,
    found: Contrasts,
    entries: list[Entry],
    case: Case,
    levels: Mapping[tuple[str, str, Entry], float],
    improvements: Mapping[Place, float],
) -> str:
    study, measure = gains.study, CASES[case]
    shared = gains.shared(measure, entries)
    places = [*study.cities, MEAN]
    rows = []
    for entry in entries:
        by_city = gains.estimates(measure, entry)
        texts = [effects.value(by_city.get(city)) for city in study.cities]
        texts.append(effects.value(gains.mean(measure, entry, shared)))
        papers = [levels.get((measure, place, entry)) for place in places]
        rows.append([style.title(*entry), *(_beside(t, p, ".5f") for t, p in zip(texts, papers, strict=True))])
    keys: dict[str, Gain | Extra] = {"Improvement, %": improvement(study, measure)}
    if case == "bad":
        keys["Improvement less that in the good case, percentage points"] = Extra(LEAD, WHOLE)
    for name, key in keys.items():
        texts = [effects.effect(found.get((key, place)), 2) for place in places]
        papers = [improvements.get((key, place)) for place in places]
        rows.append([name, *(_beside(t, p, "+.3f") for t, p in zip(texts, papers, strict=True))])
    return table(["Model", *map(style.city_title, study.cities), mean_heading(study, shared)], rows)


def _difference_table(study: Study, found: Contrasts, entries: list[Entry]) -> str:
    columns = list(product(CASES.items(), BASES))
    rows = []
    for entry in entries:
        row = [style.title(*entry)]
        for (_, measure), base in columns:
            key = Gain(measure, entry, main_entry(study, base), absolute=True)
            row.append("" if entry[0] == base else effects.effect(found.get((key, MEAN))))
        rows.append(row)
    return table(
        ["Model", *(f"{case.capitalize()} case: against {style.title(base)}" for (case, _), base in columns)], rows
    )


def _impossible(study: Study) -> Iterator[str]:
    """That the published Table VI does not go with Table IV."""
    pairs = published_identity(study)
    outside = [pair for pair in pairs if pair.excess]
    if not outside:
        return
    above = [pair for pair in outside if pair.excess > 0]
    where = f"above both in {len(above)}, by {min(p.excess for p in above):.4f} to {max(p.excess for p in above):.4f}"
    if below := len(outside) - len(above):
        where = f"{where}, below both in {below}" if above else f"below both in {below}"
    one = outside[0]
    name = "ESMM²" if one.model == "esm2_chain" else style.title(one.model)
    example = (
        f"{name} in {style.city_title(one.city)} has {one.whole:.5f} in Table IV, and {one.bad:.5f} on bad and"
        f" {one.good:.5f} on good cases in Table VI"
    )
    also = all(max(p.bad, p.good) < p.ctcvr or min(p.bad, p.good) > p.ctcvr for p in pairs)
    ctcvr = "; nor can they be all exposures without purchase, since the CTCVR-AUC lies outside as well" if also else ""
    gaps = published_gaps(pairs)
    yield "#### What the published table cannot be"
    yield PAPER_CANNOT.format(outside=len(outside), total=len(pairs), where=where, example=example, ctcvr=ctcvr, **gaps)
    rows = [
        [f"{style.city_title(p.city)}, {'ESMM²' if p.model == 'esm2_chain' else style.title(p.model)}"]
        + [f"{x:.5f}" for x in (p.bad, p.good, p.whole)]
        + [f"{p.excess:+.5f}" if p.excess else "0"]
        for p in pairs
    ]
    header = ["Published", "Bad case (Table VI)", "Good case (Table VI)", "All purchases (Table IV)", "Outside by"]
    yield details("The published figures", table(header, rows))


def _own_identity(gains: Gains, entries: list[Entry]) -> Iterator[str]:
    errors = identity(gains, entries)
    if errors:
        yield (
            f"Ours do satisfy it: over {len(errors)} pairs of model and city, the CVR-AUC over all purchases differs"
            f" from the weighted mean of the two cases by {max(errors.values()):.0e} at most."
        )


def _beside(ours: str, paper: float | None, digits: str) -> str:
    return beside(ours, None if paper is None else f"{paper:{digits}}")
