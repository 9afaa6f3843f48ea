"""Robustness: carts from search."""

from __future__ import annotations

from pathlib import Path

from reports.exhibit import Exhibit
from reports.robustness.axes import SEARCH
from reports.robustness.text import axis_report
from reports.study import Study


class RobustSearch(Exhibit):
    name = "robust_search"
    title = "Robustness: carts from search"
    needs = "stored predictions"
    order = 41
    paper = "esmc"
    demands = (SEARCH.demand,)

    def build(self, study: Study, folder: Path) -> str:
        return axis_report(self, study, folder, SEARCH)
