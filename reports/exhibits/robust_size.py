"""Robustness: the size of the data."""

from __future__ import annotations

from pathlib import Path

from reports.exhibit import Exhibit
from reports.robustness.axes import SIZE
from reports.robustness.text import axis_report
from reports.study import Study


class RobustSize(Exhibit):
    name = "robust_size"
    title = "Robustness: the size of the data"
    needs = "stored predictions"
    order = 40
    paper = "esmc"
    demands = (SIZE.demand,)

    def build(self, study: Study, folder: Path) -> str:
        return axis_report(self, study, folder, SIZE)
