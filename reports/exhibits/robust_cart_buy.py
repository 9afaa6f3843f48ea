"""Robustness: carts and purchases."""

from __future__ import annotations

from pathlib import Path

from reports.exhibit import Exhibit
from reports.robustness.axes import CART_BUY
from reports.robustness.text import axis_report
from reports.study import Study


class RobustCartBuy(Exhibit):
    name = "robust_cart_buy"
    title = "Robustness: carts and purchases"
    needs = "stored predictions"
    order = 38
    paper = "esmc"
    demands = (CART_BUY.demand,)

    def build(self, study: Study, folder: Path) -> str:
        return axis_report(self, study, folder, CART_BUY)
