"""What the paper says of Sample Calibration (ESMC VI-D), against our figures."""

from __future__ import annotations

import math
from collections.abc import Iterator

from reports import effects
from reports.gains.calibrated import LEVELS, MODELS, entry, gain, labels, level, shift, title
from reports.gains.values import MEAN, OBSERVED, TRUE, Contrasts, signs
from reports.gains.words import NAMES, size_verdict, told, verdict
from reports.study import Study


def claims(study: Study, found: Contrasts, paper: float) -> Iterator[str]:
    """A line for each statement. ``paper`` is the published gain in CTCVR-AUC, in percent."""
    for model in MODELS:
        yield from _improves(study, found, model)
    yield from _amount(study, found, paper)
    for model in MODELS:
        yield from _modes(study, found, model)
    yield from _labels(study)
    for model in MODELS:
        yield from _levels(study, found, model)


def _improves(study: Study, found: Contrasts, model: str) -> Iterator[str]:
    """Whether calibration improves the AUCs."""
    everything: list[int] = []
    lines = []
    for measure, name in OBSERVED.items():
        key = gain(study, model, measure)
        true = key.of(TRUE[measure])
        if (key, MEAN) not in found:
            continue
        cities = list(signs(found, key).values())
        everything += [*cities, *(effects.sign(found[k, MEAN]) for k in (key, true) if (k, MEAN) in found)]
        lines.append(
            f"  - {name}: {told(found, key)}: {effects.words(found[key, MEAN])}; by city significantly better in"
            f" {cities.count(1)}, significantly worse in {cities.count(-1)} of {len(cities)}; against the truth"
            f" {told(found, true)}: {effects.words(found.get((true, MEAN)))}."
        )
    names = f"{title(model, 'copy')} against {title(model, 'none')}"
    if not lines:
        yield f"**{names}** is not measured."
    elif model == "esmc":
        yield "\n".join(
            [f"**Sample Calibration “can improve the performance significantly”**, says the paper of ESMC."
             f" {verdict(everything)} {names}:", *lines]
        )  # fmt: skip
    else:
        yield "\n".join([f"**{names}**, which the paper does not show:", *lines])


def _amount(study: Study, found: Contrasts, paper: float) -> Iterator[str]:
    """Whether the published gain is ours."""
    key = gain(study, "esmc", "auc/ctcvr/exposed")
    mean = found.get((key, MEAN))
    if mean is None:
        return
    inside = mean.lo <= paper <= mean.hi
    if inside:
        text = f"holds it{', and 0 as well' if mean.lo <= 0 <= mean.hi else ''}"
    else:
        text = f"lies {'below' if mean.hi < paper else 'above'} it"
    fall = study.published.figure_7.ctcvr_fall
    yield (
        f"**Without it CTCVR-AUC falls by {fall:g} % on average**, says the paper: with it, it is {paper:+.3f} %"
        f" higher. Ours: {told(found, key)}; our interval {text}. {size_verdict(mean, inside)}"
    )


def _modes(study: Study, found: Contrasts, model: str) -> Iterator[str]:
    """Whether the earlier label should stay."""
    keys = [gain(study, model, measure, "copy", "move") for measure in NAMES]
    known = [key for key in keys if (key, MEAN) in found]
    if known:
        groups: dict[str, list[str]] = {}
        for key in known:
            groups.setdefault(effects.words(found[key, MEAN]), []).append(NAMES[key.measure])
        text = "; ".join(f"{words} in {', '.join(names)}" for words, names in groups.items())
        yield f"**Leaving the earlier label (copy) against removing it (move), {title(model, 'copy')}**: {text}."


def _labels(study: Study) -> Iterator[str]:
    """How many bad cases found a cart, over all cities."""
    known = [each for city in study.cities if (each := labels(study, city)) is not None]
    bad, matched = (math.fsum(getattr(each, name) for each in known) for name in ("bad_cases", "matched"))
    if bad:
        yield (
            f"**Labels.** Of {bad:,.0f} bad-case purchases on the training days {matched:,.0f} ({matched / bad:.0%})"
            " found a cart of an earlier visit of the recommendation domain; the rest had none there."
        )


def _levels(study: Study, found: Contrasts, model: str) -> Iterator[str]:
    """What calibration does to the level of the predictions."""
    for probability in LEVELS:
        key = shift(model, probability, "copy", "none")
        contrast = found.get((key, MEAN))
        ends = [level(study, key.measure, entry(study, model, mode)) for mode in ("none", "copy")]
        if contrast is None or any(map(math.isnan, ends)):
            continue
        words = {1: "raises", -1: "lowers", 0: "does not measurably move"}[effects.sign(contrast)]
        nearer = abs(math.log(ends[1])) < abs(math.log(ends[0]))
        moves = f", {'nearer to' if nearer else 'away from'} 1" if effects.sign(contrast) else ""
        yield (
            f"**{probability.upper()} of {title(model, 'copy')}.** Sample Calibration {words} its predictions:"
            f" predicted over observed goes from {ends[0]:.3f} to {ends[1]:.3f}{moves}"
            f" ({effects.p_text(contrast.p_adjusted)})."
        )
