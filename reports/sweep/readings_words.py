"""What the figures say of the readings of ESMC's constraint, in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from reports.effects import effect, sign
from reports.sweep.readings import ESMS, NEAR, Response, end, percent, response
from reports.sweep.show import WORDS, directions
from reports.sweep.values import MEASURES, Contrasts, Key, Sweep


def words(sweeps: Mapping[str, Sweep], tested: Contrasts, place: str, default: str) -> Iterator[str]:
    """What the figures say of the Siamese limit and of the reading to take."""
    responses = {reading: found for reading, sweep in sweeps.items() if (found := response(sweep)) is not None}
    yield from _gap(sweeps, tested, place)
    for reading, found in responses.items():
        sweep = sweeps[reading]
        _, first, *_, last = sweep.entries
        text = f"- **`{reading}`** leaves {percent(found.smallest)} of the towers' distance at coefficient {first:g},"
        text += f" {percent(found.largest)} at {last:g}. "
        keys = [key for measure in MEASURES if (key := Key(place, measure, end(sweep), ESMS)) in tested]
        apart = [f"{WORDS[key.measure]} {effect(tested[key])}" for key in keys if sign(tested[key])]
        if not keys:
            text += "There is no ESMS to compare its AUC with."
        elif apart:
            text += f"In AUC it still differs from ESMS: {'; '.join(apart)}."
        else:
            text += f"In AUC it is not distinguishable from ESMS ({len(keys)} comparisons)."
        yield f"{text} {_limit(found, bool(apart))}"
    yield from _default(responses, default)
    yield from _apart(sweeps, tested, place)


def _gap(sweeps: Mapping[str, Sweep], tested: Contrasts, place: str) -> Iterator[str]:
    """Whether there is a difference in AUC for the constraint to bridge."""
    none = next(iter(next(iter(sweeps.values())).entries.values()))
    keys = [key for measure in MEASURES if (key := Key(place, measure, none, ESMS)) in tested]
    if not keys:
        return
    if found := directions(tested, keys, "better", "worse"):
        text = f"- **Against ESMS**, ESMC without constraint is {' and '.join(found)}"
        yield f"{text}: that is what a constraint can bridge."
    else:
        yield (
            "- **Against ESMS**, ESMC without constraint is not distinguishable in any AUC: whether a coefficient leads"
            " to ESMS only the distance of the towers can tell."
        )


def _limit(found: Response, apart: bool) -> str:
    if not found.siamese:
        return (
            "The towers stay apart: over the paper's grid this reading does not lead to the Siamese ESMS of ESMC V-B."
        )
    where = "within the paper's grid" if found.smallest > NEAR else "already at the smallest coefficient of the paper"
    if apart:
        return f"The towers meet {where}, but the model is not ESMS: this **contradicts** ESMC V-B."
    return f"The towers meet {where}, as ESMC V-B says of a large one."


def _default(responses: Mapping[str, Response], default: str) -> Iterator[str]:
    """Which reading responds visibly and has the Siamese limit."""
    if len(responses) < 2:
        return
    visible = [reading for reading, found in responses.items() if found.visible]
    siamese = [reading for reading, found in responses.items() if found.siamese]
    both = [reading for reading in visible if reading in siamese]
    text = "- **The default reading** should have the Siamese limit and respond visibly over the paper's grid."
    text += f" Both: {_list(both)}. The limit: {_list(siamese)}. A visible response: {_list(visible)}."
    if default in both:
        yield f"{text} The default, `{default}`, is right."
    elif both:
        yield f"{text} The default is `{default}`, and should be changed."
    else:
        has = "has only the" if default in siamese else "does not even have the"
        yield f"{text} The default, `{default}`, {has} limit."


def _apart(sweeps: Mapping[str, Sweep], tested: Contrasts, place: str) -> Iterator[str]:
    """Whether AUC tells the readings apart."""
    found = {
        (a, b, measure): contrast
        for a, b in itertools.combinations(sweeps, 2)
        for measure in MEASURES
        if (contrast := tested.get(Key(place, measure, end(sweeps[a]), end(sweeps[b])))) is not None
    }
    if not found:
        return
    last = max(next(iter(sweeps.values())).entries)
    told = [
        f"`{a}` minus `{b}` in {WORDS[m]} {effect(contrast)}" for (a, b, m), contrast in found.items() if sign(contrast)
    ]
    if told:
        yield f"- **AUC tells the readings apart** at coefficient {last:g}: {'; '.join(told)}."
        return
    largest = max(found.values(), key=lambda contrast: abs(contrast.difference))
    yield (
        f"- **AUC cannot tell the readings apart**: at coefficient {last:g} none of {len(found)} differences is"
        f" significant (the largest: {effect(largest)})."
    )


def _list(readings: Sequence[str]) -> str:
    return " and ".join(f"`{reading}`" for reading in readings) or "none"
