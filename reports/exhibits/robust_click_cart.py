"""Robustness: clicks and carts."""

from __future__ import annotations

from pathlib import Path

from reports.exhibit import Exhibit
from reports.robustness.axes import CLICK_CART
from reports.robustness.text import axis_report
from reports.study import Study


class RobustClickCart(Exhibit):
    name = "robust_click_cart"
    title = "Robustness: clicks and carts"
    needs = "stored predictions"
    order = 37
    paper = "esmc"
    demands = (CLICK_CART.demand,)

    def build(self, study: Study, folder: Path) -> str:
        return axis_report(self, study, folder, CLICK_CART)
