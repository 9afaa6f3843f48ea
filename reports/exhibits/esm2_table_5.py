"""ESM² Table 5: recall, precision and F1 of all methods for CTCVR."""

from __future__ import annotations

from pathlib import Path

from reports.esm2.paper import MODELS
from reports.esm2.show import frame
from reports.esm2.top import tested_f1, top_page, top_table
from reports.exhibit import Demand, Exhibit
from reports.study import Study

TARGET = "ctcvr/exposed"


class Esm2Table5(Exhibit):
    name = "esm2_table_5"
    title = "ESM² Table 5: recall, precision and F1 for CTCVR"
    needs = "stored predictions"
    order = 214
    paper = "esm2"
    demands = (Demand(MODELS),)

    def build(self, study: Study, folder: Path) -> str:
        shown = top_table(study, TARGET, study.published.esm2_table_5)
        tested = tested_f1(shown, TARGET)
        self.write_csv(frame((shown, tested)), folder)
        return "\n\n".join(top_page(shown, tested, TARGET, self.name))
