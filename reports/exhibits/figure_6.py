"""ESMC Figure 6: the weight of the global domain, and whether it follows the traffic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.metrics.compare import adjust
from reports import effects, style
from reports.exhibit import Demand, Exhibit, World
from reports.markdown import details, picture
from reports.measures import Entry
from reports.study import Study
from reports.supply import command, impossible, is_log
from reports.sweep import traffic
from reports.sweep.frame import contrast_rows, curve_rows, frame
from reports.sweep.plots import Axis, draw_cities, draw_mean
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
    names,
    present,
    withheld,
)
from reports.sweep.values import MEAN, MEASURES, OBSERVED, TRUE, Contrasts, Key, Sweep

#: Weights that the paper tries (ESMC VI-A).
GRID = (0.1, 0.3, 0.5, 0.7, 1.0)
#: Shares of search among all carts. A share below that of the default world leaves fewer carts waiting, so more of
#: them must be redeemed to keep the share of bad cases.
SHARES = (
    World({"search_cart_share": 0.15, "redeemed": 0.9}),
    World({"search_cart_share": 0.5}),
    World({"search_cart_share": 0.7}),
)
#: The city whose share of search is varied.
CITY = "6"

TEXT = """\
AUCs of ESMC² on the test days over the weight of its loss on carts of both domains; 0 is ESMC, which has no such loss.
Values are means over cities and seeds ± half of the 95 % interval."""


class Figure6(Exhibit):
    name = "figure_6"
    title = "ESMC Figure 6: the weight of the global domain"
    needs = "stored predictions"
    order = 28
    paper = "esmc"
    demands = (
        Demand(("esmc",)),
        Demand(("esmc2",), tuple({"weight_global": weight} for weight in GRID)),
        Demand(("esmc2",), tuple({"weight_global": weight} for weight in GRID), ("6",), SHARES),
        Demand(("esmc",), cities=("6",), worlds=SHARES),
    )

    def build(self, study: Study, folder: Path) -> str:
        if (why := impossible(study, ("esmc2",))) is not None:
            return why
        sweep = sweep_of(study, study.cities)
        if sum(weight > 0 for weight in sweep.stored()) < 2:
            return f"Fewer than two weights are stored yet; {command(study, self.name)} trains the others."
        paper = study.published.figure_6
        markets = traffic.worlds(sweep_of(study, (CITY,)), SHARES) if CITY in study.cities else []
        tested = adjust(
            _claims(sweep, paper.best) | choice_contrasts(sweep, paper.best) | traffic.comparisons(markets, paper.best)
        )
        self.write_csv(frame(_rows(sweep, markets, tested)), folder)
        found = [
            *_shape(sweep, tested, paper.claim, paper.best),
            *best_words(sweep, paper.best, GRID),
            *choice_words(sweep, tested, paper.best),
            *traffic.words(markets, tested, paper.best),
        ]
        pairs = ((paper.best, 0.0), (paper.best, min(GRID)), (max(GRID), paper.best))
        return "\n\n".join(
            [
                f"{TEXT} {effects.READING} {TRUTH}",
                "\n".join(found),
                f"{SETS} *Cities of this sign*: in how many the difference has the sign of the average.",
                claims_table(sweep, tested, pairs, GRID),
                *lacking(sweep, self.name),
                *withheld(sweep),
                *self._curves(sweep, tested, folder),
                *self._traffic(sweep, markets, tested, folder),
            ]
        )

    def _curves(self, sweep: Sweep, tested: Contrasts, folder: Path) -> Iterator[str]:
        study, axis = sweep.study, _axis(sweep.study)
        mean, each, level = (self.picture_path(study, folder, part) for part in ("mean", "cities", "levels"))
        draw_mean(sweep, axis, f"ESMC² over the weight of the global domain: {study.title}", mean)
        draw_cities(sweep, axis, f"ESMC² against ESMC, by city: {study.title}", each, relative=True)
        draw_cities(sweep, axis, f"ESMC² over the weight of the global domain, by city: {study.title}", level, False)
        yield picture(mean.name, "AUCs over the weight, averaged over cities, and differences to ESMC")
        yield curve_table(sweep, tested, OBSERVED, "Weight")
        yield "Against the truth:"
        yield curve_table(sweep, tested, TRUE, "Weight")
        yield "#### What validation chooses"
        yield choice_table(sweep, tested, study.published.figure_6.best)
        yield "#### Every city"
        yield picture(each.name, "differences to ESMC over the weight, one row of panels per city")
        body = [picture(level.name, "AUCs over the weight, one row of panels per city"), city_table(sweep, "Weight")]
        yield details("AUCs of every city", "\n\n".join(body))

    def _traffic(
        self, sweep: Sweep, markets: Sequence[traffic.Market], tested: Contrasts, folder: Path
    ) -> Iterator[str]:
        """Shares of search beside the best weights; worlds with other shares."""
        study = sweep.study
        cities = [
            traffic.market(sweep_of(study, (city,)), style.city_title(city)) for city in study.cities if city != CITY
        ]
        yield f"#### The weight and the traffic\n\n{traffic.TEXT}"
        yield traffic.shares_table([*cities, *markets])
        if len(markets) < 2 and not is_log(study):
            yield f"Other shares of search are not stored: `bench run --exhibit {self.name}` trains them."
        if markets:
            path = self.picture_path(study, folder, "worlds")
            title = f"ESMC² against ESMC by the share of search, {style.city_title(CITY)}: {study.title}"
            traffic.draw(markets, _axis(study), title, path)
            yield traffic.PICTURE
            yield picture(path.name, "differences to ESMC over the weight, one line per share of search")
            yield traffic.ends_table(markets, tested, study.published.figure_6.best)


def sweep_of(study: Study, cities: Sequence[str]) -> Sweep:
    """ESMC² over its weight; a weight of 0 is ESMC."""
    entries: dict[float, Entry] = {0.0: ("esmc", study.variant_of({}))}
    for weight in GRID:
        entries[weight] = ("esmc2", study.variant_of({"weight_global": weight}))
    return Sweep(study, entries, tuple(cities))


def _axis(study: Study) -> Axis:
    places = {at: at for at in (0.0, *GRID)}
    return Axis("weight of the global domain", "ESMC", places, study.published.figure_6.best, names={0.0: "0\nESMC"})


def _claims(sweep: Sweep, best: float) -> Contrasts:
    """Every weight against ESMC, and the slopes on both sides of the paper's best: averages over cities."""
    pairs = [(at, 0.0) for at in GRID] + [(best, min(GRID)), (max(GRID), best)]
    entries = sweep.entries
    return present(
        {
            Key(MEAN, measure, entries[a], entries[b]): sweep.contrast(
                measure, sweep.whole(measure), entries[a], entries[b]
            )
            for measure in MEASURES
            for a, b in pairs
        }
    )


