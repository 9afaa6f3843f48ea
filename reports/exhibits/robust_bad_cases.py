"""Robustness: the share of bad cases."""

from __future__ import annotations

from pathlib import Path

from reports.exhibit import Exhibit
from reports.robustness.axes import BAD_CASES
from reports.robustness.text import axis_report
from reports.study import Study


class RobustBadCases(Exhibit):
    name = "robust_bad_cases"
    title = "Robustness: the share of bad cases"
    needs = "stored predictions"
    order = 36
    paper = "esmc"
    demands = (BAD_CASES.demand,)

    def build(self, study: Study, folder: Path) -> str:
        return axis_report(self, study, folder, BAD_CASES)
