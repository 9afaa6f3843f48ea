"""The verdict in words: where ESMC is worth it, where ESMM or Shared Bottom is enough, and rules of thumb."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bench.metrics.compare import Contrast
from reports import style
from reports.effects import effect, p_text, sign
from reports.robustness.axes import AXES, DEFAULT, Pair
from reports.robustness.findings import MEASURES, flipped
from reports.robustness.frame import published
from reports.robustness.verdict import CHOICES, ESMC_CLICKS, ESMC_ESMM, ESMM_CLICKS, PAIRS, Verdict
from reports.study import Study

#: A gain in AUC below this is called small: "the 0.1% AUC gain is already considerable" (ESMC, footnote 5).
SMALL = 0.001

#: Whom the paper calls baselines, as far as they take part.
BASELINES: tuple[Pair, ...] = (ESMC_ESMM, ("esmc", "esm2_chain"), ESMC_CLICKS)

NO_RULE = "The data do not tell: nothing holds in all worlds, on average over them, or beyond some setting of an axis."


def worth(found: Verdict) -> list[str]:
    """By measure, where ESMC is significantly better than ESMM, and by how much."""
    return [f"{name}: {tally(found, measure, ESMC_ESMM)}" for measure, name in MEASURES.items()]


def tally(found: Verdict, measure: str, pair: Pair) -> str:
    """``significantly better in 2 of 17 worlds (by …: …), significantly worse in 0, not distinguishable in 15.``"""
    known = found.known(measure, pair)
    if not known:
        return "not measured."
    texts = []
    for way, word in ((1, "better"), (-1, "worse")):
        there = found.where(measure, pair, way)
        text = f"significantly {word} in {len(there)} of {len(known)} worlds"
        texts.append(f"{text} ({span(there)}: {worlds(found, there, known)})" if there else text)
    texts.append(f"not distinguishable in {len(found.where(measure, pair, 0))}")
    mean = found.means.get((measure, pair))
    average = "" if mean is None else f"; mean over worlds {effect(mean)}, {p_text(mean.p_adjusted)}"
    return f"{', '.join(texts)}{average}."


def enough(found: Verdict) -> str:
    """In how many worlds ESMC is not significantly better in any measure, and what ESMM gives away there at most."""
    known = [world for world in found.places if any(world in found.known(m, ESMC_ESMM) for m in MEASURES)]
    rest = [world for world in known if not any(world in found.where(m, ESMC_ESMM, 1) for m in MEASURES)]
    if not known:
        return "Not measured."
    if not rest:
        return f"In none of {len(known)} worlds: in each, ESMC is significantly better in at least one measure."
    worse = [world for world in rest if any(world in found.where(m, ESMC_ESMM, -1) for m in MEASURES)]
    texts = []
    for measure, name in MEASURES.items():
        highest = [contrast.hi for world, contrast in found.known(measure, ESMC_ESMM).items() if world in rest]
        if highest:
            small = sum(hi < SMALL for hi in highest)
            texts.append(f"{max(0.0, *highest):.4f} {name} (less than {SMALL} in {small} of {len(highest)})")
    return (
        f"In {len(rest)} of {len(known)} worlds ESMC is not significantly better in any measure"
        f" ({worlds(found, rest, known)}); in {len(worse)} of them it is significantly worse in at least one. Who takes"
        f" ESMM there gives away at most, by the highest upper end of the 95 % intervals: {'; '.join(texts)}."
    )


def clicks(found: Verdict) -> list[str]:
    """By measure, where Shared Bottom is significantly better than both ESMM and ESMC."""
    texts = []
    for measure, name in MEASURES.items():
        over = [found.known(measure, pair) for pair in (ESMM_CLICKS, ESMC_CLICKS)]
        known = [world for world in found.places if all(world in each for each in over)]
        both = [world for world in known if all(sign(each[world]) == -1 for each in over)]
        text = f"in {len(both)} of {len(known)} worlds" if known else "not measured"
        if both:
            esmm, esmc = ({world: flipped(each[world]) for world in both} for each in over)
            text += f", over ESMM {span(esmm)}, over ESMC {span(esmc)}: {worlds(found, both, known)}"
        texts.append(f"{name}: {text}.")
    return texts


def paper(study: Study, found: Verdict) -> list[str]:
    """By measure, how ESMC fares against the baselines; and by pair, how often the sign of the paper's Table IV is
    found here."""
    texts = []
    for measure, name in MEASURES.items():
        texts += _against_baselines(study, found, measure)
        for pair in PAIRS:
            printed, known = published(study, measure, pair), found.known(measure, pair)
            above = sum(change > 0 for change in printed.values())
            if not printed or not known or 2 * above == len(printed):
                continue
            way, cities = (1, above) if 2 * above > len(printed) else (-1, len(printed) - above)
            same, against = (len(found.where(measure, pair, each)) for each in (way, -way))
            contradicted = f"**contradicted in {against}**" if against else "contradicted in 0"
            texts.append(
                f"{name}: {style.title(pair[0])} {'above' if way == 1 else 'below'} {style.title(pair[1])} in"
                f" {cities} of the paper's {len(printed)} cities. Here significant in {same} of {len(known)} worlds,"
                f" {contradicted}, not distinguishable in {len(known) - same - against}."
            )
    return texts


def _against_baselines(study: Study, found: Verdict, measure: str) -> list[str]:
    over = [found.known(measure, pair) for pair in BASELINES]
    known = [world for world in found.places if all(world in each for each in over)]
    if not known:
        return []
    best = [world for world in known if all(sign(each[world]) == 1 for each in over)]
    beaten = [world for world in known if any(sign(each[world]) == -1 for each in over)]
    names = ", ".join(style.title(second) for _, second in BASELINES)
    words = "neither confirms nor contradicts the paper"
    if beaten:
        words = "**contradicts** the paper"
    elif best:
        words = f"confirms the paper in {len(best)}"
    claim = f"which {words}" if published(study, measure, ESMC_ESMM) else "of which the paper has no AUC"
    return [
        f"{MEASURES[measure]}: ESMC is significantly better than all of {names} in {len(best)} of {len(known)} worlds;"
        f" at least one of them is significantly better than ESMC in {len(beaten)}, {claim}."
    ]


class Rule(NamedTuple):
    """What to expect under a condition; ``figures`` say by how much in one measure."""

    condition: str
    expected: str
    figures: str


def rules(found: Verdict) -> list[str]:
    """Rules of thumb, only those that the data support; :data:`NO_RULE` where there are none."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for pair in CHOICES:
        for measure in MEASURES:
            for rule in (*_in_general(found, measure, pair), *_along(found, measure, pair)):
                grouped.setdefault(rule[:2], []).append(rule.figures)
    return [
        f"**{condition}** → {expected}: {'; '.join(figures)}." for (condition, expected), figures in grouped.items()
    ] or [NO_RULE]


