"""ESM² section 4.3.3: dense features normalised by tanh, or discretised."""

from __future__ import annotations

from pathlib import Path

from reports.esm2.page import judged, page
from reports.esm2.paper import Pair, is_published
from reports.esm2.show import frame
from reports.esm2.values import Table
from reports.exhibit import Demand, Exhibit
from reports.study import Study

NUMERIC = {"tanh": "Normalised (Eq. 17)", "bins": "Discretised"}
CVR = "auc/cvr/clicked"
MEASURES = {CVR: "CVR-AUC", "auc/ctcvr/exposed": "CTCVR-AUC"}

#: By how much the CVR-AUC of tanh is above that of bins (ESM² 4.3.3).
GAIN = 0.004

TEXT = """\
ESM² with the same dense features of users and items as input, either normalised or cut into bins that are embedded like
ids. The three numbers of a user and an item together (preference, earlier clicks, earlier looks) are always read in
bins. The paper prints only the gain of the first over the second, and speaks of AUC; we take it for CVR-AUC, as in its
Table 6."""


class Esm2Numeric(Exhibit):
    name = "esm2_numeric"
    title = "ESM² section 4.3.3: numbers as they are, or discretised"
    needs = "stored predictions"
    order = 242
    paper = "esm2"
    demands = (Demand(("esm2",), tuple({"numeric": numeric} for numeric in NUMERIC)),)

    def build(self, study: Study, folder: Path) -> str:
        entries = {("esm2", study.variant_of({"numeric": numeric})): title for numeric, title in NUMERIC.items()}
        tanh, bins = entries
        pair = Pair(CVR, tanh, bins)
        shown = Table(study, entries, MEASURES, differences={pair: GAIN} if is_published(study) else {}, printed=3)
        pairs = [(tanh, bins)]
        observed, truth = judged(shown, pairs), judged(shown.against_truth(), pairs)
        self.write_csv(frame(observed, truth), folder)
        return "\n\n".join([TEXT, *page(observed, pairs, self.name, first="Numbers", truth=truth)])
