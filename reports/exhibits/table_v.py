"""ESMC Table V: carts of the global domain."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, product
from pathlib import Path

from bench.core.config import PRESETS
from bench.metrics.compare import Contrast
from reports import effects, style
from reports.exhibit import Demand, Exhibit
from reports.gains import global_words
from reports.gains.plots import Series, draw_gains
from reports.gains.values import (
    MEAN,
    OBSERVED,
    TRUE,
    TRUTH,
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
    signs,
    tested,
    withheld,
)
from reports.markdown import MISSING, beside, picture, table
from reports.measures import Entry
from reports.published import is_published
from reports.study import Study
from reports.supply import command, impossible, is_log

READING = """\
ESMS² and ESMC² are ESMS and ESMC whose cart output also learns carts that came from search, the *global domain*. That
loss has the weight {weight:g} here, in every city; the paper chooses it from a grid, and finds {best:g} good in
general. *Improvement* is the relative increase over the model without these carts, in percent, as in the paper. The
paper has cities {cities} only: beside a mean of ours stands its mean over these."""

MODELS = ("esms", "esms2", "esmc", "esmc2")
#: What the paper compares: with the carts of search, and without.
PAIRS = (("esms2", "esms"), ("esmc2", "esmc"))
#: The other comparisons that its ranking of the family rests on.
RANKING = (("esmc2", "esms2"), ("esmc2", "esms"), ("esmc", "esms"))
#: How far a printed improvement may be from that of the printed AUCs, in percentage points.
ROUNDING = 0.002

#: Figures of the paper by place.
Published = Mapping[Place, float]

MEASURES = (*OBSERVED, *TRUE.values())
LEAD = "gain of ESMC² less that of ESMS²"


class TableV(Exhibit):
    name = "table_v"
    title = "ESMC Table V: carts of the global domain"
    needs = "stored predictions"
    order = 22
    paper = "esmc"
    demands = (Demand(("esms", "esmc", "esms2", "esmc2")),)

    def build(self, study: Study, folder: Path) -> str:
        if (why := impossible(study, style.GLOBAL)) is not None:
            return why
        gains = Gains(study)
        entries = [main_entry(study, model) for model in MODELS]
        titles = {entry: style.title(*entry) for entry in entries}
        if not any(gains.estimates(measure, entry) for measure in OBSERVED for entry in titles):
            return f"No AUC to show; {command(study, self.name)} trains what it takes."
        found = tested(_comparisons(gains))
        if not found and is_log(study):
            return "\n\n".join(["There are no two models to compare.", *lacking(study, titles, self.name)])
        paper, printed = _paper_gains(study), _printed_gains(study)
        levels = {
            (measure, city, main_entry(study, model)): auc
            for measure in OBSERVED
            for model in MODELS
            for city in [*study.cities, MEAN]
            if (auc := published_auc(study, city, model, measure)) is not None
        }
        rows = chain(level_rows(gains, entries, MEASURES, levels), gain_rows(study, found, paper | printed))
        self.write_csv(frame(rows), folder)
        path = self.picture_path(study, folder)
        lines = [
            Series(_title(pair), style.look(pair[1]).color, m, _gain(study, *pair))
            for pair, m in zip(PAIRS, "os", strict=True)
        ]
        draw_gains(study, found, lines, paper, f"What carts from search add: {study.title}", path)
        weight, best = PRESETS[study.preset].weight_global, study.published.figure_6.best
        reading = READING.format(weight=weight, best=best, cities=", ".join(study.published.table_v.cities))
        parts = [
            f"{reading} {effects.READING}",
            "#### What holds",
            "\n".join(f"- {line}" for line in _claims(study, found, paper)),
        ]
        parts += [f"#### Means over cities\n\n{TRUTH}", _summary(study, found, paper)]
        parts.append(picture(path.name, "gains of ESMS² over ESMS and of ESMC² over ESMC, by city"))
        for measure, name in OBSERVED.items():
            parts += [f"#### {name} (`{measure}`)", _city_table(gains, found, paper | printed, measure)]
            parts += _misprints(paper, printed, measure)
        parts += [*lacking(study, titles, self.name), *withheld(study, OBSERVED), *seeds(gains, entries)]
        return "\n\n".join(parts)


def _gain(study: Study, first: str, second: str, measure: str = next(iter(OBSERVED))) -> Gain:
    return Gain(measure, main_entry(study, first), main_entry(study, second))


def _comparisons(gains: Gains) -> Iterator[tuple[Gain | Extra, Mapping[str, Contrast]]]:
    """Every comparison of the exhibit: the paper's in each city, the others as means over cities."""
    for pair in PAIRS:
        for measure in MEASURES:
            gain = _gain(gains.study, *pair, measure)
            yield gain, (averaged if measure in OBSERVED else only_mean)(gains.by_city(gain))
    for pair in RANKING:
        for measure in MEASURES:
            gain = _gain(gains.study, *pair, measure)
            yield gain, only_mean(gains.by_city(gain))
    for measure in MEASURES:
        siamese, twins = (gains.samples(_gain(gains.study, *pair, measure)) for pair in PAIRS)
        yield Extra(LEAD, measure), only_mean(compared(twins, siamese))