def _in_general(found: Verdict, measure: str, pair: Pair) -> Iterator[Rule]:
    """What is significant in all worlds, or else on average without being significantly the other way in any."""
    known = found.known(measure, pair)
    signs = {sign(contrast) for contrast in known.values()}
    if len(known) < 2:
        return
    if signs in ({1}, {-1}):
        expected, toward = _sided(pair, known)
        least = min(contrast.lo for contrast in toward.values())
        figures = f"{MEASURES[measure]} {span(toward)}, the lowest lower end of an interval being {least:+.4f}"
        yield Rule(f"In all {len(known)} worlds", expected, figures)
        return
    mean = found.means.get((measure, pair))
    if mean is not None and sign(mean) and -sign(mean) not in signs:
        expected, toward = _sided(pair, {"": mean})
        certain = len(found.where(measure, pair, sign(mean)))
        figures = (
            f"{MEASURES[measure]} {effect(toward[''])}, {p_text(mean.p_adjusted)}, significant in {certain} worlds"
        )
        yield Rule(f"On average over {len(known)} worlds, in none significantly the other way", expected, figures)


def _along(found: Verdict, measure: str, pair: Pair) -> Iterator[Rule]:
    """Where a trend is significant: from which setting to an end of the axis all differences are significant in one
    direction and none beyond is, or else only who gains along the axis."""
    known = found.known(measure, pair)
    for name, axis in AXES.items():
        line = [world for world in found.lines[name] if world in known]
        trend = found.trends.get((name, measure, pair))
        way = sign(trend)
        if trend is None or not way:
            continue
        separated = False
        for end, word, ordered in ((way, "≥", line[::-1]), (-way, "≤", line)):
            there = _run(ordered, known, end)
            rest = {sign(known[world]) for world in line if world not in there}
            if not there or not rest or end in rest:
                continue
            expected, toward = _sided(pair, {world: known[world] for world in there})
            words = ((0, "the data do not tell"), (-end, "the other way round"))
            beyond = " or ".join(text for each, text in words if each in rest)
            condition = f"{axis.label.capitalize()} {word} {axis.show(found.lines[name][there[-1]])}"
            figures = f"{span(toward)} (trend: {p_text(trend.p_adjusted)}; beyond that: {beyond})"
            yield Rule(condition, expected, f"{MEASURES[measure]} {figures}")
            separated = True
        if not separated:
            first, second = map(style.title, pair if way == 1 else pair[::-1])
            ends = [known[world] if way == 1 else flipped(known[world]) for world in (line[0], line[-1])]
            figures = f"{ends[0].difference:+.4f} to {ends[1].difference:+.4f}, trend {p_text(trend.p_adjusted)}"
            yield Rule(f"The larger the {axis.label}", f"{first} gains on {second}", f"{MEASURES[measure]} {figures}")


def _run(ordered: list[str], known: Mapping[str, Contrast], way: int) -> list[str]:
    """The first worlds, up to the one before the first that is not significant in this direction."""
    there: list[str] = []
    for world in ordered:
        if sign(known[world]) != way:
            break
        there.append(world)
    return there


def _sided(pair: Pair, known: Mapping[str, Contrast]) -> tuple[str, dict[str, Contrast]]:
    """``ESMC over ESMM``, and the differences seen from the better model: all have one sign."""
    first, second = map(style.title, pair)
    if all(contrast.difference > 0 for contrast in known.values()):
        return f"{first} over {second}", dict(known)
    return f"{second} over {first}", {world: flipped(contrast) for world, contrast in known.items()}


def span(contrasts: Mapping[str, Contrast]) -> str:
    """``by +0.0012``, ``by +0.0012 to +0.0100``."""
    changes = sorted((contrast.difference for contrast in contrasts.values()), key=abs)
    return f"by {changes[0]:+.4f}" + (f" to {changes[-1]:+.4f}" if len(changes) > 1 else "")


def worlds(found: Verdict, names: Collection[str], of: Collection[str] = ()) -> str:
    """Worlds by axis: ``default world; exposures 18,400, 55,200``; of ``of``, ``all`` or ``all but ...`` where it is
    most of them."""
    if of and len(names) == len(of):
        return "all"
    if 2 * len(names) > len(of) > 0:
        return f"all but {worlds(found, [world for world in of if world not in names])}"
    parts = [found.label(world) for world in names if found.axis(world) is None]
    for name, axis in AXES.items():
        there = [x for world, x in found.lines[name].items() if world in names and world != DEFAULT]
        if there:
            parts.append(f"{axis.label} {', '.join(map(axis.show, there))}")
    return "; ".join(parts)
