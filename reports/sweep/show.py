"""Tables, words and CSV rows that the exhibits of a swept knob share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from bench.metrics.compare import Contrast
from reports import style, supply
from reports.effects import effect, p_text, sign, value
from reports.markdown import MISSING, table
from reports.measures import MIN_CLASS, Entry, measured
from reports.sweep.values import (
    MEAN,
    MEASURES,
    OBSERVED,
    SELECTIONS,
    TRUE,
    Contrasts,
    Key,
    Sweep,
    published,
    untested,
)

#: What a column or sentence calls a measure.
WORDS = OBSERVED | {measure: f"{name} against the truth" for measure, name in TRUE.items()}

#: First and second of the comparisons of what validation chooses.
BEST, CHOSEN = "best on test", "chosen on validation"

SETS = """\
*Best* has the highest mean; in brackets all that are not significantly worse (paired differences of all pairs, Holm's
correction within one place and AUC): any of them may be the best."""

TRUTH = """\
An AUC *against the truth* is what labels drawn from the simulation's own probabilities would give on average: the same
quantity without the noise of the labels."""


def curve_table(
    sweep: Sweep, tested: Contrasts, measures: Mapping[str, str], knob: str, more: Sequence[Entry] = ()
) -> str:
    """One row per value of the knob and per model in ``more``: AUC and difference to the first value."""
    base = next(iter(sweep.entries.values()))
    rows = []
    labels = {entry: f"{at:g}" for at, entry in sweep.entries.items()} | {entry: style.title(*entry) for entry in more}
    for entry, label in labels.items():
        row = [label]
        for measure in measures:
            row.append(value(sweep.level(measure, sweep.whole(measure), entry) if sweep.whole(measure) else None))
            row.append("" if entry == base else effect(tested.get(Key(MEAN, measure, entry, base))))
        rows.append(row)
    first = labels[base]
    header = itertools.chain.from_iterable((name, f"difference to {first}") for name in measures.values())
    return table([knob, *header], rows)


def city_table(sweep: Sweep, knob: str, more: Sequence[Entry] = ()) -> str:
    """Every AUC of every city by value of the knob."""
    preset = next((entry for entry in sweep.entries.values() if not entry[1]), ("", ""))
    rows = []
    for city in sweep.cities:
        for measure, name in WORDS.items():
            curve = {entry: sweep.level(measure, [city], entry) for entry in (*sweep.entries.values(), *more)}
            if any(found is not None for found in curve.values()):
                paper = published(sweep, city, preset, measure)
                printed = MISSING if math.isnan(paper) else f"{paper:.5f}"
                rows.append([style.city_title(city), name, *map(value, curve.values()), printed])
    header = [f"{knob} {at:g}" if place == 0 else f"{at:g}" for place, at in enumerate(sweep.entries)]
    return table(["City", "AUC", *header, *(style.title(*entry) for entry in more), "paper's table"], rows)


def choice_contrasts(sweep: Sweep, fixed: float) -> Contrasts:
    """What choosing on validation costs against the best, and gains against ``fixed``, averaged over cities."""
    chosen = (sweep.entries[fixed][0], CHOSEN)
    found: dict[Key, Contrast | None] = {}
    for measure in SELECTIONS:
        cities = sweep.whole(measure)
        found[Key(MEAN, measure, (chosen[0], BEST), chosen)] = sweep.regret(measure, cities)
        found[Key(MEAN, measure, chosen, sweep.entries[fixed])] = sweep.gain(measure, cities, fixed)
    return present(found)


def choice_table(sweep: Sweep, tested: Contrasts, fixed: float) -> str:
    """What validation chooses in every city, what is best on test, and what the difference costs."""
    header = ["City", "Chosen on validation"]
    for measure in SELECTIONS:
        header += [f"Best by {WORDS[measure]}", "Lost by the choice"]
    rows = []
    for city in sweep.cities:
        chosen = sweep.chosen(city)
        row = [style.city_title(city), MISSING if chosen is None else f"{chosen:g}"]
        for measure in SELECTIONS:
            row += [_optimum(sweep, measure, [city]), _lost(untested(sweep.regret(measure, [city])))]
        rows.append(row)
    last = ["Mean of cities", ""]
    for measure in SELECTIONS:
        best, chosen_key = (sweep.entries[fixed][0], BEST), (sweep.entries[fixed][0], CHOSEN)
        lost = tested.get(Key(MEAN, measure, best, chosen_key))
        last += [_optimum(sweep, measure, sweep.whole(measure)), _lost(lost)]
    return table(header, [*rows, last])


def choice_words(sweep: Sweep, tested: Contrasts, fixed: float) -> Iterator[str]:
    """How well validation chooses."""
    chosen = {city: at for city in sweep.cities if (at := sweep.chosen(city)) is not None}
    if not chosen:
        return
    by_value = {at: [style.city_title(c) for c in chosen if chosen[c] == at] for at in sorted(set(chosen.values()))}
    listed = "; ".join(f"{at:g} in {', '.join(cities)}" for at, cities in by_value.items())
    text = f"- **Validation** (CTCVR-AUC on the validation days) chooses {listed}."
    model = sweep.entries[fixed][0]
    for measure in SELECTIONS:
        lost = tested.get(Key(MEAN, measure, (model, BEST), (model, CHOSEN)))
        gained = tested.get(Key(MEAN, measure, (model, CHOSEN), sweep.entries[fixed]))
        if lost is not None:
            text += f" In {WORDS[measure]} it loses {_lost(lost)} to the best of each city"
            text += " (overstated: the best is picked on the same test rows)." if lost.difference else "."
        if gained is not None:
            verb = {1: "pays", -1: "costs", 0: "makes no difference that the data can tell"}[sign(gained)]
            text += f" Against {fixed:g} in every city choosing {verb}: {effect(gained)}."
    yield text


def claims_table(sweep: Sweep, tested: Contrasts, pairs: Sequence[tuple[float, float]], grid: Collection[float]) -> str:
    """For each AUC the differences that claims rest on, averaged over cities, and which values may be the best:
    of the paper's ``grid``, and of all."""
    header = ["AUC"]
    for first, second in pairs:
        header += [f"{first:g} minus {second:g}", "p", "cities of this sign"]
    rows = []
    for measure, name in WORDS.items():
        cities = sweep.whole(measure)
        row = [name]
        for first, second in pairs:
            key = Key(MEAN, measure, sweep.entries[first], sweep.entries[second])
            found = tested.get(key)
            row += [
                effect(found),
                MISSING if found is None else p_text(found.p_adjusted).removeprefix("p ").removeprefix("= "),
            ]
            row.append(MISSING if found is None else f"{_of_sign(sweep, key, found)} of {len(cities)}")
        rows.append([*row, _optimum(sweep, measure, cities, grid), _optimum(sweep, measure, cities)])
    return table([*header, "Best of the paper's values", "Best with 0"], rows)


