"""ESM² Table 4: recall, precision and F1 of all methods for CVR."""

from __future__ import annotations

from pathlib import Path

from reports.esm2.paper import MODELS
from reports.esm2.show import frame
from reports.esm2.top import tested_f1, top_page, top_table
from reports.exhibit import Demand, Exhibit
from reports.study import Study

TARGET = "cvr/clicked"


class Esm2Table4(Exhibit):
    name = "esm2_table_4"
    title = "ESM² Table 4: recall, precision and F1 for CVR"
    needs = "stored predictions"
    order = 212
    paper = "esm2"
    demands = (Demand(MODELS),)

    def build(self, study: Study, folder: Path) -> str:
        shown = top_table(study, TARGET, study.published.esm2_table_4)
        tested = tested_f1(shown, TARGET)
        self.write_csv(frame((shown, tested)), folder)
        return "\n\n".join(top_page(shown, tested, TARGET, self.name))
