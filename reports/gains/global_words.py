"""What the paper says of carts from search (ESMC VI-C), against our figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reports import effects, style
from reports.gains.values import MEAN, OBSERVED, TRUE, Contrasts, Extra, Gain, Place
from reports.gains.words import NAMES, limit_verdict, listed, percent, told, verdict

#: By name, the entries of a pair in any AUC.
Pairs = Mapping[str, Gain]


def outperforms(found: Contrasts, pairs: Sequence[Gain], printed: Mapping[Place, float], titles: str) -> Iterator[str]:
    """Whether the models with carts of search are better throughout."""
    keys = [gain.of(measure) for gain in pairs for measure in OBSERVED]
    cities = [contrast for (key, place), contrast in found.items() if key in keys and place != MEAN]
    if not cities:
        return
    above = sum(contrast.difference > 0 for contrast in cities)
    of_city = [effects.sign(contrast) for contrast in cities]
    means, true = _of_means(found, keys), _of_means(found, [key.of(TRUE[key.measure]) for key in keys])
    paper = [gain for (key, place), gain in printed.items() if key in keys and place != MEAN]
    said = (
        f" (above in {sum(gain > 0 for gain in paper)} of the {len(paper)} comparisons that it prints)" if paper else ""
    )
    lines = [
        f"**{titles} “absolutely outperform” ESMS and ESMC**, says the paper{said}. Ours are above in {above} of"
        f" {len(cities)} comparisons by city; {_counted(of_city)}. As means over cities: {_counted(means)}; against the"
        f" truth: {_counted(true)}. {verdict([*of_city, *means, *true])}"
    ]
    for measure, name in OBSERVED.items():
        parts = [f"{_pair(gain)} {_mean_words(found, gain.of(measure))}" for gain in pairs]
        lines.append(f"  - {name}: {'; '.join(parts)}.")
    yield "\n".join(lines)


def _mean_words(found: Contrasts, gain: Gain) -> str:
    """What the mean over cities is, against labels and against the truth."""
    against = {"labels": gain, "the truth": gain.of(TRUE[gain.measure])}
    known = {name: found.get((key, MEAN)) for name, key in against.items()}
    return ", ".join(
        f"{effects.words(contrast)} ({percent(contrast)}) against {name}" for name, contrast in known.items()
    )


def _pair(gain: Gain) -> str:
    return f"{style.title(*gain.first)} over {style.title(*gain.second)}"


def limits(found: Contrasts, pair: Gain, least: Mapping[str, float], titles: str) -> Iterator[str]:
    """Whether the average gain of a pair is above what the text says, by AUC."""
    for measure, over in least.items():
        key = pair.of(measure)
        if (key, MEAN) in found:
            yield (
                f"**{OBSERVED[measure]} of {titles}: over {over:g} % on average**, says the paper. Ours:"
                f" {told(found, key)}; against the truth {told(found, key.of(TRUE[measure]))}."
                f" {limit_verdict(found[key, MEAN], over)}"
            )


def lead(found: Contrasts, name: str) -> Iterator[str]:
    """Whether ESMC gains more from the carts of search than ESMS does."""
    known = {measure: key for measure in NAMES if ((key := Extra(name, measure)), MEAN) in found}
    if not known:
        return
    parts = [f"{NAMES[measure]} {told(found, key).replace(' %', '', 1)}" for measure, key in known.items()]
    yield (
        "**The gain of ESMS² is “quite small”, that of ESMC² “considerable”**, says the paper. The second less the"
        f" first, in percentage points: {'; '.join(parts)}."
        f" {verdict(_of_means(found, known.values()))}"
    )


def ranking(found: Contrasts, best: Pairs, worst: Pairs, printed: Mapping[Place, float]) -> Iterator[str]:
    """Whether ESMC² is the best and ESMS the worst: ``best`` and ``worst`` are the gains of the one over each other
    model, and of each other model over the other."""
    lines = []
    signs: dict[Gain, int] = {}
    for measure, name in NAMES.items():
        top, low = (
            {t: gain.of(measure) for t, gain in side.items() if (gain.of(measure), MEAN) in found}
            for side in (best, worst)
        )
        signs |= {gain: effects.sign(found[gain, MEAN]) for gain in (*top.values(), *low.values())}
        if top or low:
            lines.append(
                f"  - {name}: ESMC² is significantly better than {_with(signs, top, 1)}, worse than"
                f" {_with(signs, top, -1)}; ESMS is significantly worse than {_with(signs, low, 1)}, better than"
                f" {_with(signs, low, -1)}."
            )
    if lines:
        but = [
            OBSERVED[m]
            for m in OBSERVED
            if any(printed.get((gain, MEAN), 0.0) < 0 for gain in signs if gain.measure == m)
        ]
        own = f" (its own means over cities say otherwise in {listed(but)})" if but else ""
        text = f"**ESMC² is the best of the family, ESMS the worst**, says the paper{own}. {verdict(signs.values())}"
        yield "\n".join([text, *lines])


def _of_means(found: Contrasts, keys: Iterable[Gain | Extra]) -> list[int]:
    """The signs of the means over cities that are known."""
    return [effects.sign(found[key, MEAN]) for key in keys if (key, MEAN) in found]


def _counted(found: Sequence[int]) -> str:
    return f"significantly better in {found.count(1)}, significantly worse in {found.count(-1)} of {len(found)}"


def _with(signs: Mapping[Gain, int], gains: Pairs, sign: int) -> str:
    return listed(title for title, gain in gains.items() if signs[gain] == sign)
