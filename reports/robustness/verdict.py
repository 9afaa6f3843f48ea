"""When ESMC is worth it, and when ESMM is enough: the worlds of all axes together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.metrics.compare import Contrast, adjust
from reports.effects import sign
from reports.robustness.axes import AXES, DEFAULT, Pair
from reports.robustness.findings import MEASURES, Place, changes, mean_of, places, trend_of
from reports.study import Study

ESMC_ESMM: Pair = ("esmc", "esmm")
ESMC_CLICKS: Pair = ("esmc", "shared_bottom")
ESMM_CLICKS: Pair = ("esmm", "shared_bottom")

#: What is compared in every world.
PAIRS: tuple[Pair, ...] = (
    ESMC_ESMM,
    ("esmc", "esm2_chain"),
    ("esms", "esmc"),
    ESMM_CLICKS,
    ("esm2", "esmm"),
    ESMC_CLICKS,
)

#: The choices that rules of thumb are sought for.
CHOICES: tuple[Pair, ...] = (ESMC_ESMM, ESMM_CLICKS, ("esms", "esmc"))


@dataclass(frozen=True, eq=False)
class Verdict:
    """The stored worlds by name, the default one first, and by axis the settings of its stored worlds, in its order.

    What is compared: ``contrasts`` by (world, measure, pair), their ``means`` over worlds by (measure, pair), and
    ``trends`` by (axis, measure, pair); p-values are corrected over all of it. What is not known is absent.
    """

    places: Mapping[str, Place]
    lines: Mapping[str, Mapping[str, float]]
    contrasts: Mapping[tuple[str, str, Pair], Contrast]
    means: Mapping[tuple[str, Pair], Contrast]
    trends: Mapping[tuple[str, str, Pair], Contrast]

    def known(self, measure: str, pair: Pair) -> dict[str, Contrast]:
        """The differences by world."""
        found = {world: self.contrasts.get((world, measure, pair)) for world in self.places}
        return {world: contrast for world, contrast in found.items() if contrast is not None}

    def where(self, measure: str, pair: Pair, way: int) -> dict[str, Contrast]:
        """The differences that are significantly above 0 (``way`` 1), below 0 (-1), or neither (0)."""
        return {world: c for world, c in self.known(measure, pair).items() if sign(c) == way}

    def axis(self, world: str) -> str | None:
        """The axis that a world belongs to; None of the default one, or where its setting is not known."""
        return next((name for name, line in self.lines.items() if world in line and world != DEFAULT), None)

    def label(self, world: str) -> str:
        """What a world is called: its setting as it came out."""
        name = self.axis(world)
        if name is None:
            return f"{world} world" if world == DEFAULT else world
        return f"{AXES[name].label} {AXES[name].show(self.lines[name][world])}"


def verdict(study: Study) -> Verdict:
    """All that is known of the worlds of all axes."""
    by_axis = {name: places(study, axis) for name, axis in AXES.items()}
    all_places = {place.name: place for found in by_axis.values() for place in found if place.stored}
    first = {name: place for name, place in all_places.items() if name == DEFAULT}
    found = first | all_places
    contrasts = changes(found.values(), PAIRS)
    means = {
        (measure, pair): mean
        for measure in MEASURES
        for pair in PAIRS
        if (mean := mean_of(found.values(), measure, pair)) is not None
    }
    trends = {
        (name, measure, pair): trend
        for name, axis in AXES.items()
        for measure in MEASURES
        for pair in CHOICES
        if (trend := trend_of(axis, by_axis[name], measure, pair)) is not None
    }
    adjusted: Mapping[Any, Contrast] = adjust({**contrasts, **means, **trends})
    return Verdict(
        found,
        {name: _line(by_axis[name]) for name in AXES},
        {key: adjusted[key] for key in contrasts},
        {key: adjusted[key] for key in means},
        {key: adjusted[key] for key in trends},
    )


def _line(found: list[Place]) -> dict[str, float]:
    known = [place for place in found if place.stored and not math.isnan(place.x)]
    return {place.name: place.x for place in sorted(known, key=lambda place: place.x)}
