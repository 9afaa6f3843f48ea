"""What the paper says of the bad and the good case (ESMC VI-E), against our figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reports import effects, style
from reports.gains.cases import CASES, WHOLE
from reports.gains.values import MEAN, Contrasts, Extra, Gain, Gains, Place, main_entry, signs
from reports.gains.words import limit_verdict, listed, percent, size_verdict, told, verdict
from reports.measures import Entry


def claims(
    gains: Gains, found: Contrasts, entries: Sequence[Entry], printed: Mapping[Place, float], lead: str
) -> Iterator[str]:
    """A line for each statement."""
    study, text = gains.study, gains.study.published.esmc_text
    own: dict[str, Gain] = {
        case: Gain(CASES[case], main_entry(study, "esms"), main_entry(study, "esm2_chain")) for case in CASES
    }
    if not any((gain, MEAN) in found for gain in own.values()):
        yield "**ESMS against ESM² chain** is not measured: it takes both models, and enough purchases of a case."
    else:
        yield from _outperforms(found, own)
        yield from _amounts(found, own, text.bad_case_gain_over, text.good_case_gain_near, printed)
        yield from _lead(found, Extra(lead, WHOLE), printed)
    for base in ("esmm", "esm2_chain"):
        yield from _against(found, entries, main_entry(study, base))


def _outperforms(found: Contrasts, own: Mapping[str, Gain]) -> Iterator[str]:
    """Whether ESMS is better in both cases."""
    everything: list[int] = []
    parts = []
    for case, gain in own.items():
        cities = list(signs(found, gain).values())
        if (gain, MEAN) in found:
            mean = found[gain, MEAN]
            everything += [*cities, effects.sign(mean)]
            parts.append(
                f"in the {case} case {effects.words(mean)} on average, by city significantly better in"
                f" {cities.count(1)}, significantly worse in {cities.count(-1)} of {len(cities)}"
            )
    yield (
        f"**ESMS “absolutely outperforms” ESM² chain in both cases**, says the paper. Ours: {'; '.join(parts)}."
        f" {verdict(everything)}"
    )


def _amounts(
    found: Contrasts, own: Mapping[str, Gain], over: float, near: float, printed: Mapping[Place, float]
) -> Iterator[str]:
    """Whether the average gains are as large as the text says."""
    bad, good = own["bad"], own["good"]
    if (bad, MEAN) in found:
        yield (
            f"**ESMS improves the bad case by over {over:g} %**, says the paper{_table(printed, bad)}. Ours:"
            f" {told(found, bad)}. {limit_verdict(found[bad, MEAN], over)}"
        )
    if (mean := found.get((good, MEAN))) is not None:
        least = min(near, printed.get((good, MEAN), near))
        below, above = mean.hi < least, mean.lo > near
        place = "lies below it" if below else "lies above it" if above else "holds it"
        yield (
            f"**ESMS improves the good case by near {near:g} %**, says the paper{_table(printed, good)}. Ours:"
            f" {told(found, good)}. Our interval {place}. {size_verdict(mean, not (below or above))}"
        )


def _table(printed: Mapping[Place, float], gain: Gain) -> str:
    return f" (its table: {printed[gain, MEAN]:+.3f} %)" if (gain, MEAN) in printed else ""


def _lead(found: Contrasts, key: Extra, printed: Mapping[Place, float]) -> Iterator[str]:
    """Whether the gain is larger in the bad case."""
    if (mean := found.get((key, MEAN))) is None:
        return
    paper = f" (by {printed[key, MEAN]:.2f} percentage points on average)" if (key, MEAN) in printed else ""
    cities = [contrast for (of, place), contrast in found.items() if of == key and place != MEAN]
    larger = sum(contrast.difference > 0 for contrast in cities)
    words = {1: "larger", -1: "smaller", 0: "not distinguishable from that in the good case"}[effects.sign(mean)]
    yield (
        f"**The improvement is larger in the bad case**, says the paper's table{paper}. Ours is {words}:"
        f" {percent(mean).replace(' %', ' points', 1)}, {effects.p_text(mean.p_adjusted)}, above 0 in {larger} of"
        f" {len(cities)} cities. {verdict([effects.sign(mean)])}"
    )


def _against(found: Contrasts, entries: Sequence[Entry], base: Entry) -> Iterator[str]:
    """Which models are better or worse than one of them."""
    for case, measure in CASES.items():
        keys = {entry: Gain(measure, entry, base, absolute=True) for entry in entries if entry != base}
        known = {entry: effects.sign(found[key, MEAN]) for entry, key in keys.items() if (key, MEAN) in found}
        if known:
            groups = {
                words: listed(style.title(*entry) for entry in known if known[entry] == sign)
                for words, sign in (("better", 1), ("worse", -1), ("not distinguishable", 0))
            }
            parts = ", ".join(f"{words}: {names}" for words, names in groups.items())
            yield f"**Against {style.title(*base)}, {case} case**, as means over cities: {parts}."
