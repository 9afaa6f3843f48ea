"""ESMC Figure 5: the coefficient of the constraint, in three readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.core.config import PRESETS
from bench.metrics.compare import adjust
from reports import effects, style
from reports.exhibit import Demand, Exhibit
from reports.markdown import details, picture
from reports.study import Study
from reports.supply import command, impossible
from reports.sweep import readings, readings_words
from reports.sweep.frame import contrast_rows, curve_rows, frame
from reports.sweep.plots import Axis, draw_cities, draw_mean
from reports.sweep.readings import ESMS
from reports.sweep.show import (
    SETS,
    TRUTH,
    best_words,
    choice_contrasts,
    choice_table,
    choice_words,
    city_table,
    claims_table,
    curve_table,
    directions,
    lacking,
    present,
    withheld,
)
from reports.sweep.values import MEAN, MEASURES, OBSERVED, TRUE, Contrasts, Key, Sweep

#: Coefficients that the paper tries (ESMC VI-A); 0 leaves the twins alone.
GRID = (0.01, 0.05, 0.1, 0.5, 1.0)
READINGS = ("gaussian", "softmax", "softmax_unit")
#: Where all readings are measured.
READING_CITIES = ("5", "6")

TEXT = """\
AUCs of ESMC on the test days over the coefficient of its parameter constraint; 0 leaves the twin towers alone, ESMS
is the one tower that they become in the limit. Values are means over cities and seeds ± half of the 95 % interval."""


class Figure5(Exhibit):
    name = "figure_5"
    title = "ESMC Figure 5: the coefficient of the constraint"
    needs = "stored predictions"
    order = 26
    paper = "esmc"
    demands = (
        Demand(("esms",)),
        Demand(("esmc",), tuple({"constraint_weight": weight} for weight in (0.0, *GRID))),
        Demand(
            ("esmc",),
            tuple({"constraint": r, "constraint_weight": weight} for r in READINGS[1:] for weight in GRID),
            cities=READING_CITIES,
        ),
    )

    def build(self, study: Study, folder: Path) -> str:
        if (why := impossible(study, ("esmc",))) is not None:
            return why
        sweep = sweep_of(study, READINGS[0], study.cities)
        if len(sweep.stored()) < 2:
            return f"Not stored yet; {command(study, self.name)} trains it."
        paper = study.published.figure_5
        by_reading, place = _readings(study)
        tested = adjust(_claims(sweep) | choice_contrasts(sweep, paper.best) | readings.comparisons(by_reading, place))
        self.write_csv(frame(_rows(sweep, by_reading, place, tested)), folder)
        found = [
            *_tendency(sweep, tested, paper.claim),
            *best_words(sweep, paper.best, GRID),
            *_worth(sweep, tested, paper.best),
            *choice_words(sweep, tested, paper.best),
            *readings_words.words(by_reading, tested, place, PRESETS[study.preset].constraint),
        ]
        return "\n\n".join(
            [
                f"{TEXT} {effects.READING} {TRUTH}",
                "\n".join(found),
                f"{SETS} *Cities of this sign*: in how many the difference has the sign of the average.",
                claims_table(sweep, tested, ((max(GRID), min(GRID)), (paper.best, 0.0), (max(GRID), 0.0)), GRID),
                *lacking(sweep, self.name),
                *withheld(sweep),
                *self._curves(sweep, tested, folder),
                *self._readings(by_reading, tested, place, folder),
            ]
        )

    def _axis(self, study: Study) -> Axis:
        order = (0.0, *GRID)
        places = {at: float(place) for place, at in enumerate(order)}
        return Axis("coefficient of the constraint", "no constraint", places, study.published.figure_5.best, ESMS)

    def _curves(self, sweep: Sweep, tested: Contrasts, folder: Path) -> Iterator[str]:
        """The default reading in all cities."""
        study, axis = sweep.study, self._axis(sweep.study)
        mean, each, level = (self.picture_path(study, folder, part) for part in ("mean", "cities", "levels"))
        draw_mean(sweep, axis, f"ESMC over the coefficient of its constraint: {study.title}", mean)
        draw_cities(sweep, axis, f"ESMC against no constraint, by city: {study.title}", each, relative=True)
        draw_cities(sweep, axis, f"ESMC over the coefficient of its constraint, by city: {study.title}", level, False)
        yield picture(mean.name, "AUCs over the coefficient, averaged over cities, and differences to no constraint")
        yield curve_table(sweep, tested, OBSERVED, "Coefficient", [ESMS])
        yield "Against the truth:"
        yield curve_table(sweep, tested, TRUE, "Coefficient", [ESMS])
        yield "#### What validation chooses"
        yield choice_table(sweep, tested, study.published.figure_5.best)
        yield "#### Every city"
        yield picture(each.name, "differences to no constraint over the coefficient, one row of panels per city")
        body = [picture(level.name, "AUCs over the coefficient, one row of panels per city")]
        body.append(city_table(sweep, "Coefficient", [ESMS]))
        yield details("AUCs of every city", "\n\n".join(body))

    def _readings(self, by_reading: Mapping[str, Sweep], tested: Contrasts, place: str, folder: Path) -> Iterator[str]:
        """The three readings where they are measured."""
        study = next(iter(by_reading.values())).study
        path = self.picture_path(study, folder, "readings")
        readings.draw(by_reading, self._axis(study), f"Readings of the constraint, {place}: {study.title}", path)
        yield f"#### Three readings of the constraint ({place})\n\n{readings.TEXT}"
        yield picture(path.name, "differences to no constraint, and the distance of the towers, by reading")
        yield readings.distance_table(by_reading)
        yield readings.limit_table(by_reading, tested, place)


def sweep_of(study: Study, reading: str, cities: Sequence[str]) -> Sweep:
    """ESMC over the coefficient in one reading; without constraint all readings are the same."""
    entries = {0.0: ("esmc", study.variant_of({"constraint_weight": 0.0}))}
    for weight in GRID:
        entries[weight] = ("esmc", study.variant_of({"constraint": reading, "constraint_weight": weight}))
    return Sweep(study, entries, tuple(cities))


def _readings(study: Study) -> tuple[dict[str, Sweep], str]:
    """By reading, in the cities that have another than the first, or in all; and what their mean is called."""
    others = [sweep_of(study, reading, study.cities) for reading in READINGS[1:]]
    cities = [city for city in study.cities if any(at for sweep in others for at in sweep.stored([city]))]
    cities = cities or study.cities
    place = f"mean of cities {', '.join(cities)}" if len(cities) > 1 else style.city_title(cities[0])
    return {reading: sweep_of(study, reading, cities) for reading in READINGS}, place


def _claims(sweep: Sweep) -> Contrasts:
    """Every coefficient, and ESMS, against no constraint, and the ends of the paper's grid: averages over cities."""
    none, *others = sweep.entries.values()
    pairs = [(entry, none) for entry in (*others, ESMS)] + [(sweep.entries[max(GRID)], sweep.entries[min(GRID)])]
    found = {}
    for measure in MEASURES:
        cities = sweep.whole(measure)
        for first, second in pairs:
            if sweep.level(measure, cities, first) is not None:  # all of the cities have it
                found[Key(MEAN, measure, first, second)] = sweep.contrast(measure, cities, first, second)
    return present(found)