def _claims(study: Study, found: Contrasts, paper: Published) -> Iterator[str]:
    """The statements of the paper's text against our figures."""
    siamese, twins = (_gain(study, *pair) for pair in PAIRS)
    text = study.published.esmc_text
    yield from global_words.outperforms(found, (siamese, twins), paper, "ESMS² and ESMC²")
    least = {"auc/ctr/exposed": text.ctr_gain_of_esmc2_over, "auc/ctcvr/exposed": text.ctcvr_gain_of_esmc2_over}
    yield from global_words.limits(found, twins, least, _title(PAIRS[1]))
    yield from global_words.lead(found, LEAD)
    best = {style.title(model): _gain(study, "esmc2", model) for model in ("esms", "esms2", "esmc")}
    worst = {style.title(model): _gain(study, model, "esms") for model in ("esms2", "esmc", "esmc2")}
    yield from global_words.ranking(found, best, worst, paper)


def published_auc(study: Study, city: str, model: str, measure: str) -> float | None:
    """The AUC of Table IV or V; as the mean, that over the cities of Table V."""
    if city == MEAN:
        found = [published_auc(study, each, model, measure) for each in study.published.table_v.cities]
        known = [auc for auc in found if auc is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(found) else None
    place = study.dataset, city, model, measure.split("/")[1]
    return study.published.auc_v(*place) if model in style.GLOBAL else study.published.auc(*place)


def _paper_gains(study: Study) -> dict[Place, float]:
    """What the paper's AUCs give in each of its cities, and as the mean over these."""
    found: dict[Place, float] = {}
    cities = study.published.table_v.cities
    for pair, measure in product((*PAIRS, *RANKING), OBSERVED if is_published(study.dataset) else ()):
        by_city = {city: _from_aucs(study, city, *pair, measure) for city in cities}
        gain = _gain(study, *pair, measure)
        found |= {(gain, city): percent for city, percent in by_city.items()}
        found[gain, MEAN] = math.fsum(by_city.values()) / len(by_city)
    return found


def _printed_gains(study: Study) -> dict[Place, float]:
    """The improvements that the paper prints."""
    found: dict[Place, float] = {}
    for pair, measure, city in product(PAIRS, OBSERVED, study.published.table_v.cities):
        printed = study.published.improvement_v(study.dataset, city, pair[0], measure.split("/")[1])
        if printed is not None:
            found[_gain(study, *pair, measure), city] = printed
    return found


def _misprints(paper: Published, printed: Published, measure: str) -> Iterator[str]:
    """Improvements that do not follow from the paper's own AUCs."""
    for (gain, city), percent in printed.items():
        if isinstance(gain, Gain) and gain.measure == measure and abs(percent - paper[gain, city]) > ROUNDING:
            where = f"{style.title(*gain.first)} in {style.city_title(city)}"
            yield f"The paper's {percent:+.3f} % of {where} is a misprint: its AUCs give {paper[gain, city]:+.3f} %."


def _from_aucs(study: Study, city: str, first: str, second: str, measure: str) -> float:
    above, below = (published_auc(study, city, model, measure) for model in (first, second))
    return math.nan if above is None or below is None else 100 * (above / below - 1)


def _title(pair: tuple[str, str]) -> str:
    return f"{style.title(pair[0])} over {style.title(pair[1])}"


def _summary(study: Study, found: Contrasts, published: Published) -> str:
    """The comparisons as means over cities, against labels and against the truth, and in how many cities they hold."""
    rows = []
    for pair in (*PAIRS, *RANKING):
        for measure, name in OBSERVED.items():
            gain = _gain(study, *pair, measure)
            paper = published.get((gain, MEAN))
            contrast = found.get((gain, MEAN))
            counts = Counter(signs(found, gain).values())
            rows.append(
                [
                    f"{_title(pair)}, {name}",
                    MISSING if paper is None else f"{paper:+.3f}",
                    effects.effect(contrast, 3),
                    MISSING
                    if contrast is None
                    else effects.p_text(contrast.p_adjusted).removeprefix("p ").removeprefix("= "),
                    f"{counts[1]} / {counts[-1]} / {counts[0]}" if counts else MISSING,
                    effects.effect(found.get((gain.of(TRUE[measure]), MEAN)), 3),
                ]
            )
    header = [
        "Gain in percent",
        "Paper, mean of its cities",
        "Ours",
        "p",
        "Better / worse / unclear",
        "Against the truth",
    ]
    note = "*Better / worse / unclear*: in how many cities the difference is significant, one way or the other, or not."
    return f"{table(header, rows)}\n\n{note}"


def _city_table(gains: Gains, found: Contrasts, printed: Published, measure: str) -> str:
    """The paper's table for one AUC, with a column for the mean."""
    study = gains.study
    places = [*study.cities, MEAN]
    entries: list[Entry] = [main_entry(study, model) for model in MODELS]
    shared = gains.shared(measure, entries)
    rows = []
    for first, second in PAIRS:
        for model in (second, first):
            entry = main_entry(study, model)
            by_city = gains.estimates(measure, entry)
            texts = [effects.value(by_city.get(city)) for city in study.cities]
            texts.append(effects.value(gains.mean(measure, entry, shared)))
            papers = [published_auc(study, place, model, measure) for place in places]
            rows.append([style.title(model), *(_beside(t, p, ".5f") for t, p in zip(texts, papers, strict=True))])
        gain = _gain(study, first, second, measure)
        texts = [effects.effect(found.get((gain, place)), 3) for place in places]
        papers = [printed.get((gain, place)) for place in places]
        rows.append(["Improvement, %", *(_beside(t, p, "+.3f") for t, p in zip(texts, papers, strict=True))])
    return table(["Model", *map(style.city_title, study.cities), mean_heading(study, shared)], rows)


def _beside(ours: str, paper: float | None, digits: str) -> str:
    return beside(ours, None if paper is None else f"{paper:{digits}}")
