"""ESM² Table 8: AUC by the path that a test row takes, with a deterministic action or without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from bench.metrics.compare import Contrast, adjust
from reports import style
from reports.effects import effect, p_text
from reports.esm2.page import Judged, judged, page
from reports.esm2.paper import Pair, is_published
from reports.esm2.paths import lead, lead_pair, measure
from reports.esm2.show import frame
from reports.esm2.values import Table
from reports.esm2.words import Found, verdict
from reports.exhibit import Demand, Exhibit
from reports.gains.values import main_entry
from reports.measures import Entry
from reports.study import Study

MODELS = ("esmm", "esm2")
PATHS = {"oaction": "OAction", "daction": "DAction"}
COLUMNS = {
    measure(probability, path): f"{probability.upper()}-AUC, {title}"
    for probability, (path, title) in product(("cvr", "ctcvr"), PATHS.items())
}

TEXT = """\
The paper splits the test rows by path and says no more. Our reading: DAction are the rows with a cart or a wish,
OAction all others of the sample space, which for CVR are clicked rows and for CTCVR all exposures, clicked or not;
within a path, purchases are ranked against rows without one. So both DAction columns have the same rows, ranked by CVR
and by CTCVR."""


class Esm2Table8(Exhibit):
    name = "esm2_table_8"
    title = "ESM² Table 8: AUC by path"
    needs = "stored predictions"
    order = 246
    paper = "esm2"
    demands = (Demand(MODELS),)

    def build(self, study: Study, folder: Path) -> str:
        esmm, esm2 = entries = [main_entry(study, model) for model in MODELS]
        shown = Table(study, {entry: style.title(*entry) for entry in entries}, COLUMNS, _published(study))
        shown = replace(shown, differences=_paper_lead(shown, esm2, esmm))
        leads = {(city, lead_pair(esm2, esmm)): lead(shown, city, esm2, esmm) for city in study.cities}
        pairs = [(esm2, esmm)]
        found = Judged(shown, adjust({**judged(shown, pairs).tested, **_known(leads)}))
        self.write_csv(frame(found), folder)

        def more(city: str) -> Iterator[str]:
            pair = lead_pair(esm2, esmm)
            if (contrast := found.tested.get((city, pair))) is not None:
                yield _lead_words(Found(pair, contrast, shown.paper(pair)))

        return "\n\n".join([TEXT, *page(found, pairs, self.name, more=more)])


def _published(study: Study) -> dict[tuple[Entry, str], float]:
    if not is_published(study):
        return {}
    return {
        (main_entry(study, model), measure(probability, path)): getattr(aucs, path)
        for model, by_probability in study.published.esm2_table_8.models.items()
        for probability, aucs in by_probability.items()
        for path in PATHS
    }


def _known(leads: dict[tuple[str, Pair], Contrast | None]) -> dict[tuple[str, Pair], Contrast]:
    return {key: c for key, c in leads.items() if c is not None and not math.isnan(c.difference)}


def _paper_lead(shown: Table, first: Entry, second: Entry) -> dict[Pair, float]:
    """The paper's gain in CTCVR-AUC on DAction less that on OAction, where it has one."""
    daction, oaction = (shown.paper(Pair(measure("ctcvr", path), first, second)) for path in ("daction", "oaction"))
    return {} if math.isnan(daction - oaction) else {lead_pair(first, second): daction - oaction}


def _lead_words(one: Found) -> str:
    ours = f"{effect(one.contrast)}, {p_text(one.contrast.p_adjusted)}"
    text = f"**Gain of ESM² over ESMM in CTCVR-AUC, on DAction less on OAction**: {ours}"
    return f"{text}." if math.isnan(one.paper) else f"{text}; the paper's is {one.paper:+.4f}. {verdict(one)}"
