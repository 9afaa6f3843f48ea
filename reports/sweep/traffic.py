"""Where carts come from, and whether the best weight of the global domain follows it (ESMC VI-D)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from bench.metrics.compare import Contrast
from reports import style
from reports.draw import legend_below
from reports.effects import effect, sign
from reports.exhibit import World
from reports.markdown import MISSING, table
from reports.style import Look
from reports.sweep.plots import PAIRS, Axis, as_estimates
from reports.sweep.show import WORDS, directions, present
from reports.sweep.values import MEASURES, OBSERVED, SELECTIONS, Contrasts, Key, Sweep, average, minus

TEXT = """\
The paper recommends to set the weight "directly according to the traffic distribution of different domains", because
its best weight, 0.5, is in line with its traffic. We read that as search carts per recommendation cart, which is 0.5
where a third of the carts come from search. *Nearest weight* is the weight of the grid that this reading would set.
The worlds are one city simulated anew with other shares of search; their errors are taken as independent."""

PICTURE = """\
Each line is a world; its ring marks the best weight, its triangle at the top the weight nearest to its traffic."""

#: The place of what is compared between worlds.
WORLDS = "worlds"
MARKERS = "osD^vP"


class Market(NamedTuple):
    """A city of a world: the weights there, and the share of its carts from search, of all days and of training."""

    title: str
    sweep: Sweep
    share: float
    train_share: float

    @property
    def cities(self) -> tuple[str, ...]:
        return self.sweep.cities

    @property
    def ratio(self) -> float:
        """Search carts per recommendation cart; NaN where unknown."""
        return self.share / (1 - self.share) if self.share != 1 else math.inf

    @property
    def nearest(self) -> float | None:
        """The weight above 0 that is nearest to :attr:`ratio`; None where that is unknown."""
        weights = [at for at in self.sweep.entries if at > 0]
        return None if math.isnan(self.ratio) else min(weights, key=lambda at: abs(at - min(self.ratio, max(weights))))


def market(sweep: Sweep, title: str) -> Market:
    """The only city of ``sweep``, with its share from the counts of its funnel tables; NaN where they lack them."""
    manifest = sweep.study.manifest(sweep.cities[0])
    counts: Mapping[str, int] = {} if manifest is None else manifest.counts
    return Market(title, sweep, _share(counts, ""), _share(counts, "train_"))


def worlds(here: Sweep, others: Sequence[World]) -> list[Market]:
    """The only city of ``here`` in every world where two of its weights are stored, by its share of search."""
    (city,) = here.cities
    found = [market(here, f"{style.city_title(city)} as it is")]
    for world in others:
        study = here.study.world(world.knobs, world.size)
        if study is not None and city in study.cities:
            knobs = ", ".join(f"{name} {value:g}" for name, value in world.knobs.items())
            found.append(market(Sweep(study, here.entries, (city,)), f"{style.city_title(city)}, {knobs}"))
    return sorted((m for m in found if len(m.sweep.stored()) > 1), key=lambda m: (math.isnan(m.share), m.share))


def comparisons(markets: Sequence[Market], fixed: float) -> Contrasts:
    """The largest against the smallest weight, in every world and between worlds; and the weight by the traffic."""
    found: dict[Key, Contrast | None] = {}
    for measure in MEASURES:
        for m in markets:
            key = _ends(m, measure)
            found[key] = m.sweep.contrast(measure, m.cities, key.first, key.second)
        if (outer := _outer(markets)) is not None:
            least, most = (found[_ends(m, measure)] for m in outer)
            if least is not None and most is not None:
                found[_between(markets, measure)] = minus(most, least)
        if markets:
            gains = [_gain(m, measure, fixed) for m in markets]
            found[_advice(markets, measure, fixed)] = average(gain for gain in gains if gain is not None)
    return present(found)


def shares_table(markets: Sequence[Market]) -> str:
    """Shares of search, the weights that they would set, and the best weights."""
    rows = []
    for m in markets:
        best = [m.sweep.optimum(measure, m.cities) for measure in SELECTIONS]
        rows.append(
            [
                m.title,
                _percent(m.share),
                _percent(m.train_share),
                MISSING if math.isnan(m.ratio) else f"{m.ratio:.2f}",
                MISSING if m.nearest is None else f"{m.nearest:g}",
                *(MISSING if found is None else str(found) for found in best),
            ]
        )
    header = ["Place", "Carts from search", "in the training days", "Search carts per recommendation cart"]
    return table([*header, "Nearest weight", *(f"Best by {WORDS[measure]}" for measure in SELECTIONS)], rows)


def ends_table(markets: Sequence[Market], tested: Contrasts, fixed: float) -> str:
    """The largest minus the smallest weight by world, between the outermost worlds, and the weight by the traffic."""
    keys: dict[str, list[Key]] = {}
    for m in markets:
        low, high = _range(m)
        label = f"{m.title} ({_percent(m.share)} from search): {high:g} minus {low:g}"
        keys[label] = [_ends(m, measure) for measure in MEASURES]
    if _outer(markets) is not None:
        keys["the same, most minus least search"] = [_between(markets, measure) for measure in MEASURES]
    keys[f"nearest weight minus {fixed:g}"] = [_advice(markets, measure, fixed) for measure in MEASURES]
    rows = [[label, *(effect(tested.get(key)) for key in of_row)] for label, of_row in keys.items()]
    return table(["Difference of weights", *WORDS.values()], rows)


def words(markets: Sequence[Market], tested: Contrasts, fixed: float) -> Iterator[str]:
    """Whether the best weight moves with the share of search, and whether the paper's advice pays."""
    if (outer := _outer(markets)) is None:
        return
    least, most = outer
    true = all(m.sweep.optimum(SELECTIONS[1], m.cities) for m in markets)
    measure = SELECTIONS[1] if true else SELECTIONS[0]
    optima = {_percent(m.share): m.sweep.optimum(measure, m.cities) for m in markets}
    listed = "; ".join(f"{best} at {share}" for share, best in optima.items() if best is not None)
    low, high = (f"{at:g}" for at in _range(least))
    text = f"- **Traffic.** Best weights in {WORDS[measure]}, by the share of carts from search: {listed}. From"
    text += f" {_percent(least.share)} to {_percent(most.share)} of search the gain of weight {high} over {low} is "
    keys = [_between(markets, measure) for measure in MEASURES]
    found = " and ".join(directions(tested, keys, "significantly larger", "significantly smaller"))
    signs = {sign(tested.get(key)) for key in keys} - {0}
    if len(signs) == 2:
        text += f"{found}: no clear answer."
    elif signs == {1}:
        text += f"{found}: the best weight moves with the traffic, as the paper's advice needs."
    elif signs:
        text += f"{found}: it moves the other way, which **contradicts** the paper's advice."
    elif any(key in tested for key in keys):
        text += "not distinguishable in any AUC: that the best weight follows the traffic does not show here."
    else:
        text += "not measured."
    yield text
    yield from _advice_words(markets, tested, fixed)


