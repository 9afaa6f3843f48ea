"""Robustness: carts bought at once."""

from __future__ import annotations

from pathlib import Path

from reports.exhibit import Exhibit
from reports.robustness.axes import CONVERSION
from reports.robustness.text import axis_report
from reports.study import Study


class RobustConversion(Exhibit):
    name = "robust_conversion"
    title = "Robustness: carts bought at once"
    needs = "stored predictions"
    order = 39
    paper = "esmc"
    demands = (CONVERSION.demand,)

    def build(self, study: Study, folder: Path) -> str:
        return axis_report(self, study, folder, CONVERSION)
