"""Sentences, tables and CSV rows of ESM² Figure 7."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.metrics.compare import Contrast, Estimate
from reports import style
from reports.effects import effect, p_text, sign, value
from reports.esm2_figures.groups import (
    DIFFERENCE,
    GAIN,
    MODELS,
    PARTS,
    TREND,
    Groups,
    Key,
    Tested,
    slope_weights,
)
from reports.esm2_figures.knobs import MEASURES, OBSERVED
from reports.esm2_figures.purchases import GROUPS
from reports.markdown import MISSING, beside, table
from reports.measures import MIN_CLASS
from reports.sweep.show import names
from reports.sweep.values import MEAN
from reports.wording import plain

COLUMNS = [
    "dataset", "preset", "city", "group", "measure", "quantity", "value", "lo", "hi", "p_value", "p_adjusted",
    "n_seeds", "n", "n_pos", "published",
]  # fmt: skip


def findings(found: Groups, tested: Tested) -> Iterator[str]:
    """Whether AUCs fall over the groups, whether the gain rises, and where the models differ."""
    paper = found.study.published.esm2_figure_7
    levels = [text for measure in MEASURES if (text := _levels(found, measure, tested))]
    if levels:
        yield _list(
            f"- **AUCs over the groups.** The paper: “{paper.levels}”. Change from one group to the next:", levels
        )
    gains = [text for measure in MEASURES if (text := _gain(found, measure, tested))]
    if gains:
        printed = ", ".join(f"{gain:.2f} %" for gain in paper_gains(found).values())
        text = (
            f"- **Gain of ESM² over the groups.** The paper: “{paper.gains}”, {printed}; it does not say of which AUC."
        )
        yield _list(f"{text} Change of the gain from one group to the next, in percentage points:", gains)
    changes = {key: c for key, c in tested.items() if key.quantity == DIFFERENCE}
    if changes:
        parts = []
        for word, wanted in (("better", 1), ("worse", -1)):
            there = {m: [k.group for k, c in changes.items() if k.measure == m and sign(c) == wanted] for m in MEASURES}
            listed = "; ".join(f"{names([m])}: {', '.join(groups)}" for m, groups in there.items() if groups)
            parts += [f"significantly {word} in {listed}"] if listed else []
        open_ = sum(not sign(change) for change in changes.values())
        parts.append(f"not distinguishable in {open_} of {len(changes)} cases (a group and an AUC)")
        yield f"- **ESM² against ESMM in a group:** {'; '.join(parts)}."


def data_words(found: Groups) -> Iterator[str]:
    """What is withheld, what is not known, and how many seeds there are."""
    for measure in OBSERVED:
        low = []
        for group in GROUPS:
            rows, positives = found.counts(measure, group)
            if not found.cities(measure, [group]) and min(positives, rows - positives) < MIN_CLASS:
                low.append(f"{group} ({positives:,} purchases of {rows:,} rows)")
        if low:
            yield f"{OBSERVED[measure]} is withheld below {MIN_CLASS} of a class: {', '.join(low)}."
    if missing := [style.title(model) for model in MODELS if model not in found.entries]:
        yield f"{' and '.join(missing)}: not stored; `bench run --exhibit esm2_figure_7` trains what is missing."
    if found.unknown:
        yield f"{found.unknown:,} test exposures are of users whose purchases are not known; they are in no group."
    keys = [Key(measure, group, model) for measure in MEASURES for group in GROUPS for model in MODELS]
    if {e.n_seeds for key in keys if (e := found.estimate(key)) is not None} == {1}:
        yield "There is one seed: the intervals are of the test users and say nothing about other seeds."


def share_table(found: Groups) -> str:
    """Users, exposures, clicks and purchases of every group in the test days."""
    rows = []
    for group in GROUPS:
        row = [group]
        for part in PARTS:
            share = found.share(group, part)
            row.append(f"{found.size(group, part):,} ({MISSING if math.isnan(share) else f'{share:.1%}'})")
        rows.append(row)
    return table(["Purchases in three months", *(part.capitalize() for part in PARTS)], rows)


def value_table(found: Groups, measure: str, tested: Tested) -> str:
    """One row per group: both models, their difference, and the gain in percent beside the paper's."""
    titles = [style.title(model) for model in MODELS]
    header = ["Purchases in three months", "Rows", "Positives", *titles, f"{titles[1]} − {titles[0]}", "Gain, %"]
    rows = []
    gains = paper_gains(found)
    for group in GROUPS:
        n, n_pos = found.counts(measure, group)
        row = [group, f"{n:,}", f"{n_pos:,}" if measure in OBSERVED else MISSING]
        row += [value(found.estimate(Key(measure, group, model))) for model in MODELS]
        gain = _interval(found.estimate(Key(measure, group, GAIN)))
        rows.append([*row, effect(tested.get(Key(measure, group, DIFFERENCE))), beside(gain, f"{gains[group]:.2f}")])
    slopes = [effect(tested.get(Key(measure, TREND, model))) for model in MODELS]
    gain = effect(tested.get(Key(measure, TREND, GAIN)), 2)
    rows.append(["change per group", "", "", *slopes, "", beside(gain, f"{paper_slope(found, measure):+.2f}")])
    return table(header, rows)