def directions(tested: Contrasts, keys: Iterable[Key], up: str, down: str) -> list[str]:
    """``up in CTR-AUC (observed labels)``: the differences that are significant, by direction."""
    found = {key.measure: sign(tested.get(key)) for key in keys}
    by_word = {up: [m for m in found if found[m] > 0], down: [m for m in found if found[m] < 0]}
    return [f"{word} in {names(measures)}" for word, measures in by_word.items() if measures]


def names(measures: Iterable[str]) -> str:
    """``CTR-AUC, CVR-AUC (observed labels, truth)``: AUCs, grouped by what they are taken against."""
    kinds: dict[str, list[str]] = {}
    for measure in measures:
        kinds.setdefault(MEASURES[measure], []).append("observed labels" if measure in OBSERVED else "truth")
    groups: dict[str, list[str]] = {}
    for name, against in kinds.items():
        groups.setdefault(", ".join(against), []).append(name)
    return " and ".join(f"{', '.join(group)} ({against})" for against, group in groups.items())


def best_words(sweep: Sweep, paper_best: float, grid: Collection[float]) -> Iterator[str]:
    """Whether the paper's best value may be the best of its ``grid``."""
    optima = {measure: best for measure in MEASURES if (best := sweep.optimum(measure, sweep.whole(measure), grid))}
    shown = {measure: best for measure, best in optima.items() if paper_best in best.among}
    out = [measure for measure, best in shown.items() if paper_best not in best.kept]
    if not shown:
        return
    text = f"- **The paper's {paper_best:g}** "
    if out:
        text += (
            f"is significantly worse than the best of its values in {names(out)}: this **contradicts** the paper, in"
        )
        text += " which it generally performs well."
    elif all(best.kept == best.among for best in shown.values()):
        text += "may be the best of its values, but so may every other: the data do not tell any of them from the best."
    else:
        text += "may be the best of its values in every AUC, as the paper says."
    yield text


def withheld(sweep: Sweep) -> Iterator[str]:
    """One sentence per AUC that a city has too few labels for."""
    for city in sweep.cities:
        for measure, (rows, positives) in measured(sweep.study, city).counts.items():
            if measure in OBSERVED and min(positives, rows - positives) < MIN_CLASS:
                name = f"{style.city_title(city)}: {OBSERVED[measure]}"
                yield f"{name} is withheld, {positives} positives of {rows} rows."


def lacking(sweep: Sweep, exhibit: str) -> Iterator[str]:
    """Which cells are not there, and what trains them."""
    parts = []
    for city in sweep.cities:
        impossible = supply.left_out_of(sweep.study, city)
        wanted = [at for at, (model, _) in sweep.entries.items() if model not in impossible]
        if missing := [f"{at:g}" for at in wanted if at not in sweep.stored([city])]:
            parts.append(f"{style.city_title(city)}: {', '.join(missing)}")
    if parts:
        yield (
            f'Not stored, printed as "-", and a city that lacks a value is not part of the means: {"; ".join(parts)}.'
            f" {supply.command(sweep.study, exhibit)} trains them."
        )


def present(found: Mapping[Key, Contrast | None]) -> Contrasts:
    """Those that are known."""
    return {key: contrast for key, contrast in found.items() if contrast is not None}


def _of_sign(sweep: Sweep, key: Key, found: Contrast) -> int:
    """In how many cities a difference has the sign of its average."""
    cities = [sweep.contrast(key.measure, [city], key.first, key.second) for city in sweep.whole(key.measure)]
    return sum(part is not None and part.difference * found.difference > 0 for part in cities)


def _optimum(sweep: Sweep, measure: str, cities: Sequence[str], among: Collection[float] | None = None) -> str:
    found = sweep.optimum(measure, cities, among)
    return MISSING if found is None else str(found)


def _lost(contrast: Contrast | None) -> str:
    """A difference that is 0 where the best was chosen."""
    return "nothing" if contrast is not None and contrast.difference == 0 else effect(contrast)
