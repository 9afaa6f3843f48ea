"""What a study searches: the knobs that a paper tunes, per model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from bench.core.errors import UserError, unknown


class Knob(NamedTuple):
    """A knob searched on a logarithmic scale between the ends of the paper's grid."""

    name: str
    grid: tuple[float, ...]

    @property
    def low(self) -> float:
        return min(self.grid)

    @property
    def high(self) -> float:
        return max(self.grid)


#: ESMC VI-A: "The coefficient of parameter constraint for ESMC is selected from {0.01, 0.05, 0.1, 0.5, 1.0} and the
#: coefficient of CAR loss in global domain is selected from {0.1, 0.3, 0.5, 0.7, 1.0}."
CONSTRAINT = Knob("constraint_weight", (0.01, 0.05, 0.1, 0.5, 1.0))
GLOBAL = Knob("weight_global", (0.1, 0.3, 0.5, 0.7, 1.0))

SPACES: dict[str, tuple[Knob, ...]] = {
    "esmc": (CONSTRAINT,),
    "esms2": (GLOBAL,),
    "esmc2": (CONSTRAINT, GLOBAL),
}


def space_of(model: str, names: Sequence[str] = ()) -> tuple[Knob, ...]:
    """The knobs that are tuned for a model: all of them, or those in ``names``.

    Raises:
        UserError: the model has none, or not this one.
    """
    if model not in SPACES:
        raise UserError(f"only models with a coefficient can be tuned ({', '.join(SPACES)}), but got {model!r}.")
    knobs = SPACES[model]
    for name in names:
        if name not in (knob.name for knob in knobs):
            raise unknown(f"knob to tune of {model}", name, [knob.name for knob in knobs])
    return tuple(knob for knob in knobs if not names or knob.name in names)


def grid(knobs: Sequence[Knob]) -> list[dict[str, float]]:
    """All combinations of the paper's values, diagonal by diagonal: the first has every value of each knob once."""
    places = itertools.product(*(range(len(knob.grid)) for knob in knobs))
    diagonals = sorted(
        places, key=lambda place: [(at - place[0]) % len(knob.grid) for at, knob in zip(place, knobs, strict=True)]
    )
    return [{knob.name: knob.grid[at] for at, knob in zip(place, knobs, strict=True)} for place in diagonals]
