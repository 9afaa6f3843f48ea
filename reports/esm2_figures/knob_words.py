"""Sentences, tables and CSV rows of ESM² Figure 6."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from bench.core.record import Record
from bench.metrics.compare import Contrast, Estimate
from reports import style
from reports.effects import effect, sign, value
from reports.esm2_figures.knobs import MEASURES, OBSERVED, TRUE, Finding, Panel
from reports.markdown import MISSING, table
from reports.measures import MIN_CLASS, measured
from reports.sweep.show import names
from reports.sweep.values import MEAN, Contrasts, untested
from reports.wording import plain

COLUMNS = [
    "dataset", "preset", "city", "knob", "at", "paper_choice", "model", "variant", "measure", "against", "value", "lo",
    "hi", "p_value", "p_adjusted", "n_seeds",
]  # fmt: skip


def findings(panel: Panel, tested: Contrasts) -> Iterator[str]:
    """What the paper says of a knob, which values are best here, and whether the statement shows."""
    found: dict[Finding, list[str]] = {}
    for measure in MEASURES:
        found.setdefault(panel.finding(measure, tested), []).append(measure)
    if found.keys() == {"unknown"}:
        return
    parts = [f"- **{panel.knob.title}.** The paper: “{panel.paper.claim}”."]
    parts += [f"{text}." for text in (*_highest(panel), *_steps(panel))]
    for finding in ("contradicted", "shown", "partly"):
        for text, measures in _grouped((_told(panel, finding, m, tested), m) for m in found.get(finding, [])):
            parts.append(f"{text.format(names(measures))}.")
    if "open" in found:
        measures = found["open"]
        widths = [_half_width(panel.changes(measure, tested).values()) for measure in measures]
        listed = _and([f"{width:.4f}" for width in widths])
        parts.append(
            f"In {names(measures)} **not distinguishable**: no value can be told from {panel.choice:g}; the 95 %"
            f" intervals of the differences are ± {listed} on average."
        )
    yield " ".join(parts)


def summary_table(panels: Sequence[Panel]) -> str:
    """The paper's choice, what validation chooses, and what is best on test, by knob."""
    header = ["Knob", "Paper"]
    header += [f"{name}, validation" for name in OBSERVED.values()]
    header += [f"{name}, test" for name in OBSERVED.values()]
    header += [f"{name}, truth" for name in TRUE.values()]
    rows = []
    for panel in panels:
        chosen = [panel.chosen(measure) for measure in OBSERVED]
        row = [panel.knob.title, f"{panel.choice:g}", *(MISSING if at is None else f"{at:g}" for at in chosen)]
        row += [MISSING if (best := panel.optimum(measure)) is None else str(best) for measure in MEASURES]
        rows.append(row)
    return table(header, rows)


def level_table(panel: Panel, tested: Contrasts) -> str:
    """One row per value: AUCs against observed labels on validation and test, and differences to the paper's choice."""
    header = [panel.knob.title, "Parameters"]
    for name in OBSERVED.values():
        header += [f"{name}, validation", f"{name}, test", f"difference to {panel.choice:g}"]
    valid = {measure: panel.valid(measure) for measure in OBSERVED}
    rows = []
    for at in panel.sweep.entries:
        parameters = panel.parameters(at)
        row = [_label(panel, at), MISSING if parameters is None else f"{parameters:,.0f}"]
        for measure in OBSERVED:
            chosen = valid[measure].get(at)
            row += [MISSING if chosen is None else f"{chosen:.4f}", *_cells(panel, measure, at, tested)]
        rows.append(row)
    return table(header, rows)


def truth_table(panel: Panel, tested: Contrasts) -> str:
    """The same against the true probabilities."""
    header = [panel.knob.title]
    for name in TRUE.values():
        header += [name, f"difference to {panel.choice:g}"]
    rows = [
        [_label(panel, at), *itertools.chain.from_iterable(_cells(panel, measure, at, tested) for measure in TRUE)]
        for at in panel.sweep.entries
    ]
    return table(header, rows)


