"""Sentences about the comparisons of a table, beside the paper's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from bench.metrics.compare import Contrast
from reports import style
from reports.effects import sign
from reports.esm2.paper import Pair
from reports.esm2.values import Contrasts, Table
from reports.measures import MEASURES, Entry

#: The most names of comparisons that agree with the paper.
MOST = 4


class Found(NamedTuple):
    """A comparison, and the paper's difference (NaN: none)."""

    pair: Pair
    contrast: Contrast
    paper: float

    @property
    def expected(self) -> int:
        """The sign of the paper's difference; 0 where it has none."""
        return 0 if math.isnan(self.paper) else (self.paper > 0) - (self.paper < 0)

    @property
    def other_way(self) -> bool:
        """Whether our difference has the other sign than the paper's."""
        return self.contrast.difference * self.expected < 0

    @property
    def held(self) -> bool:
        """Whether our interval holds the paper's difference."""
        return self.contrast.lo <= self.paper <= self.contrast.hi

    @property
    def held_words(self) -> str:
        return "holds" if self.held else "does not hold"


def told_apart(
    shown: Table,
    city: str,
    tested: Contrasts,
    pairs: Sequence[tuple[Entry, Entry]],
    measures: Mapping[str, str] | None = None,
) -> str:
    """A list with one line per measure: which lines of the table differ, and how that agrees with the paper."""
    lines = []
    for measure, title in (measures or shown.measures).items():
        keys = [Pair(measure, *pair) for pair in pairs]
        found = [Found(key, tested[city, key], shown.paper(key)) for key in keys if (city, key) in tested]
        lines.append(f"- **{title}.** {_line(shown, found)}")
    return "\n".join(lines)


def _line(shown: Table, found: Sequence[Found]) -> str:
    if not found:
        return "Nothing to compare."
    clear = [one for one in found if sign(one.contrast)]
    if len(found) == 1:
        return _single(shown, found[0])
    if not clear:
        text = f"None of {len(found)} comparisons is significant"
    else:
        text = f"Significant: {len(clear)} of {len(found)}; {'; '.join(_groups(shown, clear))}"
    return f"{text}.{''.join(_precision(shown, found))}"


def _single(shown: Table, one: Found) -> str:
    """The only comparison of a column."""
    text = "Not distinguishable"
    if found := sign(one.contrast):
        text = f"{_above(shown, one)}, significantly"
        if one.expected:
            text += ", as in the paper" if found == one.expected else ", which **contradicts** the paper"
    return text + ("." if math.isnan(one.paper) else f"; our interval {one.held_words} the paper's difference.")


def _groups(shown: Table, clear: Sequence[Found]) -> Iterator[str]:
    """What is significant, by how it stands to the paper. The names of many that agree would tell little."""
    agreeing = [one for one in clear if sign(one.contrast) == one.expected]
    against = [one for one in clear if sign(one.contrast) == -one.expected]
    silent = [one for one in clear if one.expected == 0]
    if agreeing:
        names = f" ({_names(shown, agreeing)})" if len(agreeing) <= MOST else ""
        yield f"{len(agreeing)} as in the paper{names}"
    if against:
        yield f"{len(against)} **contradict{'s' if len(against) == 1 else ''}** the paper ({_names(shown, against)})"
    if silent:
        yield _names(shown, silent)


def _precision(shown: Table, found: Sequence[Found]) -> Iterator[str]:
    """How large a difference the data could tell, beside the paper's."""
    same = [one for one in found if one.contrast.difference == 0 and not one.contrast.se > 0]
    if same:
        yield f" In {len(same)} the two have the very same figure."
    found = [one for one in found if one not in same]
    halves = [(one.contrast.hi - one.contrast.lo) / 2 for one in found if not math.isnan(one.contrast.lo)]
    if halves:
        yield f" Differences are known to ± {median(halves):.{shown.digits}f} (median of the intervals)"
    papers = [abs(one.paper) for one in found if not math.isnan(one.paper)]
    if halves and papers:
        low, high = (f"{of(papers):.{shown.digits}f}" for of in (min, max))
        yield f"; the paper's are {low} to {high}" if low != high else f"; the paper's is {low}"
    if halves:
        yield "."
    published = [one for one in found if not math.isnan(one.paper)]
    if published:
        held = sum(one.held for one in published)
        yield f" The interval holds the paper's difference in {held} of {len(published)}"
        unclear = [one for one in published if not sign(one.contrast)]
        turned = [one for one in unclear if one.other_way]
        yield f"; not significant, but of the other sign: {_names(shown, turned)}." if turned else "."


def verdict(one: Found) -> str:
    """What a comparison says of the paper's figure, which is above or below 0."""
    text = "Our data cannot tell it from 0"
    if found := sign(one.contrast):
        text = "The direction agrees with the paper" if found == one.expected else "This **contradicts** the paper"
    return f"{text}; our interval {one.held_words} its figure."


def seeds(shown: Table, city: str) -> Iterator[str]:
    """On how many seeds the values rest."""
    found = [shown.level(city, measure, entry) for measure in shown.measures for entry in shown.titles]
    counts = {each.n_seeds for each in found if each is not None}
    if counts:
        text = f"Seeds per line: {min(counts)}" + (f" to {max(counts)}" if len(counts) > 1 else "")
        yield f"{text}; with one seed an interval covers the choice of test users only." if 1 in counts else f"{text}."


def withheld(shown: Table) -> Iterator[str]:
    """Which columns have too few positives or negatives."""
    parts = []
    for city in shown.study.cities:
        for measure, (rows, positives) in shown.measured(city).counts.items():
            least = MEASURES[measure].fewest
            if measure in shown.measures and (positives < least[0] or rows - positives < least[1]):
                name = f"{shown.measures[measure]} of {style.city_title(city)}"
                parts.append(f"{name} ({positives:,} positives of {rows:,} rows)")
    if parts:
        yield f'Withheld for too few positives or negatives, printed as "-": {"; ".join(parts)}.'


def _names(shown: Table, found: Sequence[Found]) -> str:
    return ", ".join(_above(shown, one) for one in found)


def _above(shown: Table, one: Found) -> str:
    """``ESM² above ESMM``, by our difference."""
    first, second = (shown.titles[entry] for entry in one.pair[1:])
    return f"{first} above {second}" if one.contrast.difference > 0 else f"{second} above {first}"
