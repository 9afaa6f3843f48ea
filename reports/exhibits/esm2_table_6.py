"""ESM² Table 6: CVR-AUC by the number of dense features that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reports import style
from reports.esm2.curve import draw
from reports.esm2.page import judged, page
from reports.esm2.paper import is_published
from reports.esm2.show import frame
from reports.esm2.values import Table
from reports.exhibit import Demand, Exhibit
from reports.markdown import picture
from reports.measures import Entry
from reports.study import Study

#: The paper's numbers of features, and the one that it finds best.
COUNTS = (500, 256, 128, 64, 32, 8)
BASE = 64
MEASURES = {"auc/cvr/clicked": "CVR-AUC", "auc/ctcvr/exposed": "CTCVR-AUC"}

TEXT = f"""\
ESM² with the K dense features of users and items that a GBDT finds most important in the training rows (the paper's
"numerical features"); every difference is from K = {BASE}, which the paper finds best. The three numbers of a user and
an item together (preference, earlier clicks, earlier looks) do not count in K. The paper prints the CVR-AUC only."""


class Esm2Table6(Exhibit):
    name = "esm2_table_6"
    title = "ESM² Table 6: the number of dense features"
    needs = "stored predictions"
    order = 240
    paper = "esm2"
    demands = (Demand(("esm2",), tuple({"numeric_top": count} for count in COUNTS)),)

    def build(self, study: Study, folder: Path) -> str:
        entries: dict[int, Entry] = {k: ("esm2", study.variant_of({"numeric_top": k})) for k in COUNTS}
        printed = study.published.esm2_table_6.cvr_auc if is_published(study) else {}
        published = {(entries[int(k)], "auc/cvr/clicked"): auc for k, auc in printed.items()}
        shown = Table(study, {entry: f"K = {k}" for k, entry in entries.items()}, MEASURES, published)
        pairs = [(entries[k], entries[BASE]) for k in COUNTS if k != BASE]
        observed, truth = judged(shown, pairs), judged(shown.against_truth(), pairs)
        self.write_csv(frame(observed, truth), folder)
        parts = [TEXT, *_available(study)]
        if observed.tested:
            path = self.picture_path(study, folder)
            draw((observed, truth), entries, BASE, path)
            parts.append(picture(path.name, f"differences of AUC from K = {BASE} over K, with 95 % intervals"))
        return "\n\n".join([*parts, *page(observed, pairs, self.name, first="Features", truth=truth)])


def _available(study: Study) -> Iterator[str]:
    """That a world has fewer dense features than the paper's largest K."""
    for city in study.cities:
        manifest = study.manifest(city)
        dense = 0 if manifest is None else sum(feature.kind == "dense" for feature in manifest.features)
        if manifest is not None and dense < max(COUNTS):
            yield f"{style.city_title(city)} has {dense} dense features in all: every larger K keeps all of them."
