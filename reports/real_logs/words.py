"""What the results of a log say, in sentences that follow the figures."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.data.calibration import is_calibrated
from bench.data.tables import Manifest
from bench.metrics.bootstrap import RESAMPLES
from reports import effects, style
from reports.describe.sections import CALIBRATED
from reports.gains import calibrated
from reports.measures import Entry
from reports.real_logs.tables import Tables
from reports.real_logs.values import POSITIVES, Results, resamples, why_withheld

HOW = {1: "better", -1: "worse", 0: "not distinguishable"}


def told(results: Results) -> Iterator[str]:
    """Who is better and who is worse than the baseline, by AUC."""
    compared = {probability: found for probability in results.shown if (found := results.against_baseline(probability))}
    if not compared:
        yield "There are no two models to compare."
        return
    listed = ", ".join(
        f"{probability.upper()}-AUC against {_baseline(results, probability)}" for probability in compared
    )
    if not any(effects.sign(c) for found in compared.values() for c in found.values()):
        models = len({entry for found in compared.values() for entry in found})
        yield f"**Nothing is distinguishable**: none of {models} models stands out ({listed})."
        return
    for probability, found in compared.items():
        groups: dict[int, list[Entry]] = {1: [], -1: [], 0: []}
        for entry, contrast in found.items():
            groups[effects.sign(contrast)].append(entry)
        parts = [f"{HOW[sign]}: {', '.join(map(results.title, groups[sign]))}" for sign in (1, -1) if groups[sign]]
        parts += [f"{HOW[0]}: {len(groups[0])} of {len(found)} models"] if groups[0] else []
        yield f"**{probability.upper()}-AUC** against {_baseline(results, probability)}: {'; '.join(parts)}."


def sizes(results: Results) -> Iterator[str]:
    """What each AUC is taken over, and which differences that can tell."""
    for probability, space in results.spaces.items():
        name = f"**{probability.upper()}-AUC**"
        if (why := why_withheld(probability, space)) is not None:
            yield f"{name} is withheld: {why}."
        elif probability not in results.found:
            yield f"{name}: no model that is stored gives this probability."
        else:
            yield f"{name}: {_size(results, probability)}"
    rows = results.spaces.get("ctr")
    if rows is not None and rows.rows and rows.rows == rows.positives:
        yield (
            "Every exposure is a click, so CTCVR is CVR and CTCAR is CAR: their AUCs have the same rows and labels, and"
            " differ only by a click probability that should be 1. They are no independent evidence."
        )


def training(results: Results, tables: Tables) -> Iterator[str]:
    """How little there is to learn from."""
    found = {record.cell.config for record in results.study.of_city(results.city) if record.key in results.study.main}
    rows = tables.splits.get("train", {}).get("exposures", 0)
    for epochs, batch in sorted({(config.epochs, config.batch_size) for config in found}):
        steps = epochs * math.ceil(rows / batch)
        passes = "one pass" if epochs == 1 else f"{epochs} passes"
        yield f"A network learns from {rows:,} training rows in {passes} of {batch:,} rows a step: {steps:,} steps."


def _size(results: Results, probability: str) -> str:
    space = results.spaces[probability]
    text = (
        f"{space.positives:,} {POSITIVES[probability]} in {space.rows:,} rows; {space.users_with_positive:,} of"
        f" {space.users:,} users have one. In the median over models an interval reaches"
        f" ±{results.reach(probability):.3f}"
    )
    if not math.isnan(resolution := results.resolution(probability)):
        text += f", that of a difference from {_baseline(results, probability)} ±{resolution:.3f}"
    if not math.isnan(spread := results.between_seeds(probability)):
        text += f"; the standard deviation over seeds is {spread:.3f}"
    if (made := resamples(space.rows)) < RESAMPLES:
        text += f"; there are only {made:,} resamples, since the log is large"
    if left_out := max((one.left_out for one in results.found[probability].values()), default=0):
        text += f"; {left_out} resamples had no AUC and are left out"
    return f"{text}."


def calibration(results: Results, manifest: Manifest) -> Iterator[str]:
    """Whether Sample Calibration changed an AUC."""
    pairs = results.calibrated
    found = {pair: c for pair, c in results.contrasts.items() if (pair.first, pair.second) in pairs}
    labels = calibrated.labels(results.study, results.city)
    if not found:
        return
    if is_calibrated(manifest):
        yield "**Sample Calibration** changes nothing here: the training rows have calibrated carts already."
        return
    if labels is not None and not labels.matched:
        yield "**Sample Calibration** changes nothing here: it finds no earlier cart for a training purchase."
        return
    changed = {pair: c for pair, c in found.items() if effects.sign(c)}
    for pair, contrast in changed.items():
        names = f"{results.title(pair.first)} against {results.title(pair.second)}"
        yield f"**{pair.probability.upper()}-AUC** with Sample Calibration: {HOW[effects.sign(contrast)]} for {names}."
    rest = len(found) - len(changed)
    if not changed:
        yield "**With and without Sample Calibration nothing is distinguishable**, for no model and by no AUC."
    elif rest:
        yield f"**Sample Calibration**: the other {rest} of {len(found)} comparisons are not distinguishable."


def carts(tables: Tables) -> Iterator[str]:
    """Where the carts of the purchases lie."""
    found = tables.carts
    if found is None:
        return
    where = "in the behaviour log" if tables.logged else "of exposures"
    text = (
        f"Of {found.purchases:,} purchases {where}, {found.same_visit / found.purchases:.1%} have a cart in their visit"
    )
    if found.earlier is not None:
        none = found.purchases - found.same_visit - found.earlier
        text += (
            f", {found.earlier / found.purchases:.1%} only in an earlier one (the bad case that Sample Calibration is"
            f" for), and {none / found.purchases:.1%} have none before them"
        )
    yield f"{text}."
    if found.earlier_day is not None:
        yield f"For {found.earlier_day / found.purchases:.1%} the last cart lies on an earlier day."
    if found.earlier_gaps is not None:
        days = found.earlier_gaps.quantiles[0.5] / 86_400
        yield f"From the cart of an earlier visit to the purchase it is {days:.3g} days in the middle."
    yield "Carts from before the log began cannot be seen, so the share without a cart is too large if anything."


def origin(manifest: Manifest) -> Iterator[str]:
    """What stands for what in the log, and what it lacks."""
    yield from manifest.notes
    if is_calibrated(manifest):
        yield CALIBRATED
    for fact, why in manifest.lacks.items():
        yield f"No {fact}: the log {why}."


def _baseline(results: Results, probability: str) -> str:
    baseline = results.baseline(probability)
    return "nothing" if baseline is None else style.title(*baseline)