def data_words(panels: Sequence[Panel]) -> Iterator[str]:
    """How much the test days have, what is withheld, and how many seeds there are."""
    study = panels[0].sweep.study
    for city in study.cities:
        clicks, purchases = measured(study, city).counts.get("auc/cvr/clicked", (0, 0))
        if clicks:
            text = f"{style.city_title(city)}: the test days have {purchases:,} purchases of {clicks:,} clicks"
            low = min(purchases, clicks - purchases) < MIN_CLASS
            yield f"{text}; AUCs with fewer than {MIN_CLASS} of a class are withheld." if low else f"{text}."
    for measure, name in OBSERVED.items():
        counts = {record.metrics["valid"][measure].n_pos for panel in panels for record in _records(panel, measure)}
        if counts:
            place = "is withheld, with" if min(counts) < MIN_CLASS else "rests on"
            yield f"{name} on the validation days {place} {min(counts)} purchases."
    seeds = {found.n_seeds for panel in panels for measure in MEASURES for found in panel.curve(measure).values()}
    if seeds == {1}:
        yield "There is one seed: the intervals are of the test users and say nothing about other seeds."


def lacking(panels: Sequence[Panel], exhibit: str) -> Iterator[str]:
    """Which cells are not there, and what trains them."""
    parts = []
    for panel in panels:
        for city in panel.sweep.cities:
            stored = panel.sweep.stored([city])
            if missing := [f"{at:g}" for at in panel.sweep.entries if at not in stored]:
                parts.append(f"{panel.knob.title.lower()} {', '.join(missing)} ({style.city_title(city)})")
    if parts:
        text = f'Not stored, printed as "-": {"; ".join(parts)}.'
        many = " A city that lacks a value is not part of the means." if len(panels[0].sweep.cities) > 1 else ""
        yield f"{text}{many} `bench run --exhibit {exhibit}` trains them."