def paper_gains(found: Groups) -> dict[str, float]:
    """The paper's gain of every group, in percent."""
    return dict(zip(GROUPS, found.study.published.esm2_text.group_gains, strict=True))


def paper_slope(found: Groups, measure: str) -> float:
    """How much the paper's gain rises from one group to the next, over the groups that ours is known in; over all
    where there are not two."""
    known = found.known(measure)
    groups = known if len(known) > 1 else list(GROUPS)
    gains = paper_gains(found)
    return sum(weight * gains[group] for weight, group in zip(slope_weights(groups), groups, strict=True))


def frame(found: Groups, tested: Tested) -> pd.DataFrame:
    """Every AUC, difference and gain of every city and of their mean, the trends, and the groups' shares: COLUMNS."""
    study, nan = found.study, math.nan
    gains = paper_gains(found)
    rows: list[list[object]] = []
    for key in (Key(m, g, q) for m in MEASURES for g in (*GROUPS, TREND) for q in (*MODELS, DIFFERENCE, GAIN)):
        counts = [nan, nan] if key.group == TREND else list(found.counts(key.measure, key.group))
        printed = (
            nan if key.quantity != GAIN else paper_slope(found, key.measure) if key.group == TREND else gains[key.group]
        )
        for city in (*found.parts, MEAN):
            level = found.estimate(key, None if city == MEAN else [city])
            if level is None:
                continue
            test = tested.get(key) if city == MEAN else None
            p = [nan, nan] if test is None else [test.p_value, test.p_adjusted]
            n = counts if city == MEAN else _counts(found, city, key)
            identity = [study.dataset, study.preset, city, key.group, key.measure, key.quantity]
            rows.append([*identity, level.mean, level.lo, level.hi, *p, level.n_seeds, *n, printed])
    for group in GROUPS:
        for part in PARTS:
            identity = [study.dataset, study.preset, MEAN, group, part, "share"]
            rows.append([*identity, found.share(group, part), *[nan] * 4, 0, found.size(group, part), nan, nan])
    return pd.DataFrame(rows, columns=COLUMNS)


def _counts(found: Groups, city: str, key: Key) -> Sequence[float]:
    return (math.nan, math.nan) if key.group == TREND else found.parts[city][key.group].counts[key.measure]


def _levels(found: Groups, measure: str, tested: Tested) -> str:
    """Whether the AUC of both models falls; empty where it is not known."""
    slopes = {model: tested[key] for model in MODELS if (key := Key(measure, TREND, model)) in tested}
    if not slopes:
        return ""
    listed = ", ".join(f"{style.title(model)} {plain(c, 4)}" for model, c in slopes.items())
    signs = [sign(contrast) for contrast in slopes.values()]
    by_sign = {s: _and([style.title(m) for m, c in slopes.items() if sign(c) == s]) for s in (1, -1, 0) if s in signs}
    if 1 in signs:
        verdict = f"that of {by_sign[1]} rises, which **contradicts** the paper"
    elif signs.count(-1) == len(MODELS):
        verdict = "both fall, as the paper says"
    elif -1 in signs:
        verdict = f"that of {by_sign[-1]} falls, as the paper says"
        verdict += f", that of {by_sign[0]} is not distinguishable from flat" if 0 in by_sign else ""
    else:
        verdict = "not distinguishable from flat"
    return f"{names([measure])}{_over(found, measure)}: {listed}: {verdict}."


def _gain(found: Groups, measure: str, tested: Tested) -> str:
    """Whether the gain rises; empty where it is not known."""
    contrast = tested.get(Key(measure, TREND, GAIN))
    if contrast is None:
        return ""
    verdicts = {1: "it rises, as the paper says", -1: "it falls, which **contradicts** the paper"}
    verdict = verdicts.get(sign(contrast), "not distinguishable from no trend")
    paper = paper_slope(found, measure)
    where = "inside" if contrast.lo <= paper <= contrast.hi else "outside"
    return (
        f"{names([measure])}{_over(found, measure)}: {plain(contrast, 2)},"
        f" {p_text(contrast.p_adjusted)}: {verdict}; the paper's {paper:+.2f} is {where} this interval."
    )


def _over(found: Groups, measure: str) -> str:
    """Which groups a trend is over, unless it is all."""
    known = found.known(measure)
    return "" if len(known) == len(GROUPS) else f" (over {', '.join(known)} only)"


def _list(head: str, points: Sequence[str]) -> str:
    return "\n".join([head, *(f"  - {point}" for point in points)])


def _and(parts: Sequence[str]) -> str:
    return " and ".join(parts)


def _interval(found: Estimate | None) -> str:
    """``+0.72 [-0.10, +1.54]``."""
    if found is None or math.isnan(found.mean):
        return MISSING
    return plain(Contrast(found.mean, found.lo, found.hi, math.nan, math.nan), 2)