def rows(markets: Sequence[Market]) -> Iterator[list[object]]:
    """CSV rows of the shares."""
    for m in markets:
        identity = [m.sweep.study.dataset, m.sweep.study.preset, m.cities[0], "", ""]
        for name, found in (("search_share", m.share), ("search_share_train", m.train_share)):
            if not math.isnan(found):
                yield [*identity, name, "", found, *[math.nan] * 4, 0, math.nan]


def draw(markets: Sequence[Market], axis: Axis, title: str, path: Path) -> None:
    """Differences to the first weight in every world."""
    drawing = style.figure(12, 6.6)
    panels = drawing.subplots(2, len(PAIRS), squeeze=False, sharex=True)
    looks = [
        Look(
            f"{_percent(m.share)} of carts from search",
            to_hex(colormaps["viridis"](0.85 * place / max(1, len(markets) - 1))),
            marker,
        )
        for (place, m), marker in zip(enumerate(markets), MARKERS * len(markets), strict=False)
    ]
    for column, pair in enumerate(PAIRS):
        for row, measure in enumerate(pair):
            for place, (m, look) in enumerate(zip(markets, looks, strict=True)):
                _line(panels[row, column], m, measure, axis, look, place)
            panels[row, column].axhline(0, color="#444444", linewidth=0.8, zorder=0.6)
            axis.dress(panels[row, column])
        panels[0, column].set_title(OBSERVED[pair[0]], fontsize=11)
        panels[1, column].set_xlabel(axis.label)
    panels[0, 0].set_ylabel(f"observed labels:\ndifference to {axis.base}")
    panels[1, 0].set_ylabel(f"truth:\ndifference to {axis.base}")
    drawing.suptitle(title, fontsize=12)
    best = Line2D([], [], color="#444444", marker="o", markersize=12, markerfacecolor="none", linestyle="none")
    best.set_label("best of the line")
    nearest = Line2D([], [], color="#444444", marker="v", linestyle="none", label="weight nearest to the traffic")
    legend_below(drawing, [*axis.handles(looks), best, nearest], columns=4)
    style.save(drawing, path)


