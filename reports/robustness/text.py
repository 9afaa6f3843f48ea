"""Tables and words of the exhibits that vary one setting of the simulation."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from bench.metrics.compare import Contrast
from reports import effects, style
from reports.exhibit import Exhibit
from reports.markdown import MISSING, details, picture, table
from reports.robustness.axes import CITY, DEFAULT, MODELS, Axis, Pair
from reports.robustness.findings import DECISIVE, MEASURES, Findings, Place, findings
from reports.robustness.frame import frame, published, published_auc
from reports.robustness.picture import draw
from reports.study import Study

READING = f"""\
One setting of the simulation of City {CITY} moves, the other knobs stay at their defaults; the setting is given as it
came out. AUCs are taken against the true probabilities, not against drawn labels: this is the AUC that labels give on
average, without the noise of their draw, so intervals are much narrower.

{effects.READING} A *trend* is what a difference gains from the lowest to the highest setting along a straight line
through all worlds (least squares, worlds weigh by their exposures{{scale}}). Corrected for are all pairs of models, in
every world and measure, and all trends.

Intervals hold within one simulated world each: another draw of it (another `--data-seed`) adds chance that they do not
contain. Worlds share random numbers, so that they differ by the setting more than by chance; a trend adds their errors
as if they shared nothing, which overstates its error rather than understates it."""

NO_WORLDS = "This needs a simulated dataset whose funnel tables are stored: a log has no other worlds."

#: A rate of another setting that moves by more than this is told.
MOVED = 0.05

#: Rates of the manifest, as they are called in tables.
RATES = {
    "bad_case_share": "bad-case purchases",
    "same_visit_conversion": "carts bought in their visit",
    "search_cart_share": "carts from search",
}


def axis_report(exhibit: Exhibit, study: Study, folder: Path, axis: Axis) -> str:
    """The Markdown of an axis; its picture and CSV go into ``folder``."""
    if study.source is None:
        return NO_WORLDS
    found = findings(study, axis)
    absent = missing(found, f"bench run --exhibit {exhibit.name}")
    if len(found.line) < 2:
        return f"Fewer than two worlds of this axis are stored: there is nothing to compare. {absent}"
    exhibit.write_csv(frame(study, found), folder)
    path = exhibit.picture_path(study, folder)
    draw(found, f"{study.title}, City {CITY}: models along the {axis.label}", path)
    parts = [READING.format(scale=", the axis is logarithmic" if axis.kind == "size" else "")]
    parts += filter(None, [absent, seeds({e.n_seeds for e in found.estimates.values()}), moved(found)])
    parts.append(summary(found))
    parts.append(picture(path.name, f"AUCs of every model and their differences to ESMM along the {axis.label}"))
    for measure, name in MEASURES.items():
        parts += [f"#### {name}", ranking(study, found, measure)]
    parts += ["#### Trends", trends(found)]
    parts.append(details("AUCs of every model", "\n\n".join(values(found, measure) for measure in MEASURES)))
    parts.append(details("The worlds as they came out", worlds(found)))
    return "\n\n".join(parts)


def pair_title(pair: Pair) -> str:
    return f"{style.title(pair[0])} − {style.title(pair[1])}"


def missing(found: Findings, command: str) -> str:
    """Which cells are not stored, and the command that trains them; empty where all are."""
    lacks: dict[str, list[str]] = {}
    for place in found.places:
        absent = [model for model in MODELS if not any(model in samples for samples in place.samples.values())]
        if absent:
            models = ", ".join(map(style.title, absent)) if place.stored else "all models"
            lacks.setdefault(models, []).append(_at(found.axis, place))
    texts = [f"{models} at {', '.join(at)}" for models, at in lacks.items()]
    return f"Not stored: {'; '.join(texts)}. `{command}` trains what is missing." if texts else ""


def seeds(counts: Collection[int]) -> str:
    """How many seeds intervals rest on."""
    text = f"Seeds per model and world: {min(counts)}" + (f" to {max(counts)}" if min(counts) < max(counts) else "")
    return f"{text}; with one seed an interval covers the choice of test users only." if 1 in counts else f"{text}."


def moved(found: Findings) -> str:
    """Which other rates of the simulation move along the axis."""
    texts = []
    for rate, name in RATES.items():
        known = [p.manifest.settings.get("achieved", {}).get(rate) for p in found.line if p.manifest is not None]
        rates = [value for value in known if value is not None]
        if rates and name not in found.axis.label and max(rates) - min(rates) > MOVED:
            texts.append(f"{name} ({100 * min(rates):.0f} to {100 * max(rates):.0f} %)")
    points = f"by more than {100 * MOVED:.0f} points"
    return f"Not only the setting moves along this axis, but also, {points}: {', '.join(texts)}." if texts else ""


def summary(found: Findings) -> str:
    """What the data say, as a list by measure, and of what the paper leads one to expect."""
    lines = []
    for measure, name in MEASURES.items():
        lines.append(f"- **{name}.** {_best(found, measure)}")
        lines += [f"  - {text}" for text in _moves(found, measure)]
    return "\n".join([*lines, *(f"- {text}" for text in _expected(found))])


def _best(found: Findings, measure: str) -> str:
    known = [place for place in found.line if found.order(place.name, measure)]
    if not known:
        return "Not measured."
    tops = Counter(found.order(place.name, measure)[0] for place in known)
    means = ", ".join(f"{style.title(model)} in {tops[model]}" for model in style.in_order(tops))
    winners = [(found.winner(place.name, measure), found.axis.show(place.x)) for place in known]
    best = [
        f"{style.title(model)} at {', '.join(x for winner, x in winners if winner == model)}"
        for model in style.in_order(winner for winner, _ in winners if winner is not None)
    ]
    significant = "; ".join(best) or "no model in any world"
    return f"Highest mean, of {len(known)} worlds: {means}. Significantly better than every other: {significant}."


def _moves(found: Findings, measure: str) -> list[str]:
    told = [(pair, trend) for pair in DECISIVE if (trend := found.trends.get((measure, pair))) is not None]
    texts = []
    for pair, trend in told:
        if effects.sign(trend):
            known = [(p, c) for p in found.line if (c := found.difference(p.name, measure, *pair)) is not None]
            low, high = (f"{c.difference:+.4f} at {found.axis.show(p.x)}" for p, c in (known[0], known[-1]))
            texts.append(
                f"{pair_title(pair)} {'rises' if trend.difference > 0 else 'falls'} from {low} to {high}: trend"
                f" {effects.effect(trend)}, {effects.p_text(trend.p_adjusted)}; sign: {turn(found, measure, pair)}."
            )
    unclear = [pair_title(pair) for pair, trend in told if not effects.sign(trend)]
    return [*texts, f"No significant trend: {', '.join(unclear)}."] if unclear else texts


def _expected(found: Findings) -> list[str]:
    claim = found.axis.claim
    if claim is None:
        return []
    groups: dict[int, list[str]] = {}
    for measure, name in MEASURES.items():
        if (trend := found.trends.get((measure, claim.pair))) is not None:
            groups.setdefault(effects.sign(trend), []).append(name)
    words = {1: "it rises in", -1: "against the paper it falls in", 0: "no trend can be told in"}
    texts = [f"{words[key]} {', '.join(groups[key])}" for key in (1, -1, 0) if key in groups]
    intro = f"**The paper** leads one to expect that {pair_title(claim.pair)} rises along this axis: {claim.reason}."
    return [f"{intro} Here {'; '.join(texts) or 'it is not measured'}."]


def turn(found: Findings, measure: str, pair: Pair) -> str:
    """Where a difference changes its sign along the axis, in words."""
    known = [(p, c) for p in found.line if (c := found.difference(p.name, measure, *pair)) is not None]
    turns = [
        f"between {found.axis.show(one.x)} and {found.axis.show(two.x)}"
        for (one, before), (two, after) in itertools.pairwise(known)
        if before.difference * after.difference < 0
    ]
    if not turns:
        return "the same in all worlds"
    certain = {effects.sign(contrast) for _, contrast in known} >= {1, -1}
    return f"changes {' and '.join(turns)}, {'' if certain else 'not '}significant on both sides"


def ranking(study: Study, found: Findings, measure: str) -> str:
    """By world: the order of models, the winner, and the decisive differences."""
    rows = []
    for place in found.places:
        winner = found.winner(place.name, measure)
        order = " > ".join(style.title(model) for model in found.order(place.name, measure))
        changes = [found.difference(place.name, measure, *pair) for pair in DECISIVE]
        best = MISSING if not order else "none" if winner is None else style.title(winner)
        rows.append([_at(found.axis, place), order or MISSING, best, *map(tested, changes)])
    header = [found.axis.label.capitalize(), "Models, highest mean first", "Significantly best"]
    return table([*header, *map(pair_title, DECISIVE)], rows + _paper_row(study, measure))


def _paper_row(study: Study, measure: str) -> list[list[str]]:
    """City 6 of the paper's Table IV; empty where it has no such AUC."""
    known = {model: auc for model in MODELS if (auc := published_auc(study, CITY, measure, model)) is not None}
    if not known:
        return []
    order = " > ".join(style.title(model) for model in sorted(known, key=lambda model: -known[model]))
    changes = [published(study, measure, pair).get(CITY) for pair in DECISIVE]
    texts = [MISSING if change is None else f"{change:+.5f}" for change in changes]
    return [[f"*paper, City {CITY} (real log, observed labels)*", order, MISSING, *texts]]