def _rows(sweep: Sweep, by_reading: Mapping[str, Sweep], place: str, tested: Contrasts) -> Iterator[list[object]]:
    yield from curve_rows(sweep, [ESMS])
    for reading in by_reading.values():
        yield from curve_rows(reading, [ESMS], place)
    for reading in (sweep, *by_reading.values()):
        yield from readings.distance_rows(reading)
    yield from contrast_rows(sweep, tested)


def _tendency(sweep: Sweep, tested: Contrasts, claim: str) -> Iterator[str]:
    """Whether AUC moves with the coefficient over the paper's grid."""
    low, high = min(GRID), max(GRID)
    keys = [Key(MEAN, measure, sweep.entries[high], sweep.entries[low]) for measure in MEASURES]
    if not any(key in tested for key in keys):
        return
    text = f"- **Tendency.** The paper sees “{claim}”. From {low:g} to {high:g}, the ends of its grid, "
    if found := directions(tested, keys, "it rises significantly", "it falls significantly"):
        yield f"{text}{', and '.join(found)}: this **contradicts** the paper."
    else:
        yield f"{text}no AUC moves significantly: no tendency here either."


def _worth(sweep: Sweep, tested: Contrasts, best: float) -> Iterator[str]:
    """Whether the paper's coefficient is worth having."""
    keys = [Key(MEAN, measure, sweep.entries[best], sweep.entries[0.0]) for measure in MEASURES]
    if not any(key in tested for key in keys):
        return
    text = f"- **Against no constraint**, which the paper does not show, its {best:g} is "
    found = directions(tested, keys, "better", "worse")
    signs = {effects.sign(tested.get(key)) for key in keys} - {0}
    if not signs:
        yield f"{text}not distinguishable in any AUC."
    elif signs == {1}:
        yield f"{text}{found[0]}: there the constraint pays, as ESMC V-A intends."
    elif signs == {-1}:
        yield f"{text}{found[0]}: there the constraint costs, which **contradicts** the intention of ESMC V-A."
    else:
        yield f"{text}{' and '.join(found)}."