def frame(panels: Sequence[Panel], tested: Contrasts) -> pd.DataFrame:
    """Every AUC of every city and of their mean, of validation, and every difference: COLUMNS."""
    rows = [row for panel in panels for row in _rows(panel, tested)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(panel: Panel, tested: Contrasts) -> Iterator[list[object]]:
    nan, sweep = math.nan, panel.sweep
    study, against = sweep.study, style.title(*sweep.entries[panel.choice])
    for at, entry in sweep.entries.items():
        for measure in MEASURES:
            of_cities = {city: sweep.level(measure, [city], entry) for city in sweep.cities}
            for city, level in [*of_cities.items(), (MEAN, panel.curve(measure).get(at))]:
                identity = [study.dataset, study.preset, city, panel.knob.name, at, at == panel.choice, *entry, measure]
                if level is not None:
                    yield [*identity, "", *_plain(level), nan, nan, level.n_seeds]
                change = _change(panel, measure, city, at, tested)
                if change is not None:
                    p = [change.p_value, change.p_adjusted]
                    yield [*identity, against, change.difference, change.lo, change.hi, *p, change.n_seeds]
    for measure in OBSERVED:
        for at, area in panel.valid(measure).items():
            place = [study.dataset, study.preset, MEAN, panel.knob.name, at, at == panel.choice, *sweep.entries[at]]
            yield [*place, f"valid/{measure}", "", area, nan, nan, nan, nan, 0]


def _change(panel: Panel, measure: str, city: str, at: float, tested: Contrasts) -> Contrast | None:
    """The difference of a value to the paper's choice: tested on the mean of cities, not tested in a city."""
    if at == panel.choice:
        return None
    if city == MEAN:
        return tested.get(panel.key(measure, at))
    entries = panel.sweep.entries
    return untested(panel.sweep.contrast(measure, [city], entries[at], entries[panel.choice]))


def _highest(panel: Panel) -> Iterator[str]:
    """``Highest mean on the test days: 0.3 by CVR-AUC, 0.5 by CTCVR-AUC``, on validation and against the truth."""
    chosen = {name: at for measure, name in OBSERVED.items() if (at := panel.chosen(measure)) is not None}
    if chosen:
        yield f"Validation chooses {_by(chosen)}"
    for measures, place in ((OBSERVED, "on the test days"), (TRUE, "against the truth")):
        found = {name: best.best for measure, name in measures.items() if (best := panel.optimum(measure)) is not None}
        if found:
            yield f"Highest mean {place}: {_by(found)}"


def _steps(panel: Panel) -> Iterator[str]:
    """In how many of its steps the mean rises up to the paper's choice, of a curve that saturates there."""
    if not panel.knob.saturates:
        return
    told = []
    for measure in MEASURES:
        curve = [found.mean for at, found in panel.curve(measure).items() if at <= panel.choice]
        rises = sum(after > before for before, after in itertools.pairwise(curve))
        told += [(f"{rises} of {len(curve) - 1} steps in {{}}", measure)] if len(curve) > 1 else []
    if told:
        listed = ", ".join(text.format(names(measures)) for text, measures in _grouped(told))
        yield f"Up to {panel.choice:g} the mean rises at {listed}"


def _by(found: Mapping[str, float]) -> str:
    return ", ".join(f"{at:g} by {name}" for name, at in found.items())


def _told(panel: Panel, finding: str, measure: str, tested: Contrasts) -> str:
    """The sentence on one AUC, with ``{}`` for its name."""
    changes, choice = panel.changes(measure, tested), f"{panel.choice:g}"
    better = [at for at, change in changes.items() if sign(change) > 0]
    worse = [at for at, change in changes.items() if sign(change) < 0]
    if finding == "contradicted":
        return f"This **contradicts** the paper in {{}}: {_are(better)} significantly better than {choice}"
    if finding == "partly":
        return (
            f"In {{}} it shows in part: {_are(worse)} significantly worse than {choice}, the others not distinguishable"
        )
    if not panel.knob.saturates:
        return "It **shows** in {}: all other values are significantly worse"
    beyond = {at: change for at, change in changes.items() if at > panel.choice}
    open_ = [f"{at:g} cannot be told from it ({plain(change, 4)})" for at, change in beyond.items() if at not in worse]
    none = f", and {_and(open_)}" if open_ else "" if beyond else "; what lies beyond is not stored"
    return f"It **shows** in {{}}: {_are(worse)} significantly worse than {choice}{none}"


def _grouped(found: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Measures of which the same is told."""
    groups: dict[str, list[str]] = {}
    for text, measure in found:
        groups.setdefault(text, []).append(measure)
    yield from groups.items()


def _records(panel: Panel, measure: str) -> Iterator[Record]:
    places, study = set(panel.sweep.entries.values()), panel.sweep.study
    for record in study.records:
        entry = (record.cell.model, study.variants[record.key])
        if entry in places and record.metrics.get("valid", {}).get(measure) is not None:
            yield record


def _label(panel: Panel, at: float) -> str:
    label = panel.knob.label(at)
    return f"{label}, paper" if at == panel.choice else label


def _cells(panel: Panel, measure: str, at: float, tested: Contrasts) -> list[str]:
    """AUC and difference to the paper's choice."""
    change = "" if at == panel.choice else effect(tested.get(panel.key(measure, at)))
    return [value(panel.curve(measure).get(at)), change]


def _plain(level: Estimate) -> list[float]:
    return [level.mean, level.lo, level.hi]


def _half_width(changes: Iterable[Contrast]) -> float:
    found = [(change.hi - change.lo) / 2 for change in changes]
    return math.fsum(found) / len(found)


def _and(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _are(values: Sequence[float]) -> str:
    return f"{_and([f'{at:g}' for at in values])} {'is' if len(values) == 1 else 'are'}"