def _line(panel: Axes, m: Market, measure: str, axis: Axis, look: Look, place: int) -> None:
    changes = as_estimates(m.sweep.changes(measure, m.cities, next(iter(m.sweep.entries))))
    if changes:
        axis.draw(panel, changes, look)
        best = max(changes, key=lambda at: changes[at].mean)
        ring = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "linestyle": "none"}
        panel.plot(axis.places[best], changes[best].mean, color=look.color, **ring)  # type: ignore[arg-type]
    if m.nearest is not None:
        height = 0.97 - 0.05 * place
        where = panel.get_xaxis_transform()
        panel.plot(axis.places[m.nearest], height, marker="v", markersize=7, color=look.color, transform=where)


def _advice_words(markets: Sequence[Market], tested: Contrasts, fixed: float) -> Iterator[str]:
    moved = [m for m in markets if m.nearest not in (None, fixed)]
    keys = [key for measure in MEASURES if (key := _advice(markets, measure, fixed)) in tested]
    if not moved or not keys:
        return
    listed = ", ".join(f"{m.nearest:g} at {_percent(m.share)}" for m in moved)
    text = f"- **Setting the weight by the traffic** ({listed}) instead of {fixed:g}, averaged over these worlds: "
    found = " and ".join(directions(tested, keys, "pays significantly", "costs significantly"))
    signs = {sign(tested.get(key)) for key in keys} - {0}
    if not signs:
        yield f"{text}no significant difference in any AUC."
    elif signs == {1}:
        yield f"{text}{found}, as the paper recommends."
    elif signs == {-1}:
        yield f"{text}{found}, which **contradicts** the paper's recommendation."
    else:
        yield f"{text}{found}."


def _gain(m: Market, measure: str, fixed: float) -> Contrast | None:
    """The weight nearest to the traffic against the ``fixed`` one, where it is another."""
    if m.nearest is None or m.nearest == fixed:
        return None
    return m.sweep.contrast(measure, m.cities, m.sweep.entries[m.nearest], m.sweep.entries[fixed])


def _outer(markets: Sequence[Market]) -> tuple[Market, Market] | None:
    """The worlds with the least and the most search; None unless two differ."""
    known = [m for m in markets if not math.isnan(m.share)]
    return (known[0], known[-1]) if len(known) > 1 and known[0].share < known[-1].share else None


def _range(m: Market) -> tuple[float, float]:
    """The smallest weight above 0 and the largest."""
    weights = [at for at in m.sweep.entries if at > 0]
    return min(weights), max(weights)


def _ends(m: Market, measure: str) -> Key:
    low, high = (m.sweep.entries[at] for at in _range(m))
    return Key(m.title, measure, high, low)


def _between(markets: Sequence[Market], measure: str) -> Key:
    ends = _ends(markets[0], measure)
    text = f"{style.title(*ends.first)} minus {style.title(*ends.second)}"
    return Key(WORLDS, measure, (ends.first[0], f"most search: {text}"), (ends.first[0], "the same with least search"))


def _advice(markets: Sequence[Market], measure: str, fixed: float) -> Key:
    entry = markets[0].sweep.entries[fixed]
    return Key(WORLDS, measure, (entry[0], "weight nearest to the traffic"), entry)


def _share(counts: Mapping[str, int], split: str) -> float:
    """Search carts of all carts; NaN where the tables do not count them, or have none."""
    search, own = (counts.get(f"{split}{name}") for name in ("search_carts", "carts"))
    return search / (search + own) if search is not None and own is not None and search + own else math.nan


def _percent(share: float) -> str:
    return MISSING if math.isnan(share) else f"{share:.0%}"
