"""The entries of one table: their values by city, and their comparisons, tested together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bench.metrics.compare import Contrast, Estimate, Sample, adjust, difference, estimate
from reports.esm2.paper import Figures, Pair
from reports.gains.values import TRUE
from reports.measures import Entry, Measured, measured
from reports.study import Study

#: Measure against the true probabilities → the one against observed labels that the paper prints.
OBSERVED_OF = {true: observed for observed, true in TRUE.items()}

#: Comparisons by city and pair.
Contrasts = Mapping[tuple[str, Pair], Contrast]


@dataclass(frozen=True, eq=False)
class Table:
    """A table of the paper for one study.

    ``titles`` are its lines by entry, ``measures`` its columns. The unit that is shown is ``factor`` times that of the
    measures; ours has ``digits``. In that unit ``published`` are the paper's figures, with ``printed`` digits, and
    ``differences`` those between lines that it prints, or that are not simply between two of its figures.
    """

    study: Study
    titles: Mapping[Entry, str]
    measures: Mapping[str, str]
    published: Figures = field(default_factory=dict)
    factor: float = 1.0
    digits: int = 4
    printed: int = 4
    differences: Mapping[Pair, float] = field(default_factory=dict)
    _measured: dict[str, Measured] = field(default_factory=dict)

    def measured(self, city: str) -> Measured:
        """The measures of the lines, and the test rows."""
        if city not in self._measured:
            self._measured[city] = measured(self.study, city, self.measures, self.titles.keys())
        return self._measured[city]

    def sample(self, city: str, measure: str, entry: Entry) -> Sample | None:
        """In the unit that is shown; None where it is not stored, withheld or undefined."""
        found = self.measured(city).sample(measure, *entry)
        if found is None or any(map(math.isnan, found.areas)):
            return None
        return Sample(self.factor * found.areas, self.factor * found.sums, found.seeds)

    def level(self, city: str, measure: str, entry: Entry) -> Estimate | None:
        """The mean over seeds."""
        found = self.sample(city, measure, entry)
        return None if found is None else estimate(found)

    def compare(self, pairs: Iterable[Pair]) -> dict[tuple[str, Pair], Contrast]:
        """In every city, Holm-corrected over all of them; those that cannot be made are left out."""
        wanted = list(pairs)
        found = {(city, pair): self._contrast(city, pair) for city in self.study.cities for pair in wanted}
        return adjust({key: c for key, c in found.items() if c is not None and not math.isnan(c.difference)})

    def paper(self, pair: Pair) -> float:
        """The difference of the paper's figures; NaN where it has not both.

        Of a measure against the truth it is that of the same measure against observed labels.
        """
        like = pair._replace(measure=OBSERVED_OF.get(pair.measure, pair.measure))
        first, second = (self.published.get((entry, like.measure), math.nan) for entry in like[1:])
        return self.differences.get(like, first - second)

    def against_truth(self) -> Table:
        """The same lines by the AUCs against the true probabilities."""
        titles = {TRUE[name]: f"{title} against the truth" for name, title in self.measures.items() if name in TRUE}
        return replace(self, measures=titles, _measured={})

    def _contrast(self, city: str, pair: Pair) -> Contrast | None:
        first, second = (self.sample(city, pair.measure, entry) for entry in pair[1:])
        return None if first is None or second is None else difference(first, second)
