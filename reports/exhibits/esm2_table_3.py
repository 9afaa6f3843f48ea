"""ESM² Table 3: CVR-AUC, CTCVR-AUC and CTCVR-GAUC of all methods."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

from reports import style
from reports.esm2.page import judged, page
from reports.esm2.paper import MODELS, SCORES, is_published, scores
from reports.esm2.show import difference_table, frame, value_table
from reports.esm2.values import Table
from reports.exhibit import Demand, Exhibit
from reports.gains.values import main_entry
from reports.measures import Entry
from reports.study import Study

TEXT = """\
CVR-AUC is taken over clicked rows, CTCVR-AUC over all exposures; CTCVR-GAUC is the mean of the users' own AUCs, each
user with weight 1 (Eq. 13), over users with a purchase and a row without one."""

OTHERS = "Other stored models, and their differences from ESM², which are corrected among themselves:"


class Esm2Table3(Exhibit):
    name = "esm2_table_3"
    title = "ESM² Table 3: models compared"
    needs = "stored predictions"
    order = 210
    paper = "esm2"
    demands = (Demand(MODELS),)

    def build(self, study: Study, folder: Path) -> str:
        entries = [main_entry(study, model) for model in MODELS]
        shown = Table(study, {entry: style.title(*entry) for entry in entries}, SCORES, _published(study))
        pairs = [(better, worse) for worse, better in combinations(entries, 2)]
        observed, truth = judged(shown, pairs), judged(shown.against_truth(), pairs)
        others = _others(study, entries)
        beyond = [(entry, entries[-1]) for entry in others.titles if entry != entries[-1]]
        against = judged(others, beyond)
        self.write_csv(frame(observed, truth, against), folder)

        def more(city: str) -> Iterator[str]:
            if any(of == city for of, _ in against.tested):
                yield OTHERS
                yield value_table(others, city, {})
                yield difference_table(others, city, against.tested, beyond)

        listed = [(better, worse) for worse, better in pairwise(entries)]
        return "\n\n".join([TEXT, *page(observed, pairs, self.name, listed=listed, more=more, truth=truth)])


def _published(study: Study) -> dict[tuple[Entry, str], float]:
    if not is_published(study):
        return {}
    found: dict[tuple[Entry, str], float] = {}
    for model, printed in study.published.esm2_table_3.models.items():
        found |= scores(main_entry(study, model), printed)
    return found


def _others(study: Study, entries: list[Entry]) -> Table:
    """The models that the paper does not have, and its own last."""
    known = {model for model, _ in entries}
    found = [main_entry(study, model) for model in study.models if model not in known]
    return Table(study, {entry: style.title(*entry) for entry in (*found, entries[-1])} if found else {}, SCORES)