def trends(found: Findings) -> str:
    """Every tested trend, with the differences at both ends."""
    low, high = found.line[0], found.line[-1]
    rows = []
    for measure, name in MEASURES.items():
        for pair in DECISIVE:
            ends = [effects.effect(found.difference(place.name, measure, *pair)) for place in (low, high)]
            trend = found.trends.get((measure, pair))
            sign = turn(found, measure, pair) if trend is not None else MISSING
            rows.append([name, pair_title(pair), *ends, tested(trend), sign])
    at = [f"at {found.axis.show(place.x)}" for place in (low, high)]
    return table(["Measure", "Difference", *at, "Trend over the axis", "Sign"], rows)


def values(found: Findings, measure: str) -> str:
    rows = [
        [
            style.title(model),
            *(effects.value(found.estimates.get((place.name, measure, model))) for place in found.places),
        ]
        for model in MODELS
    ]
    return table([MEASURES[measure], *(_at(found.axis, place) for place in found.places)], rows)


def worlds(found: Findings) -> str:
    """What came out of the simulation in every world."""
    others = {rate: name for rate, name in RATES.items() if name not in found.axis.label}
    rows = []
    for place in found.places:
        counts = {} if place.manifest is None else place.manifest.counts
        rates = {} if place.manifest is None else place.manifest.settings.get("achieved", {})
        tests = [counts.get(f"test_{name}") for name in ("exposures", "clicks", "purchases")]
        rows.append(
            [
                place.name,
                found.axis.show(place.x),
                *(_percent(rates.get(rate)) for rate in others),
                *(MISSING if count is None else f"{count:,}" for count in tests),
            ]
        )
    header = ["World", found.axis.label.capitalize(), *(text.capitalize() for text in others.values())]
    return table([*header, "Test exposures", "Test clicks", "Test purchases"], rows)


def _at(axis: Axis, place: Place) -> str:
    if math.isnan(place.x):
        return place.name
    return f"{axis.show(place.x)} (default)" if place.name == DEFAULT else axis.show(place.x)


def tested(contrast: Contrast | None) -> str:
    """A difference with its corrected p-value below it."""
    if contrast is None:
        return MISSING
    return f"{effects.effect(contrast)}<br><sub>{effects.p_text(contrast.p_adjusted)}</sub>"


def _percent(rate: float | None) -> str:
    return MISSING if rate is None else f"{100 * rate:.1f} %"
