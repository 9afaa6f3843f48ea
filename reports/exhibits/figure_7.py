"""ESMC Figure 7: Sample Calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, product
from pathlib import Path

from bench.metrics.compare import Contrast
from reports import effects, style
from reports.exhibit import Demand, Exhibit
from reports.gains import calibrated
from reports.gains.calibrated import LEVELS, MODELS, MODES, PAIRS, gain, titles
from reports.gains.calibrated_plots import draw_bars
from reports.gains.calibrated_words import claims
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
    frame,
    gain_rows,
    lacking,
    level_rows,
    mean_heading,
    only_mean,
    seeds,
    signs,
    tested,
    withheld,
)
from reports.markdown import MISSING, beside, details, picture, table
from reports.measures import Entry
from reports.published import is_published
from reports.study import Study
from reports.supply import impossible, is_log

READING = """\
Sample Calibration changes training labels only: a purchase without a cart in its visit takes the cart of the same user
and item from an earlier visit. *Copy*, the default, leaves the label of the earlier visit, *move* removes it there.
ESMC⁻ (ESMS⁻) is the model without Sample Calibration. Gains are relative increases in percent."""

BARS = """\
Bars are cut off at the foot, so look at the axis, not at their lengths. Intervals of two bars that overlap do not mean
a tie: the two models are compared on the same users, in the second picture."""

LABELS = """\
Training rows only; the labels that AUCs are taken against never change. *Found a cart*: the log has a cart of the same
user and item in an earlier visit, from the recommendations, that no other purchase used up."""

LEVEL = """\
PCOC is the sum of predictions over the sum of labels on clicked test rows: 1 is right, above 1 predicts too many. ECE
is the mean gap between prediction and share of positives over bins of equal size. CAR is the probability of a cart
after a click, taken against the carts of the visit as logged; means over cities and seeds. *Factor* is PCOC over that
of the model without calibration, paired, with its 95 % interval; bold differs from 1 significantly."""

MEASURES = (*OBSERVED, *TRUE.values())


class Figure7(Exhibit):
    name = "figure_7"
    title = "ESMC Figure 7: Sample Calibration"
    needs = "stored predictions"
    order = 30
    paper = "esmc"
    demands = (Demand(("esmc", "esms"), ({}, {"calibration": "none"}, {"calibration": "move"})),)

    def build(self, study: Study, folder: Path) -> str:
        if (why := impossible(study, MODELS)) is not None:
            return why
        gains = Gains(study)
        named = titles(study)
        entries = [entry for entry in named if any(gains.estimates(measure, entry) for measure in OBSERVED)]
        absent = [*lacking(study, named, self.name), *withheld(study, OBSERVED)]
        if not entries:
            return "\n\n".join(["No AUC to show.", *absent])
        found = tested(_comparisons(gains))
        if not found and is_log(study):
            return "\n\n".join(["There is no model with and without Sample Calibration.", *absent])
        paper = _paper_gain(study)
        key = gain(study, "esmc", "auc/ctcvr/exposed")
        published: dict[Place, float] = {(key, MEAN): paper} if is_published(study.dataset) else {}
        levels = _published_levels(study)
        self.write_csv(
            frame(
                chain(level_rows(gains, entries, MEASURES, levels), gain_rows(study, found, published), _rows(study))
            ),
            folder,
        )
        bars, differences = (self.picture_path(study, folder, part) for part in ("bars", "gains"))
        draw_bars(gains, f"Sample Calibration: {study.title}", bars)
        draw_gains(study, found, _series(study), published, f"What Sample Calibration adds: {study.title}", differences)
        parts = [f"{READING} {effects.READING}", "#### What holds"]
        parts.append("\n".join(f"- {line}" for line in claims(study, found, paper)))
        parts += [BARS, picture(bars.name, "AUCs with and without Sample Calibration, by city")]
        parts += [f"#### Gains, means over cities\n\n{TRUTH}", _summary(study, found, published)]
        parts.append(picture(differences.name, "gains of Sample Calibration by city, and of copy over move"))
        parts += [f"#### Labels that changed\n\n{LABELS}", _labels_table(study)]
        parts += [f"#### Level of the predictions\n\n{LEVEL}", _level_table(study, found)]
        body = [_city_table(gains, found, measure, levels) for measure in OBSERVED]
        parts += [details("AUCs of every city", "\n\n".join(body)), *absent, *seeds(gains, entries)]
        return "\n\n".join(parts)


def _comparisons(gains: Gains) -> Iterator[tuple[Gain | Extra, Mapping[str, Contrast]]]:
    """Every comparison of the exhibit: with and without calibration in each city, the others as means over cities."""
    study = gains.study
    for model, measure, pair in product(MODELS, MEASURES, PAIRS):
        key = gain(study, model, measure, *pair)
        every_city = measure in OBSERVED and pair == PAIRS[0]
        yield key, (averaged if every_city else only_mean)(gains.by_city(key))
    yield from calibrated.shifts(study)


def _paper_gain(study: Study) -> float:
    """Gain in percent of CTCVR-AUC: the paper prints by how much it falls without calibration."""
    return 100 * (1 / (1 - study.published.figure_7.ctcvr_fall / 100) - 1)


def _published_levels(study: Study) -> dict[tuple[str, str, Entry], float]:
    """The AUCs of Table IV, which are with calibration."""
    found = {}
    for model, measure, city in product(MODELS, OBSERVED, study.cities):
        auc = study.published.auc(study.dataset, city, model, measure.split("/")[1])
        if auc is not None:
            found[measure, city, calibrated.entry(study, model, "copy")] = auc
    return found


def _series(study: Study) -> list[Series]:
    measure = next(iter(OBSERVED))
    looks = {"esmc": ("#D55E00", "#E69F00"), "esms": ("#0072B2", "#56B4E9")}
    shown = (("copy", "none", "o"), ("copy", "move", "s"))
    return [
        Series(
            f"{calibrated.title(model, first)} over {calibrated.title(model, second)}",
            color,
            marker,
            gain(study, model, measure, first, second),
        )
        for model in MODELS
        for (first, second, marker), color in zip(shown, looks[model], strict=True)
    ]


def _summary(study: Study, found: Contrasts, published: Mapping[Place, float]) -> str:
    rows = []
    for model, measure in product(MODELS, OBSERVED):
        key = gain(study, model, measure)
        counts = Counter(signs(found, key).values())
        paper = published.get((key, MEAN))
        texts = [effects.effect(found.get((gain(study, model, measure, *pair), MEAN)), 3) for pair in PAIRS]
        true = [effects.effect(found.get((gain(study, model, TRUE[measure], *pair), MEAN)), 3) for pair in PAIRS]
        rows.append(
            [
                f"{style.title(model)}, {OBSERVED[measure]}",
                beside(texts[0], None if paper is None else f"{paper:+.3f}"),
                f"{counts[1]} / {counts[-1]} / {counts[0]}" if counts else MISSING,
                *texts[1:],
                *true,
            ]
        )
    names = [f"{first} over {second}" for first, second in PAIRS]
    header = ["Gain in percent", names[0], "better / worse / unclear", *names[1:], *(f"truth: {n}" for n in names)]
    note = "*Better / worse / unclear*: in how many cities the gain is significant, one way or the other, or not."
    return f"{table(header, rows)}\n\n{note}"


def _labels_table(study: Study) -> str:
    by_city = {city: calibrated.labels(study, city) for city in study.cities}
    rows: dict[str, list[str]] = {}
    for city, found in by_city.items():
        manifest = study.manifest(city)
        carts = None if manifest is None else manifest.counts.get("train_carts")
        added = None if found is None else found.changed.get("copy")
        texts = {
            "Carts": MISSING if carts is None else f"{carts:,}",
            "Bad-case purchases": MISSING if found is None else f"{found.bad_cases:,}",
            "found a cart": MISSING if found is None else f"{found.matched:,}",
            "share that found one": f"{found.matched / found.bad_cases:.0%}" if found and found.bad_cases else MISSING,
            "Labels changed by copy": MISSING if added is None else f"{added:,}",
            "of all carts": f"{added / carts:+.0%}" if carts and added is not None else MISSING,
            "Labels changed by move": f"{found.changed['move']:,}" if found and "move" in found.changed else MISSING,
        }
        for name, text in texts.items():
            rows.setdefault(name, []).append(text)
    return table(
        ["On the training days", *map(style.city_title, by_city)], [[name, *row] for name, row in rows.items()]
    )


def _level_table(study: Study, found: Contrasts) -> str:
    rows = []
    for model, mode in product(MODELS, MODES):
        row = [calibrated.title(model, mode)]
        for probability in LEVELS:
            for metric in ("pcoc", "ece"):
                level = calibrated.level(study, f"{metric}/{probability}/clicked", calibrated.entry(study, model, mode))
                row.append(MISSING if math.isnan(level) else f"{level:.4f}")
            shift = found.get((calibrated.shift(model, probability, mode, "none"), MEAN))
            row.append("" if mode == "none" else _factor(shift))
        rows.append(row)
    columns = [f"{probability.upper()}: {name}" for probability in LEVELS for name in ("PCOC", "ECE", "factor")]
    return table(["Model", *columns], rows)


def _factor(found: Contrast | None) -> str:
    """``1.12 [1.08, 1.17]`` from a logarithm."""
    if found is None:
        return MISSING
    mean, lo, hi = (f"{math.exp(x):.3f}" for x in (found.difference, found.lo, found.hi))
    return f"{f'**{mean}**' if effects.sign(found) else mean} [{lo}, {hi}]"


def _city_table(gains: Gains, found: Contrasts, measure: str, levels: Mapping[tuple[str, str, Entry], float]) -> str:
    study = gains.study
    shared = gains.shared(measure, titles(study))
    places = [*study.cities, MEAN]
    rows = []
    for model in MODELS:
        for mode in MODES:
            entry = calibrated.entry(study, model, mode)
            by_city = gains.estimates(measure, entry)
            texts = [effects.value(by_city.get(city)) for city in study.cities]
            texts.append(effects.value(gains.mean(measure, entry, shared)))
            papers = [levels.get((measure, place, entry)) for place in places]
            cells = [beside(t, None if p is None else f"{p:.5f}") for t, p in zip(texts, papers, strict=True)]
            rows.append([calibrated.title(model, mode), *cells])
        gained = [effects.effect(found.get((gain(study, model, measure), place)), 3) for place in places]
        rows.append([f"{calibrated.title(model, 'copy')} over {calibrated.title(model, 'none')}, %", *gained])
    return table([OBSERVED[measure], *map(style.city_title, study.cities), mean_heading(study, shared)], rows)


def _rows(study: Study) -> Iterator[list[object]]:
    """CSV rows of changed labels and of the level of the predictions."""
    nan = math.nan
    for city in study.cities:
        if (found := calibrated.labels(study, city)) is not None:
            values = {"bad_cases": found.bad_cases, "matched_carts": found.matched}
            values |= {f"labels changed by {mode}": count for mode, count in found.changed.items()}
            for name, count in values.items():
                rest = ["", "", "labels", count, *[nan] * 8]
                yield [study.dataset, study.preset, city, "", "", name, *rest]
    for (entry, _), metric, probability in product(titles(study).items(), ("pcoc", "ece"), LEVELS):
        name = f"{metric}/{probability}/clicked"
        if not math.isnan(level := calibrated.level(study, name, entry)):
            yield [study.dataset, study.preset, MEAN, *entry, name, "", "", metric, level, *[nan] * 8]