def _rows(sweep: Sweep, markets: Sequence[traffic.Market], tested: Contrasts) -> Iterator[list[object]]:
    yield from curve_rows(sweep)
    for m in markets:
        yield from curve_rows(m.sweep, mean="")
    cities = [traffic.market(sweep_of(sweep.study, (city,)), "") for city in sweep.cities]
    yield from traffic.rows([*cities, *markets])
    yield from contrast_rows(sweep, tested)


def _shape(sweep: Sweep, tested: Contrasts, claim: str, best: float) -> Iterator[str]:
    """Whether AUC rises up to the paper's best weight and falls after it; and what the weight gains over ESMC."""
    low, high = min(GRID), max(GRID)
    entries = sweep.entries
    rise = [Key(MEAN, measure, entries[best], entries[low]) for measure in MEASURES]
    fall = [Key(MEAN, measure, entries[high], entries[best]) for measure in MEASURES]
    if any(key in tested for key in (*rise, *fall)):
        text = f"- **Shape.** The paper sees that “{claim}”, with the best at {best:g}."
        for keys, a, b in ((rise, low, best), (fall, best, high)):
            found = directions(tested, keys, "up", "down") or ["no significant change in any AUC"]
            text += f" From {a:g} to {b:g}: {', '.join(found)}."
        yield f"{text} {_verdict(tested, rise, fall)}"
    over = [Key(MEAN, measure, entries[best], entries[0.0]) for measure in MEASURES]
    if any(key in tested for key in over):
        found = directions(tested, over, "better", "worse") or ["not distinguishable in any AUC"]
        yield f"- **Against ESMC**, ESMC² with the paper's {best:g} is {', and '.join(found)}."


def _verdict(tested: Contrasts, rise: Sequence[Key], fall: Sequence[Key]) -> str:
    """What the significant slopes say of a curve that rises first and falls then."""
    slopes = {
        a.measure: (effects.sign(tested.get(a)), effects.sign(tested.get(b))) for a, b in zip(rise, fall, strict=True)
    }
    seen = [measure for measure, slope in slopes.items() if slope == (1, -1)]
    against = [measure for measure, (first, second) in slopes.items() if first < 0 or second > 0]
    if against:
        text = f"This **contradicts** the paper in {names(against)}"
        return f"{text}; {names(seen)} has the paper's shape." if seen else f"{text}."
    if seen:
        return f"This is the paper's shape in {names(seen)}."
    if any(any(slope) for slope in slopes.values()):
        return "This is one side of the paper's shape, not both."
    return "A rise and a fall are not distinguishable from a flat curve."
