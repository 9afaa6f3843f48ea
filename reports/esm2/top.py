"""Tables 4 and 5: recall, precision and F1 of the rows with the highest scores."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from bench.metrics.compare import adjust
from bench.metrics.top import SHARES, STATISTICS, selected
from reports import style
from reports.esm2 import paper
from reports.esm2.paper import Pair
from reports.esm2.show import difference_table, reading, value_table
from reports.esm2.values import Contrasts, Table
from reports.esm2.words import seeds, told_apart, withheld
from reports.gains.values import lacking, main_entry
from reports.measures import Entry
from reports.published import Esm2TopTable
from reports.study import Study

TEXT = """\
All figures are percent. At a cut of x %, the x % of the test rows with the highest predicted {score} are predicted
positives, rounded to whole rows; rows tied at the cut count by the share of them that it takes. Recall, precision and
F1 of one cut are the same hits over different totals, so they have one comparison, that of F1."""

HEADINGS = {"recall": "Recall", "precision": "Precision", "f1": "F1"}

#: Below so many hits the interval, which is that of large numbers, is rough, and two models are not compared.
FEW_HITS = 10


def cuts() -> dict[str, float]:
    """By the paper's percent, e.g. ``0.1``, the share of the rows."""
    return {f"{100 * share:g}": share for share in SHARES}


def measures(target: str) -> dict[str, str]:
    """All columns for a target such as ``cvr/clicked``."""
    return {
        f"{statistic}@{cut}/{target}": f"{HEADINGS[statistic]} at {cut} %" for cut in cuts() for statistic in STATISTICS
    }


def f1_of(target: str) -> dict[str, str]:
    """The columns that are compared."""
    return {f"f1@{cut}/{target}": f"F1 at {cut} %" for cut in cuts()}


def top_table(study: Study, target: str, printed: Esm2TopTable) -> Table:
    """The models of the paper with its figures."""
    entries = [main_entry(study, model) for model in paper.MODELS]
    published: dict[tuple[Entry, str], float] = {}
    for model, by_cut in printed.models.items() if paper.is_published(study) else ():
        for cut, scores in by_cut.items():
            for statistic in STATISTICS:
                published[main_entry(study, model), f"{statistic}@{cut}/{target}"] = getattr(scores, statistic)
    titles = {entry: style.title(*entry) for entry in entries}
    return Table(study, titles, measures(target), published, factor=100.0, digits=2, printed=3)


def pairs_of(shown: Table) -> list[tuple[Entry, Entry]]:
    """All pairs of models, the one that is higher in the paper's Table 3 first."""
    return [(better, worse) for worse, better in combinations(shown.titles, 2)]


def tested_f1(shown: Table, target: str) -> Contrasts:
    """All pairs in F1 at every cut, corrected together; those of which neither has enough hits are left out."""
    found = shown.compare([Pair(measure, *pair) for measure in f1_of(target) for pair in pairs_of(shown)])
    return adjust({key: contrast for key, contrast in found.items() if _enough(shown, *key)})


def hits(shown: Table, city: str, recall: str, entry: Entry) -> float | None:
    """How many positives of all are above the cut, on average over seeds; ``recall`` is that measure."""
    level = shown.level(city, recall, entry)
    return None if level is None else level.mean / shown.factor * shown.measured(city).counts[recall][1]


def _enough(shown: Table, city: str, pair: Pair) -> bool:
    found = [hits(shown, city, pair.measure.replace("f1", "recall", 1), entry) for entry in pair[1:]]
    return max((count for count in found if count is not None), default=0.0) >= FEW_HITS


def top_page(shown: Table, tested: Contrasts, target: str, exhibit: str) -> Iterator[str]:
    """By city a table per cut, the differences in F1, and what they say."""
    yield f"{TEXT.format(score=target.partition('/')[0].upper())} {reading(shown, tested)}"
    study, listed = shown.study, [(better, worse) for worse, better in pairwise(shown.titles)]
    for city in study.cities:
        if len(study.cities) > 1:
            yield f"#### {style.city_title(city)}"
        for cut, share in cuts().items():
            columns = {f"{statistic}@{cut}/{target}": HEADINGS[statistic] for statistic in STATISTICS}
            yield f"**Top {cut} %.** {_hits(shown, city, cut, share, target)}"
            yield value_table(shown, city, tested, measures=columns)
        if any(of == city for of, _ in tested):
            yield difference_table(shown, city, tested, listed, f1_of(target))
            yield told_apart(shown, city, tested, pairs_of(shown), f1_of(target))
        yield from seeds(shown, city)
    yield from lacking(study, shown.titles, exhibit)
    yield from withheld(shown)


def _hits(shown: Table, city: str, cut: str, share: float, target: str) -> str:
    """How many rows are above the cut, how many are positive, and how many are both."""
    recall = f"recall@{cut}/{target}"
    known = shown.measured(city).counts
    if recall not in known:
        return "No test rows are stored."
    rows, positives = known[recall]
    if not rows:
        return "There are no such test rows."
    text = f"{selected(rows, share):,} of {rows:,} rows; {positives:,} of all are positive"
    found = [count for entry in shown.titles if (count := hits(shown, city, recall, entry)) is not None]
    if not found:
        return f"{text}."
    text += f", of which the models find {min(found):.1f} to {max(found):.1f} there."
    if min(found) < FEW_HITS:
        text += f" Below {FEW_HITS} the intervals are rough; two models that both have fewer are not compared."
    return text
